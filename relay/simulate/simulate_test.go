package simulate

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each profile names its device, and is known by its name. test/dialogs plays
// them against the relay.
func TestProfiles(t *testing.T) {
	all, err := Profiles()
	if err != nil || len(all) < 20 {
		t.Fatalf("%d profiles, %v", len(all), err)
	}
	for _, d := range all {
		if d.Device == "" || len(d.About) == 0 || len(d.Steps) < 4 {
			t.Errorf("%s: no device, no remark or no steps", d.Name)
		}
		if got, err := Profile(d.Name); err != nil || got.Device != d.Device {
			t.Errorf("%s: %v", d.Name, err)
		}
	}
	if _, err := Profile("ricoh-mp"); err == nil || !strings.Contains(err.Error(), "ricoh-mp-c307") {
		t.Errorf("a name that is nearly one: %v", err)
	}
	if _, err := Profile("../copiers"); err == nil {
		t.Error("a path is taken for a name")
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"X: y":                       "a line begins with",
		"C+: HELO":                   "want a quoted string",
		"tls: 0.9":                   "want the newest version",
		"tls: 1.0 TLS_NO_SUCH_THING": "is not known to crypto/tls",
	} {
		if _, err := Parse("x", "# about\n"+text+"\n"); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "x:2: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// server answers each line that comes by the next of replies, and closes behind
// the last; "" says nothing.
func server(t *testing.T, replies ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for i, r := range replies {
			if _, err := conn.Write([]byte(r)); err != nil || i == len(replies)-1 && r != "" {
				return
			}
			if n, err := conn.Read(buf); err != nil || n == 0 {
				return
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func dialogue(t *testing.T) *Dialogue {
	t.Helper()
	d, err := Parse("x", `device: a printer
S: 220 relay.test
C: EHLO printer
S: 250-relay.test
S: 250 AUTH PLAIN
C: AUTH PLAIN ${plain}
S: 235 2.7.0 Authentication succeeded
C: QUIT
S: 221 bye
S: (closed)`)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPlay(t *testing.T) {
	for name, tc := range map[string]struct {
		replies []string
		want    string // of the error; empty: none
	}{
		"as the device needs it":  {[]string{"220 other.test hello\r\n", "250-other.test\r\n250-SIZE 1\r\n250 AUTH PLAIN\r\n", "235 fine\r\n", "221 so long\r\n"}, ""},
		"another number of lines": {[]string{"220-a\r\n220 b\r\n", "250 other.test\r\n", "235 fine\r\n", "221 so long\r\n"}, ""},
		"no login":                {[]string{"220 a\r\n", "250 b\r\n", "535 5.7.8 PR-023 User name or password is wrong\r\n"}, `the server answered "535 5.7.8 PR-023 User name or password is wrong" where the device goes on after "235 2.7.0 Authentication succeeded" only`},
		"it asks for more":        {[]string{"220 a\r\n", "250 b\r\n", "334 \r\n"}, `the server answered "334 "`},
		"closed at the greeting":  {nil, `the server answered "(closed)" where the device goes on after "220 relay.test" only`},
		"closed within a reply":   {[]string{"220 a\r\n", "250-b\r\n250"}, "closed within a reply"},
		"silence":                 {[]string{"220 a\r\n", ""}, "no reply within"},
	} {
		t.Run(name, func(t *testing.T) {
			var out []string
			timeout := 10 * time.Second
			if strings.HasPrefix(tc.want, "no reply") {
				timeout = 100 * time.Millisecond
			}
			err := dialogue(t).Play(t.Context(), Options{
				Server: server(t, tc.replies...), Values: Values{From: "a@b.test", To: "c@d.test", User: "me", Password: "hunter2"}, Timeout: timeout,
				Print: func(s string) { out = append(out, s) },
			})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			text := strings.Join(out, "\n")
			if strings.Contains(text, "hunter2") || strings.Contains(text, "AG1lAGh1bnRlcjI=") || strings.Contains(text, "AUTH") && len(tc.replies) > 2 && !strings.Contains(text, "C: AUTH PLAIN ***") {
				t.Errorf("the transcript is\n%s", text)
			}
		})
	}
	if err := dialogue(t).Play(t.Context(), Options{Server: "127.0.0.1:1", Print: func(string) {}}); err == nil {
		t.Error("no server is there, and that is no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := dialogue(t).Play(ctx, Options{Server: server(t, "220 a\r\n"), Print: func(string) {}}); err == nil || errors.As(err, new(*Refused)) {
		t.Errorf("stopped: %v", err)
	}
}
