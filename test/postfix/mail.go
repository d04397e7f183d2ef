package postfix

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// Message is one mail for one recipient as it lay in the Maildir.
type Message struct {
	Recipient string // of the envelope
	Sender    string // of the envelope; empty: <>
	Header    mail.Header
	Body      []byte // below the header, lines end with LF
	Raw       []byte
}

// Mail returns what has arrived until now, in no particular order.
func (s *Server) Mail(t testing.TB) []Message {
	t.Helper()
	files, err := filepath.Glob(s.path("mail", "inbox", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Message, 0, len(files))
	for _, file := range files {
		m, ok := s.read[file] // no file in new/ ever changes
		if !ok {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m = parse(t, raw)
			s.read[file] = m
		}
		all = append(all, m)
	}
	return all
}

// MailFor waits until a mail for a recipient has arrived and returns it. It
// fails the test if there are more.
func (s *Server) MailFor(t testing.TB, recipient string) Message {
	t.Helper()
	var found []Message
	env.Eventually(t, "mail for "+recipient+" arrives", s.Log, func() bool {
		found = nil
		for _, m := range s.Mail(t) {
			if m.Recipient == recipient {
				found = append(found, m)
			}
		}
		return len(found) > 0
	})
	if len(found) > 1 {
		t.Fatalf("%d mails for %s arrived, want 1", len(found), recipient)
	}
	return found[0]
}

func parse(t testing.TB, raw []byte) Message {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("what arrived is no message: %v\n%s", err, raw)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	return Message{
		Recipient: m.Header.Get("Delivered-To"), Sender: strings.Trim(m.Header.Get("Return-Path"), "<>"),
		Header: m.Header, Body: body, Raw: raw,
	}
}

// Attachment returns the decoded content of the message's part with a file
// name, at any depth.
func (m Message) Attachment(name string) ([]byte, error) {
	content, err := attachment(m.Header.Get("Content-Type"), bytes.NewReader(m.Body), name)
	if err != nil {
		return nil, err
	}
	if content == nil {
		return nil, fmt.Errorf("no attachment %q", name)
	}
	return content, nil
}

func attachment(contentType string, body io.Reader, name string) ([]byte, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return nil, err
	}
	for r := multipart.NewReader(body, params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if part.FileName() == name {
			return decode(part.Header.Get("Content-Transfer-Encoding"), part)
		}
		if content, err := attachment(part.Header.Get("Content-Type"), part, name); content != nil || err != nil {
			return content, err
		}
	}
}

func decode(encoding string, r io.Reader) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	b, err := io.ReadAll(r)
	if b == nil {
		b = []byte{}
	}
	return b, err
}

// Raw returns the octets of what has arrived until now, in no particular order.
func (s *Server) Raw(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob(s.path("mail", "inbox", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := make([][]byte, len(files))
	for i, file := range files {
		if all[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
