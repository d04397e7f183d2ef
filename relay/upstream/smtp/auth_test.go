package smtp

import (
	"crypto/hmac"
	"crypto/md5"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// login is the server's side of AUTH for relay / hunter2.
func login(line string) string {
	const challenge = "<1.2@mx.test>"
	mac := hmac.New(md5.New, []byte("hunter2"))
	mac.Write([]byte(challenge))
	switch line {
	case "AUTH PLAIN " + b64("\x00relay\x00hunter2"), b64("hunter2"), b64("relay " + fmt.Sprintf("%x", mac.Sum(nil))):
		return "235 2.7.0 welcome"
	case "AUTH LOGIN":
		return "334 VXNlcm5hbWU6"
	case b64("relay"):
		return "334 UGFzc3dvcmQ6"
	case "AUTH CRAM-MD5":
		return "334 " + b64(challenge)
	}
	verb, _, _ := strings.Cut(line, " ")
	switch verb {
	case "", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", ".", "RSET", "QUIT":
		return ""
	}
	return "535 5.7.8 wrong: " + line
}

func TestAUTH(t *testing.T) {
	for _, c := range []struct {
		tls       plan.TLSMode
		mechanism string
		offered   string
		used      string // beginning of the AUTH command
		want      string
	}{
		{plan.TLSStartTLS, "", "AUTH LOGIN PLAIN CRAM-MD5", "AUTH PLAIN", "Accepted"},
		{plan.TLSStartTLS, "", "AUTH LOGIN", "AUTH LOGIN", "Accepted"},
		{plan.TLSStartTLS, "", "AUTH=LOGIN", "AUTH LOGIN", "Accepted"},
		{plan.TLSStartTLS, "", "AUTH CRAM-MD5", "AUTH CRAM-MD5", "Accepted"},
		{plan.TLSStartTLS, "", "auth cram-md5 plain", "AUTH PLAIN", "Accepted"},
		{plan.TLSStartTLS, "LOGIN", "AUTH PLAIN LOGIN", "AUTH LOGIN", "Accepted"},
		{plan.TLSStartTLS, "CRAM-MD5", "AUTH PLAIN LOGIN", "", "Deferred/Upstream"},
		{plan.TLSStartTLS, "", "AUTH GSSAPI", "", "Deferred/Upstream"},
		{plan.TLSStartTLS, "", "SIZE 0", "", "Deferred/Upstream"},
		{plan.TLSNone, "", "AUTH PLAIN LOGIN", "", "Deferred/Upstream"},
		{plan.TLSNone, "PLAIN", "AUTH PLAIN LOGIN", "", "Deferred/Upstream"},
		{plan.TLSNone, "", "AUTH PLAIN CRAM-MD5", "AUTH CRAM-MD5", "Accepted"},
		{plan.TLSOpportunistic, "", "AUTH PLAIN LOGIN", "", "Deferred/Upstream"}, // whoever answers may be anybody
		{plan.TLSOpportunistic, "", "AUTH PLAIN CRAM-MD5", "AUTH CRAM-MD5", "Accepted"},
	} {
		t.Run(fmt.Sprint(c.tls, c.mechanism, c.offered), func(t *testing.T) {
			p := newPeer(t, "mx.test")
			f := &fake{tcp: true, tls: p.server, ext: []string{"PIPELINING", c.offered, "STARTTLS"}, answer: login}
			o := plan.SMTP{TLS: c.tls, Auth: &plan.SMTPAuth{Mechanism: c.mechanism, Secret: "login"}}
			if c.tls == plan.TLSStartTLS {
				o.CASecret = "ca"
			}
			out := f.start(t, p.use(o)).Deliver(t.Context(), message(t, text))
			commands, _, _, _ := f.seen()
			used := ""
			for _, line := range commands {
				if strings.HasPrefix(line, "AUTH") {
					used = line
				}
			}
			if conformance.Kinds(out) != c.want || !strings.HasPrefix(used, c.used) || c.used == "" && used != "" {
				t.Errorf("%s by %q, want %s by %q: %s", conformance.Kinds(out), used, c.want, c.used, out[0].Text)
			}
		})
	}
}

// A wrong password defers, speaks of the upstream, names the Secret and shows
// nothing of it, although the server repeats what it got.
func TestWrongPassword(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		p := newPeer(t, "mx.test")
		p.secrets["login"]["password"] = []byte("s3cr3t-canary")
		f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH " + mechanism}, answer: func(line string) string {
			a := login(line)
			if strings.HasPrefix(a, "535") {
				a += " s3cr3t-canary"
			}
			return a
		}}
		o := f.start(t, p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}})).Deliver(t.Context(), message(t, text))[0]
		if conformance.Kinds([]upstream.Outcome{o}) != "Deferred/Upstream" || o.Code != 535 || o.Enhanced != "5.7.8" || !strings.Contains(o.Text, `secret "login"`) {
			t.Errorf("%s: %+v", mechanism, o)
		}
		for _, s := range []string{o.Text, o.Cause.Error()} {
			for _, leak := range []string{"s3cr3t-canary", b64("s3cr3t-canary"), b64("\x00relay\x00s3cr3t-canary")} {
				if strings.Contains(s, leak) {
					t.Errorf("%s: %q holds the password", mechanism, s)
				}
			}
		}
	}
}

