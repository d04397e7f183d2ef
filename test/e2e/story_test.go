//go:build e2e

// Package e2e runs the README's tutorial as a test: the chart in a real cluster
// of one node (test/cluster), copiers beside it, a real Postfix behind it.
package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/cluster"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/netns"
	"github.com/printerrelay/printer-relay/test/postfix"
)

const (
	namespace = "printers"
	relay     = "office"
)

// Where things are in the node's LAN.
const (
	copierAddress = "172.31.0.2"
	postfixClient = "3"
	postfixIP     = "172.31.0.3"
)

// story is what its chapters share.
type story struct {
	*cluster.Cluster
	copier  *netns.Network
	server  *postfix.Server
	address string // of the relay, with port
}

// TestStory is the README's tutorial, and after it what an administrator fears.
// Its chapters follow each other; the first that fails ends it.
func TestStory(t *testing.T) {
	s := &story{Cluster: cluster.Find(t)}
	s.copier = s.Network(t, "2")
	s.server = postfix.Start(t, postfix.Options{
		Address: postfixIP, In: s.Network(t, postfixClient).Do, Hostname: "smtp.example.com",
		RequireAuth: true, Users: map[string]string{"printer-relay": "first-password"},
	})
	for _, chapter := range []struct {
		name string
		tell func(*testing.T)
	}{
		{"the tutorial, letter by letter", s.tutorial},
		{"all Pods meet Pod Security restricted", s.restricted},
		{"the operator may not read Secrets", s.noSecrets},
		{"a copier sends a scan of 10 MB", s.scan},
		{"an unknown sender is refused with the reason", s.unknownSender},
		{"a policy is edited and applies", s.editPolicy},
		{"clients that the cluster hides are in no network", s.hidden},
		{"the password in a Secret is changed and applies", s.changeSecret},
		{"what a person asks and does by the kubectl plugin", s.plugin},
		{"one instance, three, one, under load", s.scale},
		{"a new image, under load", s.roll},
		{"kill -9 under load", s.kill},
		{"the chart is uninstalled and installed again", s.reinstall},
		{"the relay is deleted and its queue kept", s.deleteRetain},
		{"the relay is deleted and its queue drained", s.deleteDrained},
	} {
		if !t.Run(chapter.name, chapter.tell) {
			t.Fatalf("the story ends here\n%s", s.State(t, namespace))
		}
	}
}

// helmArgs install or upgrade the chart with the image of a tag.
func (s *story) helmArgs(verb, tag string) []string {
	return append([]string{verb, "printer-relay", "charts/printer-relay", "--namespace", cluster.OperatorNamespace}, cluster.ChartImage(tag)...)
}

// restricted: all that runs meets Pod Security "restricted", enforced from the
// first Pod on.
func (s *story) restricted(t *testing.T) {
	for _, ns := range []string{cluster.OperatorNamespace, namespace} {
		out := s.Kubectl(t, "label", "namespace", ns, "--overwrite", "pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/warn=restricted")
		if strings.Contains(out, "Warning") {
			t.Errorf("namespace %s: %s", ns, out) // the API server says which Pods do not meet it
		}
	}
}

func (s *story) noSecrets(t *testing.T) {
	as := "--as=system:serviceaccount:" + cluster.OperatorNamespace + ":printer-relay-operator"
	for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
		if out, _ := s.Try(t, "", s.Script, "kubectl", "auth", "can-i", verb, "secrets", "--all-namespaces", as); !strings.HasPrefix(out, "no") {
			t.Errorf("may it %s Secrets? %s", verb, out)
		}
	}
	if out, err := s.Try(t, "", s.Script, "kubectl", "auth", "can-i", "create", "deployments.apps", "-n", namespace, as); err != nil || !strings.HasPrefix(out, "yes") {
		t.Errorf("may it create Deployments? %s, %v: the question proves nothing", out, err)
	}
}

// swaks sends by it from the copier's place, and gives the transcript.
func (s *story) swaks(t *testing.T, args ...string) (string, error) {
	t.Helper()
	env.FindOrFail(t, "swaks")
	host, port, _ := strings.Cut(s.address, ":")
	return s.Try(t, "", s.Script, append([]string{"client", "swaks", "--server", host, "--port", port, "--helo", "mfp3.example.com", "--timeout", "60"}, args...)...)
}

