// Package console_test looks at the console as people do: in a real Chromium,
// with axe, by the keyboard alone, without scripts and on paper, at a relay that
// has taken, refused and deferred real mail.
package console_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

// manifests of an office: one way out that takes mail, one that defers it, one that
// refuses it.
const manifests = `
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office, namespace: printers}
spec:
  hostname: relay.corp.example
  upstreamRef: {name: smarthost}
  fallbackUpstreamRefs: [{name: folder}]
  routes: [{name: branch, recipientDomains: [branch.example], upstreamRef: {name: branch}}]
  senderPolicyRefs: [{name: office}]
  listeners:
  - name: scans
    port: 25
    tls: {mode: StartTLS, profile: Legacy}
    authentication: {mode: Optional, mechanisms: [Plain, Login], secretRef: {name: copier-logins}}
  addresses: {defaultDomain: copier.corp.example}
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office, namespace: printers}
spec:
  rules:
  - name: floor-3
    match: {clientNetworks: [127.0.3.0/24]}
    senders: {allowed: ["*@copier.corp.example"]}
    recipients: {allowed: ["*@corp.example", "*@branch.example"], maximum: 20}
  - name: guests
    match: {clientNetworks: [127.0.9.0/24]}
    action: Hold
    recipients: {allowed: ["*@corp.example"]}
  - name: logins
    match: {users: [mfp-3]}
    connection: {tls: Required}
    senders: {allowed: ["*@copier.corp.example"]}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder, namespace: printers}
spec: {type: Maildir, maildir: {path: mail}}
---
apiVersion: v1
kind: Secret
metadata: {name: copier-logins, namespace: printers}
stringData: {users: "mfp-3:a-long-password"}
`

// upstreamIn is a MailUpstream in the namespace of the office.
func upstreamIn(u *rig.Upstream, name, extra string) string {
	return strings.Replace(u.YAML(name, extra), "metadata: {name: "+name+"}", "metadata: {name: "+name+", namespace: printers}", 1)
}

// hostile is what a device says that wants to do harm to who reads of it.
const hostile = `<script>alert(1)</script><img/src=x/onerror=alert(2)>"'`

// office is a relay that has seen something.
type office struct {
	*rig.Relay
	waiting string // ID of a message that is deferred
}

// newOffice starts one; before, if not nil, gets its state folder first.
func newOffice(t *testing.T, before func(state string)) *office {
	t.Helper()
	port := rig.FreePort(t)
	good := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.1.1", "No such user "+hostile), "nobody@corp.example")})
	slow := rig.StartUpstream(t, rig.Script{Rcpt: func(string) error { return rig.Reply(451, "4.7.1", "Greylisted, come back later") }})
	o := &office{Relay: rig.StartWith(t, manifests+
		upstreamIn(good, "smarthost", "  sender: {domain: copier.corp.example}\n  dns: {egressAddresses: [192.0.2.25/32]}")+
		upstreamIn(slow, "branch", ""), func(o *relay.Options) {
		o.Version, o.PortOffset = "v0.1.0", port-25
		if before != nil {
			before(filepath.Join(o.State, "printers/office"))
		}
	})}
	o.Port = port
	scan := func(from, sender, to string) string {
		c := o.DialFrom(from)
		defer c.Close()
		return rig.QueueID(t, c.Send(sender, []string{to}, rig.Scan(sender, to)))
	}
	for range 3 {
		scan("127.0.3.7", "floor3@copier.corp.example", "anna@corp.example")
	}
	scan("127.0.3.7", "floor3@copier.corp.example", "nobody@corp.example")
	o.waiting = scan("127.0.3.8", "floor3b@copier.corp.example", "bruno@branch.example")
	scan("127.0.9.4", "guest@visitor.example", "anna@corp.example")
	o.refusals(t, before == nil)
	o.Eventually("one deferred, one held, one failed", func() bool {
		_, state := o.Get("/state")
		return strings.Contains(state, `"deferred": 1`) && strings.Contains(state, `"held": 1`) && strings.Contains(state, `"failed": 1`)
	})
	return o
}

