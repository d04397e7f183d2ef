// Package stream makes up what the client of an SMTP session sends: dialogues as
// devices hold them, then spoilt, as attackers and bad firmware do, with line ends,
// dots, NUL, pipelining, chunks and everything that some server somewhere takes for
// the end of a message. The same source of numbers gives the same octets.
//
// Only tests import it; it imports the standard library alone.
package stream

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Maker makes sessions and messages.
type Maker struct {
	*rand.Rand
	// Name begins the local part of every recipient, and stands in every Subject: what
	// arrives tells whose it is.
	Name string
	// Sender and Domain are those of the mail that a listener shall take.
	Sender, Domain string
	// Limit is the octets that the listener takes: some messages are longer. 0: none is.
	Limit int

	messages int
	line     string // how this session's lines end
}

// New gives a Maker for one session.
func New(seed uint64, name string, limit int) *Maker {
	return &Maker{Rand: rand.New(rand.NewPCG(seed, seed)), Name: name, Sender: "mfp@copier.example", Domain: "corp.example", Limit: limit}
}

func (m *Maker) one(of ...string) string { return of[m.IntN(len(of))] }

func (m *Maker) chance(percent int) bool { return m.IntN(100) < percent }

// LookAlikes are what some server somewhere takes for the end of data
// (CVE-2023-51764, 51765, 51766): a line end of some kind, a dot of some kind, and
// again a line end. CRLF.CRLF is not among them.
func LookAlikes() []string {
	var out []string
	for _, before := range []string{"\r\n", "\n", "\r", "\r\r\n", "\x00\r\n", "\n\r", "\r\n\x00", "\x85", "\u2028", "\r\n\r"} {
		for _, dot := range []string{".", "..", ".\x00", "\x00.", ".\r", ". ", ".\t", "\v.", "=2E", "\xae", "\uff0e"} {
			for _, after := range []string{"\r\n", "\n", "\r", "\r\r\n", "\n\r", "\x00\r\n", "\x85", "\u2028"} {
				if l := before + dot + after; !strings.Contains(l, "\r\n.\r\n") {
					out = append(out, l)
				}
			}
		}
	}
	return out
}

var lookAlikes = LookAlikes()

// lookAlike is one of them, most often one that was used in earnest.
func (m *Maker) lookAlike() string {
	if m.chance(50) {
		return m.one("\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\r\n.\r\r\n", "\r\n.\r\r\n", "\r\n\x00.\r\n")
	}
	return m.one(lookAlikes...)
}

// Evil is a whole second message, that a server which ended the first too early
// would take for one.
func (m *Maker) Evil() string {
	lines := []string{"MAIL FROM:<" + m.Sender + ">", "RCPT TO:<" + m.Name + "-evil@" + m.Domain + ">", "DATA", "From: <" + m.Sender + ">", "Subject: " + m.Name + " evil", "", "pay", "."}
	return strings.Join(lines, m.one("\r\n", "\r\n", "\n")) + "\r\n"
}

// end is how a line of a command or a header ends.
func (m *Maker) end() string {
	if m.chance(97) {
		return m.line
	}
	return m.one("\r\n", "\n", "\r", "\r\r\n", "\n\r", "\x00\r\n", "\r\x00\n")
}

// Session is all that the client of one session sends.
func (m *Maker) Session() string {
	m.line = "\r\n"
	if m.chance(25) {
		m.line = "\n"
	}
	var b strings.Builder
	b.WriteString(m.one("EHLO mfp.copier.example", "EHLO mfp.copier.example", "HELO mfp", "EHLO [10.0.0.1]", "HELO", "ehlo x") + m.end())
	for range 1 + m.IntN(3) {
		m.transaction(&b)
	}
	if m.chance(90) {
		b.WriteString("QUIT" + m.end())
	}
	return m.spoil(b.String())
}

func (m *Maker) transaction(b *strings.Builder) {
	if m.chance(15) {
		b.WriteString(m.command() + m.end())
	}
	b.WriteString("MAIL FROM:<" + m.Sender + ">" + m.one("", "", "", " BODY=8BITMIME", " SIZE=100", " SIZE=99999999") + m.end())
	for n := range 1 + m.IntN(2) {
		b.WriteString(fmt.Sprintf("RCPT TO:<%s-%d%d@%s>", m.Name, m.messages, n, m.Domain) + m.end())
	}
	if m.chance(10) {
		b.WriteString(m.command() + m.end())
	}
	if m.chance(4) { // chunks, which nobody was offered
		part := m.message()
		fmt.Fprintf(b, "BDAT %d LAST%s%s", len(part), m.end(), part)
		return
	}
	b.WriteString("DATA" + m.end() + m.message())
	if m.chance(95) {
		b.WriteString("\r\n.\r\n")
	} else {
		b.WriteString(m.lookAlike())
	}
}

