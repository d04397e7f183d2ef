package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// What is packed for the relay: owners, modes and the user are those of the
// Dockerfile, on each architecture, and the same input gives the same octets.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	programs := []string{filepath.Join(dir, "amd64", "printer-relay"), filepath.Join(dir, "arm64", "printer-relay")}
	write(t, programs[0], program(elf.EM_X86_64, elf.PT_LOAD))
	write(t, programs[1], program(elf.EM_AARCH64, elf.PT_LOAD))
	out := filepath.Join(dir, "image.tar")
	args := append([]string{
		"-ref", "printer-relay:e2e", "-o", out, "-folder", "/var/lib/printer-relay",
		"-label", "org.opencontainers.image.version=e2e", "-created", "1700000000",
	}, programs...)
	var digest strings.Builder
	if err := run(args, &digest); err != nil {
		t.Fatal(err)
	}
	first := read(t, out)
	archive := entries(t, first)

	var top index
	parse(t, archive["index.json"].content, &top)
	if len(top.Manifests) != 1 || top.Manifests[0].Digest != strings.TrimSpace(digest.String()) {
		t.Fatalf("index.json has %+v, %s was printed", top.Manifests, &digest)
	}
	if got := top.Manifests[0].Annotations["io.containerd.image.name"]; got != "docker.io/library/printer-relay:e2e" {
		t.Errorf("containerd would call it %q", got)
	}
	var images index
	parse(t, blob(t, archive, top.Manifests[0]), &images)
	if len(images.Manifests) != 2 {
		t.Fatalf("%d images, want 2", len(images.Manifests))
	}
	for i, architecture := range []string{"amd64", "arm64"} {
		checkImage(t, archive, images.Manifests[i], architecture, read(t, programs[i]))
	}

	if err := run(args, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, out), first) {
		t.Error("the same input gave other octets")
	}
}

func checkImage(t *testing.T, archive map[string]entry, d descriptor, architecture string, program []byte) {
	t.Helper()
	if want := (platform{architecture, "linux"}); *d.Platform != want {
		t.Errorf("platform %+v, want %+v", *d.Platform, want)
	}
	var m manifest
	parse(t, blob(t, archive, d), &m)
	var c config
	parse(t, blob(t, archive, m.Config), &c)
	if c.Architecture != architecture || c.Config.User != "65532:65532" || !reflect.DeepEqual(c.Config.Entrypoint, []string{"/usr/local/bin/printer-relay"}) ||
		c.Created.Unix() != 1_700_000_000 || c.Config.Labels["org.opencontainers.image.version"] != "e2e" {
		t.Errorf("config: %+v", c)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(blob(t, archive, m.Layers[0])))
	if err != nil {
		t.Fatal(err)
	}
	tarred, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(tarred) != c.RootFS.DiffIDs[0] {
		t.Errorf("the layer is %s, the config says %s", digestOf(tarred), c.RootFS.DiffIDs)
	}
	layer := entries(t, tarred)
	for name, want := range map[string]struct {
		uid     int
		mode    int64
		content string
	}{
		"usr/":                        {0, 0o755, ""},
		"usr/local/":                  {0, 0o755, ""},
		"usr/local/bin/":              {0, 0o755, ""},
		"usr/local/bin/printer-relay": {0, 0o755, string(program)},
		"var/":                        {0, 0o755, ""},
		"var/lib/":                    {0, 0o755, ""},
		"var/lib/printer-relay/":      {65532, 0o755, ""},
	} {
		got, ok := layer[name]
		if !ok || got.header.Uid != want.uid || got.header.Gid != want.uid || got.header.Mode != want.mode ||
			got.header.ModTime.Unix() != 0 || string(got.content) != want.content {
			t.Errorf("%s: there %v, %+v", name, ok, got.header)
		}
		delete(layer, name)
	}
	for name := range layer {
		t.Errorf("%s is in the image and should not be", name)
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	static, dynamic, other, text := filepath.Join(dir, "static"), filepath.Join(dir, "dynamic"), filepath.Join(dir, "other"), filepath.Join(dir, "text")
	write(t, static, program(elf.EM_X86_64, elf.PT_LOAD))
	write(t, dynamic, program(elf.EM_X86_64, elf.PT_INTERP))
	write(t, other, program(elf.EM_S390, elf.PT_LOAD))
	write(t, text, []byte("#!/bin/sh\n"))
	out := filepath.Join(dir, "x")
	for _, tt := range []struct {
		args []string
		says string
	}{
		{nil, "usage"},
		{[]string{"-ref", "a:1", static}, "usage"},
		{[]string{"-ref", "a:1", "-o", out}, "usage"},
		{[]string{"-ref", "a", "-o", out, static}, "tag"},
		{[]string{"-ref", "localhost:5000/a", "-o", out, static}, "tag"},
		{[]string{"-ref", "a:1", "-o", out, "-user", "root", static}, "UID:GID"},
		{[]string{"-ref", "a:1", "-o", out, "-label", "x", static}, "NAME=VALUE"},
		{[]string{"-ref", "a:1", "-o", out, "-created", "now", static}, "created"},
		{[]string{"-ref", "a:1", "-o", out, filepath.Join(dir, "absent")}, "absent"},
		{[]string{"-ref", "a:1", "-o", out, text}, "not a program"},
		{[]string{"-ref", "a:1", "-o", out, dynamic}, "CGO_ENABLED=0"},
		{[]string{"-ref", "a:1", "-o", out, other}, "does not know"},
		{[]string{"-ref", "a:1", "-o", out, static, static}, "both for amd64"},
	} {
		if err := run(tt.args, io.Discard); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.says)
		}
	}
}

func TestQualified(t *testing.T) {
	for in, want := range map[string]string{
		"a:1":                     "docker.io/library/a:1",
		"local/a:1":               "docker.io/local/a:1",
		"localhost/a:1":           "localhost/a:1",
		"registry.example/a:1":    "registry.example/a:1",
		"registry.example:5000/a": "",
		"a:":                      "",
	} {
		if got, err := qualified(in); got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
}

// program is the head of one, with a segment of a type.
func program(machine elf.Machine, segment elf.ProgType) []byte {
	var b bytes.Buffer
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	for _, v := range []any{h, elf.Prog64{Type: uint32(segment)}} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
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

// blob is what d names, which is what d says of it.
func blob(t *testing.T, archive map[string]entry, d descriptor) []byte {
	t.Helper()
	content := archive[path.Join("blobs", strings.Replace(d.Digest, ":", "/", 1))].content
	if len(content) != d.Size || digestOf(content) != d.Digest {
		t.Fatalf("%+v: %d octets, %s", d, len(content), digestOf(content))
	}
	return content
}

func parse(t *testing.T, content []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(content, v); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
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
