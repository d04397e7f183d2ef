package graph

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

const (
	// maxRequest is what Graph takes in one request: "4 MB" in its words
	// (learn.microsoft.com/graph/api/user-post-messages: "HTTP 413"; the service's own
	// error: "The maximum request length supported is 4MB").
	maxRequest = 4 << 20
	// maxSendMail is how much of MIME that is, in base64.
	maxSendMail = maxRequest / 4 * 3
	// minSession is from where a file goes by an upload session, which takes none that
	// is smaller; maxFile is how large it may be; and span is what one request carries
	// of it: less than 4 MB, in multiples of 320 KiB
	// (learn.microsoft.com/graph/outlook-large-attachments).
	minSession = 3_000_000
	maxFile    = 150_000_000
	span       = 12 * 320 << 10
	// maxHeader is far above what intake lets pass, and what a rewrite adds.
	maxHeader = 256 << 10
)

// limits are those above, of one transport.
type limits struct{ sendMail, session, span int64 }

// now is the time for what is remembered for a while.
func now() time.Time { return time.Now() }

// scan is one message on its way.
type scan struct {
	t    *Transport
	m    *upstream.Message
	head []byte // as it came, without the empty line
	skip int64  // octets of it with the empty line

	parsed *message.Header // of head
}

// open reads the header of m. The outcome says why that cannot be done.
func (t *Transport) open(m *upstream.Message) (*scan, *upstream.Outcome) {
	s := &scan{t: t, m: m}
	r, err := m.Open()
	if err == nil {
		defer r.Close() //nolint:errcheck // read-only
		s.head, s.skip, err = readHeader(r)
	}
	if err != nil {
		return nil, &upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Remote: t.api.Host(), Text: "the stored message cannot be read", Cause: err}
	}
	s.parsed = message.ParseHeader(s.head)
	return s, nil
}

var errHeader = errors.New("the header is larger than any that intake takes")

func readHeader(r io.Reader) (head []byte, skip int64, err error) {
	lines := bufio.NewReaderSize(r, 4<<10)
	for begin := true; ; {
		line, err := lines.ReadSlice('\n')
		if begin && bytes.Equal(line, []byte("\r\n")) {
			return head, int64(len(head) + len(line)), nil
		}
		if head = append(head, line...); len(head) > maxHeader {
			return nil, 0, errHeader
		}
		begin = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return head, int64(len(head)), nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, 0, err
		}
	}
}

// answer is an outcome with the error code that Graph gave.
type answer struct {
	upstream.Outcome
	code string
}

// send offers the message to some of the attempt's recipients, by the way that it
// fits.
func (s *scan) send(ctx context.Context, to []recipient) answer {
	h := message.Header{Fields: s.parsed.Fields}
	list := make([]envelope.Address, len(to))
	for i, r := range to {
		list[i] = r.address
	}
	h.SetRecipients(h.Pending(list))
	head := append(h.Append(nil), '\r', '\n')
	if bytes.ContainsFunc(head, func(r rune) bool { return r >= 0x80 }) {
		return s.refuse("5.6.7", "a header needs SMTPUTF8, which Graph does not take in MIME")
	}
	size := int64(len(head)) + s.m.Size - s.skip
	why := fmt.Sprintf("the message of %d octets is larger than what Graph takes by sendMail (%d)", size, s.t.limits.sendMail)
	if size <= s.t.limits.sendMail {
		a := s.sendMail(ctx, head, size)
		if a.Kind != upstream.Failed || !tooLarge[a.code] {
			return a
		}
		why = a.Text
	}
	return s.sendDraft(ctx, list, why)
}

func (s *scan) refuse(enhanced, format string, args ...any) answer {
	code := 554
	if enhanced == "5.3.4" {
		code = 552
	}
	return answer{Outcome: upstream.Outcome{
		Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: code, Enhanced: enhanced, Remote: s.t.api.Host(), Text: fmt.Sprintf(format, args...),
	}}
}

// sendMail hands over the whole message in one request.
func (s *scan) sendMail(ctx context.Context, head []byte, size int64) answer {
	r, err := s.t.do(ctx, &httpapi.Request{
		Path: s.t.path("/sendMail"), To: s.t.target("/sendMail"),
		Header: http.Header{"Content-Type": {"text/plain"}},
		Length: int64(base64.StdEncoding.EncodedLen(int(size))),
		Body: func() (io.ReadCloser, error) {
			b, err := s.m.Open()
			if err != nil {
				return nil, err
			}
			if _, err := io.CopyN(io.Discard, b, s.skip); err != nil {
				b.Close() //nolint:errcheck // read-only
				return nil, err
			}
			return encoded(io.MultiReader(bytes.NewReader(head), b), b, size), nil
		},
	})
	if err != nil {
		return s.t.lost(err)
	}
	return s.t.accepted(r)
}

// path is that of a resource of the mailbox; a mailbox is one segment of it.
func (t *Transport) path(rest string) string { return "/v1.0/users/" + t.c.Graph.Mailbox + rest }

func (t *Transport) target(rest string) *httpapi.Target {
	return &httpapi.Target{RawPath: "/v1.0/users/" + url.PathEscape(t.c.Graph.Mailbox) + rest}
}
