// Package deploy holds what installs the operator, config/ (kustomize) and
// charts/printer-relay (Helm), to golden files, to each other, and to what the
// operator's documentation promises. It runs the tools that
// hack/tools/deploy/go.mod and hack/tools/score/go.mod pin.
package deploy

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const root = "../.."

// building a tool on a machine with cold caches and two cores.
const building = 20 * time.Minute

// program gives the path of a pinned tool in Go's cache, built once.
func program(module, name string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), building)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join("hack/tools", module, "go.mod"), "-n", name)
		cmd.Dir = root
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	})
}

var (
	kustomize     = program("deploy", "kustomize")
	helm          = program("deploy", "helm")
	helmDocs      = program("deploy", "helm-docs")
	kubeScore     = program("score", "kube-score")
	controllerGen = program(".", "controller-gen")
)

// run gives what a tool prints; that it fails is the caller's to judge. Nothing
// of the user's own settings is read or written.
func run(t *testing.T, tool func() (string, error), stdin []byte, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	path, err := tool()
	if err != nil {
		t.Fatalf("the tool cannot be built: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	home := t.TempDir()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+filepath.Join(home, "none"),
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	cmd.Stdin = bytes.NewReader(stdin)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// rendered is what must has got for which arguments: many tests look at the same.
var rendered sync.Map

// must gives what a tool that does not fail prints.
func must(t *testing.T, tool func() (string, error), args ...string) string {
	t.Helper()
	key := strings.Join(args, "\x00")
	if known, ok := rendered.Load(key); ok {
		return known.(string)
	}
	stdout, stderr, err := run(t, tool, nil, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", args, err, stdout, stderr)
	}
	rendered.Store(key, stdout)
	return stdout
}

// Where nothing else is said, a release has the names of docs/operator.md.
const (
	chart     = root + "/charts/printer-relay"
	release   = "printer-relay"
	namespace = "printer-relay-system"
	name      = "printer-relay-operator"
)

// templated is what the chart makes of values, a file or none.
func templated(t *testing.T, values string, args ...string) []object {
	t.Helper()
	args = append([]string{"template", release, chart, "--namespace", namespace}, args...)
	if values != "" {
		args = append(args, "--values", values)
	}
	return parse(t, must(t, helm, args...))
}

// built is what kustomize makes of a folder.
func built(t *testing.T, dir string) []object {
	t.Helper()
	return parse(t, must(t, kustomize, "build", dir))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
