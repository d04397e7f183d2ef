// Package start runs docs/start.md as a test: every block of it, letter by letter,
// in a copy of the checkout and a network of its own, where the ports that it names
// are free, with Postfix as the mail server that a reader has. It runs `make run`.
package start

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/netns"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// What the reader writes in the place of the page's own.
const user, password = "printer-relay", "correct-horse"

// enough for a program that was never compiled here, on a slow machine.
const enough = 20 * time.Minute

func TestFiveMinutes(t *testing.T) {
	env.NeedRoot(t)
	blocks := page(t)
	if len(blocks) < 6 || blocks[0] != "make run\n" {
		t.Fatalf("docs/start.md does not begin with make run: %q", blocks)
	}
	dir := checkout(t)
	ctx, cancel := context.WithTimeout(t.Context(), enough)
	defer cancel()
	build := exec.CommandContext(ctx, "make", "-s", "build") // here, where modules can be had
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	network := alone(t)
	server := postfix.Start(t, postfix.Options{In: network.Do, RequireAuth: true, Users: map[string]string{user: password}})
	var relay *env.Process
	network.Do(func() {
		relay = env.Start(t, dir, "env", "SSL_CERT_FILE="+filepath.Join(server.CA.Dir, "ca.crt"), "bash", "-c", blocks[0])
		env.Eventually(t, "make run prints where scans go, and listens", relay.Output, func() bool {
			return strings.Contains(relay.Output(), "find .state") && env.Greets("127.0.0.1:2525")
		})
	})
	script := "set -euo pipefail\ncd '" + dir + "'\n" + asTyped(t, strings.Join(blocks[1:], ""), map[string]string{
		"smtp.example.com, port: 587": "127.0.0.1, port: " + strconv.Itoa(server.Port),
		"change-me":                   password,
	})
	var out string
	var err error
	network.Do(func() { out, err = env.Run(t, "", "bash", "-c", script) })
	if err != nil {
		t.Fatalf("%v\n%s\n%s\nmake run:\n%s", err, script, out, relay.Tail(4000))
	}
	for _, wanted := range []string{`\.state/\S+/new/\S+`, `refused: 550 5\.7\.1 PR-032`, `ok +upstream +smarthost: 250`} {
		if !regexp.MustCompile(wanted).MatchString(out) {
			t.Errorf("the page's commands print no %s:\n%s", wanted, out)
		}
	}
	server.MailFor(t, "it@example.com") // it came
}

// page gives the blocks that the page has a reader run.
func page(t *testing.T) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(env.Root(t), "docs", "start.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(b), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// asTyped makes one script of blocks: what is marked "# refused" has to be, and
// what a reader writes in the place of an example is put there.
func asTyped(t *testing.T, blocks string, edits map[string]string) string {
	t.Helper()
	var script, command strings.Builder
	refused := 0
	for line := range strings.Lines(blocks) {
		line, not := strings.CutSuffix(strings.TrimRight(line, "\n"), "# refused")
		command.WriteString(line + "\n")
		switch {
		case strings.HasSuffix(line, "|"): // it goes on
			continue
		case not:
			refused++
			fmt.Fprintf(&script, "if said=$( { %s } 2>&1 ); then echo \"not refused: $said\"; exit 1; fi\ngrep -F 550 <<<\"$said\"\n", command.String())
		default:
			script.WriteString(command.String())
		}
		command.Reset()
	}
	if refused == 0 {
		t.Error("nothing on the page is refused")
	}
	typed := script.String()
	for from, to := range edits {
		if !strings.Contains(typed, from) {
			t.Errorf("%q is not on the page, to be edited", from)
		}
		typed = strings.ReplaceAll(typed, from, to)
	}
	return typed
}

// checkout is a copy of the checkout with nothing in it that was built.
func checkout(t *testing.T) string {
	t.Helper()
	root, dir := env.Root(t), t.TempDir()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch base := e.Name(); {
		case e.IsDir() && (base == ".git" || base == "node_modules" || name == "bin" || name == "dist" || name == ".state"):
			return filepath.SkipDir
		case e.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o755)
		case !e.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), b, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// alone is a network with a loopback interface and nothing else, for as long as the
// test runs.
func alone(t *testing.T) *netns.Network {
	t.Helper()
	p := env.Start(t, t.TempDir(), "unshare", "--net", "bash", "-c", "ip link set lo up && echo up && exec sleep infinity")
	env.Eventually(t, "a network of its own", p.Output, func() bool { return strings.Contains(p.Output(), "up\n") })
	return netns.Open(t, fmt.Sprintf("/proc/%d/ns/net", p.Pid()))
}
