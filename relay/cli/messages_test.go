package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/history"
)

// TestMessages sends a scan through a relay, is refused another, and asks what became
// of them: the relay that runs, and its folder afterwards.
func TestMessages(t *testing.T) {
	manifests, state := folder(t, "office.yaml", strings.ReplaceAll(office, ", suspend: true", "")), t.TempDir()
	r := start(t, manifests, state)
	says(t, r, "EHLO floor3", "MAIL FROM:<mfp@copier.test>", "RCPT TO:<it@corp.example>", "DATA", "Subject: Payroll\r\n\r\nsecret contents\r\n.")
	says(t, r, "EHLO floor4", "MAIL FROM:<mfp@copier.test>", "RCPT TO:<a@elsewhere.example>")
	where := []string{"--admin", r.admin}
	asks := func(args ...string) result {
		return command(t, append(append([]string{"messages"}, args...), where...)...)
	}
	eventually(t, "the scan is accepted by an upstream", func() bool { return strings.Contains(asks("list", "--status", "accepted").out, "<mfp@copier.test>") })
	var found []history.Entry
	if err := json.Unmarshal([]byte(asks("list", "--kind", "message", "--json").out), &found); err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	id := found[0].ID
	look := func(t *testing.T) {
		t.Helper()
		list := asks("list").out
		contains(t, "the list", list, id, "accepted", "refused", "<it@corp.example>", "<a@elsewhere.example>", "RCPT: 550", "rule office/")
		if strings.Index(list, "refused") > strings.Index(list, id) {
			t.Errorf("the newest is not the first:\n%s", list)
		}
		for args, want := range map[string]string{
			"--recipient elsewhere.example": "floor4", "--client 127.0.0.0/8 --status refused": "floor4", "--text ELSEWHERE": "floor4", "--client floor3": "floor3",
			"--upstream a": "floor3", "--since 1h --sender copier.test --limit 1": "floor4",
		} {
			var got []history.Entry
			out := asks(append([]string{"list", "--json"}, strings.Fields(args)...)...)
			if err := json.Unmarshal([]byte(out.out), &got); err != nil || len(got) != 1 || got[0].HELO != want {
				t.Errorf("%s: %v %+v%s", args, err, got, out.stderr)
			}
		}
		show := asks("show", id)
		contains(t, "the message", show.out, id, "accepted", "floor3", "attempt a", "Accepted:", "<it@corp.example> accepted")
		if all := show.out + list + asks("show", id, "--json").out; strings.Contains(all, "Payroll") || strings.Contains(all, "secret") {
			t.Errorf("it tells what is nobody's business:\n%s", all)
		}
		if got := asks("show", "none"); got.code != 1 || !strings.Contains(got.stderr, "none") {
			t.Errorf("%d %s", got.code, got.stderr)
		}
		if got := asks("list", "--since", "soon"); got.code != 2 || !strings.Contains(got.stderr, "--since") {
			t.Errorf("%d %s", got.code, got.stderr)
		}
		if got := asks("forget"); got.code != 1 || !strings.Contains(got.stderr, "--sender") {
			t.Errorf("%d %s", got.code, got.stderr)
		}
	}
	look(t)
	if got := command(t, "messages", "list", "--state", state); got.code != 1 || !strings.Contains(got.stderr, "another process") {
		t.Errorf("the folder of a relay that runs: %d %s", got.code, got.stderr)
	}
	r.stop()
	where = []string{"--state", state}
	look(t)
	var done admin.Forgotten
	if err := json.Unmarshal([]byte(asks("forget", "--recipient", "a@elsewhere.example", "--json").out), &done); err != nil || done.Forgotten != 1 {
		t.Error(done, err)
	}
	r = start(t, manifests, state)
	where = []string{"--admin", r.admin}
	contains(t, "what is left", asks("list").out, id)
	if got := asks("forget", "--sender", "copier.test"); got.out != "1 erased\n" {
		t.Errorf("%s%s", got.out, got.stderr)
	}
	if got := asks("list", "--json").out; got != "[]\n" {
		t.Errorf("after all was erased: %s", got)
	}
}

// What leaves the queue while no relay runs that could note it does not wait in the history
// for ever.
func TestMessagesRemovedFromAStoppedRelay(t *testing.T) {
	manifests, state := folder(t, "office.yaml", office), t.TempDir() // its upstream is suspended
	r := start(t, manifests, state)
	for _, name := range []string{"floor3", "floor4"} {
		says(t, r, "EHLO "+name, "MAIL FROM:<mfp@copier.test>", "RCPT TO:<it@corp.example>", "DATA", "Subject: scan\r\n\r\npage\r\n.")
	}
	r.stop()
	var waiting []history.Entry
	if err := json.Unmarshal([]byte(command(t, "messages", "list", "--json", "--state", state, "--client", "floor3").out), &waiting); err != nil || len(waiting) != 1 || waiting[0].State == history.Unknown {
		t.Fatal(waiting, err)
	}
	if got := command(t, "queue", "remove", "--state", state, waiting[0].ID); got.code != 0 {
		t.Fatal(got.stderr)
	}
	r = start(t, manifests, state)
	list := func(args ...string) string {
		return command(t, append([]string{"messages", "list", "--admin", r.admin}, args...)...).out
	}
	eventually(t, "the history says that it left", func() bool { return strings.Contains(list("--status", "unknown"), waiting[0].ID) })
	contains(t, "the message", command(t, "messages", "show", "--admin", r.admin, waiting[0].ID).out, "unknown", "left", "Whether an upstream accepted it is not known")
	if out := list("--client", "floor4"); strings.Contains(out, "unknown") {
		t.Errorf("one that waits: %s", out)
	}
}
