package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// attach adds one file to the draft.
func (d *draft) attach(ctx context.Context, p *translate.Part) answer {
	if p.Size > maxFile {
		return d.s.refuse("5.3.4", "the attachment %s has %d octets, and Graph takes %d", p.Name, p.Size, maxFile)
	}
	if p.Size >= d.s.t.limits.session {
		a := d.session(ctx, p)
		if a.code != "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize" {
			return a
		}
	}
	doc := d.msg.Document()
	doc.Put(`{"@odata.type":"#microsoft.graph.fileAttachment","name":`)
	doc.Value(p.Name)
	doc.Put(`,"contentType":`)
	doc.Value(p.Type)
	doc.Put(`,"isInline":` + strconv.FormatBool(p.Inline))
	if p.ContentID != "" {
		doc.Put(`,"contentId":`)
		doc.Value(p.ContentID)
	}
	doc.Put(`,"contentBytes":`)
	doc.Part(p)
	doc.Put(`}`)
	if err := doc.TooLarge(); err != nil {
		return d.s.unread(d.why, err)
	}
	a, _ := d.s.t.step(ctx, d.s.t.json(d.path+"/attachments", d.raw+"/attachments", doc), http.StatusCreated)
	return a
}

// session adds a file in pieces, which go to an address that Graph gives for it.
func (d *draft) session(ctx context.Context, p *translate.Part) answer {
	item := map[string]any{"attachmentType": "file", "name": p.Name, "size": p.Size, "contentType": p.Type, "isInline": p.Inline}
	if p.ContentID != "" {
		item["contentId"] = p.ContentID
	}
	body, err := json.Marshal(map[string]any{"AttachmentItem": item})
	if err != nil {
		return d.s.unread(d.why, err)
	}
	const create = "/attachments/createUploadSession"
	a, r := d.s.t.step(ctx, &httpapi.Request{
		Path: d.s.t.path(d.path + create), To: d.s.t.target(d.raw + create), Header: http.Header{"Content-Type": {"application/json"}},
		Body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }, Length: int64(len(body)),
	}, http.StatusCreated)
	if a.Kind != 0 {
		return a
	}
	var made struct {
		UploadURL string `json:"uploadUrl"`
	}
	if json.Unmarshal(r.Body, &made) != nil || made.UploadURL == "" {
		return d.s.t.odd(r, "Graph made an upload session and did not say where")
	}
	to, err := url.Parse(made.UploadURL)
	if err != nil {
		return d.s.t.odd(r, "Graph made an upload session with an address that is none")
	}
	f := &file{msg: d.msg, part: p}
	defer f.Close() //nolint:errcheck // read-only
	for from, n := int64(0), d.s.t.limits.span; from < p.Size; from += n {
		if a := d.put(ctx, to, f, from, min(n, p.Size-from)); a.Kind != 0 {
			return a
		}
	}
	return answer{}
}

// put uploads n octets of a file. The address holds an authorization of its own: no
// token goes there, and no word of ours shows it.
func (d *draft) put(ctx context.Context, to *url.URL, f *file, from, n int64) answer {
	t := d.s.t
	r, err := t.api.Do(ctx, &httpapi.Request{
		Method: http.MethodPut, To: &httpapi.Target{URL: to}, Length: n,
		Header: http.Header{
			"Content-Type":  {"application/octet-stream"},
			"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, f.part.Size)},
		},
		Body: func() (io.ReadCloser, error) { return f.from(from, n) },
	})
	switch {
	case err != nil:
		return t.unsent(err)
	case r.Status/100 != 2:
		a := t.refused(r)
		if a.Scope == upstream.ScopeUpstream && a.Kind == upstream.Failed { // the session's end, not ours
			a.Kind = upstream.Deferred
		}
		return notSent(a)
	case from+n == f.part.Size && r.Status != http.StatusCreated:
		return t.odd(r, "the upload session has had the whole file and does not say that it is attached")
	case from+n < f.part.Size && !expects(r.Body, from+n):
		return t.odd(r, "the upload session goes on at another place than where the upload is")
	}
	return answer{}
}

// expects tells whether the reply to a piece names the octet that comes next.
func expects(body []byte, next int64) bool {
	var s struct {
		Next []string `json:"nextExpectedRanges"`
	}
	if json.Unmarshal(body, &s) != nil || len(s.Next) != 1 {
		return false
	}
	begin := s.Next[0]
	for i, c := range begin {
		if c == '-' {
			begin = begin[:i]
			break
		}
	}
	return begin == strconv.FormatInt(next, 10)
}

// file reads an attachment in pieces, from the message that stays open for it; what
// was read already is read again from its start.
type file struct {
	msg  *translate.Message
	part *translate.Part
	src  io.ReadCloser
	at   int64
}

// from gives n octets.
func (f *file) from(at, n int64) (io.ReadCloser, error) {
	if f.src == nil || f.at != at {
		if err := f.seek(at); err != nil {
			return nil, err
		}
	}
	return &piece{f, n}, nil
}

func (f *file) seek(at int64) (err error) {
	f.Close() //nolint:errcheck // read-only
	if f.src, err = f.msg.Content(f.part); err != nil {
		f.src = nil
		return err
	}
	f.at, err = io.CopyN(io.Discard, f.src, at)
	return err
}

// Close closes the message.
func (f *file) Close() error {
	if f.src == nil {
		return nil
	}
	err := f.src.Close()
	f.src = nil
	return err
}

// piece is what one request carries of a file. The last one of a file ends when the
// file does, which is when the message was read whole.
type piece struct {
	f    *file
	left int64
}

// Read implements io.Reader.
func (p *piece) Read(b []byte) (int, error) {
	f := p.f
	if p.left == 0 && f.at < f.part.Size {
		return 0, io.EOF
	}
	if p.left > 0 && int64(len(b)) > p.left {
		b = b[:p.left]
	}
	n, err := f.src.Read(b)
	f.at += int64(n)
	p.left -= int64(n)
	switch {
	case p.left < 0:
		return 0, errors.New("the attachment is longer than it was")
	case errors.Is(err, io.EOF) && f.at < f.part.Size:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// Close leaves the file open for the next piece.
func (p *piece) Close() error { return nil }