// command is one that does not belong to a message.
func (m *Maker) command() string {
	return m.one("RSET", "NOOP", "NOOP x", "VRFY it", "EXPN x", "HELP", "FOO", "", " ", ".", "RCPT TO:<"+m.Name+"-x@"+m.Domain+">", "DATA", "MAIL FROM:<"+m.Sender+">",
		"STARTTLS", "AUTH PLAIN AGEAYg==", "BDAT 0", "NOOP "+strings.Repeat("x", 2500), "NO\x00OP", "NOOP \xfc", "QUIT ", "DATA now", "EHLO y", "RCPT TO:<\r>")
}

// Message is the text of one message, in which nothing is an end of data; lines end
// in CRLF for the most part.
func (m *Maker) Message() string {
	m.line = "\r\n"
	return endless(m.message())
}

// Orderly is a session of which only what stands in its messages is odd: commands and
// headers are as they should be, and each message ends where it says.
func (m *Maker) Orderly() string {
	m.line = m.one("\r\n", "\r\n", "\r\n", "\n")
	var b strings.Builder
	b.WriteString("EHLO mfp.copier.example" + m.line)
	for i := range 1 + m.IntN(3) {
		b.WriteString("MAIL FROM:<" + m.Sender + ">" + m.line)
		for n := range 1 + m.IntN(2) {
			b.WriteString(fmt.Sprintf("RCPT TO:<%s-%d%d@%s>", m.Name, i, n, m.Domain) + m.line)
		}
		b.WriteString(strings.Join([]string{"DATA", "From: <" + m.Sender + ">", "Subject: " + m.Name, "Date: Mon, 23 Nov 2026 10:00:00 +0000", "Message-ID: <" + m.Name + "@mfp>", "", ""}, m.line))
		var body strings.Builder
		m.body(&body)
		b.WriteString(endless(body.String()) + "\r\n.\r\n")
	}
	return b.String() + "QUIT" + m.line
}

// endless is a text in which nothing ends a message.
func endless(text string) string {
	s := "\r\n" + text
	for strings.Contains(s, "\r\n.\r\n") {
		s = strings.ReplaceAll(s, "\r\n.\r\n", "\r\n..\r\n")
	}
	if strings.HasSuffix(s, "\r\n.") {
		s += "."
	}
	return s[len("\r\n"):]
}

func (m *Maker) message() string {
	var b strings.Builder
	m.messages++
	for _, f := range []string{"From: <" + m.Sender + ">", "To: <it@" + m.Domain + ">", fmt.Sprintf("Subject: %s %d", m.Name, m.messages), "Date: Mon, 23 Nov 2026 10:00:00 +0000", "Message-ID: <" + m.Name + "@mfp>"} {
		if m.chance(95) {
			b.WriteString(f + m.end())
		}
	}
	b.WriteString(m.end())
	m.body(&b)
	return b.String()
}

func (m *Maker) body(b *strings.Builder) {
	for range m.IntN(8) {
		b.WriteString(m.text() + m.end())
	}
	for range m.IntN(3) {
		b.WriteString(m.text() + m.lookAlike() + m.one("", m.Evil(), m.Evil()))
	}
	if m.Limit > 0 && m.chance(7) {
		b.WriteString(strings.Repeat("too large a scan for this listener to take\r\n", m.Limit/40) + m.one("", m.lookAlike()+m.Evil()))
	}
}

// text is one line of a body, without its end.
func (m *Maker) text() string {
	return m.one("the scan of "+m.Name, "", ".hidden", "..", "...", ". ", "x.", "gr\xfcn", "gr\xc3\xbcn", "a\rb", "a\x00b", "\x00", "\r", "\t tab ", "From me", "RSET", "QUIT", ".\r",
		strings.Repeat("0123456789", 99), strings.Repeat("0123456789", 250), strings.Repeat(".", 70))
}

// spoil changes a few octets anywhere in a session.
func (m *Maker) spoil(s string) string {
	if m.chance(60) {
		return s
	}
	for range 1 + m.IntN(3) {
		at := m.IntN(len(s))
		switch put := m.one("\r", "\n", "\x00", ".", "\r\n", "\n.\n", " ", ""); {
		case m.chance(50):
			s = s[:at] + put + s[at:]
		default:
			s = s[:at] + put + s[at+1:]
		}
	}
	return s
}

// Pieces are sizes to cut s into: whole, by octets, or anything between.
func (m *Maker) Pieces() []byte {
	switch m.IntN(3) {
	case 0:
		return nil
	case 1:
		return []byte{0}
	}
	out := make([]byte, 1+m.IntN(7))
	for i := range out {
		out[i] = byte(m.IntN(256))
	}
	return out
}
