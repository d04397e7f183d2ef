package kubectl

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

// A person suspends a device, tries it, looks at the queues of all instances, and lets
// go again, each by one command.
func TestSuspendTestAndRelease(t *testing.T) {
	r := newRig(t, 2)
	scan := []string{"test", "--client", "10.20.3.7", "--from", "mfp@copier.test", "--to", "pat@corp.example"}
	contains(t, "a test", r.ok(scan...), "ok      sender ", "ok      upstream   out: ")
	var documents string
	r.eventually("the next test, which begins a second later", func() bool {
		out, _, err := r.run(append(scan[:len(scan):len(scan)], "-o", "yaml")...)
		documents = out
		return err == nil || !strings.Contains(err.Error(), "just begun")
	})
	contains(t, "a test in YAML", documents, "---\nok: true\nstep: connect\n", "\nstep: upstream\n")

	suspended := make(chan string, 1)
	go func() {
		out, stderr, err := r.run("suspend", "device", "10.20.3.7", "--reason", "ticket 4711", "--wait", wait.String())
		suspended <- fmt.Sprint(out, stderr, err)
	}()
	r.eventually("the object is changed", func() bool {
		o := &v1alpha1.PrinterRelay{}
		r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKey{Namespace: r.ns, Name: "office"}, o))
		return len(o.Spec.Holds) > 0
	})
	var relay v1alpha1.PrinterRelay
	get := func() v1alpha1.Hold {
		t.Helper()
		relay = v1alpha1.PrinterRelay{}
		r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKey{Namespace: r.ns, Name: "office"}, &relay))
		if len(relay.Spec.Holds) != 1 {
			t.Fatalf("%+v", relay.Spec.Holds)
		}
		return relay.Spec.Holds[0]
	}
	if h := get(); h.Name != "device-10-20-3-7" || h.ClientNetworks[0] != "10.20.3.7/32" || !strings.HasPrefix(h.Reason, "ticket 4711 (") {
		t.Errorf("%+v", h)
	}
	// The operator brings that to the instances; here the test does.
	r.configure(strings.Replace(r.text(), "  listeners:", "  holds: [{name: device-10-20-3-7, clientNetworks: [10.20.3.7/32]}]\n  listeners:", 1))
	select {
	case out := <-suspended:
		contains(t, "suspend", out, "suspend device: changed "+r.ns+"/office\n", "in force: 2 of 2 instances\n", "<nil>")
	case <-time.After(2 * wait):
		t.Fatal("the command that suspends does not end")
	}
	var id string
	r.eventually("a test is held", func() bool {
		out, _, err := r.run(scan...)
		m := regexp.MustCompile(`held    held +PrinterRelay \S+/office: spec.holds: hold device-10-20-3-7\n +what to do: .*kubectl printer-relay queue release `).FindString(out)
		if err == nil || m == "" {
			return false
		}
		id = regexp.MustCompile(`Queued as (\S+)`).FindStringSubmatch(out)[1]
		return true
	})
	contains(t, "the list", r.ok("queue", "list"), id, "hold device-10-20-3-7")
	contains(t, "the list in JSON", r.ok("queue", "list", "-o", "json", "--held-by", "device-10-20-3-7"), `"id": "`+id+`"`)
	contains(t, "the list in YAML", r.ok("queue", "list", "-o", "yaml", "--held-by", "device-10-20-3-7"), "  id: "+id+"\n", "  state: held\n")
	contains(t, "one in YAML", r.ok("queue", "show", id, "-o", "yaml"), "\nid: "+id+"\n")
	if out, _, err := r.run("queue", "release", id, "-o", "yaml"); err == nil || !strings.Contains(out, "- id: "+id+"\n") {
		t.Errorf("what a verb did in YAML: %v\n%s", err, out)
	}
	if out, _, err := r.run("queue", "list", "-o", "xml"); err == nil {
		t.Errorf("XML is an output: %s", out)
	}
	if _, _, err := r.run("queue", "release", id); err == nil || !strings.Contains(err.Error(), "still keeps it") {
		t.Errorf("released past the hold: %v", err)
	}
	if _, _, err := r.run("queue", "show", "nobody"); err == nil || !strings.Contains(err.Error(), "no message in the queue") {
		t.Errorf("show: %v", err)
	}
	contains(t, "export", r.ok("queue", "export", id), "Subject: Printer Relay: test scan")

	// The instances hear of the hold's end after the command has begun.
	released := make(chan error, 1)
	go func() {
		out, _, err := r.run("resume", "device", "10.20.3.7", "--release")
		if err == nil && !strings.HasSuffix(out, "\n1 messages released\n") {
			err = errors.New(out)
		}
		released <- err
	}()
	r.eventually("the hold is asked for", func() bool { return strings.Contains(r.ok("queue", "list"), "still keeps it") })
	r.configure(r.text())
	select {
	case err := <-released:
		r.must(err)
	case <-time.After(wait):
		t.Fatal("it is not released")
	}
	if _, _, err := r.run("resume", "device", "10.20.3.7"); err == nil || !strings.Contains(err.Error(), `has no hold "device-10-20-3-7"`) {
		t.Errorf("resumed twice: %v", err)
	}
	contains(t, "suspend", r.ok("suspend", "device", "10.20.3.8", "--reason", "x", "--wait", "0"), "changed")
	contains(t, "resume", r.ok("resume", "device", "10.20.3.8"), "queue release --held-by device-10-20-3-8")
}

