package kubectl

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/webhook"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

// TestWebhooksOfAllInstances: each instance is tested by itself, and tells what waits
// there. A test is of one relay.
func TestWebhooksOfAllInstances(t *testing.T) {
	r := newRig(t, 2)
	var status atomic.Int32
	status.Store(http.StatusNoContent)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		io.Copy(io.Discard, q.Body) //nolint:errcheck // what is told is looked at elsewhere
		w.WriteHeader(int(status.Load()))
	}))
	defer receiver.Close()
	hooks := fmt.Sprintf("  webhooks: [{name: tickets, url: %q, events: [MessageAccepted], secretRef: {name: tickets}, allowPrivateHosts: true, requestsPerMinute: 600}]\n", receiver.URL)
	r.configure(strings.Replace(r.text(), "  listeners:", hooks+"  listeners:", 1) + fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: tickets, namespace: %s}\nstringData: {signingSecret: whsec_%s}\n", r.ns, base64.StdEncoding.EncodeToString(make([]byte, 32))))
	relay := &v1alpha1.PrinterRelay{}
	r.must(r.server.Client.Get(apiserver.Context(t), client.ObjectKey{Namespace: r.ns, Name: "office"}, relay))
	relay.Spec.Webhooks = []v1alpha1.Webhook{{Name: "tickets", URL: v1alpha1.Endpoint(receiver.URL), SecretRef: v1alpha1.LocalReference{Name: "tickets"}, AllowPrivateHosts: true}}
	r.must(r.server.Client.Update(apiserver.Context(t), relay))
	list := func() (all []webhook.Status) {
		t.Helper()
		r.must(json.Unmarshal([]byte(r.ok("webhooks", "list", "-o", "json")), &all))
		return all
	}
	r.eventually("both instances have the webhook", func() bool {
		all := list()
		return len(all) == 2 && all[0].Instance == "office-0" && all[1].Instance == "office-1" && all[0].Problem == "" && all[1].Problem == ""
	})

	var out string
	test := func(args ...string) (err error) {
		t.Helper()
		r.eventually("a test may begin", func() bool {
			out, _, err = r.run(append([]string{"webhooks", "test"}, args...)...)
			return err == nil || !strings.Contains(err.Error(), "has just begun")
		})
		return err
	}
	if err := test("tickets"); err != nil {
		t.Fatal(err, out)
	}
	contains(t, "a test", out, "ok      tickets office-0 ", "ok      tickets office-1 ", "204 No Content")
	status.Store(http.StatusNotFound)
	if err := test("-o", "json"); err == nil {
		t.Error("a webhook that does not take it passes")
	}
	var tests []webhook.Tested
	r.must(json.Unmarshal([]byte(out), &tests))
	if len(tests) != 2 || tests[1].Instance != "office-1" || tests[1].OK || tests[1].Field != "spec.webhooks[0].url" || tests[1].Relay != r.ns+"/office" {
		t.Errorf("%+v", tests)
	}
	r.scanAt("office-1", "10.20.3.7", "pat@corp.example")
	r.eventually("what happened at one instance waits there", func() bool {
		all := list()
		return len(all[0].Pending) == 0 && len(all[1].Pending) == 1 && all[1].Pending[0].Tries > 0
	})
	contains(t, "the table", r.ok("webhooks", "list"), "INSTANCE", "office-1", "404 Not Found", "message.accepted", "<pat@corp.example>")
	if err := test("nobody"); err == nil || !strings.Contains(err.Error(), "instance office-0, instance office-1: \"nobody\": no such webhook") {
		t.Error(err)
	}
	contains(t, "completion", r.ok("__complete", "webhooks", "test", ""), "tickets\n")

	r.annex()
	if err := test(); err == nil || !strings.Contains(err.Error(), "a test is of one PrinterRelay: name it with --relay: annex, office") {
		t.Error(err)
	}
	contains(t, "no webhook", r.ok("webhooks", "list", "--relay", "annex"), "there is no webhook")
	if got := list(); len(got) != 2 {
		t.Errorf("of both relays: %+v", got)
	}
}
