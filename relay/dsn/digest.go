package dsn

import (
	"bufio"
	"fmt"
	"io"
	"mime/quotedprintable"
	"slices"
	"strings"
	"time"
)

// Bounds of a digest. What is more is counted.
const (
	MaxScans   = 100 // listed
	MaxCauses  = 20  // told apart
	maxOfAScan = 5   // recipients named
)

// Digest tells of many messages of one device at once.
type Digest struct {
	ID       string // queue ID, for its Message-ID
	At       time.Time
	Hostname string
	From, To string // addresses

	Device string    // what is known of the copier
	Client string    // it, as `printer-relay queue --client` takes it; empty: it is not known
	Since  time.Time // when the hour began
	Alone  int       // messages of it that were told of on their own since then
	Until  time.Time // what failed is kept until then at least; zero: that is not known
	// Console is the URL of a page with these messages; empty: none is known.
	Console string
	Causes  []Cause // what failed before what is delayed; at most MaxCauses
}

// Cause is why some messages could not be sent, or are late.
type Cause struct {
	Delayed bool   // still being tried; else failed for good
	Lost    bool   // the relay has no copy of one at least any more
	Mixed   bool   // of many reasons: each scan has its own
	Cause   string // in plain words; empty: it is not known
	Remedy  string
	Words   string // of the server
	Count   int    // of the messages, those that are not listed too
	Scans   []Scan // at most MaxScans in all causes together
}

// Scan is one message in a digest.
type Scan struct {
	QueueID    string
	Arrived    time.Time
	Size       int64
	Subject    string // empty: it is not to be told
	Files      Files
	Words      string // of the server, where they are not those of the cause
	Cause      string // of this one, in plain words, where the reasons differ
	Remedy     string
	Recipients []string // that it is about
}

// WriteDigest writes the digest as a whole message with CRLF line ends, all ASCII but
// for From and To that are not (RFC 6532), and gives the octets of its header with
// the empty line.
func WriteDigest(w io.Writer, d Digest) (headerSize int64, err error) {
	c := &counter{w: w}
	b := bufio.NewWriter(c)
	failed, delayed := d.counts()
	var what []string
	if failed > 0 {
		what = append(what, scans(failed)+" could not be sent")
	}
	if delayed > 0 {
		what = append(what, scans(delayed)+are(delayed)+" delayed")
	}
	head(b, d.From, d.To, strings.Join(what, ", ")+": "+short(d.Device), d.At, "<"+d.ID+"@"+d.Hostname+">")
	fmt.Fprint(b, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	if err := b.Flush(); err != nil {
		return 0, err
	}
	headerSize = c.n
	text := quotedprintable.NewWriter(b)
	d.human(func(format string, a ...any) { fmt.Fprintf(text, format+"\r\n", a...) })
	text.Close() //nolint:errcheck // Flush says
	return headerSize, b.Flush()
}

func (d *Digest) counts() (failed, delayed int) {
	for _, c := range d.Causes {
		if c.Delayed {
			delayed += c.Count
		} else {
			failed += c.Count
		}
	}
	return failed, delayed
}

func (d *Digest) human(line func(string, ...any)) {
	failed, delayed := d.counts()
	if failed > 0 {
		line("%s of one copier could not be sent to everybody.", scans(failed))
	}
	if delayed > 0 {
		line("%s of one copier%s late and still being tried.", scans(delayed), are(delayed))
	}
	if d.Alone > 0 {
		line("You had %d notices about this copier one by one within the hour; this is the rest.", d.Alone)
	}
	line("")
	line("Copier:    %s", oneLine(d.Device))
	line("Since:     %s", d.Since.Format(time.RFC1123Z))
	line("")
	for i := range d.Causes {
		d.Causes[i].human(line, i+1)
	}
	if failed > 0 {
		what := "what could not be sent"
		if slices.ContainsFunc(d.Causes, func(c Cause) bool { return c.Lost }) {
			what += ", but for scans that are lost,"
		}
		line("The relay keeps %s %s:", what, until(d.Until))
		line("your administrator can send it again without the paper, once the cause is mended.")
		line("")
	}
	line("For the administrator")
	line("    The relay:           %s", d.Hostname)
	if client := quoted(d.Client); client != "" {
		if failed > 0 {
			line("    All that failed:     printer-relay queue list --client %s --status failed", client)
			line("    Send it all again:   printer-relay queue retry --client %s --status failed", client)
		}
		if delayed > 0 {
			line("    All that waits:      printer-relay queue list --client %s --status deferred", client)
		}
	}
	line("    One of them:         printer-relay messages show ID")
	if d.Console != "" {
		line("    In the console:      %s", d.Console)
	}
	line("    This mail is one for many by spec.delivery.bounce.maximumPerHour of the relay.")
	line("")
}

func (c *Cause) human(line func(string, ...any), n int) {
	what := " could not be sent"
	if c.Delayed {
		what = are(c.Count) + " delayed"
	}
	why := first(oneLine(c.Cause), first(oneLine(c.Words), "the reason is not known"))
	if c.Mixed {
		why = "for reasons that differ"
	}
	line("%d. %s%s: %s", n, scans(c.Count), what, why)
	switch {
	case c.Mixed:
		line("   What to do:   see what is said of each scan")
	case c.Cause != "":
		line("   What to do:   %s", oneLine(c.Remedy))
		if c.Words != "" {
			line("   Server said:  %s", oneLine(c.Words))
		}
	case !c.Delayed:
		line("   What to do:   check the addresses, and the words of the mail server")
	}
	line("")
	for i := range c.Scans {
		c.Scans[i].human(line)
	}
	if more := c.Count - len(c.Scans); more > 0 {
		line("   and %s more, not listed here", scans(more))
	}
	line("")
}

func (s *Scan) human(line func(string, ...any)) {
	line("   %s  %s  %s", s.QueueID, s.Arrived.Format(time.RFC1123Z), brief(s.Size))
	var to []string
	for _, a := range s.Recipients[:min(len(s.Recipients), maxOfAScan)] {
		to = append(to, "<"+oneLine(a)+">")
	}
	if more := len(s.Recipients) - len(to); more > 0 {
		to = append(to, fmt.Sprintf("and %d more", more))
	}
	line("       To:           %s", strings.Join(to, ", "))
	if s.Subject != "" {
		line("       Subject:      %s", oneLine(s.Subject))
	}
	if len(s.Files.Names) > 0 {
		line("       Files:        %s", s.Files)
	}
	if s.Cause != "" {
		line("       Why:          %s", oneLine(s.Cause))
		line("       What to do:   %s", oneLine(s.Remedy))
	}
	if s.Words != "" {
		line("       Server said:  %s", oneLine(s.Words))
	}
}

// scans counts them in words.
func scans(n int) string {
	if n == 1 {
		return "1 scan"
	}
	return fmt.Sprintf("%d scans", n)
}

func are(n int) string {
	if n == 1 {
		return " is"
	}
	return " are"
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// quoted is a word as a shell takes it.
func quoted(s string) string {
	s = oneLine(s)
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@._:/-", r)
	}
	if strings.TrimLeftFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
