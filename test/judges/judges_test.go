// Package judges has the relay judged by programs that others wrote to judge
// mail servers, and used by other people's mail servers as their smarthost. Each
// judge has a control: a server that it must find fault with.
package judges

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a relay as sites have them: one rule names this machine, for some
// senders and recipients.
func office(t *testing.T, u *rig.Upstream, listener string) *rig.Relay {
	return rig.Start(t, officeYAML(listener)+u.YAML("out", ""))
}

func officeYAML(listener string) string {
	return fmt.Sprintf(`apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: {{PORT}}, %s}]
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@corp.example"]}
`, listener)
}

// anybody is go-smtp's server, open to everybody.
type anybody struct{}

func (anybody) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return anybody{}, nil }
func (anybody) Mail(string, *gosmtp.MailOptions) error          { return nil }
func (anybody) Rcpt(string, *gosmtp.RcptOptions) error          { return nil }
func (anybody) Reset()                                          {}
func (anybody) Logout() error                                   { return nil }
func (anybody) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func openRelay(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := gosmtp.NewServer(anybody{})
	srv.Domain, srv.ErrorLog = "open.test", log.New(io.Discard, "", 0)
	env.Serve(t, srv, l)
	return l.Addr().(*net.TCPAddr).Port
}

// nmap's smtp-open-relay tries the sixteen forms of addresses by which servers
// have been talked into relaying.
func TestNmapFindsNoOpenRelay(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	for _, listener := range []string{"tls: {mode: None}", "tls: {mode: None}, compatibility: {commandSyntax: Lenient}", "tls: {mode: StartTLS, profile: Legacy}, compatibility: {commandSyntax: Lenient, lineEndings: BareLF}"} {
		r := office(t, u, listener)
		if out := nmap(t, r.Port); !strings.Contains(out, "doesn't seem to be an open relay, all tests failed") {
			t.Errorf("{%s}:\n%s", listener, out)
		}
	}
	if out := nmap(t, openRelay(t)); !strings.Contains(out, "Server is an open relay") {
		t.Errorf("the judge does not see an open relay:\n%s", out)
	}
	if n := len(u.Messages()); n != 0 {
		t.Errorf("%d messages went out", n)
	}
}

func nmap(t *testing.T, port int) string {
	t.Helper()
	return env.MustRun(t, "", "nmap", "-n", "-Pn", "-sT", "-p", strconv.Itoa(port), "--script", "+smtp-open-relay", "127.0.0.1")
}

// finding is one of testssl.sh.
type finding struct{ ID, Severity, Finding string }

// testsslTime is far above what a look at one listener takes.
const testsslTime = 15 * time.Minute

// testssl.sh judges each TLS profile. What is left to say of Legacy is why it is
// off by default: old protocols and ciphers; no known attack works on either.
func TestTestssl(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	for profile, tolerated := range map[string]string{
		"Modern":       "",
		"Intermediate": "",
		// Old protocols, CBC and 3DES as such, and RSA key exchange.
		"Legacy": " TLS1 TLS1_1 cipherlist_3DES_IDEA cipherlist_AVERAGE cipherlist_OBSOLETED ",
	} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			r := office(t, u, "tls: {mode: StartTLS, profile: "+profile+"}")
			out := filepath.Join(t.TempDir(), "findings.json")
			ctx, cancel := context.WithTimeout(t.Context(), testsslTime)
			defer cancel()
			report, err := exec.CommandContext(ctx, "testssl", "--starttls", "smtp", "--protocols", "--std", "--heartbleed", "--ccs", "--ticketbleed", "--robot",
				"--renegotiation", "--compression", "--poodle", "--tls-fallback", "--freak", "--logjam", "--drown", "--quiet", "--color", "0", "--warnings", "batch",
				"--nodns", "none", "--openssl-timeout", "20", "--jsonfile", out, fmt.Sprintf("127.0.0.1:%d", r.Port)).CombinedOutput()
			b, readErr := os.ReadFile(out)
			if readErr != nil || ctx.Err() != nil { // its status is the number of findings
				t.Fatalf("%v, %v\n%s", err, readErr, report)
			}
			var all []finding
			if err := json.Unmarshal(b, &all); err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
			seen := map[string]finding{}
			for _, f := range all {
				seen[f.ID] = f
				switch f.Severity {
				case "OK", "INFO", "LOW", "WARN", "DEBUG":
				default:
					if !strings.Contains(tolerated, " "+f.ID+" ") {
						t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
					}
				}
			}
			for _, id := range []string{"SSLv2", "SSLv3", "TLS1", "TLS1_2", "TLS1_3", "heartbleed", "CCS", "ROBOT", "secure_client_renego", "CRIME_TLS"} {
				if seen[id].Finding == "" {
					t.Errorf("the judge says nothing of %s\n%s", id, report)
				}
			}
			if offered, legacy := !strings.HasPrefix(seen["TLS1"].Finding, "not offered"), profile == "Legacy"; offered != legacy {
				t.Errorf("TLS 1.0: %s", seen["TLS1"].Finding)
			}
		})
	}
}

