package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// Reply is one reply of the server.
type Reply struct {
	Code     int
	Enhanced string   // "5.1.1"; empty: none
	Text     string   // its lines joined to one, safe for a log, at most 512 octets
	Lines    []string // as they came, without code and enhanced code
}

// replyError is a reply that ends a session before it has begun.
type replyError struct {
	Reply
	step string
}

func (e *replyError) Error() string {
	return strings.ReplaceAll(fmt.Sprintf("%s: %d %s %s", e.step, e.Code, e.Enhanced, e.Text), "  ", " ")
}

// Bounds of a reply: RFC 5321 4.5.3.1.5 allows a line 512 octets, and a server
// has a few dozen extensions.
const (
	maxReplyLine  = 4 << 10
	maxReplyLines = 100
	maxReplyText  = 512
)

var errReply = errors.New("the server's reply is no SMTP reply")

// readReply reads one reply (RFC 5321 4.2) from a reader whose buffer has
// maxReplyLine octets. A bare LF ends a line too.
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
		line = bytes.TrimRight(line, "\r\n")
		code, last, ok := replyHead(line)
		if !ok || out.Code != 0 && code != out.Code || len(out.Lines) == maxReplyLines {
			return out, errReply
		}
		out.Code = code
		text := string(line[min(4, len(line)):])
		if e := enhancedCode(text, code); e != "" {
			out.Enhanced, text = e, strings.TrimPrefix(text[len(e):], " ")
		}
		out.Lines = append(out.Lines, text)
		if last {
			out.Text = reply.Line(strings.Join(out.Lines, " "), maxReplyText)
			return out, nil
		}
	}
}

// replyHead reads the code of a line, and whether it is the reply's last.
func replyHead(line []byte) (code int, last, ok bool) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, false
		}
		code = 10*code + int(c-'0')
	}
	if len(line) == 3 {
		return code, true, true
	}
	return code, line[3] == ' ', line[3] == ' ' || line[3] == '-'
}

// enhancedCode gives the RFC 3463 code that a text begins with, if it is of the
// reply's own class (RFC 2034 4); otherwise it is part of the text.
func enhancedCode(text string, code int) string {
	word, _, _ := strings.Cut(text, " ")
	class, rest, _ := strings.Cut(word, ".")
	subject, detail, _ := strings.Cut(rest, ".")
	if len(class) != 1 || int(class[0]-'0') != code/100 || !shortNumber(subject) || !shortNumber(detail) {
		return ""
	}
	return word
}

func shortNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 3
}
