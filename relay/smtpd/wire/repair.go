package wire

import (
	"bytes"
	"strings"
)

// Trim takes trailing space off a command line (RFC 5321 4.1.1 asks for it).
func Trim(line []byte) []byte { return bytes.TrimRight(line, " \t") }

// Repair makes a well-formed command of what copiers send in its place; domain
// completes addresses without one. What it does not know it leaves alone.
//
//	HELO                          -> HELO unknown
//	MAIL FROM: <a@b>              -> MAIL FROM:<a@b>
//	MAIL FROM :<a@b>, < a@b >     -> MAIL FROM:<a@b>
//	MAIL FROM:a@b                 -> MAIL FROM:<a@b>
//	MAIL FROM:"Scan" <a@b>        -> MAIL FROM:<a@b>
//	MAIL FROM:<scanner>           -> MAIL FROM:<scanner@domain>
//	MAIL FROM:<a@b> SIZE= XYZ     -> MAIL FROM:<a@b>
func Repair(line []byte, domain string) []byte {
	s := string(line)
	v := verb(line)
	switch v {
	case "HELO", "EHLO":
		if strings.TrimSpace(s[len(v):]) == "" {
			return []byte(v + " unknown")
		}
	case "MAIL", "RCPT":
		if r, ok := repairPath(v, s[len(v):], domain); ok {
			return []byte(r)
		}
	}
	return line
}

func repairPath(v, rest, domain string) (string, bool) {
	rest = strings.TrimLeft(rest, " \t")
	word := map[string]string{"MAIL": "FROM", "RCPT": "TO"}[v]
	if len(rest) < len(word) || !strings.EqualFold(rest[:len(word)], word) {
		return "", false
	}
	rest = strings.TrimLeft(rest[len(word):], " \t")
	if rest, found := strings.CutPrefix(rest, ":"); found {
		addr, params, ok := cutPath(strings.TrimSpace(rest))
		if !ok {
			return "", false
		}
		if addr != "" && !strings.Contains(addr, "@") && domain != "" {
			addr += "@" + domain
		}
		out := v + " " + word + ":<" + addr + ">"
		for _, p := range strings.Fields(params) {
			if knownParam(v, p) {
				out += " " + p
			}
		}
		return out, true
	}
	return "", false
}

// cutPath splits a path from the parameters behind it.
func cutPath(s string) (addr, params string, ok bool) {
	start := 0
	if strings.HasPrefix(s, `"`) { // a display name, or a quoted local part
		end := closingQuote(s)
		if end < 0 {
			return "", "", false
		}
		if !strings.HasPrefix(s[end:], "@") {
			start = end
		}
	}
	if i := strings.IndexByte(s[start:], '<'); i >= 0 && (start > 0 || i == 0 || !strings.Contains(s[:i], "@")) {
		open := start + i
		end := strings.LastIndexByte(s, '>')
		if end < open {
			return "", "", false
		}
		return strings.TrimSpace(s[open+1 : end]), s[end+1:], true
	}
	if s == "" || start > 0 {
		return "", "", false
	}
	addr, params, _ = strings.Cut(s, " ")
	return strings.Trim(addr, "<>"), params, addr != ""
}

func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// knownParam tells ESMTP parameters that go-smtp takes; the others are noise
// that a copier does not need an answer to.
func knownParam(v, p string) bool {
	name, value, has := strings.Cut(p, "=")
	switch strings.ToUpper(name) {
	case "SIZE":
		return v == "MAIL" && value != "" && strings.Trim(value, "0123456789") == ""
	case "BODY":
		return v == "MAIL" && (strings.EqualFold(value, "7BIT") || strings.EqualFold(value, "8BITMIME"))
	case "SMTPUTF8":
		return v == "MAIL" && !has
	case "AUTH":
		return v == "MAIL" && value != ""
	}
	return false
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