// What intake: Hold kept at any instance goes by one command, once they take mail in
// again; what a hold keeps stays.
func TestResumeARelayAndRelease(t *testing.T) {
	r := newRig(t, 2)
	held := func(why string) int {
		t.Helper()
		return strings.Count(r.ok("queue", "list", "--status", "held"), why)
	}
	// scans until the instances keep one for that reason, each
	scans := func(device, why string) {
		t.Helper()
		for _, instance := range []string{"office-0", "office-1"} {
			before := held(why)
			r.eventually(instance+": "+why, func() bool {
				r.scanAt(instance, device, "pat@corp.example")
				return held(why) > before
			})
		}
	}
	with := func(spec string) string { return strings.Replace(r.text(), "  listeners:", spec+"  listeners:", 1) }
	holds := "  holds: [{name: other, clientNetworks: [10.20.9.9/32]}]\n"
	r.configure(with(holds))
	scans("10.20.9.9", "hold other")
	if out, _, err := r.run("suspend", "relay", "office", "--reason", "x", "--wait", "1ms"); err == nil || !strings.Contains(out, "changed") || !strings.Contains(err.Error(), "instance office-1 goes on without it") {
		t.Errorf("nobody brought it to the instances: %v %s", err, out)
	}
	r.configure(with(holds + "  intake: Hold\n"))
	scans("10.20.3.7", queue.IntakeHeld)
	want, others := held(queue.IntakeHeld)+1, held("hold other") // and one that comes later

	released := make(chan error, 1)
	go func() {
		out, _, err := r.run("resume", "relay", "office", "--release")
		if err == nil && !strings.HasSuffix(out, fmt.Sprintf("\n%d messages released\n", want)) {
			err = fmt.Errorf("want %d: %s", want, out)
		}
		released <- err
	}()
	r.eventually("the relay takes mail in", func() bool {
		o := &v1alpha1.PrinterRelay{}
		r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKey{Namespace: r.ns, Name: "office"}, o))
		return o.Spec.Intake == v1alpha1.IntakeAccept
	})
	// Until the instances know, one holds what comes in still.
	r.eventually("what was held is released", func() bool { return held(queue.IntakeHeld) == 0 })
	r.scanAt("office-0", "10.20.3.7", "pat@corp.example")
	r.configure(with(holds))
	select {
	case err := <-released:
		r.must(err)
	case <-time.After(wait):
		t.Fatal("it is not released")
	}
	if a, b := held(queue.IntakeHeld), held("hold other"); a != 0 || b != others {
		t.Errorf("held are %d and %d, want 0 and %d", a, b, others)
	}
}

func (r *rig) text() string { return strings.ReplaceAll(manifests, "%[1]s", r.ns) }

// configure writes what the instances run.
func (r *rig) configure(text string) {
	r.Helper()
	for _, dir := range r.manifests {
		r.must(os.WriteFile(filepath.Join(dir, render.ManifestsKey), []byte(text), 0o600))
	}
}

