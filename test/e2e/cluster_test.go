//go:build e2e

// Package e2e runs the README's tutorial as a test: the chart in a real cluster
// of one node, copiers beside it, a real Postfix behind it. hack/e2e.sh brings
// the cluster up; the tests talk to it by hack/cluster/cluster.sh.
package e2e

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

// Where things are in the node's LAN.
const (
	copierAddress = "172.31.0.2"
	postfixClient = "3"
	postfixIP     = "172.31.0.3"
)

// patience bounds every wait for the cluster: a kubelet looks at a changed
// Secret once in a minute or so.
const patience = 4 * time.Minute

// cluster is the one that hack/e2e.sh brought up.
type cluster struct {
	script, root string
	node         string // folder of its run
}

func theCluster(t *testing.T) *cluster {
	t.Helper()
	root := env.Root(t)
	c := &cluster{script: filepath.Join(root, "hack/cluster/cluster.sh"), root: root, node: filepath.Join(os.Getenv("CLUSTER_DIR"), "node")}
	if os.Getenv("CLUSTER_DIR") == "" {
		t.Fatal("CLUSTER_DIR is not set: run make e2e")
	}
	c.run(t, "", c.script, "status")
	return c
}

// run runs a program to its end; it must succeed.
func (c *cluster) run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, err := c.try(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a program to its end and gives all that it printed.
func (c *cluster) try(t *testing.T, stdin, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = c.root
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// kubectl runs it as administrator.
func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return c.run(t, "", c.script, append([]string{"kubectl"}, args...)...)
}

// apply applies YAML.
func (c *cluster) apply(t *testing.T, namespace, yaml string) {
	t.Helper()
	c.run(t, yaml, c.script, "kubectl", "apply", "-n", namespace, "-f", "-")
}

// get reads an object; false: it is not there.
func (c *cluster) get(t *testing.T, namespace, object string, into any) bool {
	t.Helper()
	out, err := c.try(t, "", c.script, "kubectl", "get", "-n", namespace, object, "-o", "json", "--ignore-not-found")
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

// field reads one field by JSONPath; empty where the object or field is not there.
func (c *cluster) field(t *testing.T, namespace, object, path string) string {
	t.Helper()
	return strings.TrimSpace(c.kubectl(t, "get", "-n", namespace, object, "-o", "jsonpath="+path, "--ignore-not-found"))
}

// eventually waits until ok, and says why it is not.
func (c *cluster) eventually(t *testing.T, namespace, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %s: %s\n%s", patience, what, c.state(t, namespace))
		}
	}
}

// state is what a person would look at.
func (c *cluster) state(t *testing.T, namespace string) string {
	t.Helper()
	var b strings.Builder
	for _, args := range [][]string{
		{"get", "printerrelays,mailupstreams,senderpolicies,deployments,pods,pvc,services", "-n", namespace, "-o", "wide"},
		{"get", "printerrelays", "-n", namespace, "-o", "jsonpath={range .items[*].status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}"},
		{"get", "events", "-n", namespace, "--sort-by=.lastTimestamp"},
		{"logs", "-n", namespace, "-l", "app.kubernetes.io/name=printer-relay", "--tail=25", "--prefix"},
		{"get", "pods", "-n", operatorNamespace, "-o", "wide"},
		{"logs", "-n", operatorNamespace, "-l", "app.kubernetes.io/name=printer-relay", "--tail=40", "--prefix"},
	} {
		out, err := c.try(t, "", c.script, append([]string{"kubectl"}, args...)...)
		fmt.Fprintf(&b, "--- kubectl %s (%v)\n%s\n", strings.Join(args, " "), err, out)
	}
	return b.String()
}

// network of a client in the node's LAN.
func (c *cluster) network(t *testing.T, client string) *netns.Network {
	t.Helper()
	c.run(t, "", c.script, "client-"+client, "true") // makes it
	pid, err := os.ReadFile(filepath.Join(c.node, "pid/node"))
	if err != nil {
		t.Fatal(err)
	}
	return netns.Open(t, filepath.Join("/proc", strings.TrimSpace(string(pid)), "root/run/netns/client-"+client))
}

// helm runs the pinned helm.
func (c *cluster) helm(t *testing.T, args ...string) string {
	t.Helper()
	path := strings.TrimSpace(c.run(t, "", "go", "tool", "-modfile=hack/tools/deploy/go.mod", "-n", "helm"))
	return c.run(t, "", c.script, append([]string{"client", path}, args...)...)
}

// ready waits until a relay is Ready in its present generation.
func (c *cluster) ready(t *testing.T, namespace, name string) {
	t.Helper()
	c.eventually(t, namespace, "PrinterRelay "+name+" is Ready", func() bool {
		var r relayObject
		return c.get(t, namespace, "printerrelay/"+name, &r) && r.Status.ObservedGeneration == r.Metadata.Generation && r.condition("Ready") == "True"
	})
}

// relayObject is what the tests read of a PrinterRelay.
type relayObject struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		ObservedGeneration int64
		Conditions         []struct{ Type, Status, Message string }
		Addresses          []struct{ Value string }
		Queue              struct{ Messages int }
	}
}

func (r *relayObject) condition(kind string) string {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

func (r *relayObject) message(kind string) string {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return c.Message
		}
	}
	return ""
}

// pods of a relay by name, each with what changes when it is restarted.
func (c *cluster) pods(t *testing.T, namespace, relay string) map[string]string {
	t.Helper()
	out := map[string]string{}
	lines := c.kubectl(t, "get", "pods", "-n", namespace, "-l", "app.kubernetes.io/instance="+relay,
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}/{.status.containerStatuses[0].restartCount}{"\n"}{end}`)
	for line := range strings.Lines(lines) {
		if name, uid, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[name] = uid
		}
	}
	return out
}
