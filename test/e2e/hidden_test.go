//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/cluster"
)

// hidden: the samples' rule names all private networks, and still nobody is let in by it
// who comes from the node, or through a Service that hides who it is; a login is.
func (s *story) hidden(t *testing.T) {
	s.Eventually(t, namespace, "the operator knows the cluster's own addresses", func() bool { return s.addressesKnown(t) == "True" })
	host, port, _ := strings.Cut(s.address, ":")
	fromNode := func(args ...string) (string, error) {
		return s.Try(t, "", s.Script, append([]string{
			"node", "swaks", "--helo", "mfp3.example.com", "--timeout", "60",
			"--from", "scanner@copier.example.com", "--to", "hidden@example.com",
		}, args...)...)
	}
	pod := s.Field(t, namespace, "pods", "{.items[0].status.podIP}")
	for name, where := range map[string][]string{
		"the Pod":     {"--server", pod, "--port", "10025"},
		"the relay":   {"--server", host, "--port", port},
		"the Service": {"--server", s.Field(t, namespace, "service/"+relay, "{.spec.clusterIP}"), "--port", port},
	} {
		if out, err := fromNode(where...); err == nil || !strings.Contains(out, "530 5.7.0 PR-022") {
			t.Errorf("the node connects to %s: %v\n%s", name, err, out)
		}
		if out, err := fromNode(append(where, "--tls", "--auth", "LOGIN", "--auth-user", "mfp1", "--auth-password", "change-me")...); err != nil {
			t.Errorf("the node logs in at %s: %v\n%s", name, err, out)
		}
	}
	if !s.sends(t, "scanner@copier.example.com") {
		t.Fatal("the copier is refused before anything hides it")
	}
	pods := s.Pods(t, namespace, relay)
	s.patch(t, `{"service": {"externalTrafficPolicy": "Cluster"}}`)
	s.Eventually(t, namespace, "the status says that clients are hidden", func() bool { return s.addressesKnown(t) == "False" })
	s.Eventually(t, namespace, "the copier is in no network", func() bool {
		out, err := s.swaks(t, "--from", "scanner@copier.example.com", "--to", "hidden@example.com")
		return err != nil && strings.Contains(out, "530 5.7.0 PR-022")
	})
	if !s.logsIn(t, "change-me") {
		t.Error("a login does not help")
	}
	s.patch(t, `{"service": {"externalTrafficPolicy": "Local"}}`)
	s.Eventually(t, namespace, "the copier is known again", func() bool {
		_, err := s.swaks(t, "--from", "scanner@copier.example.com", "--to", "hidden@example.com")
		return err == nil
	})
	s.Eventually(t, namespace, "the status says so", func() bool { return s.addressesKnown(t) == "True" })
	s.Ready(t, namespace, relay)
	for name, uid := range s.Pods(t, namespace, relay) {
		if pods[name] != uid {
			t.Errorf("Pod %s is another", name)
		}
	}
}

// addressesKnown is the condition's status.
func (s *story) addressesKnown(t *testing.T) string {
	t.Helper()
	var r cluster.Relay
	if !s.Get(t, namespace, "printerrelay/"+relay, &r) {
		t.Fatal("the relay is gone")
	}
	return r.Condition("ClientAddressesKnown")
}
