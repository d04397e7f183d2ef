package transcript

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

var marks = map[string]string{Client: "C: ", Server: "S: ", Relay: "#  "}

// WriteText writes transcripts for people.
func WriteText(w io.Writer, sessions []Session) error {
	for i := range sessions {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := sessions[i].writeText(w); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) writeText(w io.Writer) error {
	var b strings.Builder
	who := s.Client.String()
	if s.Hidden {
		who += " (not the device's own address, but a load balancer's, a node's or a Pod's)"
	}
	fmt.Fprintf(&b, "session %s, device %s, listener %s, %s\n", s.ID, who, s.Listener, s.Began.UTC().Format("2006-01-02 15:04:05 UTC"))
	for _, f := range [][2]string{{"name", s.HELO}, {"login", s.User}, {"TLS", s.TLS}, {"failed", s.Why()}, {"cause", s.Cause}} {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-7s %s\n", f[0]+":", f[1])
		}
	}
	if s.Accepted > 0 {
		fmt.Fprintf(&b, "%d messages were accepted in this session; they are not shown\n", s.Accepted)
	}
	for _, l := range s.Lines {
		at := time.Duration(l.Milliseconds) * time.Millisecond
		fmt.Fprintf(&b, "%9.3f %s%s\n", at.Seconds(), marks[l.From], l.Text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Why says in one line how a session failed.
func (s *Session) Why() string {
	switch s.Failure {
	case Refused:
		return s.Reply
	case TLSFailed:
		return "no TLS handshake"
	case BrokenOff:
		return "broken off in the middle of a message"
	case LoginLeft:
		return "left in the middle of the login"
	case TimedOut:
		return "the device fell silent"
	case NotUnderstood:
		return "what it sent is no SMTP"
	}
	return string(s.Failure)
}

// WriteTable writes devices for people, a line each, with their last failure.
func WriteTable(w io.Writer, devices []Device, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "DEVICE\tLAST\tFAILED\tSESSION\tLISTENER\tNAME\tLOGIN\tWHY")
	for i := range devices {
		d := &devices[i]
		s := &d.Sessions[0]
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", d.Device, now.Sub(s.Ended).Round(time.Second), d.Failures, s.ID, s.Listener, s.HELO, s.User, s.Why())
	}
	return t.Flush()
}
