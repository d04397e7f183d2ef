package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is packed comes out again, with modes that let it be run; the same files give the
// same octets, whatever their times and owners' masks are.
func TestArchives(t *testing.T) {
	dir := t.TempDir()
	program, licence := filepath.Join(dir, "a", "program"), filepath.Join(dir, "LICENSE")
	write(t, program, "runs", 0o700)
	write(t, licence, "may be copied", 0o600)
	at := time.Unix(1700000000, 0).UTC()
	for name, list := range map[string]func(*testing.T, string) []file{"x.tar.gz": untar, "x.zip": unzip} {
		out := filepath.Join(dir, name)
		args := []string{"-o", out, "-created", "1700000000", "printer-relay=" + program, "LICENSE=" + licence}
		if err := run(args); err != nil {
			t.Fatal(err)
		}
		first := read(t, out)
		got := list(t, out)
		if len(got) != 2 || got[0].name != "printer-relay" || got[0].mode != 0o755 || string(got[0].content) != "runs" ||
			got[1].name != "LICENSE" || got[1].mode != 0o644 || string(got[1].content) != "may be copied" {
			t.Errorf("%s: %+v", name, got)
		}
		if err := os.Chtimes(program, at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(program, 0o775); err != nil { //nolint:gosec // it is the mode that is tried
			t.Fatal(err)
		}
		if err := run(args); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(t, out), first) {
			t.Errorf("%s: the same files gave other octets", name)
		}
	}
	for _, args := range [][]string{{}, {"-o", filepath.Join(dir, "x.rar"), "a=" + program}, {"-o", filepath.Join(dir, "x.zip")}, {"-o", filepath.Join(dir, "x.zip"), program}, {"-o", filepath.Join(dir, "x.zip"), "a=" + dir}} {
		if run(args) == nil {
			t.Errorf("%q passes", args)
		}
	}
}

func untar(t *testing.T, path string) (out []file) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(read(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil || h.Uid != 0 || h.Uname != "" || h.ModTime.Unix() != 1700000000 {
			t.Errorf("%v %+v", err, h)
		}
		out = append(out, file{h.Name, os.FileMode(h.Mode), content}) //nolint:gosec // of this test
	}
}

func unzip(t *testing.T, path string) (out []file) {
	t.Helper()
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, f := range r.File {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := io.Copy(&b, c); err != nil || f.Modified.Unix() != 1700000000 { //nolint:gosec // of this test
			t.Errorf("%v %+v", err, f)
		}
		out = append(out, file{f.Name, f.Mode(), []byte(b.String())})
	}
	return out
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
