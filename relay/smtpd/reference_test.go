package smtpd

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// The reference says by the rules of RFC 5321 alone what the octets of a client
// mean, given what it was answered: it knows nothing of buffers, pieces or
// go-smtp. What the listener did has to agree with it.

const (
	refCommand = 2 << 10 // octets of the longest line that is read as a command
	refAuth    = 12288   // in an AUTH exchange (RFC 4954 4)
	refTooLong = 256 << 10
)

// answer is one reply, its lines joined by LF.
type answer struct {
	code string
	text string
}

var replyLine = regexp.MustCompile(`^([2-5][0-9]{2})([ -])([ -~]*)$`)

// refusal is what a copier's panel can show, and the documents explain.
var refusal = regexp.MustCompile(`^[45][0-9]{2} [45]\.[0-9]{1,3}\.[0-9]{1,3} (PR-[0-9]{3} [ -~]{1,72})$`)

// answers splits what the server said. Behind "220 2." TLS begins, which is not
// looked at.
func answers(said []byte) ([]answer, error) {
	var out []answer
	lines := ""
	for len(said) > 0 {
		line, rest, ok := bytes.Cut(said, []byte("\r\n"))
		if !ok {
			return out, fmt.Errorf("half a line at the end: %q", said)
		}
		said = rest
		m := replyLine.FindSubmatch(line)
		if m == nil || len(line) > 510 {
			return out, fmt.Errorf("no line of a reply (RFC 5321 4.2): %q", line)
		}
		if lines != "" && !strings.HasPrefix(lines, string(m[1])) {
			return out, fmt.Errorf("the code changes within a reply: %q, then %q", lines, line)
		}
		lines += string(line) + "\n"
		if m[2][0] == '-' {
			continue
		}
		a := answer{code: string(m[1]), text: strings.TrimSuffix(lines, "\n")}
		if lines = ""; (a.code[0] == '4' || a.code[0] == '5') && !refusal.MatchString(a.text) {
			return out, fmt.Errorf("a refusal without its code, or that does not fit a panel: %q", a.text)
		}
		out = append(out, a)
		if strings.HasPrefix(a.text, "220 2.") {
			return out, nil
		}
	}
	if lines != "" {
		return out, fmt.Errorf("a reply without its last line: %q", lines)
	}
	return out, nil
}

// dialect is how a listener reads.
type dialect struct{ lenient, bareLF bool }

// transfer is one message as the client sent it, with what it was answered.
type transfer struct {
	data       []byte // without dot-stuffing
	recipients int    // that were accepted for it
	answer
}

// errUnclear says that the rules leave it to the timing what a session means: a
// line of an AUTH exchange that may have been wrapped.
var errUnclear = errors.New("not clear")

// conversation walks through a session.
type conversation struct {
	dialect
	in      []byte // what is not read yet
	answers []answer
	bare    bool // every line so far ended in bare LF
	auth    bool // the next line is no command
	ended   bool // the server closed, and was right to
	to      int  // recipients of the message that comes
}

// follow gives the messages of a session, and an error where the answers do not
// fit what was sent.
func (d dialect) follow(in []byte, said []answer) ([]transfer, error) {
	if len(said) == 0 {
		return nil, errors.New("no greeting")
	}
	c := &conversation{dialect: d, in: in, answers: said[1:], bare: true, ended: said[0].code != "220"}
	var out []transfer
	for !c.ended {
		a, ok, err := c.line()
		if err != nil {
			return out, err
		}
		if !ok {
			break
		}
		if a.code != "354" {
			continue
		}
		data, rest, whole := unstuffed(c.in, d.bareLF && c.bare)
		if !whole {
			c.in, c.ended = nil, true // the server gives up when no more comes
			break
		}
		c.in = rest
		if a, ok = c.take(); !ok {
			return out, fmt.Errorf("no answer to the end of a message: %.80q", data)
		}
		out = append(out, transfer{data, c.to, a})
		c.to = 0
	}
	if len(c.answers) > 0 && (c.answers[0].code != "421" || len(c.answers) > 1) {
		return out, fmt.Errorf("%d answers to nothing: %q", len(c.answers), c.answers[0].text)
	}
	return out, nil
}

