package dkim

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/message"
)

// Signer signs as one domain.
type Signer struct {
	Domain   string // d=, in ASCII
	Selector string // s= of the RSA key; the Ed25519 key's follows from it
	Keys     []Key
	// Reissued says that the provider puts its own Message-ID and Date in the
	// place of ours (SES does): a signature over them would break.
	Reissued bool
}

// fields are what a signature covers where the message has it (RFC 6376 5.4.1):
// who it is from and to, what it is about, how it is to be read, and to which
// thread it belongs. What servers on the way add or change is not here. The
// list is fixed, so that no header that a device invents can make a signature
// that breaks on the way.
var fields = []string{
	"From", "Sender", "Reply-To", "Subject", "To", "Cc", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	"In-Reply-To", "References", "Date", "Message-ID",
}

// maxInstances bounds the instances of one field that are named in h=. Mail has
// one of each (RFC 5322 3.6); what a device repeats more often is not signed, and
// a signature is a few lines at most.
const maxInstances = 4

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

var errNoFrom = errors.New("the message has no From, which every signature must cover")

// names are the names for h=. Each field is named once for each of its
// instances and, where there is any, once more: then one that is added later, above
// or below, breaks the signature (RFC 6376 8.15).
func (s *Signer) names(h *message.Header) ([]string, error) {
	if !h.Has("From") {
		return nil, errNoFrom
	}
	var out []string
	for _, name := range fields {
		if s.Reissued && (name == "Date" || name == "Message-ID") {
			continue
		}
		n := len(h.All(name))
		if n == 0 || n > maxInstances && name != "From" {
			continue
		}
		for range n + 1 {
			out = append(out, name)
		}
	}
	return out, nil
}

// Sign gives the DKIM-Signature fields of a message, one for each key, to be put
// above its header. body is read to its end, once; h is not changed. An error
// is body's own, or there is no signature to be had.
func (s *Signer) Sign(h *message.Header, body io.Reader, now time.Time) ([]byte, error) {
	names, err := s.names(h)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	r := newRelaxed(sum)
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	if _, err := io.CopyBuffer(r, body, *buf); err != nil {
		return nil, err
	}
	r.close()
	signed := canonical(h, names)
	var out []byte
	for _, k := range s.Keys {
		f, err := s.field(k, names, signed, sum.Sum(nil), now)
		if err != nil {
			return nil, err
		}
		out = append(out, f...)
	}
	return out, nil
}

// field makes the signature of one key (RFC 6376 3.5, 3.7).
func (s *Signer) field(k Key, names []string, signed, body []byte, now time.Time) ([]byte, error) {
	const fold = "\r\n\t"
	b := []byte("DKIM-Signature: v=1; a=" + k.algorithm + "; c=relaxed/relaxed;" +
		fold + "d=" + s.Domain + ";" +
		fold + "s=" + k.Selector(s.Selector) + "; t=" + strconv.FormatInt(now.Unix(), 10) + ";" +
		fold + "h=")
	for i, n := range names {
		if at := len(b) - bytes.LastIndexByte(b, '\n'); at+len(n) > 74 {
			b = append(b, fold...)
		}
		if b = append(b, n...); i < len(names)-1 {
			b = append(b, ':')
		}
	}
	b = append(b, ";"+fold+"bh="+base64.StdEncoding.EncodeToString(body)+";"+fold+"b="...)
	own := message.ParseHeader(append(bytes.Clone(b), "\r\n"...)).Fields[0]
	sum := sha256.Sum256(bytes.TrimSuffix(appendRelaxed(bytes.Clone(signed), own), []byte("\r\n")))
	var opts crypto.SignerOpts = crypto.SHA256
	if k.bits == 0 { // Ed25519 signs the hash as a message (RFC 8463 3)
		opts = crypto.Hash(0)
	}
	sig, err := k.signer.Sign(rand.Reader, sum[:], opts)
	if err != nil {
		return nil, fmt.Errorf("signing with the %s: %w", k, err)
	}
	text := base64.StdEncoding.EncodeToString(sig)
	for n := 70; len(text) > n; n = 72 {
		b = append(append(b, text[:n]...), fold...)
		text = text[n:]
	}
	return append(append(b, text...), "\r\n"...), nil
}

// canonical gives the fields of the names as they are signed: of several of one
// name the lowest first (RFC 6376 5.4.2). A name with no field left stands for none.
func canonical(h *message.Header, names []string) []byte {
	var b []byte
	left := map[string][]message.Field{}
	for _, n := range names {
		all, seen := left[n]
		if !seen {
			all = h.All(n)
		}
		if i := len(all) - 1; i >= 0 {
			b = appendRelaxed(b, all[i])
			all = all[:i]
		}
		left[n] = all
	}
	return b
}

// appendRelaxed adds a field in its relaxed form (RFC 6376 3.4.2): its name in lower
// case, its value unfolded, without space around it and with one space for each run.
func appendRelaxed(b []byte, f message.Field) []byte {
	for _, c := range []byte(f.Name) {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	b = append(b, ':')
	space := false
	for _, c := range []byte(f.Value()) {
		if c == ' ' || c == '\t' {
			space = true
			continue
		}
		if space {
			b, space = append(b, ' '), false
		}
		b = append(b, c)
	}
	return append(b, "\r\n"...)
}
