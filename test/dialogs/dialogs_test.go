// Package dialogs plays SMTP dialogues, as copiers and attackers hold them,
// against a whole relay and compares every reply, octet for octet. The files
// under testdata are for people to read and to add to; README.md there says how.
package dialogs

import (
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/simulate"
	"github.com/printerrelay/printer-relay/test/rig"
)

var update = flag.Bool("update", false, "write the replies that came into the files; read the difference")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDialogs(t *testing.T) {
	for _, folder := range []string{"testdata", "copiers"} {
		files, err := filepath.Glob(folder + "/*.txt")
		if err != nil || len(files) == 0 {
			t.Fatalf("no dialogues in %s: %v", folder, err)
		}
		for _, path := range files {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { play(t, path) })
		}
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
stringData: {mfp1: correct horse, scanner-on-the-second-floor: correct horse battery staple and more}
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

// dialogue is a file with what it says of the relay.
type dialogue struct {
	*simulate.Dialogue
	path     string
	lines    []string // of the file, as they are now
	messages int      // that must have arrived at the end
}

func load(t *testing.T, path string) *dialogue {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := simulate.Parse(path, string(b))
	if err != nil {
		t.Fatal(err)
	}
	d := &dialogue{Dialogue: parsed, path: path, lines: strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")}
	if n := d.Header["messages"]; len(n) != 1 {
		t.Fatalf("%s: no line `messages: N` says how many messages arrive", path)
	} else if d.messages, err = strconv.Atoi(n[0]); err != nil {
		t.Fatalf("%s: messages: %v", path, err)
	}
	if last := d.Steps[len(d.Steps)-1]; last.Kind != simulate.Expect || last.Text != simulate.Closed {
		t.Fatalf("%s: ends with %q, not with `S: %s`: a reply that nobody waits for would pass unseen", path, last.Text, simulate.Closed)
	}
	return d
}

// yaml are the lines that the header adds at a place, indented.
func (d *dialogue) yaml(key, indent string) string {
	var out []string
	for _, line := range d.Header[key] {
		out = append(out, indent+line)
	}
	return strings.Join(out, "\n")
}

func play(t *testing.T, path string) {
	d := load(t, path)
	folder := t.TempDir()
	r, err := d.hold(t, folder)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(d.lines, "\n")+"\n"), 0o644); err != nil { //nolint:gosec // it is read by everybody
			t.Fatal(err)
		}
	}
	d.arrived(t, r, folder)
}

// hold holds the dialogue with a relay of its own, up to the first reply that is
// another than the file's.
func (d *dialogue) hold(t *testing.T, folder string) (*rig.Relay, error) {
	t.Helper()
	manifests := manifests
	for line, key := range map[string]string{
		"    tls: {mode: StartTLS}\n": "listener", "    senders: {allowed: [\"*@copier.example\"]}\n": "rule", "    match: {clientNetworks: [127.0.0.0/8]}\n": "rule",
	} {
		field, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if slices.ContainsFunc(d.Header[key], func(s string) bool { return strings.HasPrefix(s, field+":") }) {
			manifests = strings.Replace(manifests, line, "", 1) // the file has its own
		}
	}
	r := rig.Start(t, strings.NewReplacer("RELAY", d.yaml("relay", "  "), "LISTENER", d.yaml("listener", "    "), "RULE", d.yaml("rule", "    "), "FOLDER", folder).Replace(manifests))
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port), rig.Wait)
	if err != nil {
		t.Fatal(err)
	}
	p := &simulate.Player{Timeout: rig.Wait, Values: simulate.Values{From: "mfp@copier.example", To: "it@corp.example", User: "mfp1", Password: "correct horse"}}
	for _, login := range d.Header["login"] {
		p.Values.User, p.Values.Password, _ = strings.Cut(login, ":")
	}
	p.Start(conn)
	defer p.Close()
	for _, s := range d.Steps {
		if err := d.step(t, p, s); err != nil {
			return r, fmt.Errorf("%s:%d: %w", d.path, s.Line, err)
		}
	}
	return r, nil
}

func (d *dialogue) step(t *testing.T, p *simulate.Player, s simulate.Step) error {
	t.Helper()
	if s.Kind != simulate.Expect {
		return p.Do(t.Context(), s, &d.TLS)
	}
	got, err := p.Read()
	if err != nil {
		return fmt.Errorf("%w; so far %q", err, got)
	}
	got = ids.ReplaceAllString(got, "${1}<ID>")
	if *update {
		d.lines[s.Line-1] = "S: " + got
	} else if got != s.Text {
		return fmt.Errorf("got  %q\nwant %q", got, s.Text)
	}
	return nil
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
	for key, want := range map[string]bool{"contains": true, "lacks": false} {
		for _, quoted := range d.Header[key] {
			text, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %s: want a quoted string: %v", d.path, key, err)
			}
			if strings.Contains(string(b), text) != want {
				t.Errorf("the message %s %q? want %v:\n%s", key, text, want, b)
			}
		}
	}
}

// ids are the parts of replies that differ from run to run.
var ids = regexp.MustCompile(`((?:Queued|Relayed) as |^334 )(?:[0-9A-Za-z]{14,}|[0-9A-Za-z+/=]{20,})|<[0-9]+\.[0-9]+@relay\.test>`)
