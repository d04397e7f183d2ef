package wire

import (
	"bytes"
	"cmp"
	"errors"
	"net/netip"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// command is one command line as go-smtp may see it.
type command struct {
	verb string
	line []byte // without its end
}

// known are the commands that go-smtp gets to see, and whether they take an
// argument that matters.
var known = map[string]bool{
	"HELO": true, "EHLO": true, "MAIL": true, "RCPT": true, "AUTH": true, "VRFY": true,
	"DATA": false, "RSET": false, "NOOP": false, "QUIT": false, "STARTTLS": false,
}

// foreign begin the first line of other protocols that a browser can be made
// to speak to any port, and of a proxy that is not trusted here.
var foreign = map[string]bool{"GET": true, "POST": true, "PUT": true, "HEAD": true, "OPTIONS": true, "CONNECT": true, "DELETE": true, "PATCH": true, "PROXY": true}

// parse reads one command line (RFC 5321 4.1.1), repaired before where the
// listener is lenient. It gives the line for go-smtp, which then parses it
// without surprises: the verb, one space, and addresses in their canonical
// form; or a refusal, with the verb where it is known.
func parse(line []byte, lenient bool, domain string) (command, *reply.Reply) {
	if lenient {
		line = Repair(line)
	}
	line = bytes.TrimRight(line, " \t")
	if len(line) == 0 {
		return command{}, reply.Unknown()
	}
	if hasControl(line) {
		return command{}, reply.Syntax("Control characters are not allowed")
	}
	word, arg, _ := strings.Cut(string(line), " ")
	c := command{verb: strings.ToUpper(word)}
	arg = strings.Trim(arg, " ")
	takes, ok := known[c.verb]
	switch {
	case foreign[c.verb]:
		return c, reply.NotMail()
	case c.verb == "BDAT", c.verb == "EXPN", c.verb == "HELP", c.verb == "TURN", c.verb == "SEND", c.verb == "SOML", c.verb == "SAML":
		return c, reply.NotImplemented()
	case !ok:
		c.verb = "" // any word: not for a log's or a metric's label
		return c, reply.Unknown()
	case c.verb == "NOOP":
		arg = "" // RFC 5321 4.1.1.9: ignored
	case !takes && arg != "":
		return c, reply.Syntax(c.verb + " takes no argument")
	}
	c.line = append(append(make([]byte, 0, len(line)+16), c.verb...), ' ')
	switch c.verb {
	case "HELO", "EHLO":
		if !lenient && !validHelo(arg) {
			return c, reply.Syntax(c.verb + " needs a host name or [address]")
		}
		name, _, _ := strings.Cut(arg, " ")
		c.line = append(c.line, name...)
	case "MAIL", "RCPT":
		path, params, r := parsePath(c.verb, arg, lenient, domain)
		if r != nil {
			return c, r
		}
		c.line = append(append(c.line, path...), params...)
	case "AUTH":
		mechanism, initial, has := strings.Cut(arg, " ")
		c.line = append(c.line, mechanism...)
		if initial = strings.TrimSpace(initial); has {
			c.line = append(append(c.line, ' '), padBase64([]byte(initial))...)
		}
	default:
		c.line = bytes.TrimRight(append(c.line, arg...), " ")
	}
	return c, nil
}

// parsePath reads the argument of MAIL or RCPT and writes it anew:
// FROM:<canonical address>, and the parameters that go-smtp shall see.
func parsePath(verb, arg string, lenient bool, domain string) (path, params string, r *reply.Reply) {
	word := "FROM:"
	bad, noDomain := reply.BadSender, reply.SenderNoDomain
	if verb == "RCPT" {
		word, bad, noDomain = "TO:", reply.BadRecipient, reply.RecipientNoDomain
	}
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return "", "", reply.Syntax("Write " + verb + " " + word + "<address>")
	}
	if !lenient && arg[len(word):] != "" && arg[len(word)] != '<' { // RFC 5321 3.3: no space, and 4.1.2: in angle brackets
		return "", "", reply.Syntax("Write " + verb + " " + word + "<address>")
	}
	addr, rest, ok := cutPath(strings.TrimLeft(arg[len(word):], " "))
	if !ok {
		return "", "", bad()
	}
	a, err := envelope.ParseAddress(addr)
	if errors.Is(err, envelope.ErrNoDomain) {
		// RFC 5321 4.5.1: postmaster needs no domain, for any server.
		if domain == "" || !lenient && !strings.EqualFold(a.Local, "postmaster") {
			return "", "", noDomain(reply.Line(addr, 30))
		}
		a.Domain, err = domain, nil
	}
	if err != nil || verb == "RCPT" && a.IsNull() {
		return "", "", bad()
	}
	for _, p := range strings.Fields(rest) {
		if p, ok := parameter(verb, p, lenient); ok {
			params += " " + p
		}
	}
	return word + "<" + a.String() + ">", params, nil
}

// cutPath splits a path, in angle brackets or bare, from what is behind it.
func cutPath(s string) (addr, rest string, ok bool) {
	bracket := strings.HasPrefix(s, "<")
	if bracket {
		s = s[1:]
	}
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case bracket && c == '>':
			rest = s[i+1:]
			return s[:i], rest, rest == "" || rest[0] == ' '
		case !bracket && c == ' ':
			return s[:i], s[i:], true
		}
	}
	return s, "", !bracket && !quoted && s != ""
}

// parameter is one ESMTP parameter as go-smtp may see it; false drops it. A
// lenient listener drops those that promise the client nothing. A size beyond
// what go-smtp can read is still a size.
func parameter(verb, p string, lenient bool) (string, bool) {
	name, value, has := strings.Cut(p, "=")
	name = strings.ToUpper(name)
	switch {
	case verb == "MAIL" && name == "SIZE" && isDigits(value):
		if value = strings.TrimLeft(value, "0"); len(value) > 9 {
			value = "4294967295"
		}
		return "SIZE=" + cmp.Or(value, "0"), true
	case verb == "MAIL" && (name == "BODY" || name == "SMTPUTF8" && !has || name == "REQUIRETLS" || name == "AUTH" && value != ""):
		return p, true
	}
	return p, !lenient || !isKeyword(name)
}

// isKeyword tells the name of a parameter (RFC 5321 4.1.2) from what may be a
// second address, which must not be lost unseen.
func isKeyword(s string) bool {
	return s != "" && s[0] != '-' && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// validHelo tells a domain or an address literal (RFC 5321 4.1.1.1, 4.1.3).
func validHelo(s string) bool {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return false
		}
		if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
			inner = inner[5:]
		}
		_, err := netip.ParseAddr(inner)
		return err == nil
	}
	if s == "" || len(s) > 255 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// padBase64 completes a line of an AUTH exchange whose padding was cut off.
func padBase64(line []byte) []byte {
	line = bytes.TrimSpace(line)
	if n := len(line) % 4; n > 1 && !bytes.Equal(line, []byte("*")) {
		line = append(line, "=="[:4-n]...)
	}
	return line
}

// hasControl tells a line that could not be logged or handed on safely.
func hasControl(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}
