// Package dialogs plays SMTP dialogues, as copiers and attackers hold them,
// against a whole relay and compares every reply, octet for octet. The files
// under testdata are for people to read and to add to; README.md there says how.
package dialogs

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/test/rig"
)

var update = flag.Bool("update", false, "write the replies that came into the files; read the difference")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { play(t, path) })
	}
}

// manifests are those of every dialogue; the file's header adds to listener
// and rule.
const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: folder}
  senderPolicyRefs: [{name: office}]
  addresses: {defaultDomain: corp.example}
RELAY
  listeners:
  - name: smtp
    port: {{PORT}}
    tls: {mode: StartTLS}
LISTENER
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec: {type: Maildir, maildir: {path: FOLDER}}
---
apiVersion: v1
kind: Secret
metadata: {name: logins}
stringData: {mfp1: correct horse}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@corp.example"], maximum: 3}
RULE
`

// dialogue is a parsed file.
type dialogue struct {
	relay, listener, rule []string // further lines of YAML
	lines                 []string // of the dialogue, with comments
	messages              int      // that must have arrived at the end
	contains              []string // what the last one must hold
	lacks                 []string
}

func parse(t *testing.T, path string) *dialogue {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := &dialogue{messages: -1}
	for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "relay":
			d.relay = append(d.relay, "  "+value)
		case "listener":
			d.listener = append(d.listener, "    "+value)
		case "rule":
			d.rule = append(d.rule, "    "+value)
		case "messages":
			if d.messages, err = strconv.Atoi(value); err != nil {
				t.Fatalf("%s:%d: %v", path, i+1, err)
			}
		case "contains", "lacks":
			text, err := strconv.Unquote(value)
			if err != nil {
				t.Fatalf("%s:%d: want a quoted string: %v", path, i+1, err)
			}
			if key == "contains" {
				d.contains = append(d.contains, text)
			} else {
				d.lacks = append(d.lacks, text)
			}
		}
		d.lines = append(d.lines, line)
	}
	if d.messages < 0 {
		t.Fatalf("%s: no line `messages: N` says how many messages arrive", path)
	}
	if last := d.lines[len(d.lines)-1]; last != "S: "+closed {
		t.Fatalf("%s: ends with %q, not with `S: %s`: a reply that nobody waits for would pass unseen", path, last, closed)
	}
	return d
}

func play(t *testing.T, path string) {
	d := parse(t, path)
	folder := t.TempDir()
	r := rig.Start(t, strings.NewReplacer("RELAY", strings.Join(d.relay, "\n"), "LISTENER", strings.Join(d.listener, "\n"), "RULE", strings.Join(d.rule, "\n"), "FOLDER", folder).Replace(manifests))
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port), rig.Wait)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{t: t, socket: conn.(*net.TCPConn), conn: conn, r: bufio.NewReader(conn)}
	defer func() { p.conn.Close() }()
	for i := 0; i < len(d.lines); i++ {
		d.lines[i] = p.step(fmt.Sprintf("%s:%d", path, i+1), d.lines[i])
	}
	p.conn.Close()
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(d.lines, "\n")+"\n"), 0o644); err != nil { //nolint:gosec // it is read by everybody
			t.Fatal(err)
		}
	}
	d.arrived(t, r, folder)
}

// arrived compares what came in with what the file says.
func (d *dialogue) arrived(t *testing.T, r *rig.Relay, folder string) {
	t.Helper()
	var files []string
	r.Eventually("the queue is empty", func() bool {
		_, body := r.Get("/state")
		return strings.Contains(body, `"entries": 0`)
	})
	files, err := filepath.Glob(folder + "/new/*")
	if err != nil || len(files) != d.messages {
		t.Fatalf("%d messages arrived (%v), want %d\n%s", len(files), err, d.messages, r.Log)
	}
	if len(files) == 0 {
		return
	}
	b, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range d.contains {
		if !strings.Contains(string(b), want) {
			t.Errorf("the message lacks %q:\n%s", want, b)
		}
	}
	for _, not := range d.lacks {
		if strings.Contains(string(b), not) {
			t.Errorf("the message holds %q:\n%s", not, b)
		}
	}
}

// player is the client's side of one connection.
type player struct {
	t      *testing.T
	socket *net.TCPConn
	conn   net.Conn // socket, or TLS on it
	r      *bufio.Reader
}

// step plays one line and gives it as it is now.
func (p *player) step(at, line string) string {
	p.t.Helper()
	kind, text, _ := strings.Cut(line, ": ")
	switch kind {
	case "C":
		p.send(at, text+"\r\n")
	case "C+":
		raw, err := strconv.Unquote(text)
		if err != nil {
			p.t.Fatalf("%s: want a quoted string: %v", at, err)
		}
		p.send(at, raw)
	case "C1":
		for i := range len(text) + 2 {
			p.send(at, (text + "\r\n")[i:i+1])
		}
	case "EOF":
		if err := p.socket.CloseWrite(); err != nil {
			p.t.Fatalf("%s: %v", at, err)
		}
	case "S":
		got := p.read(at)
		if *update {
			return "S: " + ids.ReplaceAllString(got, "${1}<ID>")
		}
		if !matches(text, got) {
			p.t.Fatalf("%s: got  %q\nwant %q", at, got, text)
		}
	case "TLS":
		p.conn = tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the relay's own certificate is self-signed
		p.r.Reset(p.conn)
	case "", "relay", "listener", "rule", "messages", "contains", "lacks":
	default:
		if !strings.HasPrefix(line, "#") {
			p.t.Fatalf("%s: a line begins with C:, C+:, C1:, S:, EOF, TLS, # or a key of the header: %q", at, line)
		}
	}
	return line
}

func (p *player) send(at, s string) {
	if _, err := p.conn.Write([]byte(s)); err != nil {
		p.t.Fatalf("%s: %v", at, err)
	}
}

const closed = "(closed)"

// read gives one line of a reply, or that the relay has closed the connection:
// silence is something else.
func (p *player) read(at string) string {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(rig.Wait)); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.r.ReadString('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.t.Fatalf("%s: no reply within %s; so far %q", at, rig.Wait, line)
	case err != nil && line != "":
		p.t.Fatalf("%s: closed within a reply: %q", at, line)
	case err != nil:
		return closed
	}
	return strings.TrimSuffix(line, "\r\n")
}

// ids are the parts of replies that differ from run to run.
var ids = regexp.MustCompile(`((?:Queued|Relayed) as )[0-9A-Za-z]+|<[0-9]+\.[0-9]+@relay\.test>`)

func matches(want, got string) bool {
	return want == ids.ReplaceAllString(got, "${1}<ID>")
}
