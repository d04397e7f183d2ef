package smtpd

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2195 is made of it
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// withLogins is a listener in clear text that takes logins of the Secret "logins".
func withLogins(mechanisms ...string) *plan.Plan {
	return &plan.Plan{Hostname: "relay.test", Listeners: []plan.Listener{{
		Name: "smtp", IdleTimeout: time.Hour, TLS: plan.ListenerTLS{Mode: plan.TLSNone}, Recipients: 100, MessageSize: 1 << 20, AdvertisedSize: 1 << 20,
		Auth: plan.ListenerAuth{Mode: plan.AuthOptional, Mechanisms: mechanisms, Plaintext: true, Secret: "logins"},
	}}}
}

func users(lines ...string) secrets.Map {
	return secrets.Map{"logins": {"users": []byte(strings.Join(lines, "\n"))}}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// login tries AUTH PLAIN and gives how long the reply took, in the bubble's time.
func (d *device) login(want, user, password string) time.Duration {
	d.t.Helper()
	begin := time.Now()
	d.say(want, "AUTH PLAIN "+plain(user, password))
	return time.Since(begin)
}

// guess fails with a password, on as few connections as will do, and gives the delay
// of the last.
func (o *office) guess(client, user string, times int) (last time.Duration) {
	o.t.Helper()
	for i := 0; i < times; {
		d := o.device(client)
		for k := 0; k < maxLoginFailures && i < times; i, k = i+1, k+1 {
			want := "535 5.7.8 PR-023 "
			if k == maxLoginFailures-1 {
				want = "421 4.7.0 PR-024 "
			}
			last = d.login(want, user, "wrong")
		}
		d.conn.Close()
	}
	return last
}

// Sixty copiers share one address, one of them with an old password: it is slowed,
// the others log in at once. A stranger who guesses is turned away, with the right
// password too, for a while and alone.
func TestSixtyCopiersBehindOneAddress(t *testing.T) {
	const nat, stranger = "192.0.2.1", "198.51.100.1"
	var lines []string
	for i := range 60 {
		lines = append(lines, fmt.Sprintf("mfp%d:pw%d", i, i))
	}
	synctest.Test(t, func(t *testing.T) {
		o := openOffice(t, withLogins("PLAIN", "LOGIN"), t.TempDir(), users(lines...))
		defer o.close()
		o.device(nat).login("235", "mfp1", "pw1")
		for i := 2; i < 60; i++ {
			if d := o.guess(nat, "mfp0", 3); d < failureDelay || d > longestDelay {
				t.Fatalf("the old password is answered after %s", d)
			}
			if d := o.device(nat).login("235", fmt.Sprintf("mfp%d", i), fmt.Sprintf("pw%d", i)); d != 0 {
				t.Errorf("mfp%d waits %s for the copier beside it", i, d)
			}
		}
		if d := o.guess(nat, "another", 1); d != longestDelay {
			t.Errorf("that others log in there lets a guesser go on after %s", d)
		}
		o.guess(stranger, "mfp3", lockFailures)
		d := o.device(stranger)
		begin := time.Now()
		d.say("421 4.7.0 PR-024 ", "AUTH PLAIN "+b64("\x00mfp3\x00pw3"))
		d.want("")
		if took := time.Since(begin); took != 0 {
			t.Errorf("turned away after %s: that costs a connection of ours", took)
		}
		if d := o.device("198.51.100.2").login("235", "mfp3", "pw3"); d != 0 {
			t.Errorf("the stranger's neighbour waits %s", d)
		}
		o.device(nat).login("235", "mfp3", "pw3")
		time.Sleep(guardMemory + time.Second)
		o.device(stranger).login("235", "mfp3", "pw3")
	})
}

// That somebody logged in within a day is known behind a restart, and no longer.
func TestWhoLoggedInIsKnownBehindARestart(t *testing.T) {
	const nat = "192.0.2.1"
	for name, tc := range map[string]struct {
		days time.Duration
		want string
	}{"a day": {recentTime - time.Hour, "235"}, "more": {recentTime + time.Hour, "421 4.7.0 PR-024 "}} {
		t.Run(name, func(t *testing.T) {
			state := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				o := openOffice(t, withLogins("PLAIN"), state, users("mfp:pw"))
				o.device(nat).login("235", "mfp", "pw")
				o.close()
				time.Sleep(tc.days)
				o = openOffice(t, withLogins("PLAIN"), state, users("mfp:pw"))
				defer o.close()
				o.guess(nat, "old", lockFailures)
				o.device(nat).login(tc.want, "mfp", "pw")
			})
		})
	}
}

// A user is guessed at under one name, however it is written.
func TestGuardKnowsAUserByAnySpelling(t *testing.T) {
	var g guard
	now := time.Now()
	var d time.Duration
	for i := range 40 {
		d = g.failed(now, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), []string{"mfp", "MFP", "Mfp", "mFp"}[i%4])
	}
	if d != longestDelay {
		t.Errorf("delay %s after 40 guesses", d)
	}
}

