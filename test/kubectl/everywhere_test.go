package kubectl

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/webhook"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

// annex is a second relay in the namespace, of one instance.
func (r *rig) annex() {
	r.Helper()
	text := strings.Replace(r.text(), "{name: office, namespace", "{name: annex, namespace", 1)
	o := &v1alpha1.PrinterRelay{}
	r.must(yaml.Unmarshal([]byte(strings.Split(text, "---\n")[0]), o))
	r.create(o)
	r.account("annex")
	r.instance("annex-0", text)
}

// scanAt has a device scan to an instance, by a proxy that tells its address; a
// recipient may be refused.
func (r *rig) scanAt(instance, device, to string) {
	r.Helper()
	conn, err := (&net.Dialer{Timeout: wait}).DialContext(apiserver.Context(r), "tcp", r.listeners[instance])
	r.must(err)
	defer conn.Close()
	r.must(conn.SetDeadline(time.Now().Add(wait)))
	fmt.Fprintf(conn, "PROXY TCP4 %s 127.0.0.1 40000 25\r\n", device)
	text := textproto.NewConn(conn)
	say := func(line string) int {
		if line != "" {
			r.must(text.PrintfLine("%s", line))
		}
		code, _, err := text.ReadResponse(0)
		if code == 0 {
			r.Fatalf("%s: %v", line, err)
		}
		return code
	}
	say("")
	say("EHLO copier")
	say("MAIL FROM:<mfp@copier.test>")
	if say("RCPT TO:<"+to+">") == 250 {
		say("DATA")
		if code := say("From: <mfp@copier.test>\r\nSubject: scan\r\n\r\nscan\r\n."); code != 250 {
			r.Fatalf("the final dot: %d", code)
		}
	}
	say("QUIT")
}

// TestCopiersOfAllInstances: a device that two instances and another relay saw is one
// row, with the newest of what happened and the sums of what is counted.
func TestCopiersOfAllInstances(t *testing.T) {
	r := newRig(t, 2)
	r.annex()
	r.scanAt("office-0", "10.20.3.7", "pat@corp.example")
	r.scanAt("office-0", "10.20.3.8", "pat@elsewhere.example") // refused
	r.scanAt("office-1", "10.20.3.7", "pat@corp.example")
	r.scanAt("office-1", "10.20.3.8", "pat@corp.example") // and accepted since
	r.scanAt("annex-0", "10.20.3.7", "it@corp.example")

	all := func(args ...string) (out []inventory.Copier) {
		t.Helper()
		r.must(json.Unmarshal([]byte(r.ok(append([]string{"copiers", "-o", "json"}, args...)...)), &out))
		return out
	}
	got := all()
	if len(got) != 2 || got[0].Device != "10.20.3.7" || got[0].Accepted != 3 || !slices.Equal(got[0].Instances, []string{"annex-0", "office-0", "office-1"}) ||
		got[1].Accepted != 1 || got[1].Refused != 1 || got[1].Refusing() || !slices.Equal(got[1].Instances, []string{"office-0", "office-1"}) {
		t.Errorf("%+v", got)
	}
	if of := all("--relay", "office"); len(of) != 2 || of[0].Device != "10.20.3.8" || of[1].Accepted != 2 {
		t.Errorf("of one relay: %+v", of)
	}
	if got := all("--refused"); len(got) != 0 {
		t.Errorf("refused by one instance, accepted by another since: %+v", got)
	}
	if got := all("--network", "10.20.3.8"); len(got) != 1 || got[0].Device != "10.20.3.8" {
		t.Errorf("%+v", got)
	}
	contains(t, "the table", r.ok("copiers"), "DEVICE", "10.20.3.7", "(before its last scan) 550")
	contains(t, "the wide one", r.ok("copiers", "list", "-o", "wide"), "INSTANCES", "annex-0,office-0,office-1")
	contains(t, "YAML", r.ok("copiers", "-o", "yaml"), "- accepted: 3\n")
	rows, err := csv.NewReader(strings.NewReader(r.ok("copiers", "-o", "csv"))).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][0] != "10.20.3.7" {
		t.Errorf("%v %q", err, rows)
	}
	contains(t, "one", r.ok("copiers", "show", "10.20.3.7"), "3 scans accepted", "annex-0, office-0, office-1")
	if _, _, err := r.run("copiers", "show", "10.1.1.1"); err == nil || !strings.Contains(err.Error(), "10.1.1.1: no such device is known") {
		t.Errorf("one that nobody knows: %v", err)
	}
	for _, bad := range [][]string{{"copiers", "-o", "xml"}, {"copiers", "forget", "10.20.3.7"}, {"copiers", "--relay", "nobody"}} {
		if out, _, err := r.run(bad...); err == nil {
			t.Errorf("%v: %s", bad, out)
		}
	}
}

