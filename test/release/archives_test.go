package release

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

	"github.com/printerrelay/printer-relay/test/env"
)

// file is one of an archive.
type file struct {
	name    string
	mode    os.FileMode
	content string
}

// checkArchive holds an archive that was made of StandIn at 1700000000 to the program,
// that may be run, and its licence.
func checkArchive(t *testing.T, path string) {
	t.Helper()
	list, program := untar, "printer-relay"
	if filepath.Ext(path) == ".zip" {
		list, program = unzip, "printer-relay.exe"
	}
	got := list(t, path)
	licence := read(t, filepath.Join(env.Root(t), "LICENSE"))
	if len(got) != 2 || got[0] != (file{"LICENSE", 0o644, licence}) || got[1] != (file{program, 0o755, env.StandIn}) {
		t.Errorf("%s: %+v", path, got)
	}
}

func untar(t *testing.T, path string) (out []file) {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(read(t, path)))
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
		if err != nil || h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || h.Gname != "root" || h.ModTime.Unix() != 1700000000 {
			t.Errorf("%s: %v %+v", path, err, h)
		}
		out = append(out, file{h.Name, os.FileMode(h.Mode), string(content)}) //nolint:gosec // of this test
	}
}

func unzip(t *testing.T, path string) (out []file) {
	t.Helper()
	octets := []byte(read(t, path))
	r, err := zip.NewReader(bytes.NewReader(octets), int64(len(octets)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.File {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(c)
		if err != nil || f.Modified.Unix() != 1700000000 {
			t.Errorf("%s: %v %+v", path, err, f)
		}
		out = append(out, file{f.Name, f.Mode(), string(content)})
	}
	return out
}