// Whatever makes a login fail, the reply and the work are the same (CWE-208): the
// hash of the costliest password of the Secret, counted, not timed. Each bcrypt cost
// is twice the one before.
func TestEveryFailureIsTheSameWork(t *testing.T) {
	const cheap, costly = bcrypt.MinCost, bcrypt.MinCost + 2
	hash := func(password string, cost int) string {
		b, err := bcrypt.GenerateFromPassword([]byte(password), cost)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for secret, lines := range map[string][]string{
		"hashes of two costs and plain": {"cheap:" + hash("pw", cheap), "costly:" + hash("pw", costly), "plain:pw"},
		"plain only":                    {"plain:pw"},
	} {
		l, problems := readLogins(users(lines...)["logins"])
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		v := newVerifier()
		work := 0
		v.check = func(hash, password []byte) error {
			cost, err := bcrypt.Cost(hash)
			if err != nil {
				t.Fatal(err)
			}
			work += 1 << cost
			return bcrypt.CompareHashAndPassword(hash, password)
		}
		v.make = func(password []byte, cost int) ([]byte, error) {
			work += 1 << cost
			return bcrypt.GenerateFromPassword(password, cost)
		}
		want := 0
		if l.cost > 0 {
			want = 1 << costly
		}
		for _, user := range []string{"nobody", "cheap", "costly", "plain", "", "CHEAP", "nobody"} {
			for range 2 { // the second time what is made once is there
				work = 0
				if _, ok, err := v.password(t.Context(), l, user, "wrong"); ok || err != nil {
					t.Fatalf("%s: %v, %v", user, ok, err)
				}
				if work != want {
					t.Errorf("%s: user %q with a wrong password costs %d, want %d", secret, user, work, want)
				}
			}
			if _, ok, err := v.password(t.Context(), l, user, "pw"); err != nil || ok != (l.users[strings.ToLower(user)].password != "") {
				t.Errorf("%s: user %q with the right password: %v, %v", secret, user, ok, err)
			}
		}
	}
}

// No reply and no delay tells an unknown user from a wrong password, with any
// mechanism.
func TestFailedLoginsLookTheSame(t *testing.T) {
	hash := hashed(t, "pw")
	cram := func(d *device, user, password string) {
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(d.say("334 ", "AUTH CRAM-MD5"), "334 "))
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(md5.New, []byte(password))
		mac.Write(challenge) //nolint:errcheck // never fails
		fmt.Fprintf(d.conn, "%s\r\n", b64(user+" "+hex.EncodeToString(mac.Sum(nil))))
	}
	for name, tc := range map[string]struct {
		secret []string
		try    func(d *device, user, password string)
	}{
		"PLAIN": {[]string{"mfp:pw", "hashed:" + hash}, func(d *device, user, password string) {
			fmt.Fprintf(d.conn, "AUTH PLAIN %s\r\n", plain(user, password))
		}},
		"LOGIN": {[]string{"mfp:pw", "hashed:" + hash}, func(d *device, user, password string) {
			d.say("334 VXNlcm5hbWU6", "AUTH LOGIN")
			d.say("334 UGFzc3dvcmQ6", b64(user))
			fmt.Fprintf(d.conn, "%s\r\n", b64(password))
		}},
		"CRAM-MD5": {[]string{"mfp:pw"}, cram},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := openOffice(t, withLogins("PLAIN", "LOGIN", "CRAM-MD5"), t.TempDir(), users(tc.secret...))
				defer o.close()
				for i, try := range [][2]string{{"mfp", "wrong"}, {"nobody", "wrong"}, {"hashed", "wrong"}, {"mfp", ""}, {"", "pw"}, {"MFP ", "pw"}} {
					d := o.device(fmt.Sprintf("192.0.2.%d", i+1))
					begin := time.Now()
					tc.try(d, try[0], try[1])
					d.want("535 5.7.8 PR-023 User name or password is wrong")
					if took := time.Since(begin); took != failureDelay {
						t.Errorf("%q is answered after %s, want %s", try[0], took, failureDelay)
					}
					d.conn.Close()
				}
			})
		})
	}
}

// An address that hides who comes from it, as every node's does by default, is slowed
// and never locked out: behind it are copiers that did not log in today.
func TestAHiddenAddressIsNotLockedOut(t *testing.T) {
	for name, hidden := range map[string]plan.HiddenClients{
		"a node's":       {Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
		"as everybody's": {All: true},
		"a client's own": {},
		"another's":      {Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/32")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := withLogins("PLAIN")
				p.HiddenClients = hidden
				o := openOffice(t, p, t.TempDir(), users("mfp:pw"))
				defer o.close()
				if d := o.guess("192.0.2.1", "guessed", lockFailures); d != longestDelay {
					t.Errorf("the last guess is answered after %s", d)
				}
				want := "421 4.7.0 PR-024 "
				if hidden.Hides(netip.MustParseAddr("192.0.2.1")) {
					want = "235 "
				}
				o.device("192.0.2.1").login(want, "mfp", "pw")
			})
		})
	}
}

