package dsn

import (
	"bufio"
	"fmt"
	"io"
	"mime/quotedprintable"
	"time"
)

// Held tells that a relay has begun to keep mail back, for the postmaster.
type Held struct {
	ID       string // queue ID of this message, for its Message-ID
	At       time.Time
	Relay    string // namespace/name
	Hostname string
	From, To string // addresses

	Hold     string // the hold's name; empty: intake is Hold, or
	Upstream string // this one is suspended
	Reason   string // of the hold, as the manifest gives it; empty: none
	Count    int    // messages that it keeps so far

	// The first of them:
	QueueID string
	Arrived time.Time
	Device  string
	Sender  string // of the envelope; empty: <>
}

// WriteHeld writes the message with CRLF line ends, all ASCII but for From and To that
// are not (RFC 6532), and gives the octets of its header with the empty line.
func WriteHeld(w io.Writer, h Held) (headerSize int64, err error) {
	c := &counter{w: w}
	b := bufio.NewWriter(c)
	why := "intake is Hold"
	switch {
	case h.Hold != "":
		why = "hold " + h.Hold
	case h.Upstream != "":
		why = "upstream " + h.Upstream + " is suspended"
	}
	// The last fields but one keep programs from answering (RFC 3834).
	fmt.Fprintf(b, "From: \"Printer Relay\" <%s>\r\nTo: <%s>\r\nSubject: Mail is held in %s: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n"+
		"Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n",
		h.From, h.To, ascii(h.Relay), ascii(why), h.At.Format(time.RFC1123Z), h.ID, h.Hostname)
	if err := b.Flush(); err != nil {
		return 0, err
	}
	headerSize = c.n
	text := quotedprintable.NewWriter(b)
	h.human(func(format string, a ...any) { fmt.Fprintf(text, format+"\r\n", a...) })
	text.Close() //nolint:errcheck // Flush says
	return headerSize, b.Flush()
}

func (h *Held) human(line func(string, ...any)) {
	which, release, lost := " --held-by intake:Hold", "set intake: Accept (spec.intake), then  printer-relay queue release --held-by intake:Hold", "nothing expires"
	switch {
	case h.Hold != "":
		line("Relay %s has begun to keep mail back, by hold %q of its manifest.", oneLine(h.Relay), oneLine(h.Hold))
		which = " --held-by " + oneLine(h.Hold)
		release = "take the hold out (spec.holds), then  printer-relay queue release" + which
	case h.Upstream != "":
		line("Relay %s has begun to keep mail back for upstream %q, which is suspended.", oneLine(h.Relay), oneLine(h.Upstream))
		which = " --upstream " + oneLine(h.Upstream)
		release = "set suspend: false of the MailUpstream, and it goes by itself"
		lost = "nothing expires before it is resumed"
	default:
		line("Relay %s has begun to keep all new mail back: its intake is Hold.", oneLine(h.Relay))
	}
	if h.Reason != "" {
		line("Reason:    %s", oneLine(h.Reason))
	}
	line("Nothing is lost and %s; it stays in the queue until a person decides.", lost)
	line("")
	line("Kept so far:  %d, the first of them:", max(h.Count, 1))
	line("    Device:    %s", oneLine(h.Device))
	line("    From:      <%s>", oneLine(h.Sender))
	line("    Scanned:   %s", h.Arrived.Format(time.RFC1123Z))
	line("    Queue ID:  %s on %s", h.QueueID, h.Hostname)
	line("")
	line("What is held:  printer-relay queue list%s", which)
	line("Let it go:     %s", release)
	if h.Upstream != "" {
		line("By another:    printer-relay queue reroute%s --to UPSTREAM", which)
	}
	line("Give it up:    printer-relay queue bounce%s --reason WHY", which)
	line("")
	line("You hear of this once, when it begins. Each instance of a relay tells for itself.")
	line("")
}