func TestSuspendEachSubject(t *testing.T) {
	r := newRig(t, 0)
	relay := func() *v1alpha1.PrinterRelay {
		o := &v1alpha1.PrinterRelay{}
		r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKey{Namespace: r.ns, Name: "office"}, o))
		return o
	}
	r.ok("suspend", "relay", "office", "--reason", "x")
	if o := relay(); o.Spec.Intake != v1alpha1.IntakeHold || !strings.HasPrefix(o.Annotations["printerrelay.dev/suspended"], "x (") {
		t.Errorf("%s %v", o.Spec.Intake, o.Annotations)
	}
	r.ok("suspend", "relay", "office", "--reason", "x", "--refuse")
	if o := relay(); o.Spec.Intake != v1alpha1.IntakeRefuse {
		t.Error(o.Spec.Intake)
	}
	contains(t, "resume in JSON", r.ok("resume", "relay", "office", "-o", "json"), `"next": "kubectl printer-relay resume relay office --release"`)
	r.ok("suspend", "relay", "office", "--reason", "x")
	contains(t, "resume", r.ok("resume", "relay", "office"), "stays held: kubectl printer-relay resume relay office --release\n")
	if o := relay(); o.Spec.Intake != v1alpha1.IntakeAccept || o.Annotations["printerrelay.dev/suspended"] != "" {
		t.Errorf("%s %v", o.Spec.Intake, o.Annotations)
	}
	upstream := func() *v1alpha1.MailUpstream {
		o := &v1alpha1.MailUpstream{}
		r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKey{Namespace: r.ns, Name: "out"}, o))
		return o
	}
	if _, _, err := r.run("suspend", "upstream", "out", "--reason", "x", "-o", "xml"); err == nil || upstream().Spec.Suspend {
		t.Errorf("xml is an output: %v", err)
	}
	var done struct{ Action, Subject, Name, Object string }
	if err := json.Unmarshal([]byte(r.ok("suspend", "upstream", "out", "--reason", "x", "-o", "json")), &done); err != nil || done.Action != "suspend" || done.Object != r.ns+"/out" {
		t.Errorf("%v %+v", err, done)
	}
	if !upstream().Spec.Suspend {
		t.Error("not suspended")
	}
	contains(t, "resume in YAML", r.ok("resume", "upstream", "out", "-o", "yaml"), "action: resume\nname: out\nobject: "+r.ns+"/out\nsubject: upstream\n")
	if upstream().Spec.Suspend {
		t.Error("still suspended")
	}
	r.ok("suspend", "domain", "old.example", "--reason", "x")
	r.ok("suspend", "login", "mfp-1", "--reason", "x")
	r.ok("suspend", "login", "mfp-1", "--reason", "once more")
	if h := relay().Spec.Holds; len(h) != 2 || h[0].Senders[0] != "*@old.example" || h[1].Users[0] != "mfp-1" || !strings.HasPrefix(h[1].Reason, "once more") {
		t.Errorf("%+v", h)
	}
	// What a flag cannot do is said before anything is changed.
	for _, subject := range []string{"upstream out", "domain new.example", "device 10.20.3.7", "login mfp-2"} {
		if _, _, err := r.run(append(append([]string{"suspend"}, strings.Fields(subject)...), "--reason", "x", "--refuse")...); err == nil || !strings.Contains(err.Error(), "--refuse: ") {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if upstream().Spec.Suspend || len(relay().Spec.Holds) != 2 {
		t.Error("suspended, though --refuse was refused")
	}
	r.ok("suspend", "upstream", "out", "--reason", "x")
	if _, _, err := r.run("resume", "upstream", "out", "--release"); err == nil || !strings.Contains(err.Error(), "goes by itself") || !upstream().Spec.Suspend {
		t.Errorf("%v", err)
	}
	for _, bad := range [][]string{{"suspend", "device", "floor 3", "--reason", "x"}, {"suspend", "device", "10.20.3.7"}, {"suspend", "printer", "x", "--reason", "x"}, {"suspend", "relay", "nobody", "--reason", "x"}} {
		if _, _, err := r.run(bad...); err == nil {
			t.Errorf("%v is no error", bad)
		}
	}
}

func TestStatusExplainAndDNS(t *testing.T) {
	r := newRig(t, 0)
	out, _, err := r.run("status")
	if err == nil || err.Error() != "" {
		t.Errorf("objects that the operator has not looked at are well: %v", err)
	}
	contains(t, "the status", out, r.ns+"/office", "the operator has not looked at it")
	for _, o := range []client.Object{&v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Name: "office"}}, &v1alpha1.MailUpstream{ObjectMeta: metav1.ObjectMeta{Name: "out"}}, &v1alpha1.SenderPolicy{ObjectMeta: metav1.ObjectMeta{Name: "office"}}} {
		o.SetNamespace(r.ns)
		r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKeyFromObject(o), o))
		well := metav1.Condition{Type: "Ready", Status: "True", Reason: "Ready", Message: "well", LastTransitionTime: metav1.Now()}
		switch o := o.(type) {
		case *v1alpha1.PrinterRelay:
			o.Status.Conditions = []metav1.Condition{well}
			o.Status.Addresses = []v1alpha1.RelayAddress{{Type: "IPAddress", Value: "192.0.2.7"}}
			o.Status.Instances = []v1alpha1.InstanceStatus{{Name: "office-0", Ready: true}}
			o.Status.Queue = &v1alpha1.QueueStatus{Messages: 3, Held: 2}
			o.Status.Holds = []v1alpha1.HoldStatus{{Name: "stolen", Messages: 2}}
		case *v1alpha1.MailUpstream:
			o.Status.Conditions = []metav1.Condition{well}
			o.Status.DNS = []v1alpha1.DNSRecordStatus{{Name: "copier.test", Type: "TXT", Expected: "v=spf1 -all", State: "Missing"}}
		case *v1alpha1.SenderPolicy:
			o.Status.Conditions = []metav1.Condition{well}
		}
		r.must(r.server.Client.Status().Update(apiserver.Context(t), o))
	}
	out = r.ok("status")
	contains(t, "the status", out, "192.0.2.7:2525", "1/1", "hold stolen: 2 messages", "all is well")
	if strings.Contains(out, "\x1b") {
		t.Error("colours in what is no terminal")
	}
	var doc struct{ Relays []v1alpha1.PrinterRelay }
	if err := json.Unmarshal([]byte(r.ok("status", "-o", "json")), &doc); err != nil || len(doc.Relays) != 1 {
		t.Errorf("%v %+v", err, doc)
	}
	contains(t, "YAML", r.ok("status", "-o", "yaml"), "relays:", "hostname: relay.test")
	if _, _, err := r.run("status", "-o", "xml"); err == nil {
		t.Error("xml is an output")
	}
	contains(t, "dns", r.ok("dns", "out"), "Missing", "v=spf1 -all")
	contains(t, "explain", r.ok("explain", "--client", "10.20.3.7", "--from", "mfp@copier.test", "--to", "pat@corp.example"), "office/floor", "goes to upstream out")
	contains(t, "explain", r.ok("explain", "--client", "10.30.3.7", "--from", "mfp@copier.test", "--to", "pat@corp.example"), "PR-030")
	contains(t, "completion", r.ok("__complete", "dns", ""), "out\n")
}

