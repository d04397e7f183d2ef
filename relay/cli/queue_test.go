package cli

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// office has two upstreams, suspended, so that what is due stays where it is.
const office = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: a}
  routes: [{name: second, recipientDomains: [second.example], upstreamRef: {name: b}}]
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 2525, tls: {mode: None}, authentication: {mode: Optional, plaintext: Allow, secretRef: {name: copier-logins}}}]
  delivery: {bounce: {to: Postmaster, postmaster: it@corp.example, from: relay@corp.example}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: a}
spec: {type: Maildir, maildir: {path: a}, suspend: true}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: b}
spec: {type: Maildir, maildir: {path: b}, suspend: true}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - {name: lan, match: {clientNetworks: [127.0.0.0/8, 10.20.0.0/16]}, action: Allow, recipients: {allowed: ["*@corp.example", "*@second.example"]}}
---
apiVersion: v1
kind: Secret
metadata: {name: copier-logins}
stringData: {mfp-1: swordfish}
`

// scripted answers by the recipient's local part.
type scripted struct{}

func (scripted) Deliver(_ context.Context, a queue.Attempt) []upstream.Outcome {
	out := make([]upstream.Outcome, len(a.Recipients))
	for i, to := range a.Recipients {
		switch to.Local {
		case "gone":
			out[i] = upstream.Outcome{Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: 550, Enhanced: "5.1.1", Text: "no such user"}
		case "ok":
			out[i] = upstream.Outcome{Kind: upstream.Accepted, Code: 250, Text: "ok"}
		default:
			out[i] = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeRecipient, Code: 450, Enhanced: "4.7.1", Text: "greylisted", Remote: "mx.test"}
		}
	}
	return out
}

func addr(t *testing.T, s string) envelope.Address {
	t.Helper()
	a, err := envelope.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// filled is a state folder that a relay left, with a message of each state.
func filled(t *testing.T, manifests string) string {
	t.Helper()
	state := t.TempDir()
	start(t, manifests, state).stop()
	sp, err := spool.Open(filepath.Join(state, "default", "office", "spool"), spool.Options{NoSyncFS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close() //nolint:errcheck // what is missing then, the test misses
	q := queue.New(sp, queue.Options{Deliver: scripted{}, Settings: queue.Settings{
		Relay: "default/office", Hostname: "relay.test",
		Routes:    []plan.Route{{RecipientDomains: []string{"second.example"}, Upstream: "b"}, {Upstream: "a"}},
		Upstreams: map[string]*plan.Upstream{"a": {Name: "a", Connections: 1}, "b": {Name: "b", Connections: 1}},
		Delivery:  plan.Delivery{RetryFirst: 10 * time.Hour, RetryMax: 10 * time.Hour, KeepFailed: 100 * time.Hour, Bounce: plan.Bounce{To: "None"}},
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- q.Run(ctx) }()
	now := time.Now()
	for _, m := range []*queue.Message{
		{ID: "1deferred", Arrived: now.Add(-2 * time.Hour), Origin: &queue.Origin{Client: queue.Client{Addr: netip.MustParseAddr("10.20.3.7"), User: "mfp-1"}, Sender: addr(t, "mfp@copier.test")}, Recipients: []queue.Recipient{{Address: addr(t, "grey@corp.example")}}},
		{ID: "2failed", Arrived: now.Add(-time.Hour), Origin: &queue.Origin{Client: queue.Client{Addr: netip.MustParseAddr("10.20.4.7")}, Sender: addr(t, "mfp@copier.test")}, Recipients: []queue.Recipient{{Address: addr(t, "gone@corp.example")}}},
		{ID: "3held", Arrived: now, Origin: &queue.Origin{Client: queue.Client{Addr: netip.MustParseAddr("10.20.4.8")}, Sender: addr(t, "two@copier.test")}, Held: "held by rule office/lan", Recipients: []queue.Recipient{{Address: addr(t, "a@corp.example")}}},
		{ID: "4paced", Arrived: now, NotBefore: now.Add(5 * time.Hour), Origin: &queue.Origin{Client: queue.Client{Addr: netip.MustParseAddr("10.20.5.1")}, Sender: addr(t, "two@copier.test")}, Recipients: []queue.Recipient{{Address: addr(t, "a@corp.example")}}},
		{ID: "5split", Arrived: now, Origin: &queue.Origin{Client: queue.Client{Addr: netip.MustParseAddr("10.20.5.1")}, Sender: addr(t, "three@copier.test"), Policy: "default/office", Rule: "lan"}, Recipients: []queue.Recipient{{Address: addr(t, "ok@corp.example")}, {Address: addr(t, "grey@second.example")}}},
		{ID: "6bounce", Arrived: now, Origin: &queue.Origin{}, DSNOf: "0gone", Recipients: []queue.Recipient{{Address: addr(t, "it@corp.example")}}},
	} {
		submit(t, sp, q, m)
	}
	eventually(t, "all were tried", func() bool {
		p, err := q.List(queue.Filter{State: queue.Pending})
		return err == nil && len(p.Messages) == 1 // the paced one
	})
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
	return state
}

func submit(t *testing.T, sp *spool.Spool, q *queue.Queue, m *queue.Message) {
	t.Helper()
	w, err := sp.Create(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	const head, body = "Subject: scan " + "\r\n\r\n", "page\r\n"
	if _, err := io.WriteString(w, head+body); err != nil {
		t.Fatal(err)
	}
	m.Size, m.HeaderSize, m.Relay = int64(len(head+body)), int64(len(head)), "default/office"
	if _, err := q.Submit(w, m); err != nil {
		t.Fatal(err)
	}
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// left is all that a folder's queue tells.
func left(t *testing.T, state string) string {
	t.Helper()
	list := command(t, "queue", "list", "--state", state)
	all := list.stderr + list.out
	messages, _, _ := strings.Cut(list.out, "\n\n") // behind them stands what failures mean
	for _, line := range strings.Split(messages, "\n")[1:] {
		if id, _, ok := strings.Cut(line, " "); ok {
			r := command(t, "queue", "show", id, "--state", state)
			all += r.stderr + r.out
		}
	}
	return timeless(all)
}

// TestQueueTellsAndDoesTheSameBothWays runs each command against a relay that
// runs and against the folder of one that does not, on the same mail.
func TestQueueTellsAndDoesTheSameBothWays(t *testing.T) {
	manifests := folder(t, "office.yaml", office)
	template := filled(t, manifests)
	untouched := left(t, template)
	for _, tc := range []struct {
		args    []string
		code    int
		want    []string // on stdout, or of a failure on stderr
		changes bool
	}{
		{args: []string{"list"}, want: []string{"1deferred", "2failed", "3held", "4paced", "5split", "6bounce", "550 5.1.1 no such user", `upstream "b" is suspended`}},
		{args: []string{"list", "--json"}, want: []string{`"state": "held"`, `"reason": "held by rule office/lan"`}},
		{args: []string{"list", "--status", "failed", "--json"}, want: []string{`"2failed"`}},
		{args: []string{"list", "--upstream", "b"}, want: []string{"5split"}},
		{args: []string{"list", "--sender", "<>"}, want: []string{"6bounce"}},
		{args: []string{"list", "--client", "10.20.4.0/24"}, want: []string{"2failed", "3held"}},
		{args: []string{"list", "--client", "mfp-1"}, want: []string{"1deferred"}},
		{args: []string{"list", "--older-than", "30m", "--status", "deferred"}, want: []string{"1deferred"}},
		{args: []string{"list", "--sender", "nobody@copier.test", "--json"}, want: []string{"[]"}},
		{args: []string{"list", "--status", "lost"}, code: 1, want: []string{`state "lost" does not exist`}},
		{args: []string{"list", "--client", "10.0.0.0/99"}, code: 1, want: []string{"is not a network"}},
		{args: []string{"show", "5split"}, want: []string{`"status": "accepted"`, `"status": "pending"`, `"450 4.7.1 greylisted (mx.test)"`}},
		{args: []string{"show", "nobody"}, code: 1, want: []string{"no message in the queue has this ID"}},
		{args: []string{"export", "3held"}, want: []string{"Subject: scan \r\n\r\npage\r\n"}},
		{args: []string{"export", "nobody"}, code: 1, want: []string{"no message in the queue has this ID"}},
		{args: []string{"retry", "2failed"}, want: []string{"2failed\n"}, changes: true},
		{args: []string{"retry", "--all", "--json"}, want: []string{`"changed"`, `"6bounce"`}, changes: true},
		{args: []string{"retry"}, code: 1, want: []string{"no message is selected", "--all"}},
		{args: []string{"retry", "2failed", "nobody"}, code: 1, want: []string{"nobody: no message"}},
		{args: []string{"hold", "--sender", "*@copier.test", "--reason", "looked at by hand"}, want: []string{"1deferred\n4paced\n5split\n"}, changes: true},
		{args: []string{"release", "--status", "held"}, want: []string{"3held\n"}, changes: true},
		{args: []string{"release", "1deferred"}}, // is not held
		{args: []string{"bounce", "1deferred", "--reason", "nobody waits for it"}, want: []string{"1deferred\n"}, changes: true},
		{args: []string{"bounce", "--all"}, want: []string{"1deferred\n3held\n4paced\n5split\n6bounce\n"}, changes: true},
		{args: []string{"reroute", "--upstream", "a", "--to", "b"}, want: []string{"1deferred\n"}, changes: true},
		{args: []string{"reroute", "--all", "--to", "nowhere"}, code: 1, want: []string{`upstream "nowhere" is not part of this relay`}},
		{args: []string{"remove", "2failed", "4paced"}, want: []string{"2failed\n4paced\n"}, changes: true},
		{args: []string{"remove", "--all", "--relay", "default/office"}, want: []string{"6bounce\n"}, changes: true},
		{args: []string{"remove", "--all", "--relay", "default/other"}, code: 1, want: []string{`"default/other"`, "default/office", "--relay"}},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			args := append([]string{"queue"}, tc.args...)
			onA, onB := copied(t, template), copied(t, template)
			r := start(t, manifests, onA)
			a := command(t, append(args, "--admin", r.admin)...)
			r.stop()
			b := command(t, append(args, "--state", onB)...)
			if a.code != tc.code || b.code != tc.code {
				t.Errorf("exit status %d by the admin port and %d by the folder, want %d\n%s%s", a.code, b.code, tc.code, a.stderr, b.stderr)
			}
			if timeless(a.out) != timeless(b.out) {
				t.Errorf("by the admin port\n%s\nby the folder\n%s", a.out, b.out)
			}
			what := a.out
			if tc.code != 0 {
				what = a.stderr
				if contains(t, "the folder's answer", b.stderr, tc.want...); !strings.Contains(b.stderr, onB) && a.stderr != b.stderr {
					t.Errorf("by the admin port\n%s\nby the folder\n%s", a.stderr, b.stderr)
				}
			}
			contains(t, "the answer", what, tc.want...)
			leftA, leftB := left(t, onA), left(t, onB)
			if leftA != leftB {
				t.Errorf("the admin port left\n%s\nthe folder has\n%s", leftA, leftB)
			}
			if (leftA != untouched) != tc.changes {
				t.Errorf("changed something: %t, want %t:\n%s", leftA != untouched, tc.changes, leftA)
			}
		})
	}
}

func TestWhatWasChangedInTheFolderCountsWhenTheRelayStarts(t *testing.T) {
	manifests := folder(t, "office.yaml", office)
	state := filled(t, manifests)
	command(t, "queue", "release", "3held", "--state", state)
	command(t, "queue", "remove", "1deferred", "--state", state)
	if r := command(t, "queue", "reroute", "--all", "--to", "b", "--state", state); r.code != 0 {
		t.Fatal(r.stderr)
	}
	if err := os.WriteFile(filepath.Join(manifests, "office.yaml"), []byte(strings.ReplaceAll(office, ", suspend: true", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, manifests, state)
	eventually(t, "rerouted mail in upstream b", func() bool {
		files, err := filepath.Glob(filepath.Join(state, "default", "office", "b", "new", "*"))
		return err == nil && len(files) == 4 // all but the removed one and the paced one
	})
	if files, err := filepath.Glob(filepath.Join(state, "default", "office", "a", "new", "*")); err != nil || len(files) > 0 {
		t.Errorf("mail in upstream a: %v %v", files, err)
	}
	r.stop()
}

func TestQueueListGolden(t *testing.T) {
	state := filled(t, folder(t, "office.yaml", office))
	golden(t, "list.golden", timeless(command(t, "queue", "list", "--state", state).out))
	golden(t, "list-json.golden", timeless(command(t, "queue", "list", "--json", "--state", state).out))
	golden(t, "show.golden", timeless(command(t, "queue", "show", "1deferred", "--state", state).out))
}

func TestQueueRefusesTheFolderOfARelayThatRuns(t *testing.T) {
	manifests, state := folder(t, "office.yaml", office), t.TempDir()
	r := start(t, manifests, state)
	got := command(t, "queue", "remove", "--all", "--state", state)
	if got.code != 1 {
		t.Errorf("exit status %d", got.code)
	}
	contains(t, "the refusal", got.stderr, "a relay that runs has "+state, "--admin", "stop it first")
	r.stop()
	if got := command(t, "queue", "remove", "--all", "--state", state); got.code != 0 {
		t.Errorf("once it has stopped: %s", got.stderr)
	}
}

func TestQueueFolderErrors(t *testing.T) {
	state := t.TempDir()
	refused := func(what string, want ...string) {
		t.Helper()
		r := command(t, "queue", "list", "--state", filepath.Join(state, what))
		if r.code != 1 {
			t.Errorf("exit status %d", r.code)
		}
		contains(t, "the answer", r.stderr, want...)
	}
	refused("nowhere", "no such file or directory")
	refused("", "holds the state of no relay", "relay --state")
	if _, err := os.Stat(filepath.Join(state, "nowhere")); err == nil {
		t.Error("asking made the folder")
	}
	manifests := folder(t, "office.yaml", office)
	start(t, manifests, state).stop()
	path := filepath.Join(state, "default", "office", "plan.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("", path, "start the relay once")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused("", path, "start the relay once")
	start(t, manifests, state).stop()
	if err := os.CopyFS(filepath.Join(state, "other", "second"), os.DirFS(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	refused("", "2 relays", "default/office, other/second", "--relay")
	if r := command(t, "queue", "list", "--state", state, "--relay", "other/second"); r.code != 0 {
		t.Errorf("with --relay: %s", r.stderr)
	}
}