// TestMessagesOfAllInstances: in the order of time, whoever took them.
func TestMessagesOfAllInstances(t *testing.T) {
	r := newRig(t, 2)
	r.annex()
	var want []string
	for n, instance := range []string{"office-0", "office-1", "office-1", "office-0"} {
		to := string(rune('a'+n)) + "@corp.example"
		r.scanAt(instance, "10.20.3.7", to)
		want = append([]string{to}, want...)
	}
	r.scanAt("annex-0", "10.20.3.7", "x@corp.example")
	want = append([]string{"x@corp.example"}, want...)
	r.scanAt("office-1", "10.20.3.7", "pat@elsewhere.example")
	want = append([]string{"pat@elsewhere.example"}, want...)

	// The instances look themselves whether they would relay for anybody: only the device counts.
	all := func(args ...string) (out []history.Entry, to []string) {
		t.Helper()
		r.must(json.Unmarshal([]byte(r.ok(append([]string{"messages", "list", "-o", "json", "--client", "10.20.3.7"}, args...)...)), &out))
		for _, e := range out {
			to = append(to, e.Recipients[0].Address)
		}
		return out, to
	}
	entries, to := all()
	if !slices.Equal(to, want) || entries[0].Kind != history.Refusal || entries[0].Instance != "office-1" || entries[1].Instance != "annex-0" || entries[2].Instance != "office-0" {
		t.Fatalf("%q %+v", to, entries)
	}
	for args, n := range map[string]int{"--limit 3": 3, "--limit 0": 6, "--relay office": 5, "--kind refusal": 1, "--recipient b@corp.example": 1, "--text ELSEWHERE": 1, "--since 1h": 6, "--client 10.30.0.0/16": 0} {
		if _, to := all(strings.Fields(args)...); len(to) != n {
			t.Errorf("%s: %q, want %d", args, to, n)
		}
	}
	if _, to := all("--limit", "3"); !slices.Equal(to, want[:3]) {
		t.Errorf("the newest: %q", to)
	}
	contains(t, "the table", r.ok("messages", "list"), entries[0].ID, "<x@corp.example>", "RCPT: 550")
	contains(t, "the wide one", r.ok("messages", "list", "-o", "wide"), "INSTANCE", "annex-0")
	contains(t, "YAML", r.ok("messages", "list", "-o", "yaml"), "instance: annex-0\n")
	for _, i := range []int{0, 1, 2, 3} {
		contains(t, "one", r.ok("messages", "show", entries[i].ID), entries[i].ID, "Instance:   "+entries[i].Instance)
	}
	if _, _, err := r.run("messages", "show", "nobody"); err == nil || !strings.Contains(err.Error(), "the history knows no message") || strings.Contains(err.Error(), "office-0") {
		t.Errorf("one that nobody knows: %v", err)
	}
	// What no instance can answer is an error, and not an empty list.
	if out, _, err := r.run("messages", "list", "--client", "10.20.0.0/99"); err == nil || out != "" || !strings.Contains(err.Error(), "annex-0, instance office-0, instance office-1: client \"10.20.0.0/99\"") {
		t.Errorf("%s %v", out, err)
	}
	if _, _, err := r.run("messages", "list", "-o", "csv"); err == nil {
		t.Error("csv is an output")
	}
}