// TestSupportBundleHoldsNoSecret plants secrets wherever they could come from, and
// addresses of people.
func TestSupportBundleHoldsNoSecret(t *testing.T) {
	r := newRig(t, 1)
	planted := []string{"planted-in-a-secret", "planted-in-the-environment", "planted-in-an-event", "cGxhbnRlZC1pbi1hLXNlY3JldA=="}
	r.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "smtp", Namespace: r.ns, Labels: map[string]string{render.LabelManagedBy: render.ProgramName}}, StringData: map[string]string{"password": planted[0]}})
	r.create(&corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: r.ns}, InvolvedObject: corev1.ObjectReference{Namespace: r.ns, Name: "x"},
		Message: "login failed: password=" + planted[2] + " for pat.private@corp.example from 10.20.3.99, once more pat.private@corp.example",
	})
	r.ok("test", "--client", "10.20.3.7", "--from", "mfp@copier.test", "--to", "pat.private@corp.example")
	read := func(args ...string) (all string, names []string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "bundle.tar.gz")
		r.ok(append([]string{"support-bundle", "--file", file}, args...)...)
		f, err := os.Open(file)
		r.must(err)
		defer f.Close()
		z, err := gzip.NewReader(f)
		r.must(err)
		for a := tar.NewReader(z); ; {
			h, err := a.Next()
			if errors.Is(err, io.EOF) {
				return all, names
			}
			r.must(err)
			b, err := io.ReadAll(a)
			r.must(err)
			names = append(names, h.Name)
			all += string(b)
		}
	}
	all, names := read()
	for _, p := range append(planted, "pat.private", "10.20.3.99", "10.20.0.0", "eyJ") {
		if strings.Contains(all, p) {
			t.Errorf("the bundle holds %q", p)
		}
	}
	contains(t, "the bundle", all, "person-", "REMOVED", "hostname: relay.test", `"planHash"`, "printer_relay_queue_messages")
	contains(t, "the files", strings.Join(names, "\n"), "kinds/printerrelays.yaml", "objects/events.yaml", "objects/configmaps.yaml", "instances/office-0/state.json", "version.txt")
	m := regexp.MustCompile(`for\s+(\S+)\s+from\s+(\S+),\s+once\s+more\s+([^\s']+)`).FindStringSubmatch(all)
	if m == nil || m[1] != m[3] || !strings.HasPrefix(m[2], "address-") {
		t.Errorf("the same address has not one stand-in: %q", m)
	}
	all, _ = read("--include-addresses")
	contains(t, "the bundle with addresses", all, "pat.private@corp.example", "10.20.3.99")
	for _, p := range planted {
		if strings.Contains(all, p) {
			t.Errorf("with addresses the bundle holds %q", p)
		}
	}
}
