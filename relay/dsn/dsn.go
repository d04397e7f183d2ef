// Package dsn writes delivery status notifications (RFC 3464): a part that a
// person understands, one that a program does, and the header of the message
// that it is about; and digests, which tell a person of many messages at once. It is
// pure.
//
// It may import relay/message, relay/reply and the standard library.
package dsn

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/printerrelay/printer-relay/relay/reply"
)

// maxRecipients bounds a notification; the rest is counted.
const maxRecipients = 100

// Report is what a notification says.
type Report struct {
	ID       string // queue ID of the notification, for its Message-ID
	At       time.Time
	Delayed  bool      // still being tried; else failed for good
	Lost     bool      // the relay has no copy of it any more
	Until    time.Time // Delayed: given up then; else: the relay keeps the message until then
	Hostname string    // the reporting MTA
	From, To string    // addresses

	MessageQueueID string
	Arrived        time.Time
	Device         string // what is known of the copier
	Rule           string // that let it in; empty: it is not known
	Subject        string // empty: it is not to be told
	Sender         string // envelope sender; empty: <>
	Files          Files  // attachments, as far as they may be told
	Size           int64
	Console        string // URL of its page; empty: none is known
	Recipients     []Recipient
	Header         []byte // of the message, CRLF line ends, without the empty line
}

// Recipient is one recipient that the notification is about.
type Recipient struct {
	Address  string
	Original string // as the client gave it, where it was rewritten
	Code     int    // of the last reply; 0: none
	Status   string // RFC 3463; empty: 5.0.0 or 4.0.0
	Text     string // the server's own words, one line
	Remote   string // who said so
	Cause    string // what that means, in plain words; empty: it is not known
	Remedy   string // what to do about it; empty: it is not known
	Attempts int    // 0: there was none, or it is not known
	At       time.Time
}

