package transcript

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"
)

// known are the parameters of MAIL and RCPT that are shown by name (RFC 1870,
// 6152, 6531, 3461, 4954, 8689, 2852, 4865, 6710).
var known = map[string]bool{
	"SIZE": true, "BODY": true, "SMTPUTF8": true, "AUTH": true, "RET": true, "ENVID": true, "NOTIFY": true, "ORCPT": true,
	"REQUIRETLS": true, "BY": true, "HOLDFOR": true, "HOLDUNTIL": true, "MT-PRIORITY": true, "XVERP": true,
}

// values are those of parameters that are shown too.
var values = map[string]bool{
	"7BIT": true, "8BITMIME": true, "BINARYMIME": true, "FULL": true, "HDRS": true, "NEVER": true, "SUCCESS": true, "FAILURE": true, "DELAY": true,
}

// shown is a command with an argument, as it may be shown.
func shown(line string) string {
	line = strings.ReplaceAll(line, "\t", " ")
	verb, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	var word string
	switch verb = strings.ToUpper(verb); verb {
	case "MAIL":
		word = "FROM"
	case "RCPT":
		word = "TO"
	default:
		name, _, more := strings.Cut(arg, " ")
		if more {
			name += " [not shown]"
		}
		return verb + " " + name
	}
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return verb + " [not shown]"
	}
	return verb + " " + parameters(arg)
}

// parameters takes the argument of MAIL or RCPT: the path, or what stands in
// its place, as it is, and of what follows what cannot be a secret.
func parameters(arg string) string {
	path, rest := arg, ""
	if i := strings.IndexByte(arg, '>'); i >= 0 {
		path, rest = arg[:i+1], arg[i+1:]
	} else if word, after, ok := strings.Cut(arg, ":"); ok { // FROM: a@b SIZE=1
		after = strings.TrimLeft(after, " ")
		if address, more, ok := strings.Cut(after, " "); ok {
			path, rest = word+":"+address, more
		}
	}
	for p := range strings.FieldsSeq(rest) {
		name, value, has := strings.Cut(p, "=")
		name = strings.ToUpper(name)
		switch {
		case !known[name]:
			path += " [another parameter]"
		case !has:
			path += " " + name
		case name == "SIZE" && strings.Trim(value, "0123456789") == "", values[strings.ToUpper(value)]:
			path += " " + name + "=" + value
		default:
			path += " " + name + "=[not shown]"
		}
	}
	return path
}

// About is what a Recorder does not know of its session.
type About struct {
	ID, Listener, TLS string
	Hidden            bool
	Ended             time.Time

	// Secrets must not be seen, besides what the client sent to log in.
	Secrets []*Secrets
	// Login tells whether a name is that of a login: to show it shows no password.
	Login func(name string) bool
}

// shortest is the length from which on a secret is looked for within words;
// shorter ones are only where they are a word.
const shortest = 4

// Secrets are texts that must not be seen, in the ways in which they could be.
type Secrets struct {
	begin  [256]bool                   // octets with which some begin
	within map[[shortest]byte][]string // by how they begin
	words  map[string]bool
}

// NewSecrets makes Secrets of passwords.
func NewSecrets(passwords []string) *Secrets {
	s := &Secrets{within: map[[shortest]byte][]string{}, words: map[string]bool{}}
	for _, p := range passwords {
		s.add(p)
	}
	return s
}

func (s *Secrets) add(secret string) {
	plain := fold(secret)
	if len(plain) < shortest {
		if plain != "" {
			s.words[plain] = true
		}
		return
	}
	s.look(plain)
	for offset := range 3 { // base64, wherever in a text it begins; the characters at its ends depend on what is beside it
		b := strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("xx"[:offset]+secret)), "=")
		b = b[(offset*8+5)/6 : len(b)-1]
		if b = fold(b); len(b) >= shortest {
			s.look(b)
		}
	}
}

func (s *Secrets) look(text string) {
	k := [shortest]byte([]byte(text))
	s.begin[k[0]] = true
	s.within[k] = append(s.within[k], text)
}

// in tells whether a text holds a secret; folded is fold(text).
func (s *Secrets) in(text, folded string) bool {
	if s == nil {
		return false
	}
	for i := 0; i+shortest <= len(folded); i++ {
		if !s.begin[folded[i]] {
			continue
		}
		for _, secret := range s.within[[shortest]byte([]byte(folded[i:i+shortest]))] {
			if strings.HasPrefix(folded[i:], secret) {
				return true
			}
		}
	}
	if len(s.words) == 0 {
		return false
	}
	for w := range strings.FieldsFuncSeq(text, func(c rune) bool { return strings.ContainsRune(" <>@:,;=.[]()", c) }) {
		if s.words[fold(w)] {
			return true
		}
	}
	return false
}