func (s *story) scan(t *testing.T) {
	pages := make([]byte, 10<<20)
	if _, err := rand.Read(pages); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "scan.pdf")
	if err := os.WriteFile(file, pages, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := s.swaks(t, "--from", "scanner@copier.example.com", "--to", "first@example.com", "--h-Subject", "Ten megabytes", "--attach-type", "application/pdf", "--attach", "@"+file, "--suppress-data")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := s.server.MailFor(t, "first@example.com")
	got, err := m.Attachment("scan.pdf")
	if err != nil || sha256.Sum256(got) != sha256.Sum256(pages) {
		t.Fatalf("the attachment arrived with %d octets of %d, or others: %v", len(got), len(pages), err)
	}
	if received := strings.Join(m.Header["Received"], "\n"); !strings.Contains(received, "["+copierAddress+"]") {
		t.Errorf("the copier's own address is in no Received:\n%s", received)
	}
}

func (s *story) unknownSender(t *testing.T) {
	out, err := s.swaks(t, "--from", "boss@example.com", "--to", "first@example.com")
	if err == nil || !strings.Contains(out, "550 5.7.1") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// sends tells whether a sender's mail is taken.
func (s *story) sends(t *testing.T, sender string) bool {
	t.Helper()
	out, err := s.swaks(t, "--from", sender, "--to", "edited@example.com")
	if err != nil && !strings.Contains(out, " 550 5.7.1 ") {
		t.Fatalf("neither taken nor refused: %v\n%s", err, out)
	}
	return err == nil
}

func (s *story) editPolicy(t *testing.T) {
	before := s.Pods(t, namespace, relay)
	if s.sends(t, "mfp@floor4.example.com") {
		t.Fatal("it is allowed already")
	}
	began := time.Now()
	s.Kubectl(t, "patch", "-n", namespace, "senderpolicy/office", "--type=json",
		"-p", `[{"op": "add", "path": "/spec/rules/0/senders/allowed/-", "value": "*@floor4.example.com"}]`)
	s.Eventually(t, namespace, "the sender is allowed", func() bool { return s.sends(t, "mfp@floor4.example.com") })
	t.Logf("a policy that was edited applied after %s", time.Since(began).Round(100*time.Millisecond))
	s.Kubectl(t, "patch", "-n", namespace, "senderpolicy/office", "--type=json", "-p", `[{"op": "replace", "path": "/spec/rules/0/senders/allowed", "value": ["*@copier.example.com"]}]`)
	s.Eventually(t, namespace, "the sender is refused again", func() bool { return !s.sends(t, "mfp@floor4.example.com") })
	s.Ready(t, namespace, relay)
	if after := s.Pods(t, namespace, relay); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("Pods were %v and are %v", before, after)
	}
}

// logsIn tells whether a copier's password is taken.
func (s *story) logsIn(t *testing.T, password string) bool {
	t.Helper()
	out, err := s.swaks(t, "--from", "scanner@copier.example.com", "--to", "edited@example.com", "--tls", "--auth", "LOGIN", "--auth-user", "mfp1", "--auth-password", password)
	if err != nil && !strings.Contains(out, "535 5.7.8") {
		t.Fatalf("neither taken nor refused: %v\n%s", err, out)
	}
	return err == nil
}

func (s *story) changeSecret(t *testing.T) {
	before := s.Pods(t, namespace, relay)
	if !s.logsIn(t, "change-me") {
		t.Fatal("the first password does not work")
	}
	began := time.Now()
	users := base64.StdEncoding.EncodeToString([]byte("mfp1:second-password\n"))
	s.Kubectl(t, "patch", "-n", namespace, "secret/copier-logins", "-p", `{"data": {"users": "`+users+`"}}`)
	s.Eventually(t, namespace, "the new password works", func() bool { return s.logsIn(t, "second-password") })
	t.Logf("a password that was changed applied after %s", time.Since(began).Round(time.Second))
	if s.logsIn(t, "change-me") {
		t.Error("the old password works still")
	}
	if after := s.Pods(t, namespace, relay); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("Pods were %v and are %v", before, after)
	}
}

func (s *story) patch(t *testing.T, spec string) {
	t.Helper()
	s.Kubectl(t, "patch", "-n", namespace, "printerrelay/"+relay, "--type=merge", "-p", `{"spec": `+spec+`}`)
}

// deployments of the relay, by number.
func (s *story) deployments(t *testing.T) int {
	t.Helper()
	return len(strings.Fields(s.Kubectl(t, "get", "deployments", "-n", namespace, "-l", "app.kubernetes.io/instance="+relay, "-o", "name")))
}

