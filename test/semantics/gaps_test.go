package semantics

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2195 is made of it
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/printerrelay/printer-relay/test/rig"
)

// The numbers are those of go-smtp's gaps that a session repairs; wire's own
// are tested in its package.

// loginManifests has a listener with logins, in clear text.
func loginManifests(u *rig.Upstream, auth, users string) string {
	m := strings.Replace(manifests("", anyCorp, u.YAML("out", "")), "tls: {mode: None}", "tls: {mode: None}, authentication: {plaintext: Allow, secretRef: {name: logins}, "+auth+"}", 1)
	return m + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: logins}\nstringData:\n  users: |\n    " + strings.ReplaceAll(users, "\n", "\n    ") + "\n"
}

func hash(t *testing.T, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestGap09QuotedLocalPartsSurvive(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	for _, to := range []string{`"a b"@corp.example`, `"a,b"@corp.example`, `"a\"b"@corp.example`} {
		before := len(u.Messages())
		// The upstream's own parser refuses such a local part without its quotes.
		rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{to}, rig.Scan("mfp@copier.test", "a@corp.example")))
		local := strings.NewReplacer(`"`, "", `\`, "").Replace(strings.TrimSuffix(to, "@corp.example"))
		got := arrived(r, u, before+1)[before].To
		if len(got) != 1 || strings.NewReplacer(`"`, "", `\`, "").Replace(strings.TrimSuffix(got[0], "@corp.example")) != local {
			t.Errorf("%s arrived as %q", to, got)
		}
	}
}

func TestGap11SecondMailIs503AndTheFirstTransactionGoesOn(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("", anyCorp, u.YAML("out", "")))
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	c.Want("250", "MAIL FROM:<mfp@copier.test>")
	c.Want("250", "RCPT TO:<a@corp.example>")
	c.Want("503 5.5.1 ", "MAIL FROM:<other@copier.test>")
	c.Want("250", "RSET")
	c.Want("250", "MAIL FROM:<other@copier.test>")
	c.Want("250", "RCPT TO:<b@corp.example>")
	c.Want("354", "DATA")
	c.Write(rig.Scan("other@copier.test", "b@corp.example") + "\r\n.\r\n")
	rig.QueueID(t, c.Reply())
	if got := fmt.Sprint(arrived(r, u, 1)[0].To); got != "[b@corp.example]" {
		t.Errorf("recipients %s: an earlier transaction's came along", got)
	}
}

func TestGap12ExactlyTheLimitIsTaken(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	const limit = 1024
	r := rig.Start(t, manifests("", anyCorp+fmt.Sprintf("\n    content: {messageSize: %d}", limit), u.YAML("out", "")))
	head := rig.Scan("mfp@copier.test", "a@corp.example") + "\r\n"
	fill := func(n int) string { // the message without its last CRLF, which Send adds
		return head + strings.Repeat("x", n-len(head)-2)
	}
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, fill(limit)))
	if got := r.Dial().Send("mfp@copier.test", []string{"a@corp.example"}, fill(limit+1)); !strings.HasPrefix(got, "552 5.3.4 ") || !strings.Contains(got, "1025") || !strings.Contains(got, "1024") {
		t.Errorf("one octet more: %q", got)
	}
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	c.Want("250", "MAIL FROM:<mfp@copier.test> SIZE=%d", limit)
	c.Want("250", "RSET")
	c.Want("552 5.3.4 ", "MAIL FROM:<mfp@copier.test> SIZE=%d", limit+1)
}

func TestGap14ThreeFailedLoginsCloseTheConnection(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, loginManifests(u, "mode: Optional", "mfp:right"))
	c := r.Dial()
	c.Want("250", "EHLO copier.test")
	for range 2 {
		c.Want("535 5.7.8 PR-023", "AUTH PLAIN %s", b64("\x00mfp\x00wrong"))
	}
	c.Want("421 4.7.0 PR-024", "AUTH PLAIN %s", b64("\x00nobody\x00right"))
	if got := c.Reply(); got != "" {
		t.Errorf("the connection goes on: %q", got)
	}
}

func TestGap15EveryMechanismThatIsOfferedWorks(t *testing.T) {
	for name, tc := range map[string]struct {
		users, offered string
		exchange       func(c *rig.Client)
	}{
		"PLAIN": {"mfp:a:b c", "AUTH PLAIN LOGIN CRAM-MD5", func(c *rig.Client) { c.Want("235", "AUTH PLAIN %s", b64("\x00mfp\x00a:b c")) }},
		"LOGIN": {"DOM\\scan:pw", "AUTH PLAIN LOGIN CRAM-MD5", func(c *rig.Client) {
			c.Want("334 VXNlcm5hbWU6", "AUTH LOGIN")
			c.Want("334 UGFzc3dvcmQ6", "%s", b64(`DOM\scan`))
			c.Want("235", "%s", b64("pw"))
		}},
		"CRAM-MD5": {"mfp:pw", "AUTH PLAIN LOGIN CRAM-MD5", func(c *rig.Client) {
			challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.Want("334 ", "AUTH CRAM-MD5"), "334 "))
			if err != nil {
				t.Fatal(err)
			}
			mac := hmac.New(md5.New, []byte("pw"))
			mac.Write(challenge) //nolint:errcheck // never fails
			c.Want("235", "%s", b64("mfp "+hex.EncodeToString(mac.Sum(nil))))
		}},
		"no CRAM-MD5 with hashes": {"other:plain\nmfp:" + hash(t, "pw"), "AUTH PLAIN LOGIN", func(c *rig.Client) {
			c.Want("504 5.5.4 PR-025", "AUTH CRAM-MD5")
			c.Want("235", "AUTH PLAIN %s", b64("\x00mfp\x00pw"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			r := rig.Start(t, loginManifests(u, "mode: Optional, mechanisms: [Plain, Login, CRAMMD5]", tc.users))
			c := r.Dial()
			lines := strings.Split(c.Want("250", "EHLO copier.test"), "\n")
			offered := ""
			for _, l := range lines {
				if strings.HasPrefix(l[4:], "AUTH") {
					offered = l[4:]
				}
			}
			if offered != tc.offered {
				t.Errorf("offered %q, want %q", offered, tc.offered)
			}
			tc.exchange(c)
			rig.QueueID(t, c.Send("mfp@copier.test", []string{"a@corp.example"}, rig.Scan("mfp@copier.test", "a@corp.example")))
		})
	}
}