// refusals has devices refused, and one that means harm, if it is wanted.
func (o *office) refusals(t *testing.T, harm bool) {
	t.Helper()
	devices := 2
	c := o.DialFrom("127.0.4.9") // nobody knows it
	c.Want("250", "EHLO toshiba-2505")
	c.Want("530", "MAIL FROM:<scan@copier.corp.example>")
	c.Want("221", "QUIT")
	c = o.DialFrom("127.0.3.7") // a recipient that it may not write to
	c.Want("250", "EHLO RICOH-MP-C3004")
	c.Want("250", "MAIL FROM:<floor3@copier.corp.example>")
	c.Want("550", "RCPT TO:<someone@elsewhere.example>")
	c.Want("221", "QUIT")
	if harm {
		devices += 2
		c = o.DialFrom("127.0.5.6")
		c.Cmd("EHLO %s", strings.Repeat("W", 63)+"."+strings.Repeat("W", 63))
		c.Want("530", "MAIL FROM:<%s@%s.example>", strings.Repeat("a", 60), strings.Repeat("b", 60))
		c.Want("221", "QUIT")
		c = o.DialFrom("127.0.5.5")
		c.Cmd("EHLO %s", hostile)
		c.Cmd("MAIL FROM:<%s@evil.example>", "\u202egnp.exe")
		c.Cmd("MAIL FROM:<\"%s\"@evil.example>", strings.ReplaceAll(hostile, `"`, ""))
		c.Want("221", "QUIT")
	}
	o.Eventually("devices with failed sessions", func() bool {
		_, list := o.Get("/sessions")
		return strings.Count(list, `"device":`) == devices
	})
}

// pages are all that a person reaches.
func (o *office) pages(t *testing.T) []string {
	t.Helper()
	var list struct {
		Devices []struct{ Sessions []struct{ ID string } }
	}
	_, body := o.Get("/sessions")
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatal(err)
	}
	const of = "/console/relays/printers/office/"
	out := []string{
		"/console/", of, of + "setup", of + "upstreams", of + "queue", of + "queue?state=failed", of + "queue/" + o.waiting, of + "sessions", of + "copiers", of + "copiers?refused=1&legacy=1&who=127.0.0.0%2F8", of + "messages", of + "messages?state=refused", of + "messages/" + o.waiting,
		of + "why", of + "why?client=127.0.4.9&from=scan%40copier.corp.example&to=anna%40corp.example",
		of + "why?client=127.0.3.7&from=floor3%40copier.corp.example&to=anna%40corp.example", of + "why?client=floor3&from=", "/console/nothing",
	}
	for _, d := range list.Devices {
		out = append(out, of+"sessions/"+d.Sessions[0].ID)
	}
	return out
}

func (o *office) base() string { return "http://" + o.Admin }

// TestPages: every page in a real browser, light and dark, wide and narrow, with a
// script and without, by mouse and by keyboard; axe finds nothing.
func TestPages(t *testing.T) {
	o := newOffice(t, nil)
	pages := o.pages(t)
	f := walk(t, job{Base: o.base(), Pages: pages, Checks: []string{"axe", "looks", "scriptless", "keyboard"}})
	for _, path := range pages {
		p := f.Pages[path]
		p.fine(t, path)
		if p.Passes < 20 || p.Stops < 3 || !strings.HasSuffix(p.Title, " - Printer Relay") {
			t.Errorf("%s was hardly looked at: %+v", path, p)
		}
		want := map[string]int{"/console/nothing": 404, "/console/relays/printers/office/why?client=floor3&from=": 400}[path]
		if want == 0 {
			want = 200
		}
		if p.Status != want {
			t.Errorf("%s: status %d, want %d", path, p.Status, want)
		}
	}
}

