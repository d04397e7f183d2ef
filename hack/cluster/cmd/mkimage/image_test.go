package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// What is packed for the relay: owners, modes and the user are those of the
// Dockerfile.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	program, certificates := filepath.Join(dir, "printer-relay"), filepath.Join(dir, "ca.crt")
	write(t, program, "program")
	write(t, certificates, "certificates")
	out := filepath.Join(dir, "image.tar")
	args := []string{
		"-ref", "printer-relay:e2e", "-o", out, "-folder", "/var/lib/printer-relay",
		"-file", certificates + ":/etc/ssl/certs/ca-certificates.crt", program,
	}
	if err := run(args); err != nil {
		t.Fatal(err)
	}
	archive := entries(t, read(t, out))

	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(archive["manifest.json"].content, &manifest); err != nil {
		t.Fatal(err)
	}
	if got := manifest[0].RepoTags; !reflect.DeepEqual(got, []string{"printer-relay:e2e"}) {
		t.Errorf("RepoTags: %q", got)
	}
	var config struct {
		Config struct {
			User       string
			Entrypoint []string
		}
	}
	if err := json.Unmarshal(archive[manifest[0].Config].content, &config); err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !reflect.DeepEqual(config.Config.Entrypoint, []string{"/usr/local/bin/printer-relay"}) {
		t.Errorf("config: %+v", config.Config)
	}

	layer := entries(t, archive[manifest[0].Layers[0]].content)
	for name, want := range map[string]struct {
		uid     int
		mode    int64
		content string
	}{
		"usr/local/bin/":                    {0, 0o755, ""},
		"usr/local/bin/printer-relay":       {0, 0o755, "program"},
		"etc/ssl/certs/ca-certificates.crt": {0, 0o644, "certificates"},
		"var/lib/":                          {0, 0o755, ""},
		"var/lib/printer-relay/":            {65532, 0o755, ""},
	} {
		got, ok := layer[name]
		if !ok || got.header.Uid != want.uid || got.header.Gid != want.uid || got.header.Mode != want.mode || string(got.content) != want.content {
			t.Errorf("%s: there %v, %+v", name, ok, got.header)
		}
	}

	if err := run(args); err != nil {
		t.Fatal(err)
	}
	if again := entries(t, read(t, out)); !reflect.DeepEqual(again["layer.tar"].content, archive["layer.tar"].content) {
		t.Error("the same input gave other octets")
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"-ref", "a:1", "program"},
		{"-ref", "a:1", "-o", "x", "-user", "root", "program"},
		{"-ref", "a:1", "-o", "x", "-file", "nowhere", "program"},
		{"-ref", "a:1", "-o", filepath.Join(t.TempDir(), "x"), filepath.Join(t.TempDir(), "absent")},
	} {
		if err := run(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

type entry struct {
	header  *tar.Header
	content []byte
}

func entries(t *testing.T, archive []byte) map[string]entry {
	t.Helper()
	found := map[string]entry{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := found[h.Name]; twice {
			t.Errorf("%s: twice in the archive", h.Name)
		}
		found[h.Name] = entry{h, content}
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