// more waits until copiers have sent n more.
func (s *story) more(t *testing.T, l *load, n int) {
	t.Helper()
	from := l.count()
	s.Eventually(t, namespace, fmt.Sprintf("%d more scans are taken", n), func() bool { return l.count() >= from+n })
}

func (s *story) scale(t *testing.T) {
	s.patch(t, `{"replicas": 1}`)
	s.Eventually(t, namespace, "one instance is left", func() bool { return s.deployments(t) == 1 })
	s.Ready(t, namespace, relay)
	l := startLoad(s.copier, s.address, "scale", 4)
	defer l.end()
	s.patch(t, `{"replicas": 3}`)
	s.Ready(t, namespace, relay)
	s.more(t, l, 100)
	s.patch(t, `{"replicas": 1}`)
	s.Eventually(t, namespace, "two instances are drained and gone", func() bool { return s.deployments(t) == 1 })
	s.Ready(t, namespace, relay)
	s.more(t, l, 100)
	l.end()
	l.allArrive(t, s.Cluster, namespace, s.server)
}

func (s *story) roll(t *testing.T) {
	s.patch(t, `{"replicas": 2}`)
	s.Ready(t, namespace, relay)
	before := s.Pods(t, namespace, relay)
	l := startLoad(s.copier, s.address, "roll", 4)
	defer l.end()
	s.more(t, l, 50)
	s.Helm(t, s.helmArgs("upgrade", "2")...)
	s.Eventually(t, namespace, "both instances run the new image", func() bool {
		return s.imagesAre(t, cluster.Image+":2")
	})
	s.Ready(t, namespace, relay)
	s.more(t, l, 50)
	l.end()
	for name := range s.Pods(t, namespace, relay) {
		if before[name] != "" {
			t.Errorf("Pod %s is one of before", name)
		}
	}
	if len(l.refused) > 0 {
		t.Errorf("%d connections were not taken, such as %s", len(l.refused), l.refused[0])
	}
	l.allArrive(t, s.Cluster, namespace, s.server)
}

// imagesAre tells whether all Pods of the relay are ready and run one image.
func (s *story) imagesAre(t *testing.T, want string) bool {
	t.Helper()
	lines := strings.Fields(s.Kubectl(t, "get", "pods", "-n", namespace, "-l", "app.kubernetes.io/instance="+relay,
		"-o", `jsonpath={range .items[*]}{.spec.containers[0].image}={.status.containerStatuses[0].ready}{"\n"}{end}`))
	for _, l := range lines {
		if l != want+"=true" {
			return false
		}
	}
	return len(lines) == 2
}

// kill kills the relay's container on the node, again and again.
func (s *story) kill(t *testing.T) {
	s.patch(t, `{"replicas": 1}`)
	s.Eventually(t, namespace, "one instance is left", func() bool { return s.deployments(t) == 1 })
	s.Ready(t, namespace, relay)
	l := startLoad(s.copier, s.address, "kill", 4)
	defer l.end()
	const kills = 3
	for range kills {
		s.more(t, l, 50)
		s.Run(t, "", s.Script, "node", "pkill", "-KILL", "-f", "printer-relay relay --manifests")
	}
	s.more(t, l, 50)
	l.end()
	s.Ready(t, namespace, relay)
	// Each copier had at most one transaction open to the relay, and the relay's
	// connections to the upstream are bounded: each may have been cut after the final dot.
	if twice, most := l.allArrive(t, s.Cluster, namespace, s.server), kills*upstreamConnections; twice > most {
		t.Errorf("%d scans arrived twice, more than %d", twice, most)
	}
}

// upstreamConnections is how many transactions a relay has open to an upstream
// by default.
const upstreamConnections = 20

func (s *story) reinstall(t *testing.T) {
	s.server.Stop()
	l := startLoad(s.copier, s.address, "reinstall", 2)
	defer l.end()
	s.more(t, l, 5)
	s.Helm(t, "uninstall", "printer-relay", "--namespace", cluster.OperatorNamespace, "--wait")
	s.more(t, l, 5) // relays go on without an operator
	l.end()
	if out := s.Kubectl(t, "get", "printerrelay/"+relay, "-n", namespace, "-o", "name"); !strings.Contains(out, relay) {
		t.Fatalf("the PrinterRelay is gone: %s", out)
	}
	s.Helm(t, s.helmArgs("install", "2")...)
	s.Kubectl(t, "rollout", "status", "-n", cluster.OperatorNamespace, "deployment/printer-relay-operator", "--timeout", "3m")
	s.Eventually(t, namespace, "the status tells of the queue again", func() bool {
		var r cluster.Relay
		return s.Get(t, namespace, "printerrelay/"+relay, &r) && r.Status.Queue.Messages >= l.count()
	})
	s.server.Restart(t)
	s.flush(t)
	l.allArrive(t, s.Cluster, namespace, s.server)
}