// The Secret is read at each connection.
func TestRotatedPassword(t *testing.T) {
	p := newPeer(t, "mx.test")
	right := p.secrets["login"]
	f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH PLAIN"}, answer: login}
	tr := f.start(t, p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}}))
	for _, c := range []struct {
		data map[string][]byte
		want string
	}{
		{nil, "Deferred/Upstream"},
		{map[string][]byte{"username": []byte("relay"), "password": []byte("old")}, "Deferred/Upstream"},
		{map[string][]byte{"username": []byte("relay"), "password": []byte("a\x00b")}, "Deferred/Upstream"},
		{right, "Accepted"},
	} {
		if p.secrets["login"] = c.data; c.data == nil {
			delete(p.secrets, "login")
		}
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != c.want {
			t.Errorf("%v: got %s, want %s", c.data, got, c.want)
		}
	}
}

// What was read whole stays in use while the Secrets are half written; what is
// taken away does not.
func TestHalfWrittenSecrets(t *testing.T) {
	p := newPeer(t, "mx.test")
	f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH PLAIN"}, answer: login}
	tr := f.start(t, p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", CertSecret: "client", Auth: &plan.SMTPAuth{Secret: "login"}}))
	tr.Close() // so that each message has a connection of its own
	if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
		t.Fatal(got)
	}
	whole := maps.Clone(p.secrets)
	for name, half := range map[string]map[string][]byte{
		"login": {"username": []byte("new")}, "ca": {"ca.crt": []byte("-----BEGIN CERT")}, "client": {"tls.crt": whole["client"]["tls.crt"], "tls.key": []byte("x")},
	} {
		p.secrets[name] = half
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
			t.Errorf("half of %s: %s", name, got)
		}
		delete(p.secrets, name)
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Deferred/Upstream" {
			t.Errorf("%s was taken away: %s", name, got)
		}
		p.secrets[name] = whole[name]
		if got := conformance.Kinds(tr.Deliver(t.Context(), message(t, text))); got != "Accepted" {
			t.Errorf("%s is whole again: %s", name, got)
		}
	}
}

// turns is a Secret that somebody rotates between any two looks at it.
type turns []map[string][]byte

func (s *turns) Get(string) (map[string][]byte, error) {
	now := (*s)[0]
	*s = append((*s)[1:], now)
	return now, nil
}

// A name is never sent with the password of another version of its Secret: the
// server would count it as a guess.
func TestSecretChangesWhileItIsRead(t *testing.T) {
	p := newPeer(t, "mx.test")
	both := &turns{p.secrets["login"], {"username": []byte("other"), "password": []byte("other")}}
	f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH PLAIN"}, answer: login}
	tr := f.start(t, func(c *Config) {
		p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}})(c)
		c.Secrets = func() secrets.Source { return mounted{p.secrets, both} }
	})
	if out := tr.Deliver(t.Context(), message(t, text)); conformance.Kinds(out) != "Accepted" {
		t.Errorf("%s: %s", conformance.Kinds(out), out[0])
	}
}

// mounted has the Secret login elsewhere.
type mounted struct {
	secrets.Source
	login secrets.Source
}

func (m mounted) Get(name string) (map[string][]byte, error) {
	if name == "login" {
		return m.login.Get(name)
	}
	return m.Source.Get(name)
}

// A long response does not fit into the AUTH command (RFC 4954 4).
func TestLongPassword(t *testing.T) {
	p := newPeer(t, "mx.test")
	long := strings.Repeat("p", 400)
	p.secrets["login"]["password"] = []byte(long)
	f := &fake{tcp: true, tls: p.server, ext: []string{"STARTTLS", "AUTH PLAIN"}, answer: func(line string) string {
		switch line {
		case "AUTH PLAIN":
			return "334 "
		case b64("\x00relay\x00" + long):
			return "235 2.7.0 welcome"
		}
		return ""
	}}
	if out := f.start(t, p.use(plan.SMTP{TLS: plan.TLSStartTLS, CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}})).Deliver(t.Context(), message(t, text)); conformance.Kinds(out) != "Accepted" {
		t.Errorf("%s", out[0].Text)
	}
}

func TestScrub(t *testing.T) {
	for _, tc := range []struct{ text, password, want string }{
		{"no: hunter22 is wrong", "hunter22", "no: *** is wrong"},
		{"no: " + b64("hunter22"), "hunter22", "no: ***"},
		{"no: " + b64("\x00relay\x00hunter22"), "hunter22", "no: ***"},
		{"no: tab secret", "tab\tsecret", "no: ***"},
		{"no: lead secret", " lead secret ", "no:***"},
		{"no: hunt", "hunter22", "no: ***"}, // cut off there
		{"Basic authentication is disabled", "hunter22", "Basic authentication is disabled"},
		{"no: abc", "abc", ""},
	} {
		if got := scrub(tc.text, "relay", tc.password); got != tc.want {
			t.Errorf("%q with %q: %q, want %q", tc.text, tc.password, got, tc.want)
		}
	}
}