// TestPeople does what people come for.
func TestPeople(t *testing.T) {
	o := newOffice(t, nil)
	dir := t.TempDir()
	pdf, qr := filepath.Join(dir, "card.pdf"), filepath.Join(dir, "qr.png")
	f := walk(t, job{Base: o.base(), Checks: []string{"steps"}, Steps: []step{
		// The one who adds a copier.
		{Goto: "/"},
		{Click: "text=printers/office", Expect: "Mail of the last 24 hours"},
		{Text: ".figures dd", As: "figures"},
		{Text: "#plot-text", As: "plot"},
		{Click: "text=Set up a copier"},
		{Text: ".card .settings dd", As: "card"},
		{PDF: pdf},
		{Shot: ".qr svg", File: qr},
		// The one who publishes DNS records.
		{Click: "nav >> text=Upstreams"},
		{Text: "section:has(#up-smarthost) table.dns tbody tr", As: "dns"},
		{Click: "section:has(#up-smarthost) tr:has-text('SPF') td:nth-of-type(3) button", Expect: "Copied"},
		{Clipboard: "copied"},
		// The one who is called when floor 4 cannot scan.
		{Click: "text=Why refused?"},
		{Fill: "#client", Text: "127.0.4.9"},
		{Fill: "#from", Text: "scan@copier.corp.example"},
		{Click: "button:has-text('Ask')", Expect: "Rule by rule"},
		{Text: ".note.bad", As: "refused"},
		{Text: "section:has(#seen) tbody", As: "seen"},
		{Click: "text=what was said", Expect: "What was said, in the order of time"},
		{Text: ".talk tbody", As: "talk"},
		{Click: "nav >> text=Copiers"},
		{Text: "main table tbody tr", As: "copiers"},
		{Click: "nav >> text=Messages"},
		{Fill: "#text", Text: "no such user"},
		{Click: "button:has-text('Search')", Expect: "nobody@corp.example"},
		{Text: "main table tbody tr", As: "history"},
		{Click: "main tbody a", Expect: "What happened"},
		{Text: "main", As: "entry"},
		// And what waits.
		{Click: "nav >> text=Waiting mail"},
		{Text: "tbody tr", As: "queue"},
		{Click: "tr:has-text('floor3b') a"},
		{Text: "main", As: "message"},
	}})
	if f.Said["problems"] != nil {
		t.Errorf("the browser complains: %v", f.Said["problems"])
	}
	contains := func(name string, want ...string) {
		t.Helper()
		all := strings.Join(f.said(t, name), "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				t.Errorf("%s lacks %q:\n%s", name, w, all)
			}
		}
	}
	contains("figures", "0\n1\n1\n1")
	contains("plot", "Accepted: 6", "Recipients that an upstream refused for good: 1")
	contains("card", "relay.corp.example", "25", "STARTTLS", "TLS 1.0 or newer", "On, if this copier has a login", "anything@copier.corp.example")
	contains("dns", "v=spf1 ip4:192.0.2.25", "copier.corp.example")
	if got, _ := f.Said["copied"].(string); !strings.HasPrefix(got, "v=spf1 ip4:192.0.2.25") {
		t.Errorf("copied %q", got)
	}
	contains("refused", "530 5.7.0 PR-022 Set a user name and password (AUTH)")
	contains("seen", "127.0.4.9", "toshiba-2505")
	contains("talk", "MAIL FROM:<scan@copier.corp.example>", "PR-022")
	contains("copiers", "toshiba-2505", "Never came through", "RICOH-MP-C3004", "no rule names it")
	if h := f.said(t, "history"); len(h) != 1 {
		t.Errorf("searched for one message, found %q", h)
	}
	contains("entry", "550 5.1.1 No such user "+hostile, "attempt 1", "office/floor-3", "nobody@corp.example")
	contains("queue", "waits for another try", "held", "failed", "No such user")
	contains("message", "Greylisted, come back later", "bruno@branch.example", "office/floor-3")
	onPaper(t, pdf, "Port", "25", "STARTTLS")
	if got := env.MustRun(t, "", "zbarimg", "--quiet", "--raw", qr); !strings.Contains(got, "SMTP server: relay.corp.example\nPort: 25\n") {
		t.Errorf("a phone reads %q", got)
	}
}

// onPaper fails unless the card was printed, on one page.
func onPaper(t *testing.T, file string, want ...string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, []byte("%PDF-")) || bytes.Count(b, []byte("/Type /Page\n")) != 1 {
		t.Errorf("%d octets are no PDF of one page", len(b))
	}
	text := env.MustRun(t, "", "pdftotext", "-layout", file, "-")
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("on paper there is no %q:\n%s", w, text)
		}
	}
	for _, not := range []string{"Why refused?", "Print, or save", "Which copier may send what"} {
		if strings.Contains(text, not) {
			t.Errorf("on paper there is %q:\n%s", not, text)
		}
	}
}
