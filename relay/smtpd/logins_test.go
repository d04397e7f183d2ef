package smtpd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

func hashed(t *testing.T, password string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadLogins(t *testing.T) {
	hash := hashed(t, "pw")
	for name, tc := range map[string]struct {
		data     map[string]string
		users    string // that work with "pw", sorted as asked
		problems int
		plain    bool
	}{
		"lines":             {map[string]string{"users": "mfp1:pw\r\nDOM\\scan:pw\n\n# a remark\nmfp3@corp.example:pw"}, `mfp1 DOM\scan mfp3@corp.example`, 0, true},
		"keys":              {map[string]string{"mfp1": "pw\n", "mfp2": "pw"}, "mfp1 mfp2", 0, true},
		"a hash":            {map[string]string{"mfp1": hash, "mfp2": "pw"}, "mfp1 mfp2", 0, false},
		"capitals":          {map[string]string{"Mfp1": "pw"}, "mfp1 MFP1", 0, true},
		"no password":       {map[string]string{"users": "mfp1\nmfp2:\nmfp3:pw"}, "mfp3", 2, true},
		"a damaged hash":    {map[string]string{"mfp1": "$2b$04$short"}, "", 1, false},
		"twice":             {map[string]string{"users": "mfp1:pw", "mfp1": "other"}, "mfp1", 1, true},
		"nobody":            {map[string]string{}, "", 0, false},
		"a colon within it": {map[string]string{"users": "mfp1:pw:"}, "", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for k, v := range tc.data {
				data[k] = []byte(v)
			}
			l, problems := readLogins(data)
			if len(problems) != tc.problems || l.plain() != tc.plain {
				t.Errorf("problems %v, plain %v", problems, l.plain())
			}
			v := newVerifier()
			for user := range strings.FieldsSeq(tc.users) {
				if _, ok, err := v.password(t.Context(), l, user, "pw"); !ok || err != nil {
					t.Errorf("%s cannot log in: %v", user, err)
				}
				if _, ok, _ := v.password(t.Context(), l, user, "wrong"); ok {
					t.Errorf("%s logs in with a wrong password", user)
				}
			}
			if _, ok, _ := v.password(t.Context(), l, "nobody", ""); ok {
				t.Error("nobody logs in")
			}
		})
	}
}

// Where two names differ in case only, nobody is let in by a third spelling.
func TestNamesThatDifferInCaseOnly(t *testing.T) {
	l, _ := readLogins(map[string][]byte{"mfp": []byte("a"), "MFP": []byte("b")})
	v := newVerifier()
	for user, password := range map[string]string{"mfp": "a", "MFP": "b"} {
		if name, ok, _ := v.password(t.Context(), l, user, password); !ok || name != user {
			t.Errorf("%s: %q, %v", user, name, ok)
		}
	}
	if _, ok, _ := v.password(t.Context(), l, "Mfp", "a"); ok {
		t.Error("Mfp is somebody")
	}
}

// Guessing gets slower, by address and over connections, and is forgotten.
func TestGuard(t *testing.T) {
	var g guard
	now := time.Now()
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	n := 0
	failed := func(now time.Time, client netip.Addr) time.Duration { // each time another user
		n++
		return g.failed(now, client, fmt.Sprint("user", n))
	}
	last := time.Duration(0)
	for range 100 {
		d := failed(now, a)
		if d < last || d < failureDelay || d > longestDelay {
			t.Fatalf("delay %s after %s", d, last)
		}
		last = d
	}
	if last != longestDelay {
		t.Errorf("delay %s after 100 failures, want %s", last, longestDelay)
	}
	if d := failed(now, b); d != failureDelay {
		t.Errorf("another client waits %s", d)
	}
	if d := failed(now.Add(guardMemory+time.Second), a); d != failureDelay {
		t.Errorf("after %s: %s", guardMemory, d)
	}
	x, y := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for range 20 {
		failed(now, x)
	}
	if d := failed(now, y); d == failureDelay {
		t.Error("another address of the same /64 begins anew")
	}
}

// One user guessed at from many clients is slowed too.
func TestGuardOfAUser(t *testing.T) {
	var g guard
	now := time.Now()
	var d time.Duration
	for i := range 40 {
		d = g.failed(now, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "mfp")
	}
	if d != longestDelay {
		t.Errorf("delay %s after 40 clients", d)
	}
	if d := g.failed(now, netip.MustParseAddr("10.1.0.1"), "other"); d != failureDelay {
		t.Errorf("another user waits %s", d)
	}
}

// Who never logged in is turned away after many failures; an address from which
// somebody did today is not, whatever else comes from it.
func TestGuardTurnsAway(t *testing.T) {
	var g guard
	now := time.Now()
	guesser, office := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	g.passed(now, office)
	for i := range 10 * lockFailures {
		if locked := g.locked(now, guesser); locked != (i >= lockFailures) {
			t.Fatalf("after %d failures: locked %v", i, locked)
		}
		g.failed(now, guesser, "a")
		g.failed(now, office, "b")
	}
	if g.locked(now, office) {
		t.Error("the copiers of an office are locked out")
	}
	if g.locked(now.Add(guardMemory+time.Second), guesser) {
		t.Error("locked for ever")
	}
	g.failed(now.Add(recentTime+time.Hour), office, "b")
	if g.locked(now.Add(recentTime+time.Hour), office) {
		t.Error("one failure on the next day")
	}
}

// FuzzReadLogins: whatever a Secret holds, no problem repeats a value, and who
// is read can be found again.
func FuzzReadLogins(f *testing.F) {
	f.Add("mfp:pw\n#x:y\nDOM\\a:b:c", "secret-canary")
	f.Add(":", "$2b$10$x")
	f.Fuzz(func(t *testing.T, users, value string) {
		l, problems := readLogins(map[string][]byte{"users": []byte(users), "key": []byte(value)})
		for _, p := range problems {
			if len(value) > 12 && strings.Contains(p, value) {
				t.Fatalf("a problem holds a value: %q", p)
			}
		}
		for name, want := range l.users {
			if got, v, ok := l.find(name); !ok || got != name || v != want {
				t.Fatalf("%q is found as %q", name, got)
			}
		}
	})
}