// flush has the relay try all that waits now, as an administrator would.
func (s *story) flush(t *testing.T) {
	t.Helper()
	pod := strings.Fields(s.Kubectl(t, "get", "pods", "-n", namespace, "-l", "app.kubernetes.io/instance="+relay, "-o", "jsonpath={.items[*].metadata.name}"))
	for _, p := range pod {
		token := strings.TrimSpace(s.Kubectl(t, "create", "token", relay+"-queue", "-n", namespace, "--audience", "printer-relay"))
		ip := s.Field(t, namespace, "pod/"+p, "{.status.podIP}")
		s.Run(t, "", s.Script, "node", "curl", "--fail-with-body", "--silent", "--show-error", "--insecure", "--request", "POST",
			"--header", "Authorization: Bearer "+token, "https://"+ip+":8080/queue/retry?all=true")
	}
}

func (s *story) deleteRetain(t *testing.T) {
	s.server.Stop()
	l := startLoad(s.copier, s.address, "retain", 2)
	defer l.end()
	s.more(t, l, 5)
	l.end()
	manifest := s.Kubectl(t, "get", "printerrelay/"+relay, "-n", namespace, "-o", "yaml")
	s.Kubectl(t, "delete", "printerrelay/"+relay, "-n", namespace, "--timeout", "2m")
	s.Eventually(t, namespace, "its Pods are gone", func() bool { return len(s.Pods(t, namespace, relay)) == 0 })
	if claim := s.Field(t, namespace, "pvc/"+relay+"-0", "{.status.phase}"); claim != "Bound" {
		t.Fatalf("the volume is %q", claim)
	}
	s.server.Restart(t)
	s.Apply(t, namespace, withoutServerFields(manifest))
	s.Ready(t, namespace, relay)
	s.address = s.Field(t, namespace, "printerrelay/"+relay, "{.status.addresses[0].value}") + ":25"
	s.flush(t)
	l.allArrive(t, s.Cluster, namespace, s.server)
}

// withoutServerFields cuts what only the API server may write.
func withoutServerFields(manifest string) string {
	var out bytes.Buffer
	skip := false
	for line := range strings.Lines(manifest) {
		switch {
		case strings.HasPrefix(line, "status:"):
			return out.String()
		case strings.HasPrefix(line, "  finalizers:"):
			skip = true
		case skip && strings.HasPrefix(line, "  - "):
		case strings.HasPrefix(line, "  uid:"), strings.HasPrefix(line, "  resourceVersion:"), strings.HasPrefix(line, "  creationTimestamp:"), strings.HasPrefix(line, "  generation:"):
			skip = false
		default:
			skip = false
			out.WriteString(line)
		}
	}
	return out.String()
}

func (s *story) deleteDrained(t *testing.T) {
	s.patch(t, `{"spool": {"persistentVolume": {"reclaimPolicy": "Delete"}}}`)
	s.Ready(t, namespace, relay)
	s.server.Stop()
	l := startLoad(s.copier, s.address, "drained", 2)
	defer l.end()
	s.more(t, l, 5)
	l.end()
	s.Kubectl(t, "delete", "printerrelay/"+relay, "-n", namespace, "--wait=false")
	s.Eventually(t, namespace, "it says what is left", func() bool {
		var r cluster.Relay
		return s.Get(t, namespace, "printerrelay/"+relay, &r) && strings.Contains(r.Message("Ready"), "to deliver")
	})
	s.server.Restart(t)
	s.flush(t)
	s.Eventually(t, namespace, "the queue is delivered, and the relay gone", func() bool {
		return !s.Get(t, namespace, "printerrelay/"+relay, &cluster.Relay{})
	})
	s.Eventually(t, namespace, "its volume is gone", func() bool { return s.Field(t, namespace, "pvc/"+relay+"-0", "{.status.phase}") == "" })
	l.allArrive(t, s.Cluster, namespace, s.server)
}
