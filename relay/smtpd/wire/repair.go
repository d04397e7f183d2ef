package wire

import "strings"

// Repair makes a well-formed command of what copiers send in its place. What
// it does not know it leaves alone. It is pure, and repairing twice changes
// nothing.
//
//	HELO                          -> HELO unknown
//	 mail  from : < a@b >         -> MAIL FROM:<a@b>
//	MAIL FROM:"Scan" <a@b>        -> MAIL FROM:<a@b>
//	MAIL FROM:Scan <a@b> SIZE=5   -> MAIL FROM:<a@b> SIZE=5
//	MAIL FROM:<"a@b">             -> MAIL FROM:<a@b>
//	MAIL FROM:<<a@b>>             -> MAIL FROM:<a@b>
//	MAIL FROM <a@b>               -> MAIL FROM:<a@b>
//	DATA .                        -> left alone
//
// Addresses without a domain are completed by the listener's default domain
// where the command is parsed.
func Repair(line []byte) []byte {
	s := strings.TrimSpace(strings.ReplaceAll(string(line), "\t", " "))
	word, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimSpace(rest)
	verb := strings.ToUpper(word)
	switch {
	case (verb == "HELO" || verb == "EHLO") && rest == "":
		return []byte(verb + " unknown")
	case verb == "MAIL":
		return repairPath(s, verb, "FROM", rest)
	case verb == "RCPT":
		return repairPath(s, verb, "TO", rest)
	}
	return []byte(s)
}

func repairPath(s, verb, word, rest string) []byte {
	if len(rest) < len(word) || !strings.EqualFold(rest[:len(word)], word) {
		return []byte(s)
	}
	rest = strings.TrimLeft(rest[len(word):], " ")
	if after, ok := strings.CutPrefix(rest, ":"); ok {
		rest = strings.TrimSpace(after)
	} else if !strings.HasPrefix(rest, "<") {
		return []byte(s)
	}
	addr, params, ok := findPath(rest)
	if !ok {
		return []byte(s)
	}
	return []byte(strings.TrimSpace(verb + " " + word + ":<" + addr + "> " + strings.TrimSpace(params)))
}

// findPath finds the address in what stands behind the colon: the last thing
// in angle brackets, behind a display name or not; else the first word.
func findPath(s string) (addr, params string, ok bool) {
	open := -1
	quoted := false
	for i := 0; i < len(s) && open < 0; i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '<':
			open = i
		}
	}
	if open < 0 || open > 0 && s[open-1] == '=' { // no brackets but those of a parameter
		addr, params, _ = strings.Cut(s, " ")
		return unwrap(addr), params, addr != "" && !quoted && !strings.ContainsAny(addr, `<>"`)
	}
	s = s[open:]
	if inner, doubled := strings.CutPrefix(s, "<<"); doubled {
		s = "<" + strings.Replace(inner, ">>", ">", 1)
	}
	addr, params, ok = cutPath(s)
	return unwrap(addr), params, ok && !strings.ContainsAny(unquoted(addr), "<>")
}

// unwrap takes space, and quotes around a whole address, off.
func unwrap(addr string) string {
	addr = strings.TrimSpace(addr)
	if n := len(addr); n > 2 && addr[0] == '"' && addr[n-1] == '"' && strings.Contains(addr, "@") && !strings.ContainsAny(addr[1:n-1], `"\`) {
		return addr[1 : n-1]
	}
	return addr
}

// unquoted is s without its quoted parts.
func unquoted(s string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted:
			b.WriteByte(c)
		}
	}
	return b.String()
}
