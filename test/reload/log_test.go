package reload

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

const (
	devicePassword   = "swordfish-of-the-copier"
	hashedPassword   = "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy" // of another login; the hash is a secret too
	wrongPassword    = "tried-by-mistake"
	upstreamPassword = "narwhal-of-the-provider"
)

// provider is a mail server that asks for a password and accepts all mail, or
// refuses every login.
type provider struct {
	port   int
	ca     string
	mu     sync.Mutex
	refuse bool
}

func startProvider(t *testing.T) *provider {
	t.Helper()
	ca := env.NewCA(t, t.TempDir())
	cert, err := tls.LoadX509KeyPair(ca.Issue(t, "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{ca: ca.PEM, port: l.Addr().(*net.TCPAddr).Port}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() { p.serve(c); c.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return p
}

func (p *provider) serve(c net.Conn) {
	say := func(s string) { fmt.Fprint(c, s+"\r\n") }
	say("220 provider.test ESMTP")
	data := false
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		verb := strings.ToUpper(strings.Fields(line + " ?")[0])
		switch {
		case data && line == ".":
			data = false
			say("250 2.0.0 taken as P-1")
		case data:
		case verb == "EHLO":
			say("250-provider.test\r\n250-AUTH PLAIN\r\n250 8BITMIME")
		case verb == "AUTH":
			p.mu.Lock()
			refuse := p.refuse || !strings.HasSuffix(line, base64.StdEncoding.EncodeToString([]byte("\x00scans\x00"+upstreamPassword)))
			p.mu.Unlock()
			if refuse {
				say("535 5.7.8 bad credentials")
			} else {
				say("235 2.7.0 welcome")
			}
		case verb == "DATA":
			data = true
			say("354 go on")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 2.1.0 ok")
		}
	}
}

func (p *provider) set(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

func (p *provider) yaml() string {
	return fmt.Sprintf(`---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out}
spec:
  type: SMTP
  smtp: {host: 127.0.0.1, port: %d, tls: {mode: Implicit, caSecretRef: {name: provider}}, authentication: {mechanism: Plain, secretRef: {name: provider}}}
---
apiVersion: v1
kind: Secret
metadata: {name: provider}
stringData:
  username: scans
  password: %s
  ca.crt: %q
`, p.port, upstreamPassword, p.ca)
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// outcomes are the log lines about what became of a message.
func outcomes(log, id string) []string {
	var out []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, id) && (strings.Contains(line, "msg=outcome") || strings.Contains(line, `"msg":"outcome"`)) {
			out = append(out, line)
		}
	}
	return out
}

// TestLogLines: the outcome of a message is one line that a person and a
// program can read; and nowhere is a secret.
func TestLogLines(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			up := startProvider(t)
			s := setup{password: devicePassword + `\nother:` + hashedPassword, upstreams: []string{up.yaml()}}
			s.listeners = "" // one is enough
			yaml := strings.Replace(s.yaml(), "mechanisms: [Plain]", "mechanisms: [Plain, Login, CRAMMD5]", 1)
			r := rig.Start(t, yaml)
			r.Stop()
			t.Setenv(asRelay, "yes")
			p := env.Start(t, t.TempDir(), os.Args[0], "relay", "--manifests", r.Manifests, "--state", r.State, "--bind", "127.0.0.1", "--admin", r.Admin,
				"--log-format", format, "--log-level", "debug")
			r.Eventually("the process is ready", func() bool { code, _ := r.Get("/readyz"); return code == 200 })

			c := r.Dial()
			var said strings.Builder
			talk := func(want, line string) {
				t.Helper()
				said.WriteString(c.Want(want, "%s", line) + "\n")
			}
			talk("250", "EHLO copier.test")
			talk("535 5.7.8", "AUTH PLAIN "+plain("mfp", wrongPassword))
			talk("535 5.7.8", "AUTH PLAIN "+plain("other", wrongPassword))
			talk("334", "AUTH LOGIN")
			talk("334", base64.StdEncoding.EncodeToString([]byte("mfp")))
			talk("235", base64.StdEncoding.EncodeToString([]byte(devicePassword)))
			talk("250", "MAIL FROM:<mfp@copier.test>")
			talk("250", "RCPT TO:<a@corp.example>")
			talk("250", "RCPT TO:<b@corp.example>")
			talk("354", "DATA")
			c.Write(scan("mfp@copier.test") + "\r\n.\r\n")
			reply := c.Reply()
			id := rig.QueueID(t, reply)
			r.Eventually("an outcome in the log", func() bool { return len(outcomes(p.Output(), id)) > 0 })
			r.Eventually("an empty queue", func() bool { _, b := r.Get("/queue"); return strings.Contains(b, `"messages": []`) })
			lines := outcomes(p.Output(), id)
			if len(lines) != 1 {
				t.Errorf("%d lines, want one:\n%s", len(lines), strings.Join(lines, ""))
			}
			checkOutcome(t, format, lines[0], id)
			talk("221", "QUIT")
			transcripts := map[string]string{"/sessions/127.0.0.1": "", "/sessions/127.0.0.1?format=text": ""}
			for path := range transcripts {
				r.Eventually("the session with the wrong passwords is kept", func() (ok bool) {
					code, body := r.Get(path)
					transcripts[path] = body
					return code == 200 && strings.Contains(body, "535 5.7.8")
				})
			}

			// The provider takes the password back: what waits says why. A new
			// start has no connection that is logged in.
			up.set(true)
			p.Stop()
			q := env.Start(t, t.TempDir(), os.Args[0], "relay", "--manifests", r.Manifests, "--state", r.State, "--bind", "127.0.0.1", "--admin", r.Admin,
				"--log-format", format, "--log-level", "debug")
			r.Eventually("the process is ready", func() bool { code, _ := r.Get("/readyz"); return code == 200 })
			id = rig.QueueID(t, send(r.Dial()))
			r.Eventually("an outcome in the log", func() bool { return len(outcomes(q.Output(), id)) > 0 })
			line := outcomes(q.Output(), id)[0]
			for _, want := range []string{"Deferred", "535 5.7.8 bad credentials"} {
				if !strings.Contains(line, want) {
					t.Errorf("the line lacks %q: %s", want, line)
				}
			}
			everything := map[string]string{"log": p.Output() + q.Output(), "replies": said.String() + reply, "state folder": files(t, r.State)}
			maps.Copy(everything, transcripts)
			for _, path := range []string{"/state", "/metrics", "/readyz", "/queue", "/queue/" + id, "/queue/" + id + "/export", "/sessions"} {
				code, body := r.Get(path)
				if code != 200 {
					t.Errorf("%s: %d", path, code)
				}
				everything[path] = body
			}
			for where, text := range everything {
				if len(text) == 0 {
					t.Errorf("%s: nothing to look at", where)
				}
				for _, secret := range []string{devicePassword, hashedPassword, wrongPassword, upstreamPassword} {
					for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret)), plain("mfp", secret), plain("other", secret), plain("scans", secret)} {
						if strings.Contains(text, form) {
							t.Errorf("%s holds a secret (%s)", where, secret)
						}
					}
				}
			}
		})
	}
}

// files are all files below dir, one after the other.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// checkOutcome looks for what the line of an accepted message has to say.
func checkOutcome(t *testing.T, format, line, id string) {
	t.Helper()
	want := map[string]string{
		"msg": "outcome", "relay": "default/office", "id": id, "outcome": "Accepted", "client": "127.0.0.1", "user": "mfp", "sender": "mfp@copier.test",
		"recipients": "2", "rule": "office/lan", "upstream": "out", "attempt": "1",
	}
	got := map[string]string{}
	if format == "json" {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		for k, x := range v {
			got[k] = fmt.Sprint(x)
		}
	} else {
		for _, m := range regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*"|\S*)`).FindAllStringSubmatch(line, -1) {
			got[m[1]] = strings.Trim(m[2], `"`)
		}
	}
	for k, w := range want {
		if got[k] != w {
			t.Errorf("%s is %q, want %q, in %s", k, got[k], w, line)
		}
	}
	if !strings.HasPrefix(got["reply"], "250 2.0.0 taken as P-1") {
		t.Errorf("reply %q", got["reply"])
	}
	if got["duration"] == "" || strings.HasPrefix(got["duration"], "0") || got["time"] == "" {
		t.Errorf("duration %q, time %q", got["duration"], got["time"])
	}
}
