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

	"github.com/printerrelay/printer-relay/test/env"
)

const root = "../.."

// tool is one that is pinned: its module below hack/tools, and its name.
type tool struct{ module, name string }

var (
	kustomize     = tool{"deploy", "kustomize"}
	helm          = tool{"deploy", "helm"}
	helmDocs      = tool{"deploy", "helm-docs"}
	kubeScore     = tool{"score", "kube-score"}
	controllerGen = tool{".", "controller-gen"}
)

// run gives what a tool prints; that it fails is the caller's to judge. Nothing
// of the user's own settings is read or written.
func run(t *testing.T, tool tool, stdin []byte, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	path := env.Tool(t, tool.module, tool.name)
	ctx, cancel := context.WithTimeout(t.Context(), env.Wait)
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
func must(t *testing.T, tool tool, args ...string) string {
	t.Helper()
	key := tool.name + "\x00" + strings.Join(args, "\x00")
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
