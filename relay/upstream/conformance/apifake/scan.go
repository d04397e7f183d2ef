package apifake

import (
	"encoding/json"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Scan is a message of content, its lines ended by LF, for recipients.
func Scan(content string, to ...string) *upstream.Message {
	content = strings.ReplaceAll(content, "\n", "\r\n")
	m := &upstream.Message{ID: "0Ab1", Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
	for _, s := range to {
		a, err := envelope.ParseAddress(s)
		if err != nil {
			panic(err)
		}
		m.Recipients = append(m.Recipients, a)
	}
	return m
}

// Kinds are outcomes in short.
func Kinds(out []upstream.Outcome) string {
	var all []string
	for _, o := range out {
		s := o.Kind.String()
		if o.Kind != upstream.Accepted {
			s += "/" + o.Scope.String()
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
}

// HoldRequest holds what is sent, whole: testdata/NAME.eml to a@corp.test and
// hidden@corp.test becomes NAME.json. id is what the service calls the message.
func HoldRequest(t *testing.T, s *Server, tr upstream.Transport, name, id string) {
	t.Helper()
	eml, err := os.ReadFile("testdata/" + name + ".eml")
	if err != nil {
		t.Fatal(err)
	}
	out := tr.Deliver(t.Context(), Scan(string(eml), "a@corp.test", "hidden@corp.test"))
	if Kinds(out) != "Accepted Accepted" || out[0].RemoteID != id || out[0].Remote == "" {
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