// A log names a user that there is, as the Secret does, and nothing that may be a
// password typed at the wrong prompt.
func TestALogNamesNoPasswordForAUser(t *testing.T) {
	const canary = "S3cret-Canary"
	var text bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		o := openOffice(t, withLogins("PLAIN", "LOGIN", "CRAM-MD5"), t.TempDir(), users("scan room:pw"), func(c *Config) {
			c.Log = slog.New(slog.NewTextHandler(&text, nil))
		})
		defer o.close()
		d := o.device("192.0.2.1")
		d.login("535", canary, "x")
		d.say("334", "AUTH CRAM-MD5")
		d.say("535", b64("Scan Room "+strings.Repeat("0", 32)))
		d.conn.Close()
		d = o.device("192.0.2.1")
		d.say("334", "AUTH CRAM-MD5")
		d.say("535", b64(canary+" x "+strings.Repeat("0", 32)))
	})
	if got := text.String(); strings.Contains(got, canary) || strings.Count(got, "no login of the name") != 2 || !strings.Contains(got, "scan room") {
		t.Errorf("the log says\n%s", got)
	}
}

// In clear text nothing that shows a password is offered or taken, unless the
// listener says so; CRAM-MD5, which shows none, only where an administrator named it,
// and where every password of the Secret is a plain one.
func TestWhatIsOfferedInClear(t *testing.T) {
	hash := hashed(t, "pw")
	own, mixed := users("mfp:pw"), users("mfp:pw", "other:"+hash)
	all := []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	for name, tc := range map[string]struct {
		allowed    bool
		mechanisms []string
		src        secrets.Source
		want       string
	}{
		"not allowed":                   {false, all[:2], own, ""},
		"not allowed, CRAM-MD5 named":   {false, all, own, "CRAM-MD5"},
		"not allowed, CRAM-MD5, hashes": {false, all, mixed, ""},
		"allowed":                       {true, all, own, "PLAIN LOGIN CRAM-MD5"},
		"allowed, hashes":               {true, all, mixed, "PLAIN LOGIN"},
		"allowed, no Secret":            {true, all, secrets.Map{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := withLogins(tc.mechanisms...)
				p.Listeners[0].Auth.Plaintext, p.Listeners[0].TLS.Mode = tc.allowed, plan.TLSStartTLS
				o := openOffice(t, p, t.TempDir(), tc.src)
				defer o.close()
				d := o.device("192.0.2.1")
				offered := ""
				for line := range strings.Lines(d.say("250", "EHLO copier.test")) {
					if words, ok := strings.CutPrefix(strings.TrimSpace(line[4:]), "AUTH "); ok {
						offered = words
					}
				}
				if offered != tc.want {
					t.Errorf("offered %q, want %q", offered, tc.want)
				}
				for _, m := range all {
					want := "5"
					if slices.Contains(strings.Fields(tc.want), m) {
						want = "334 "
					}
					d.say(want, "AUTH "+m)
					if want == "334 " {
						d.say("501 ", "*")
					}
				}
			})
		})
	}
}

// Where too many passwords are being checked the client may try again.
func TestPasswordsThatCannotBeCheckedInTimeAre454(t *testing.T) {
	hash := hashed(t, "pw")
	synctest.Test(t, func(t *testing.T) {
		o := openOffice(t, withLogins("PLAIN"), t.TempDir(), users("mfp:"+hash))
		defer o.close()
		for range cap(o.s.verify.slots) {
			o.s.verify.slots <- struct{}{}
		}
		d := o.device("192.0.2.1")
		for _, user := range []string{"mfp", "nobody"} {
			if took := d.login("454 4.7.0 PR-028 ", user, "pw"); took != checkTime {
				t.Errorf("%s hears after %s, want %s", user, took, checkTime)
			}
		}
		<-o.s.verify.slots
		d.login("235", "mfp", "pw")
	})
}

// A message that storage does not take is the device's again, and no more is said
// of why.
func TestWhatCannotBeStoredIs451(t *testing.T) {
	r := newRig(t, "")
	o := r.open(t, r.plan, t.TempDir(), r.secrets)
	defer o.close()
	d := o.device(lan.String())
	d.say("250", "MAIL FROM:<mfp@copier.example>")
	d.say("250", "RCPT TO:<it@corp.example>")
	if err := o.s.Spool.Close(); err != nil {
		t.Fatal(err)
	}
	d.say("354", "DATA")
	if got := d.say("451 4.3.0 PR-061 ", "Subject: x\r\n\r\nx\r\n."); got != "451 4.3.0 PR-061 Could not store the scan, send again" {
		t.Errorf("%q", got)
	}
	d.say("250", "NOOP") // in step
}
