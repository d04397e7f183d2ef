// Package interop tries the relay with programs that none of its authors
// wrote: other people's mail clients before it, Debian's Postfix and Dovecot
// behind it. The relay is the binary that ships, run as an administrator runs
// it.
package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// binary is the relay under test, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pr")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "printer-relay")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "github.com/printerrelay/printer-relay")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the relay does not build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// relay is a running relay.
type relay struct {
	*env.Process
	dir     string // manifests/ and state/
	ports   map[string]int
	admin   string
	environ []string // "NAME=value", beside the test's own
}

// startRelay runs the relay on manifests, in which {{NAME}} becomes a free port
// for each of names, and waits until it is ready.
func startRelay(t *testing.T, manifests string, names ...string) *relay {
	t.Helper()
	return startRelayIn(t, nil, manifests, names...)
}

// startRelayIn is startRelay with an environment.
func startRelayIn(t *testing.T, environ []string, manifests string, names ...string) *relay {
	t.Helper()
	r := &relay{dir: t.TempDir(), environ: environ}
	for range 5 {
		r.ports = map[string]int{}
		text := manifests
		for _, name := range names {
			r.ports[name] = env.FreePort(t)
			text = strings.ReplaceAll(text, "{{"+name+"}}", fmt.Sprint(r.ports[name]))
		}
		r.admin = fmt.Sprintf("127.0.0.1:%d", env.FreePort(t))
		env.WriteFile(t, filepath.Join(r.dir, "manifests", "relay.yaml"), text)
		r.run(t)
		if r.Running() {
			return r
		}
		if !strings.Contains(r.Output(), "address already in use") { // somebody took the port
			break
		}
	}
	t.Fatalf("the relay does not start:\n%s", r.Output())
	return nil
}

// run starts the relay, again perhaps, on the folders and ports that it has.
func (r *relay) run(t *testing.T) {
	t.Helper()
	args := append(slices.Clone(r.environ), binary, "relay", "--manifests", filepath.Join(r.dir, "manifests"),
		"--state", filepath.Join(r.dir, "state"), "--bind", "127.0.0.1", "--admin", r.admin)
	r.Process = env.Start(t, r.dir, "env", args...)
	env.Eventually(t, "the relay is ready", r.Output, func() bool { return !r.Running() || ready(r.admin) })
}

func (r *relay) queue(t *testing.T, args ...string) string {
	t.Helper()
	return env.MustRun(t, "", binary, append([]string{"queue", "--admin", r.admin}, args...)...)
}

// secret is a manifest of a Secret; pairs are key, value, key, value...
func secret(name string, pairs ...string) string {
	s := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: " + name + "}\nstringData:\n"
	for i := 0; i < len(pairs); i += 2 {
		s += "  " + pairs[i] + ": |\n    " + strings.ReplaceAll(strings.TrimSpace(pairs[i+1]), "\n", "\n    ") + "\n"
	}
	return s
}

// tlsSecret is a Secret with the certificate and key in two files.
func tlsSecret(t *testing.T, name, certFile, keyFile string) string {
	t.Helper()
	cert, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return secret(name, "tls.crt", string(cert), "tls.key", string(key))
}

// scan is a file that no repair may touch.
type scan struct {
	file string
	sum  string // SHA-256
}

const scanName = "scan.pdf"

// newScan makes a file of random octets: a scan is compressed, and looks so.
func newScan(t *testing.T, size int) scan {
	t.Helper()
	b := make([]byte, size)
	rand.Read(b)
	s := scan{file: filepath.Join(t.TempDir(), scanName), sum: sum(b)}
	if err := os.WriteFile(s.file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// message writes a mail with the scan attached, for clients that send a file as
// it is, and returns the file's name. eol ends its lines.
func (s scan) message(t *testing.T, to, eol string) string {
	t.Helper()
	content, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	part, err := m.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {"application/pdf"},
		"Content-Transfer-Encoding": {"base64"},
		"Content-Disposition":       {`attachment; filename="` + scanName + `"`},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`.{1,76}`).FindAllString(base64.StdEncoding.EncodeToString(content), -1)
	fmt.Fprint(part, strings.Join(lines, "\r\n"))
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	text := "From: Floor 3 <" + sender + ">\r\nTo: <" + to + ">\r\nSubject: Scan from MFP\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: " + "multipart/mixed; boundary=" + m.Boundary() + "\r\n\r\n" + b.String()
	file := filepath.Join(t.TempDir(), "message.eml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "\r\n", eol)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// arrived fails the test unless the mail holds the scan, came from sender, and
// passed a relay that took it with the protocol (RFC 3848: ESMTP, ESMTPS,
// ESMTPA, ESMTPSA).
func (s scan) arrived(t *testing.T, m postfix.Message, protocol string) {
	t.Helper()
	content, err := m.Attachment(scanName)
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, m.Raw)
	}
	if got := sum(content); got != s.sum {
		t.Errorf("the scan has SHA-256 %s, sent was %s", got, s.sum)
	}
	if m.Sender != sender {
		t.Errorf("envelope sender %q, want %q", m.Sender, sender)
	}
	if want := "by relay.example.test (Printer Relay) with " + protocol + " id "; !received(m, want) {
		t.Errorf("no Received: with %q in %q", want, m.Header["Received"])
	}
}

func received(m postfix.Message, want string) bool {
	for _, field := range m.Header["Received"] {
		if strings.Contains(strings.Join(strings.Fields(field), " "), want) {
			return true
		}
	}
	return false
}