// Write writes the notification as a whole message with CRLF line ends, all
// ASCII but for From and To that are not (RFC 6532), and gives the octets of its
// header with the empty line.
func Write(w io.Writer, r Report) (headerSize int64, err error) {
	sum := sha256.Sum256([]byte(r.ID + r.MessageQueueID))
	boundary := "report-" + hex.EncodeToString(sum[:12])
	c := &counter{w: w}
	b := bufio.NewWriter(c)
	header(b, r, boundary)
	if err := b.Flush(); err != nil {
		return 0, err
	}
	headerSize = c.n
	line := func(format string, a ...any) { fmt.Fprintf(b, format+"\r\n", a...) }
	line("This is a report of %s in MIME format.", r.Hostname)
	line("")
	line("--%s", boundary)
	line("Content-Type: text/plain; charset=utf-8")
	line("Content-Transfer-Encoding: quoted-printable")
	line("")
	text := quotedprintable.NewWriter(b)
	human(func(format string, a ...any) { fmt.Fprintf(text, format+"\r\n", a...) }, r)
	text.Close() //nolint:errcheck // Flush says
	line("--%s", boundary)
	line("Content-Type: message/delivery-status")
	line("")
	machine(line, r)
	line("--%s", boundary)
	line("Content-Type: text/rfc822-headers")
	line("")
	b.Write(safeHeader(r.Header)) //nolint:errcheck // Flush says
	line("--%s--", boundary)
	return headerSize, b.Flush()
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func header(b *bufio.Writer, r Report, boundary string) {
	subject := "Scan could not be sent to %s (%s)"
	if r.Delayed {
		subject = "Scan to %s is delayed (%s)"
	}
	head(b, r.From, r.To, fmt.Sprintf(subject, who(r), r.MessageQueueID), r.At, "<"+r.ID+"@"+r.Hostname+">")
	fmt.Fprintf(b, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n\r\n", boundary)
}

// head is what the headers of reports and digests have in common. Servers that know
// the last field send no answer of their own, as no program should to what was
// submitted automatically (RFC 3834).
func head(w io.Writer, from, to, subject string, at time.Time, id string) {
	fmt.Fprintf(w, "From: \"Printer Relay\" <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: %s\r\nX-Auto-Response-Suppress: All\r\n",
		from, to, ascii(subject), at.Format(time.RFC1123Z), id)
}

// human is the part for a person: first for who scanned, then for who runs the relay.
func human(line func(string, ...any), r Report) {
	switch to := who(r); {
	case r.Delayed && knows(r):
		line("A scan has not reached %s yet. It is tried again until", to)
		line("%s; see below whether something is to be done.", r.Until.Format(time.RFC1123Z))
	case r.Delayed:
		line("A scan has not reached %s yet. Nothing needs to be done:", to)
		line("it is tried again until %s.", r.Until.Format(time.RFC1123Z))
	default:
		line("A scan could not be sent to %s.", to)
	}
	line("")
	line("Copier:    %s", oneLine(r.Device))
	line("Scanned:   %s", r.Arrived.Format(time.RFC1123Z))
	if r.Subject != "" {
		line("Subject:   %s", oneLine(r.Subject))
	}
	if len(r.Files.Names) > 0 {
		line("Files:     %s", r.Files)
	}
	line("Size:      %s", size(r.Size))
	line("From:      <%s>", oneLine(r.Sender))
	line("")
	for i, x := range r.Recipients {
		if i == maxRecipients {
			line("and %d more recipients", len(r.Recipients)-i)
			line("")
			break
		}
		x.explain(line, r.Delayed)
	}
	switch {
	case r.Lost:
		line("The relay does not have the scan any more: it has to be scanned again.")
		line("")
	case !r.Delayed:
		line("The relay keeps the scan %s:", until(r.Until))
		line("your administrator can send it again without the paper, once the cause is mended.")
		line("")
	}
	administrator(line, r)
}

// administrator is what who runs the relay may want to type.
func administrator(line func(string, ...any), r Report) {
	line("For the administrator")
	line("    Queue ID:            %s on %s", r.MessageQueueID, r.Hostname)
	if r.Rule != "" {
		line("    Rule:                %s", oneLine(r.Rule))
	}
	if !r.Delayed && !r.Lost {
		line("    Send it again:       printer-relay queue retry %s", r.MessageQueueID)
		line("    Remove it:           printer-relay queue remove %s", r.MessageQueueID)
	}
	line("    All that happened:   printer-relay messages show %s", r.MessageQueueID)
	if r.Console != "" {
		line("    In the console:      %s", r.Console)
	}
	line("")
}

// explain says of one recipient why, and what to do.
func (x *Recipient) explain(line func(string, ...any), delayed bool) {
	line("To <%s>:", oneLine(x.Address))
	words := x.Words()
	switch {
	case x.Cause != "":
		line("    Why:          %s", oneLine(x.Cause))
		line("    What to do:   %s", oneLine(x.Remedy))
		if words != "" {
			line("    Server said:  %s", words)
		}
	case words != "":
		line("    Why:          %s", words)
		fallthrough
	default:
		switch {
		case delayed:
		case x.Code == 0: // no server spoke: a person gave it up, or it could not be tried
			line("    What to do:   ask who looks after the relay")
		default:
			line("    What to do:   check the address, and the words of the mail server")
		}
	}
	if x.Attempts > 1 {
		line("    Tried:        %d times", x.Attempts)
	}
	line("")
}

// Words is what was said last, and who said it.
func (x *Recipient) Words() string {
	s := said(*x)
	if x.Remote != "" {
		s = strings.TrimSpace(s + " (" + oneLine(x.Remote) + ")")
	}
	return s
}

// who are the recipients, in a few words.
func who(r Report) string {
	switch n := len(r.Recipients); n {
	case 0:
		return "everybody"
	case 1:
		return short(r.Recipients[0].Address)
	case 2:
		return short(r.Recipients[0].Address) + " and one other"
	default:
		return fmt.Sprintf("%s and %d others", short(r.Recipients[0].Address), n-1)
	}
}

// short is an address as far as a line has room for it.
func short(a string) string { return reply.Line(a, 100) }

// until says how long a message is kept.
func until(t time.Time) string {
	if t.IsZero() {
		return "for a while"
	}
	return "until " + t.Format(time.RFC1123Z)
}

// size is a number of octets for a person, who thinks of a scan in megabytes.
func size(n int64) string {
	if n < 1e3 {
		return brief(n)
	}
	return fmt.Sprintf("%s (%d octets)", brief(n), n)
}

func brief(n int64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d octets", n)
}

// knows tells whether it is known of a recipient what is to be done.
func knows(r Report) bool {
	return slices.ContainsFunc(r.Recipients, func(x Recipient) bool { return x.Cause != "" })
}

func code(x Recipient) string {
	if x.Code == 0 {
		return ""
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", x.Code, x.Status))
}

func machine(line func(string, ...any), r Report) {
	line("Reporting-MTA: dns; %s", r.Hostname)
	line("X-Queue-ID: %s", r.MessageQueueID)
	line("Arrival-Date: %s", r.Arrived.Format(time.RFC1123Z))
	line("")
	action, class := "failed", "5"
	if r.Delayed {
		action, class = "delayed", "4"
	}
	for i, x := range r.Recipients {
		if i == maxRecipients {
			break
		}
		if x.Original != "" {
			line("Original-Recipient: %s", typedAddress(x.Original))
		}
		line("Final-Recipient: %s", typedAddress(x.Address))
		line("Action: %s", action)
		line("Status: %s", status(x.Status, class))
		if host := strings.Fields(x.Remote); len(host) > 0 {
			line("Remote-MTA: dns; %s", ascii(host[0]))
		}
		if x.Code != 0 {
			line("Diagnostic-Code: smtp; %s", ascii(said(x)))
		}
		if !x.At.IsZero() {
			line("Last-Attempt-Date: %s", x.At.Format(time.RFC1123Z))
		}
		if r.Delayed && !r.Until.IsZero() {
			line("Will-Retry-Until: %s", r.Until.Format(time.RFC1123Z))
		}
		line("")
	}
}

// status is an RFC 3463 code of the class that the action has: a reply that
// was temporary makes a message that expired a failed one.
func status(s, class string) string {
	if s == "" {
		return class + ".0.0"
	}
	return class + s[1:]
}

// maxText is the most that is repeated of a server's words, in octets: written
// as encoded words they still fit a line (RFC 5322 2.1.1).
const maxText = 240

// said is a reply on one line.
func said(x Recipient) string { return reply.Line(code(x)+" "+x.Text, maxText) }

// typedAddress is an address with its type: one that is not ASCII is written as
// RFC 6533 3 says (utf-8-addr-xtext), in which a space is not one of the QCHARs.
func typedAddress(a string) string {
	a = oneLine(a)
	if strings.IndexFunc(a, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return "rfc822; " + a
	}
	var b strings.Builder
	for _, r := range a {
		if r >= utf8.RuneSelf || r == '\\' || r == '+' || r == '=' || r == ' ' {
			fmt.Fprintf(&b, `\x{%X}`, r)
			continue
		}
		b.WriteRune(r)
	}
	return "utf-8; " + b.String()
}

// oneLine takes out of s what ends lines or turns them around.
func oneLine(s string) string { return reply.Line(s, maxLine) }

// ascii writes s in one line of ASCII; what is not is written as encoded words. One that
// stands in s already is nothing that a mail program is to decode.
func ascii(s string) string {
	s = strings.ReplaceAll(oneLine(s), "=?", "= ?")
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "\r\n", " ")
}

// Bounds of the header that goes back: all of it, and a line.
const (
	maxHeaderBack = 16 << 10
	maxLine       = 998 // RFC 5322 2.1.1
)

// safeHeader is the header of the message and nothing behind it, cut at a line,
// with lines that every server takes, in ASCII.
func safeHeader(h []byte) []byte {
	h = h[:min(len(h), maxHeaderBack)]
	var out []byte
	for line := range bytes.Lines(h) {
		text := bytes.TrimRight(line, "\r\n")
		if len(text) == len(line) || len(text) == 0 {
			break // cut, or the end of the header: what follows is nobody's business
		}
		for _, c := range text[:min(len(text), maxLine)] {
			if c >= utf8.RuneSelf || c < ' ' && c != '\t' || c == 0x7f {
				c = '?'
			}
			out = append(out, c)
		}
		out = append(out, '\r', '\n')
	}
	return out
}
