package mailgun

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// form is the body of a request: what comes before and after the message.
type form struct {
	contentType   string
	before, after []byte
	m             *upstream.Message
}

// newForm makes the body for some recipients. Its boundary is random, so no
// message can hold it but by a guess of 240 bits.
func newForm(m *upstream.Message, to []recipient, requireTLS bool) (*form, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	fields := make([][2]string, 0, len(to)+3)
	for _, r := range to {
		fields = append(fields, [2]string{"to", r.address.String()})
	}
	// What is tracked is rewritten: links lead to Mailgun, and a picture is added.
	fields = append(fields, [2]string{"o:tracking", "no"})
	if requireTLS {
		fields = append(fields, [2]string{"o:require-tls", "true"}, [2]string{"o:skip-verification", "false"})
	}
	for _, f := range fields {
		if err := w.WriteField(f[0], f[1]); err != nil {
			return nil, fmt.Errorf("the request cannot be made: %w", err)
		}
	}
	if _, err := w.CreateFormFile("message", "message.eml"); err != nil {
		return nil, fmt.Errorf("the request cannot be made: %w", err)
	}
	n := b.Len()
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("the request cannot be made: %w", err)
	}
	return &form{w.FormDataContentType(), b.Bytes()[:n:n], b.Bytes()[n:], m}, nil
}

func (f *form) length() int64 { return int64(len(f.before)) + f.m.Size + int64(len(f.after)) }

// open gives the body, with the message streamed from its source.
func (f *form) open() (io.ReadCloser, error) {
	r, err := f.m.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(f.before), r, bytes.NewReader(f.after)), r}, nil
}