// TestOneThatDoesNotAnswer is named, what the others say is shown, and the command fails.
func TestOneThatDoesNotAnswer(t *testing.T) {
	r := newRig(t, 2)
	r.scanAt("office-1", "10.20.3.7", "pat@corp.example")
	id := func() string {
		var all []history.Entry
		r.must(json.Unmarshal([]byte(r.ok("messages", "list", "--kind", "message", "--json")), &all))
		return all[0].ID
	}()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	r.ports["office-0"] = gone.Listener.Addr().String()
	relay := &v1alpha1.PrinterRelay{}
	r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKey{Namespace: r.ns, Name: "office"}, relay))
	relay.Spec.Replicas = new(int32(3))
	r.must(r.server.Client.Update(apiserver.Context(t), relay))
	for _, args := range [][]string{{"copiers"}, {"copiers", "-o", "csv"}, {"copiers", "show", "10.20.3.7"}, {"messages", "list"}, {"messages", "list", "--limit", "0", "-o", "yaml"}} {
		out, _, err := r.run(args...)
		if err == nil || !strings.Contains(err.Error(), "instance office-0: does not answer") || !strings.Contains(err.Error(), "instance office-2: its Pod does not run") || strings.Contains(err.Error(), "office-1") {
			t.Errorf("%v: %v", args, err)
		}
		contains(t, strings.Join(args, " "), out, "10.20.3.7")
	}
	if out, _, err := r.run("messages", "show", id); err != nil || !strings.Contains(out, "pat@corp.example") {
		t.Errorf("what is known of a message is not whole: %v %s", err, out)
	}
	_, _, err := r.run("messages", "show", "nobody")
	if err == nil || !strings.Contains(err.Error(), "office-0") {
		t.Errorf("who did not answer may know it: %v", err)
	}
	r.ports["office-1"] = r.ports["office-0"]
	if out, _, err := r.run("copiers"); err == nil || out != "" {
		t.Errorf("nobody answered: %q %v", out, err)
	}
}

// TestHostileInstance: what a relay tells moves no cursor, adds no line to a table, and
// is no formula, though whoever holds its Pod wrote it.
func TestHostileInstance(t *testing.T) {
	r := newRig(t, 1)
	const bad = "=HYPERLINK(1)\x1b[2J\u009b31m\u2028\u202eevil\r\nFORGED\x7f\U000e0001"
	copier := inventory.Copier{Device: bad, Address: bad, Names: []string{bad}, Listeners: []string{bad}, LastRefusal: &inventory.Refusal{Kind: bad, Reply: bad, Why: bad}, TLS: inventory.TLS{Version: bad, Cipher: bad}}
	other := copier
	other.Device = "10.20.3.7"
	entry := history.Entry{ID: bad, Kind: history.Kind(bad), State: history.State(bad), HELO: bad, Client: bad, Sender: bad, Recipients: []history.Recipient{{Address: bad}}, RecipientCount: 1, Reply: bad, Upstreams: []string{bad}}
	hook := webhook.Status{
		State: webhook.State{Name: bad, Problem: bad, Remedy: bad}, Host: bad, Reply: &webhook.Reply{Status: 200, Text: bad},
		Pending: []webhook.Pending{{Type: plan.WebhookEvent(bad), Event: bad, ID: bad, Device: bad, Sender: bad, Recipients: []string{bad}, Count: 2}},
	}
	answers := map[string]any{
		"/webhooks":      admin.WebhookList{Webhooks: []webhook.Status{hook}},
		"/webhooks/test": admin.WebhookTests{Tests: []webhook.Tested{{Webhook: bad, OK: true, Host: bad, ID: bad, Reply: hook.Reply, Relay: bad}}},
		"/copiers":       inventory.Page{Copiers: []inventory.Copier{other, copier}},
		"/messages":      history.Page{Entries: []history.Entry{entry}},
		"/messages/id":   history.Detail{Entry: entry, Events: []history.Event{{Event: bad, By: bad, Text: bad, Results: []history.Result{{Outcome: bad, Text: bad, Remote: bad, Remedy: bad}}}}},
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if a, ok := answers[q.URL.Path]; ok {
			json.NewEncoder(w).Encode(a) //nolint:errcheck // the command tells
			return
		}
		http.Error(w, bad, http.StatusBadRequest)
	}))
	defer s.Close()
	r.ports["office-0"] = s.Listener.Addr().String()
	safe := func(what, text string) {
		t.Helper()
		if i := strings.IndexFunc(text, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }); i >= 0 {
			t.Errorf("%s: %q", what, text)
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "FORGED") {
				t.Errorf("%s: a line of its own: %q", what, text)
			}
		}
	}
	for _, command := range []string{
		"copiers", "copiers -o wide", "copiers -o json", "copiers -o csv", "copiers show 10.20.3.7", "copiers show 10.20.3.7 -o json", "copiers -o yaml",
		"messages list", "messages list -o wide", "messages list -o json", "messages show id", "messages show id -o json",
		"webhooks list", "webhooks list -o json", "webhooks list -o yaml", "webhooks test", "webhooks test -o json",
	} {
		out := r.ok(strings.Fields(command)...)
		contains(t, command, out, "evil")
		safe(command, out)
	}
	rows, err := csv.NewReader(strings.NewReader(r.ok("copiers", "-o", "csv"))).ReadAll()
	if err != nil || len(rows) != 3 || !strings.HasPrefix(rows[2][0], "'=") {
		t.Errorf("%v %q", err, rows)
	}
	var back []inventory.Copier
	if err := json.Unmarshal([]byte(r.ok("copiers", "-o", "json")), &back); err != nil || back[1].Device != bad {
		t.Errorf("%v: JSON gives %+v", err, back)
	}
	_, _, err = r.run("messages", "show", "other")
	if err == nil {
		t.Fatal("no error")
	}
	safe("an error", err.Error())
}

