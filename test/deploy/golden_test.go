package deploy

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/*/*/objects.yaml anew")

// cases are the folders of testdata/KIND.
func cases(t *testing.T, kind string, least int) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/" + kind + "/*")
	if err != nil || len(dirs) < least {
		t.Fatalf("%d cases in testdata/%s: %v", len(dirs), kind, err)
	}
	return dirs
}

func golden(t *testing.T, dir string, objects []object) {
	t.Helper()
	got, file := text(t, objects), filepath.Join(dir, "objects.yaml")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := read(t, file); got != want {
		t.Errorf("%s: %s; if that is meant: go test ./test/deploy -update", file, difference(got, want))
	}
}

// difference is the first line that differs.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return "there is now " + strings.TrimSpace(g[i]) + ", in " + holder(g, i)
		}
	}
	return "it ends earlier"
}

// holder is the object that a line stands in.
func holder(lines []string, i int) string {
	for ; i >= 0; i-- {
		if lines[i] == "---" {
			break
		}
	}
	return strings.Join(lines[i+1:min(i+3, len(lines))], " ")
}

func TestKustomizeIsGolden(t *testing.T) {
	for _, dir := range cases(t, "config", 3) {
		t.Run(filepath.Base(dir), func(t *testing.T) { golden(t, dir, everything(t)[dir]) })
	}
}

func TestChartIsGolden(t *testing.T) {
	for _, dir := range cases(t, "chart", 8) {
		t.Run(filepath.Base(dir), func(t *testing.T) { golden(t, dir, everything(t)[dir]) })
	}
}

// Each part of config/ builds by itself.
func TestPartsBuild(t *testing.T) {
	for part, least := range map[string]int{"crd": 3, "rbac": 8, "manager": 3, "network-policy": 1, "samples": 5} {
		if got := built(t, filepath.Join(root, "config", part)); len(got) < least {
			t.Errorf("config/%s: %q", part, keys(got))
		}
	}
}
