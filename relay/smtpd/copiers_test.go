package smtpd

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/selfprobe"
)

// TestWhatIsNotedOfDevices: what the inventory has behind whole sessions, in clear and
// within TLS.
func TestWhatIsNotedOfDevices(t *testing.T) {
	rig := newRig(t, canary)
	for name, tc := range map[string]struct {
		way      way
		dialogue string
		want     string // as said below; empty: nothing is known
	}{
		"nothing is said":          {way{tls: plan.TLSImplicit, clear: true, hangsUp: true}, "", ""},
		"the relay asks itself":    {way{tls: plan.TLSNone}, "EHLO " + selfprobe.Name + "\r\nMAIL FROM:<x@y.example>\r\nQUIT\r\n", ""},
		"only EHLO":                {way{tls: plan.TLSNone}, "\x11m\x08QUIT\x08", "m|none||0+0-0||"},
		"only EHLO, with TLS":      {way{tls: plan.TLSStartTLS}, "\x11m\x08QUIT\x08", "m|1.3||0+0-0||"},
		"STARTTLS is not used":     {way{tls: plan.TLSStartTLS, clear: true}, "\x11m\x08QUIT\x08", "m|offered||0+0-0||"},
		"a scan":                   {way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12\x10it\x13\x14x\x15QUIT\x08", "m|none||1+0-0||m@copier.example>corp.example"},
		"a scan, with a login":     {way{tls: plan.TLSStartTLS}, "\x11m\x08AUTH PLAIN " + plain("MFP1", canary) + "\x08\x0fm\x12\x10it\x13\x14x\x15QUIT\x08", "m|1.3|PLAIN mfp1 ok|1+0-0||m@copier.example>corp.example"},
		"a sender":                 {way{tls: plan.TLSNone}, "\x11m\x08\x0fx@y.example>\x08QUIT\x08", "m|none||0+1-0|Refused PR-031 MAIL <x@y.example>|x@y.example>"},
		"a sender, and it goes on": {way{tls: plan.TLSNone}, "\x11m\x08\x0fx@y.example>\x08\x10it@Z.example>\x08DATA\x08QUIT\x08", "m|none||0+3-0|Refused PR-031 MAIL <x@y.example> z.example|x@y.example>z.example"},
		"a recipient":              {way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12\x10it@z.example>\x08DATA\x08QUIT\x08", "m|none||0+2-0|Refused PR-032 RCPT <m@copier.example> z.example|m@copier.example>z.example"},
		"a wrong password":         {way{tls: plan.TLSNone}, "\x11m\x08AUTH LOGIN\x08" + b64("mfp1") + "\x08" + b64("wrong") + "\x08QUIT\x08", "m|none|LOGIN mfp1|0+1-0|Refused PR-023 AUTH|"},
		"an unknown user":          {way{tls: plan.TLSNone}, "\x11m\x08AUTH LOGIN\x08" + b64("nobody") + "\x08" + b64("wrong") + "\x08QUIT\x08", "m|none|LOGIN |0+1-0|Refused PR-023 AUTH|"},
		"a password as a name":     {way{tls: plan.TLSNone, hashed: true}, "\x11" + canary + "\x08\x0fx@y.example>\x08RSET\x08AUTH PLAIN " + plain("mfp1", canary) + "\x08QUIT\x08", "[not shown: a password is in it]|none|PLAIN mfp1 ok|0+1-0|Refused PR-031 MAIL <x@y.example>|x@y.example>"},
		"within a message":         {way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12\x10it\x13\x14Subject: x\r\n\r\nhalf", "m|none||0+0-1|BrokenOff <m@copier.example> corp.example|m@copier.example>corp.example"},
		"clear text for TLS":       {way{tls: plan.TLSImplicit, clear: true}, "\x11m\x08", "|failed||0+1-0|TLSFailed|"},
		"a name that is hostile":   {way{tls: plan.TLSNone}, "EHLO a\x1b[31m\x08MAIL FROM:<x@y.example>\x08QUIT\x08", ""},
		"VRFY is no failure":       {way{tls: plan.TLSNone}, "\x11m\x08VRFY\x08EXPN x\x08HELP\x08QUIT\x08", "m|none||0+0-0||"},
		"TLS, where clear is due":  {way{tls: plan.TLSNone}, "\x16", "|none||0+0-1|NotUnderstood|"},
	} {
		t.Run(name, func(t *testing.T) {
			kept := rig.play(t, tc.way, expand([]byte(tc.dialogue)))
			page, err := kept.copiers.List(inventory.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			if name == "a name that is hostile" {
				if len(page.Copiers) != 1 || strings.ContainsRune(page.Copiers[0].Name(), 0x1b) {
					t.Errorf("%+v", page.Copiers)
				}
				return
			}
			if len(page.Copiers) == 0 || tc.want == "" {
				if len(page.Copiers) > 0 || tc.want != "" {
					t.Errorf("%d devices: %+v", len(page.Copiers), page.Copiers)
				}
				return
			}
			c := page.Copiers[0]
			if got := briefly(&c); got != tc.want || !c.Known || c.Device != "10.0.0.7" || c.Listeners[0] != "smtp" {
				t.Errorf("got  %s\nwant %s\n%+v %+v", got, tc.want, c, c.LastRefusal)
			}
		})
	}
}

// briefly is name|TLS|login|accepted+refused-aborted|how it failed|senders>recipients.
func briefly(c *inventory.Copier) string {
	tls := c.TLS.Version
	switch {
	case tls != "":
	case c.TLS.Failed != "":
		tls = "failed"
	case c.TLS.Offered:
		tls = "offered"
	default:
		tls = "none"
	}
	auth := ""
	if c.Auth.Mechanism != "" {
		auth = c.Auth.Mechanism + " " + c.Auth.User
	}
	if c.Auth.OK {
		auth += " ok"
	}
	failed := ""
	if r := c.LastRefusal; r != nil {
		words := []string{r.Kind, r.Code, r.Step}
		if r.Sender != nil {
			words = append(words, "<"+*r.Sender+">")
		}
		failed = strings.Join(strings.Fields(strings.Join(append(words, r.RecipientDomain), " ")), " ")
	}
	tried := ""
	for i := range c.Senders {
		tried += c.Senders[i].Value + ">"
	}
	for i := range c.Recipients {
		tried += c.Recipients[i].Value
	}
	return fmt.Sprintf("%s|%s|%s|%d+%d-%d|%s|%s", c.Name(), tls, auth, c.Accepted, c.Refused, c.Aborted, failed, tried)
}

// TestNotedBeforeTheGreeting: who is turned away by the limits is known too, and one
// behind a load balancer is marked.
func TestNotedBeforeTheGreeting(t *testing.T) {
	rig := newRig(t, canary)
	p := *rig.plan
	p.HiddenClients = plan.HiddenClients{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/32")}}
	s := New(Config{Copiers: inventory.New(), Log: slog.New(slog.DiscardHandler), State: t.TempDir()})
	s.plan.Store(&p)
	s.users.Store(&loginCache{src: secrets.Map{}, log: s.Log})
	l := &listener{}
	l.state.Store(&listenerState{plan: &p.Listeners[0]})
	s.turnedAway(l, "early-talker", netip.MustParseAddr("192.0.2.8"))
	if c, err := s.Copiers.Get(netip.MustParseAddr("192.0.2.8")); err != nil || c.LastRefusal.Code != "PR-011" {
		t.Errorf("an early talker: %v %+v", err, c)
	}
	for _, a := range []string{"10.0.0.7", "10.0.0.9", "192.0.2.7"} {
		s.turnedAway(l, "connections", netip.MustParseAddr(a))
		c, err := s.Copiers.Get(netip.MustParseAddr(a))
		if err != nil || c.LastRefusal.Code != "PR-001" || !strings.Contains(c.LastRefusal.Why, "limits.connectionsPerClient") || c.Hidden != (a == "10.0.0.9") || c.Known != (a == "10.0.0.7") {
			t.Errorf("%s: %v %+v", a, err, c)
		}
	}
}

// TestDryRunLinesAreBounded: a device that scans all day fills no log.
func TestDryRunLinesAreBounded(t *testing.T) {
	var l lines
	at, logged := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC), 0
	for range 1000 {
		if _, ok := l.take(at); ok {
			logged++
		}
	}
	if logged != maxLines {
		t.Errorf("%d lines of 1000", logged)
	}
	if n, ok := l.take(at.Add(2 * linesTime)); !ok || n != 1000-maxLines {
		t.Errorf("%d are said not to be logged", n)
	}
}
