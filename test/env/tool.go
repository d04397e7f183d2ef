package env

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// building bounds the build of a tool on a machine with cold caches and two cores.
const building = 20 * time.Minute

// tools that were built, by module and name.
var tools struct {
	sync.Mutex
	paths map[[2]string]string
}

// Tool gives the path of a tool that hack/tools/MODULE/go.mod pins ("." for
// hack/tools itself). It is in Go's cache, and built where it is not.
func Tool(t testing.TB, module, name string) string {
	t.Helper()
	tools.Lock()
	defer tools.Unlock()
	key := [2]string{module, name}
	if path, ok := tools.paths[key]; ok {
		return path
	}
	ctx, cancel := context.WithTimeout(t.Context(), building)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile="+filepath.Join("hack/tools", module, "go.mod"), "-n", name)
	cmd.Dir = Root(t)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s of hack/tools/%s cannot be built: %v\n%s", name, module, err, &problems)
	}
	if tools.paths == nil {
		tools.paths = map[[2]string]string{}
	}
	tools.paths[key] = strings.TrimSpace(string(out))
	return tools.paths[key]
}
