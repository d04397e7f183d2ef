package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// Reply is one reply of the server, its lines joined.
type Reply struct {
	Code     int
	Enhanced string // "5.1.1"; empty: none
	Text     string // one line, at most 512 octets
	Lines    []string
}

// replyError is a reply that ends a session before it has begun.
type replyError struct {
	Reply
	step string
}

func (e *replyError) Error() string {
	return fmt.Sprintf("%s: %d %s %s", e.step, e.Code, e.Enhanced, e.Text)
}

const (
	maxReplyLine  = 4 << 10
	maxReplyLines = 100
)

var (
	errReply = errors.New("the server's reply is no SMTP reply")
	enhanced = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}(?: |$)`)
)

// readReply reads one reply (RFC 5321 4.2) of bounded size.
func readReply(r *bufio.Reader) (Reply, error) {
	var out Reply
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return out, errReply
			}
			return out, err
		}
		s := strings.TrimRight(string(line), "\r\n")
		if len(s) < 3 || len(s) > 3 && s[3] != ' ' && s[3] != '-' {
			return out, errReply
		}
		code := 0
		for _, c := range s[:3] {
			if c < '0' || c > '9' {
				return out, errReply
			}
			code = 10*code + int(c-'0')
		}
		if code < 200 || code > 599 || out.Code != 0 && code != out.Code {
			return out, errReply
		}
		out.Code = code
		if len(out.Lines) == maxReplyLines {
			return out, errReply
		}
		text := ""
		if len(s) > 4 {
			text = s[4:]
		}
		if e := enhanced.FindString(text); e != "" {
			out.Enhanced = strings.TrimSpace(e)
			text = text[len(e):]
		}
		out.Lines = append(out.Lines, text)
		if len(s) == 3 || s[3] == ' ' {
			out.Text = reply.Line(strings.Join(out.Lines, " "), 512)
			return out, nil
		}
	}
}
