package cli

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/inventory"
)

const trialPolicy = `apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: trial}
spec:
  enforcement: DryRun
  rules:
  - {name: narrow, match: {clientNetworks: [127.0.0.0/8]}, senders: {allowed: ["mfp@copier.test"]}, recipients: {allowed: ["b@corp.example", "c@elsewhere.example"]}}
`

// TestCopiers: real sessions with a relay that runs, what is known of them by all
// commands, a restart, and the folder of a relay that does not run.
func TestCopiers(t *testing.T) {
	state := t.TempDir()
	manifests := folder(t, "office.yaml", strings.Replace(office, "senderPolicyRefs: [{name: office}]", "senderPolicyRefs: [{name: trial}, {name: office}]", 1), "trial.yaml", trialPolicy)
	r := start(t, manifests, state)
	where := []string{"--admin", r.admin}
	asks := func(args ...string) result {
		return command(t, append(append([]string{"copiers"}, args...), where...)...)
	}
	contains(t, "nobody yet", asks().out, "no such device is known")
	all := func(args ...string) (out []inventory.Copier) {
		t.Helper()
		got := asks(append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(got.out), &out); err != nil {
			t.Fatalf("%v: %d %s%s", err, got.code, got.out, got.stderr)
		}
		return out
	}

	// A device that is refused is known: address, name, TLS, sender, recipient domain, and why.
	says(t, r, "EHLO floor\x1b[2J3", "EHLO floor3", "MAIL FROM:<mfp@copier.test>", "RCPT TO:<a@Elsewhere.example>")
	eventually(t, "the device is known", func() bool { d := all("--refused"); return len(d) == 1 && d[0].Name() == "floor3" })
	d := all()[0]
	if d.Device != "127.0.0.1" || !d.Known || !d.Legacy() || d.Accepted != 0 || d.LastRefusal.Code != "PR-032" || d.LastRefusal.RecipientDomain != "elsewhere.example" ||
		*d.LastRefusal.Sender != "mfp@copier.test" || d.LastRefusal.Session == "" || d.LastScan != nil || d.Listeners[0] != "smtp" {
		t.Errorf("%+v %+v", d, d.LastRefusal)
	}
	contains(t, "list", asks().out, "DEVICE", "127.0.0.1", "floor3", "never", "PR-032")
	contains(t, "show", asks("show", "127.0.0.1").out, "RCPT from <mfp@copier.test> to somebody at elsewhere.example", "rule office/lan", "printer-relay sessions show "+d.LastRefusal.Session)
	if len(all("--network", "10.0.0.0/8")) != 0 || len(all("--network", "127.0.0.0/8", "--legacy", "--since", "1h", "--name", "floor3")) != 1 {
		t.Error("the selectors choose another")
	}

	// A scan that is accepted, which the policy in DryRun would refuse.
	says(t, r, "EHLO floor3", "MAIL FROM:<mfp@copier.test>", "RCPT TO:<a@corp.example>", "DATA", "From: mfp@copier.test\r\nSubject: scan\r\n\r\nx\r\n.", "QUIT")
	eventually(t, "the scan is known", func() bool { d := all(); return d[0].Accepted == 1 && !d[0].Refusing() })
	for named, want := range map[bool]bool{true: true, false: false} { // in the relay's namespace, where it is said which relay
		args := append([]string{"suggest"}, where...)
		if named {
			args = append(args, "--relay", "default/office")
		}
		if got := command(t, args...); got.code != 0 || strings.Contains(got.out, `  namespace: "default"`) != want {
			t.Errorf("suggest: %d %s%s", got.code, got.out, got.stderr)
		}
	}
	d = all()[0]
	if len(d.DryRun) != 1 || d.DryRun[0].Rule != "narrow" || d.DryRun[0].Now != inventory.Accept || d.DryRun[0].Would != inventory.Refuse || d.DryRun[0].Count != 1 || !strings.Contains(d.DryRun[0].Reply, "PR-032") {
		t.Errorf("%+v", d.DryRun)
	}
	contains(t, "dry run", asks("--dry-run").out, "trial/narrow: Refuse in place of Accept (1)")
	contains(t, "a scan behind a refusal", asks().out, "(before its last scan) 550")

	// And the other way round: refused now, and accepted by the policy in DryRun.
	says(t, r, "EHLO floor3", "MAIL FROM:<mfp@copier.test>", "RCPT TO:<c@elsewhere.example>", "QUIT")
	eventually(t, "the opposite is known", func() bool { return len(all()[0].DryRun) == 2 })
	if o := all()[0].DryRun[0]; o.Now != inventory.Refuse || o.Would != inventory.Accept {
		t.Errorf("%+v", o)
	}

	// CSV, wide, mistakes.
	rows, err := csv.NewReader(strings.NewReader(asks("-o", "csv").out)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != "127.0.0.1" {
		t.Errorf("%v %q", err, rows)
	}
	contains(t, "wide", asks("list", "-o", "wide").out, "RECIPIENT DOMAINS", "elsewhere.example,corp.example")
	for _, args := range [][]string{{"-o", "xml"}, {"--network", "x"}, {"--since", "yesterday"}, {"show", "x"}, {"lisd"}} {
		if got := asks(args...); got.code != 2 {
			t.Errorf("%q: exit status %d, %s", args, got.code, got.stderr)
		}
	}
	if got := asks("show", "10.1.1.1"); got.code != 1 || !strings.Contains(got.stderr, "no such device is known") {
		t.Errorf("%d %s", got.code, got.stderr)
	}

	// A restart keeps it all; so does the folder.
	before := asks("-o", "csv").out
	r.stop()
	stopped := command(t, "copiers", "--state", state, "-o", "csv")
	r = start(t, manifests, state)
	where = []string{"--admin", r.admin}
	if got := asks("-o", "csv").out; got != before || stopped.out != before {
		t.Errorf("%s\nwas\n%s\nin the folder\n%s%s", got, before, stopped.out, stopped.stderr)
	}
	if got := command(t, "copiers", "forget", "127.0.0.1", "--state", state); got.code != 1 || !strings.Contains(got.stderr, "--admin in place of --state") {
		t.Errorf("a relay that runs: %d %s", got.code, got.stderr)
	}
	if got := asks("forget", "127.0.0.1"); got.code != 0 || len(all()) != 0 {
		t.Errorf("forgotten: %d %s", got.code, got.stderr)
	}
	says(t, r, "EHLO floor4", "QUIT")
	eventually(t, "it is new", func() bool { d := all(); return len(d) == 1 && d[0].Name() == "floor4" })
	r.stop()
	contains(t, "the folder", command(t, "copiers", "show", "127.0.0.1", "--state", state).out, "floor4")
	if got := command(t, "copiers", "forget", "127.0.0.1", "--state", state); got.code != 0 {
		t.Errorf("%d %s", got.code, got.stderr)
	}
	contains(t, "forgotten in the folder", command(t, "copiers", "--state", state).out, "no such device")

	// A file that is damaged keeps no relay from starting.
	file := filepath.Join(state, "default", "office", inventory.FileName)
	if err := os.WriteFile(file, []byte("\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, manifests, state)
	if b, err := os.ReadFile(file + ".damaged"); err != nil || len(b) != 2 {
		t.Errorf("%q %v", b, err)
	}
}