// take gives the next answer; false: there is none.
func (c *conversation) take() (answer, bool) {
	if len(c.answers) == 0 {
		return answer{}, false
	}
	a := c.answers[0]
	c.answers = c.answers[1:]
	c.auth = a.code == "334"
	c.ended = a.code == "221" || a.code == "421" || strings.HasPrefix(a.text, "220 2.")
	switch a.text {
	case "250 2.1.5 Recipient OK":
		c.to++
	case "250 2.1.0 Sender OK":
		c.to = 0
	}
	return a, true
}

// line reads one line and its answer; false: no more is to be read.
func (c *conversation) line() (a answer, ok bool, err error) {
	i := bytes.IndexByte(c.in, '\n')
	if i < 0 {
		return a, false, nil
	}
	raw := c.in[:i]
	c.in = c.in[i+1:]
	limit := refCommand
	if c.auth || len(raw) >= 5 && strings.EqualFold(string(raw[:5]), "AUTH ") {
		limit = refAuth
	}
	c.bare = c.bare && !bytes.HasSuffix(raw, []byte("\r"))
	word := bytes.TrimSpace(raw)
	long := len(raw) > limit
	if c.lenient && !c.auth && !long && len(word) == 0 {
		return a, true, nil // an empty line is no command
	}
	if c.lenient && !long {
		wrapped := word
		if f := bytes.Fields(word); !c.auth && len(f) == 3 && strings.EqualFold(string(f[0]), "AUTH") {
			wrapped = f[2]
		} else if !c.auth {
			wrapped = nil
		}
		if len(wrapped) > 0 && len(wrapped)%76 == 0 {
			return a, false, errUnclear
		}
	}
	verb, _, _ := strings.Cut(strings.ToUpper(string(word)), " ")
	if a, ok = c.take(); !ok {
		return a, false, fmt.Errorf("no answer to %.80q", raw)
	}
	if verb == "BDAT" && !long && len(c.answers) > 0 {
		return a, false, fmt.Errorf("a chunk was read as commands: %q", c.answers[0].text)
	}
	if len(c.answers) == 0 && a.code[0] == '5' && (verb == "DATA" || verb == "BDAT" || len(raw) > refTooLong) {
		c.ended = true // what follows may be no commands: the server closes
	}
	return a, true, nil
}

// unstuffed is RFC 5321 4.5.2 and 4.1.1.4, word for word. In a session of bare LF
// a line ends in LF or CRLF, and LF.LF ends the message too.
func unstuffed(in []byte, bareLF bool) (data, rest []byte, whole bool) {
	start, before := true, "crlf" // of a line, and how the one before ended
	if bareLF {
		before = "lf"
	}
	for i := 0; i < len(in); {
		if start && in[i] == '.' {
			if bytes.HasPrefix(in[i:], []byte(".\r\n")) && before == "crlf" {
				return data, in[i+3:], true
			}
			if bytes.HasPrefix(in[i:], []byte(".\n")) && before == "lf" {
				return data, in[i+2:], true
			}
			if i+1 == len(in) || before == "crlf" && i+2 == len(in) && in[i+1] == '\r' {
				return nil, nil, false
			}
			i++
			start = false
			continue
		}
		start = false
		switch {
		case bytes.HasPrefix(in[i:], []byte("\r\n")):
			data = append(data, '\r', '\n')
			i += 2
			start, before = true, "crlf"
		case in[i] == '\n' && bareLF:
			data = append(data, '\n')
			i++
			start, before = true, "lf"
		default:
			data = append(data, in[i])
			i++
		}
	}
	return nil, nil, false
}
