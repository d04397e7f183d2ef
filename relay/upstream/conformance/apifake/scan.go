package apifake

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// Scan is a message of content, its lines ended by LF, for recipients.
func Scan(t testing.TB, content string, to ...string) *upstream.Message {
	t.Helper()
	return conformance.Mail(t, strings.ReplaceAll(content, "\n", "\r\n"), to...)
}

// HoldRequest holds what is sent, whole: testdata/NAME.eml to a@corp.test and
// hidden@corp.test becomes NAME.json. id is what the service calls the message.
func HoldRequest(t *testing.T, s *Server, tr upstream.Transport, name, id string) {
	t.Helper()
	eml, err := os.ReadFile("testdata/" + name + ".eml")
	if err != nil {
		t.Fatal(err)
	}
	out := tr.Deliver(t.Context(), Scan(t, string(eml), "a@corp.test", "hidden@corp.test"))
	if conformance.Kinds(out) != "Accepted Accepted" || out[0].RemoteID != id || out[0].Remote == "" {
		t.Fatalf("%+v", out)
	}
	want, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var got, wanted any
	if err := json.Unmarshal(s.Bodies(t)[0], &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(want, &wanted); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, wanted) {
		b, _ := json.MarshalIndent(got, "", "  ") //nolint:errcheck // it came from JSON
		t.Errorf("the request is\n%s", b)
	}
}

// HoldBatches holds what many recipients become: all are accepted, and the requests
// have so many each.
func HoldBatches(t *testing.T, s *Server, out []upstream.Outcome, want ...int) {
	t.Helper()
	for i, o := range out {
		if o.Kind != upstream.Accepted {
			t.Fatal(i, o)
		}
	}
	var got []int
	for _, r := range s.Received(t) {
		got = append(got, len(r.Recipients))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v recipients in the requests, want %v", got, want)
	}
}