// unpacked is a program of a Debian package that hack/test-deps.sh unpacks.
func unpacked(t *testing.T, pkg, path string) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "printer-relay", "debian", pkg, path)
}

const mail = "From: mfp@copier.example\nTo: it@corp.example\nSubject: Scan\n\n.one page\n..\nend\n"

// came checks what other people's clients hand over.
func came(t *testing.T, r *rig.Relay, u *rig.Upstream) {
	t.Helper()
	r.Eventually("a message at the upstream", func() bool { return len(u.Messages()) > 0 })
	m := u.Messages()[0]
	if m.From != "mfp@copier.example" || fmt.Sprint(m.To) != "[it@corp.example]" || !strings.HasSuffix(m.Data, "\r\n\r\n.one page\r\n..\r\nend\r\n") {
		t.Errorf("%s -> %s:\n%s", m.From, m.To, m.Data)
	}
}

func TestOpenSMTPDsClient(t *testing.T) {
	for name, tc := range map[string]struct{ listener, url string }{
		"clear":    {"tls: {mode: None}", "smtp+notls"},
		"StartTLS": {"tls: {mode: StartTLS}", "smtp+tls"},
		"Implicit": {"tls: {mode: Implicit}", "smtps"},
	} {
		t.Run(name, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			r := office(t, u, tc.listener)
			out, err := env.Run(t, mail, unpacked(t, "opensmtpd", "usr/bin/smtp"), "-C", "-H", "copier", "-F", "mfp@copier.example", "-s", fmt.Sprintf("%s://127.0.0.1:%d", tc.url, r.Port), "it@corp.example")
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			came(t, r, u)
			if out, err := env.Run(t, mail, unpacked(t, "opensmtpd", "usr/bin/smtp"), "-C", "-H", "copier", "-F", "md@corp.example", "-s", fmt.Sprintf("%s://127.0.0.1:%d", tc.url, r.Port), "it@corp.example"); !strings.Contains(out, "MAIL: 550 5.7.1 PR-031") {
				t.Errorf("a sender that is not allowed: %v\n%s", err, out)
			}
		})
	}
}

// eximConf sends everything to the relay.
const eximConf = `spool_directory = %[1]s/spool
log_file_path = %[1]s/%%slog
exim_user = Debian-exim
exim_group = Debian-exim
exim_path = %[5]s
keep_environment =
primary_hostname = exim.test
queue_run_in_order
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = relay
begin transports
relay:
  driver = smtp
  port = %[2]d
  allow_localhost
  hosts_require_tls = %[3]s
  hosts_avoid_tls = %[4]s
  tls_verify_certificates =
  hosts_try_dane =
  hosts_try_chunking = *
begin retry
* * F,1h,1m
`

const eximUser = 65533

func TestEximsClient(t *testing.T) {
	env.NeedRoot(t)
	for name, tc := range map[string]struct{ listener, require, avoid string }{
		"clear":    {"tls: {mode: None}", "", "*"},
		"StartTLS": {"tls: {mode: StartTLS}", "*", ""},
	} {
		t.Run(name, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			r := office(t, u, tc.listener)
			dir := env.SharedDir(t)
			exim := filepath.Join(dir, "exim4") // where its own user may run it
			env.MustRun(t, "", "install", "-m", "755", unpacked(t, "exim4-daemon-light", "usr/sbin/exim4"), exim)
			if err := os.Chown(dir, eximUser, eximUser); err != nil {
				t.Fatal(err)
			}
			conf := filepath.Join(dir, "exim.conf")
			for name, entry := range map[string]string{"passwd": fmt.Sprintf("Debian-exim:x:%[1]d:%[1]d::/:/bin/false\n", eximUser), "group": fmt.Sprintf("Debian-exim:x:%d:\n", eximUser)} {
				have, err := os.ReadFile("/etc/" + name)
				if err != nil {
					t.Fatal(err)
				}
				env.WriteFile(t, filepath.Join(dir, name), string(have)+entry)
			}
			env.WriteFile(t, conf, fmt.Sprintf(eximConf, dir, r.Port, tc.require, tc.avoid, exim))
			send := func(from string) string {
				// It asks for the user of its package before it reads its configuration.
				out, err := env.Run(t, mail, "unshare", "--mount", "sh", "-euc", `mount --bind "$0/passwd" /etc/passwd; mount --bind "$0/group" /etc/group; exec "$@"`, dir,
					exim, "-C", conf, "-odi", "-f", from, "it@corp.example")
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				b, err := os.ReadFile(filepath.Join(dir, "mainlog"))
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				return string(b)
			}
			if l := send("mfp@copier.example"); !strings.Contains(l, `C="250 2.0.0 Queued as `) {
				t.Fatalf("exim's log:\n%s", l)
			}
			came(t, r, u)
			if l := send("md@corp.example"); !strings.Contains(l, "550 5.7.1 PR-031") {
				t.Errorf("a sender that is not allowed:\n%s", l)
			}
		})
	}
}
