package apifake

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"strings"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // texts in other charsets than UTF-8
)

// Said is what a message says, as far as a translation has to keep it.
type Said struct {
	Subject, From string
	Text, HTML    string
	Attachments   []Attachment
}

// Attachment is a file.
type Attachment struct {
	Name, Type string
	Size       int64
	Sum        [sha256.Size]byte
}

// Digest is of what is said. What services want filled counts as empty.
func (s Said) Digest() [sha256.Size]byte {
	for _, text := range []*string{&s.Text, &s.HTML} {
		if strings.TrimSpace(*text) == "" {
			*text = ""
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers
	}
	return sha256.Sum256(b)
}

// Digest is that of a message in MIME, read by a library that is not ours.
func Digest(content io.Reader) (sum [sha256.Size]byte, err error) {
	s, err := Read(content)
	if err != nil {
		return sum, err
	}
	return s.Digest(), nil
}

// Read reads what a message in MIME says.
func Read(content io.Reader) (s Said, err error) {
	e, err := message.Read(content)
	if err != nil {
		return s, err
	}
	if s.Subject, err = e.Header.Text("Subject"); err != nil {
		return s, err
	}
	from, err := e.Header.Text("From")
	if err != nil {
		return s, err
	}
	a, err := mail.ParseAddress(e.Header.Get("From"))
	if err != nil {
		return s, fmt.Errorf("%q: %w", from, err)
	}
	s.From = a.Address
	err = e.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil || part.MultipartReader() != nil {
			return err
		}
		return s.add(part)
	})
	return s, err
}

func (s *Said) add(part *message.Entity) error {
	kind, params, err := part.Header.ContentType()
	if err != nil {
		return err
	}
	disposition, dparams, err := part.Header.ContentDisposition()
	if err != nil && part.Header.Get("Content-Disposition") != "" {
		return err
	}
	name := dparams["filename"]
	if name == "" {
		name = params["name"]
	}
	if body := map[string]*string{"text/plain": &s.Text, "text/html": &s.HTML}[kind]; body != nil && name == "" && disposition != "attachment" {
		if *body != "" {
			return errors.New("two texts: the suite has no such message")
		}
		b, err := io.ReadAll(part.Body)
		*body = string(b)
		return err
	}
	a := Attachment{Name: name, Type: kind}
	h := sha256.New()
	if a.Size, err = io.Copy(h, part.Body); err != nil {
		return err
	}
	h.Sum(a.Sum[:0])
	s.Attachments = append(s.Attachments, a)
	return nil
}
