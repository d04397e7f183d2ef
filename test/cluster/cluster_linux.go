// Package cluster is how tests talk to the one-node cluster that
// hack/with-cluster.sh brought up: by hack/cluster/cluster.sh, as a person would.
// Only tests import it; it imports test/env and test/netns.
package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/netns"
)

// OperatorNamespace is where the chart is installed.
const OperatorNamespace = "printer-relay-system"

// Image is the repository of the images that hack/with-cluster.sh loaded, with the
// tags 1 and 2: the same program.
const Image = "printer-relay"

// Patience bounds every wait for the cluster: a kubelet looks at a changed
// Secret once in a minute or so.
const Patience = 4 * time.Minute

// Cluster is the one in CLUSTER_DIR.
type Cluster struct {
	Script string // hack/cluster/cluster.sh
	Root   string // of the checkout
	node   string // folder of its run
}

// Find finds it, and fails the test where it is not up.
func Find(t *testing.T) *Cluster {
	t.Helper()
	root := env.Root(t)
	c := &Cluster{Script: filepath.Join(root, "hack/cluster/cluster.sh"), Root: root, node: filepath.Join(os.Getenv("CLUSTER_DIR"), "node")}
	if os.Getenv("CLUSTER_DIR") == "" {
		t.Fatal("CLUSTER_DIR is not set: run make e2e, or make soak")
	}
	c.Run(t, "", c.Script, "status")
	return c
}

// Run runs a program to its end; it must succeed.
func (c *Cluster) Run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, err := c.Try(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

// Try runs a program to its end and gives all that it printed.
func (c *Cluster) Try(t *testing.T, stdin, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.Root
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// Kubectl runs it as administrator.
func (c *Cluster) Kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return c.Run(t, "", c.Script, append([]string{"kubectl"}, args...)...)
}

// Apply applies YAML.
func (c *Cluster) Apply(t *testing.T, namespace, yaml string) {
	t.Helper()
	c.Run(t, yaml, c.Script, "kubectl", "apply", "-n", namespace, "-f", "-")
}

// Get reads an object; false: it is not there.
func (c *Cluster) Get(t *testing.T, namespace, object string, into any) bool {
	t.Helper()
	out, err := c.Try(t, "", c.Script, "kubectl", "get", "-n", namespace, object, "-o", "json", "--ignore-not-found")
	if err != nil {
		t.Fatalf("get %s: %v\n%s", object, err, out)
	}
	if strings.TrimSpace(out) == "" {
		return false
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("get %s: %v\n%s", object, err, out)
	}
	return true
}

// Field reads one field by JSONPath; empty where the object or field is not there.
func (c *Cluster) Field(t *testing.T, namespace, object, path string) string {
	t.Helper()
	return strings.TrimSpace(c.Kubectl(t, "get", "-n", namespace, object, "-o", "jsonpath="+path, "--ignore-not-found"))
}

// Eventually waits until ok, and says why it is not.
func (c *Cluster) Eventually(t *testing.T, namespace, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %s: %s\n%s", Patience, what, c.State(t, namespace))
		}
	}
}

// State is what a person would look at.
func (c *Cluster) State(t *testing.T, namespace string) string {
	t.Helper()
	var b strings.Builder
	for _, args := range [][]string{
		{"get", "printerrelays,mailupstreams,senderpolicies,deployments,pods,pvc,services", "-n", namespace, "-o", "wide"},
		{"get", "printerrelays", "-n", namespace, "-o", "jsonpath={range .items[*].status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}"},
		{"get", "events", "-n", namespace, "--sort-by=.lastTimestamp"},
		{"logs", "-n", namespace, "-l", "app.kubernetes.io/name=printer-relay", "--tail=25", "--prefix"},
		{"get", "pods", "-n", OperatorNamespace, "-o", "wide"},
		{"logs", "-n", OperatorNamespace, "-l", "app.kubernetes.io/name=printer-relay-operator", "--tail=40", "--prefix"},
	} {
		out, err := c.Try(t, "", c.Script, append([]string{"kubectl"}, args...)...)
		fmt.Fprintf(&b, "--- kubectl %s (%v)\n%s\n", strings.Join(args, " "), err, out)
	}
	return b.String()
}

// NodeNetwork is that of the node, where Pods are reached by their addresses.
func (c *Cluster) NodeNetwork(t *testing.T) *netns.Network {
	t.Helper()
	return netns.Open(t, filepath.Join("/proc", c.firstProcess(t), "ns/net"))
}

// firstProcess of the node, by its number outside.
func (c *Cluster) firstProcess(t *testing.T) string {
	t.Helper()
	pid, err := os.ReadFile(filepath.Join(c.node, "pid/node"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(pid))
}

// Network of a client in the node's LAN.
func (c *Cluster) Network(t *testing.T, client string) *netns.Network {
	t.Helper()
	c.Run(t, "", c.Script, "client-"+client, "true") // makes it
	return netns.Open(t, filepath.Join("/proc", c.firstProcess(t), "root/run/netns/client-"+client))
}

// ChartImage are the chart's values for the image of a tag.
func ChartImage(tag string) []string {
	return []string{"--set", "image.repository=" + Image, "--set-string", "image.tag=" + tag, "--set", "image.pullPolicy=Never"}
}

// Helm runs the pinned helm.
func (c *Cluster) Helm(t *testing.T, args ...string) string {
	t.Helper()
	path := strings.TrimSpace(c.Run(t, "", "go", "tool", "-modfile=hack/tools/deploy/go.mod", "-n", "helm"))
	return c.Run(t, "", c.Script, append([]string{"client", path}, args...)...)
}

// Ready waits until a relay is Ready in its present generation.
func (c *Cluster) Ready(t *testing.T, namespace, name string) {
	t.Helper()
	c.Eventually(t, namespace, "PrinterRelay "+name+" is Ready", func() bool {
		var r Relay
		return c.Get(t, namespace, "printerrelay/"+name, &r) && r.Status.ObservedGeneration == r.Metadata.Generation && r.Condition("Ready") == "True"
	})
}

// Relay is what the tests read of a PrinterRelay.
type Relay struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		ObservedGeneration int64
		Conditions         []struct{ Type, Status, Message string }
		Addresses          []struct{ Value string }
		Queue              struct{ Messages int }
	}
}

// Condition is the status of one; empty: there is none.
func (r *Relay) Condition(kind string) string {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// Message is that of a condition.
func (r *Relay) Message(kind string) string {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return ""
}

// Pods of a relay by name, each with what changes when it is restarted.
func (c *Cluster) Pods(t *testing.T, namespace, relay string) map[string]string {
	t.Helper()
	return c.PodsOf(t, namespace, "app.kubernetes.io/instance="+relay)
}

// PodsOf is Pods of those with labels.
func (c *Cluster) PodsOf(t *testing.T, namespace, labels string) map[string]string {
	t.Helper()
	out := map[string]string{}
	lines := c.Kubectl(t, "get", "pods", "-n", namespace, "-l", labels,
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}/{.status.containerStatuses[0].restartCount}{"\n"}{end}`)
	for line := range strings.Lines(lines) {
		if name, uid, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[name] = uid
		}
	}
	return out
}
