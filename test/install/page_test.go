package install

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/env"
)

// The commands of docs/install.md, letter by letter, by an administrator: by Helm,
// the upgrade, uninstalled, and by kustomize in its place.
func TestCommandsOfThePage(t *testing.T) {
	s := apiserver.Start(t)
	root := env.Root(t)
	page, err := os.ReadFile(filepath.Join(root, "docs", "install.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(page, -1)
	upgrade := regexp.MustCompile("`(helm upgrade [^`]+)`").FindSubmatch(page)
	if len(blocks) != 3 || upgrade == nil {
		t.Fatalf("docs/install.md has %d blocks of commands, and the upgrade %q", len(blocks), upgrade)
	}
	i := &installation{t: t, s: s, namespace: "printer-relay-system", admin: apiserver.Kubeconfig(t, s.Config)}
	home := t.TempDir()
	types := func(commands string) { // the CustomResourceDefinitions are there already, and become the release's
		t.Helper()
		script := "set -euo pipefail\nexport HOME='" + home + "' KUBECONFIG='" + i.admin + "'\n" +
			"kubectl() { '" + filepath.Join(s.Bin, "kubectl") + "' \"$@\"; }\n" +
			"helm() { if [[ $1 == install ]]; then set -- \"$@\" --take-ownership; fi; '" + env.Tool(t, "deploy", "helm") + "' \"$@\"; }\n" +
			"cd '" + root + "'\n" + commands
		t.Log(env.MustRun(t, "", "bash", "-c", script))
	}
	there := func() {
		t.Helper()
		if err := i.get(&appsv1.Deployment{}, i.namespace, name); err != nil {
			t.Error(err)
		}
	}
	types(string(blocks[0][1]))
	there()
	types(string(upgrade[1]))
	types(string(blocks[2][1]))
	i.helm("uninstall", release)
	if err := i.get(&appsv1.Deployment{}, i.namespace, name); err == nil {
		t.Error("uninstalled, the operator is there")
	}
	types(string(blocks[1][1]))
	there()
	types("for part in manager rbac network-policy; do kubectl kustomize config/$part; echo ---; done | kubectl delete --namespace printer-relay-system -f -")
}