// TestForget: what is erased is gone from all instances of the relay that was named, and
// from no other.
func TestForget(t *testing.T) {
	r := newRig(t, 2)
	r.annex()
	const device = "10.20.3.7"
	for _, instance := range []string{"office-0", "office-1", "annex-0"} {
		r.scanAt(instance, device, "anna@corp.example")
	}
	r.scanAt("office-1", device, "pat@corp.example")
	left := func(relay string) (to []string) {
		t.Helper()
		var out []history.Entry
		r.must(json.Unmarshal([]byte(r.ok("messages", "list", "-o", "json", "--client", device, "--relay", relay)), &out))
		for _, e := range out {
			if e.State != history.Accepted {
				to = append(to, string(e.State))
			}
			to = append(to, e.Recipients[0].Address)
		}
		return to
	}
	// What happens to a message after it was erased would be a new entry.
	r.eventually("all are accepted", func() bool { return len(left("office")) == 3 && len(left("annex")) == 1 })

	for args, want := range map[string]string{
		"messages forget --client " + device:                        "name it with --relay: annex, office",
		"copiers forget " + device:                                  "name it with --relay: annex, office",
		"messages forget --relay office":                            "--sender",
		"messages forget --relay office --since soon":               "--since",
		"messages forget --relay office --client " + device + "/99": "instance office-0, instance office-1: client",
		"copiers forget --relay office 10.1.1.1":                    "10.1.1.1: no such device is known",
		"copiers forget --relay office nobody":                      "nobody",
	} {
		if out, _, err := r.run(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s%v", args, out, err)
		}
	}
	if office, annex := left("office"), left("annex"); len(office) != 3 || len(annex) != 1 {
		t.Fatalf("what was refused erased something: %q %q", office, annex)
	}

	if out := r.ok("messages", "forget", "--relay", "office", "--recipient", "anna@corp.example"); out != "2 erased\n" {
		t.Errorf("%q", out)
	}
	if office, annex := left("office"), left("annex"); !slices.Equal(office, []string{"pat@corp.example"}) || !slices.Equal(annex, []string{"anna@corp.example"}) {
		t.Errorf("left are %q and %q", office, annex)
	}
	if out := r.ok("copiers", "forget", device, "--relay", "office"); out != "" {
		t.Errorf("%q", out)
	}
	if _, _, err := r.run("copiers", "show", device, "--relay", "office"); err == nil || !strings.Contains(err.Error(), "no such device is known") {
		t.Errorf("it is known still: %v", err)
	}
	contains(t, "the other relay", r.ok("copiers", "show", device), "annex-0")

	// Of an instance that does not answer nothing was erased: that must not pass for done.
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	r.ports["office-0"] = gone.Listener.Addr().String()
	out, _, err := r.run("messages", "forget", "--relay", "office", "--client", device, "-o", "json")
	if err == nil || !strings.Contains(err.Error(), "instance office-0: does not answer") || out != "{\n  \"forgotten\": 1\n}\n" {
		t.Errorf("%q %v", out, err)
	}
	if _, _, err := r.run("copiers", "forget", device, "--relay", "office"); err == nil || !strings.Contains(err.Error(), "instance office-0: does not answer") {
		t.Errorf("%v", err)
	}
}