// needles are all that must not be seen in one transcript.
type needles struct {
	all  bool // nothing that the client said is shown
	sets []*Secrets
}

func (r *Recorder) needles(a *About) *needles {
	var said []string
	for _, s := range r.secrets {
		if a.Login == nil || !a.Login(s) {
			said = append(said, s)
		}
	}
	return &needles{all: r.blind, sets: append(slices.Clip(a.Secrets), NewSecrets(said))}
}

// hides tells whether a text holds a secret.
func (n *needles) hides(text string) bool {
	if n.all {
		return true
	}
	folded := fold(text)
	for _, s := range n.sets {
		if s.in(text, folded) {
			return true
		}
	}
	return false
}

// fold takes off what does not keep a person from reading a password: case,
// quotes, space, and what is not printable.
func fold(s string) string {
	b := make([]byte, 0, len(s))
	for _, c := range []byte(s) {
		switch {
		case c >= 'A' && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c <= ' ', c == 0x7f, c == '"', c == '\'', c == '\\':
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// entry gives an entry as it may be shown.
func (n *needles) entry(k kind, text string) string {
	if k == command {
		text = shown(text)
	}
	switch {
	case k == told || k == answer || k == remark || !n.hides(text):
		return text
	case k == command:
		verb, _, _ := strings.Cut(text, " ")
		return verb + " " + NotShown
	case k == echo:
		return n.reply(text)
	}
	return NotShown
}

// NotShown stands for a text with a password in it, wherever one is kept or logged.
const NotShown = "[not shown: a password is in it]"

// CodesOnly is a refusal with a password in it as it may be shown: its codes are ours.
func CodesOnly(refusal string) string {
	codes := refusal[:min(len(refusal), 3)]
	if i := strings.Index(refusal, " PR-"); i >= 0 && len(refusal) >= i+7 {
		codes = refusal[:i+7]
	}
	return codes + " " + NotShown
}

// reply gives a refusal as it may be shown.
func (n *needles) reply(text string) string {
	if text == "" || !n.hides(text) {
		return text
	}
	return CodesOnly(text)
}

// name gives a name for a field of a Session.
func (n *needles) name(s string) string {
	switch {
	case s == "":
		return ""
	case n.hides(s):
		return "[not shown]"
	}
	return escape(cut(s, maxShown))
}

// Hides tells whether a text holds what must not be seen: a password that is known, or
// that was sent in the session.
func (r *Recorder) Hides(a *About, text string) bool {
	if r == nil {
		r = &Recorder{}
	}
	return r.needles(a).hides(text)
}

// Heard tells whether something was sent in the session that Hides takes for a password.
func (r *Recorder) Heard() bool { return r != nil && (r.blind || len(r.secrets) > 0) }

// Holds tells whether a text holds one of them.
func (s *Secrets) Holds(text string) bool { return s.in(text, fold(text)) }

// Finish gives the transcript of a session that failed. r takes no more.
func (r *Recorder) Finish(a About) Session {
	n := r.needles(&a)
	s := Session{
		ID: a.ID, Listener: a.Listener, Hidden: a.Hidden, TLS: a.TLS, HELO: n.name(r.helo), User: escape(r.user),
		Began: r.began, Ended: a.Ended, Failure: r.failure, Accepted: r.accepted, LeftOut: r.out, Reply: escape(n.reply(r.reply)),
		encoded: make([]byte, 0, len(r.buf)), middle: r.head,
	}
	if s.Cause = escape(r.cause); n.hides(r.cause) {
		s.Cause = ""
	}
	for at := 0; ; {
		if at == r.head {
			s.middle = len(s.encoded)
		}
		k, ms, text, size := entry(r.buf[at:])
		if size == 0 {
			break
		}
		s.encoded = appendEntry(s.encoded, k, ms, n.entry(k, text))
		at += size
	}
	r.buf, r.secrets = nil, nil
	return s
}

// escape makes a text printable ASCII.
func escape(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f && s[i] != '\\'
	}
	if clean {
		return s
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b.WriteString(`\\`)
		case c < ' ' || c >= 0x7f:
			b.Write([]byte{'\\', 'x', hex[c>>4], hex[c&15]})
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
