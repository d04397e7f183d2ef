package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
)

type owner struct{ uid, gid int }

type file struct {
	source, path string // on this machine, in the image
	mode         int64
}

// An image is what goes into one: paths are absolute.
type image struct {
	reference string
	program   file
	files     []file
	folders   []string // empty ones, which user owns
	user      owner
}

// archive returns the image as `docker save` writes one.
func (im image) archive() ([]byte, error) {
	layer, err := im.layer()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      "1970-01-01T00:00:00Z",
		"config": map[string]any{
			"User":       fmt.Sprintf("%d:%d", im.user.uid, im.user.gid),
			"Entrypoint": []string{im.program.path},
			"Env":        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			"WorkingDir": "/",
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return nil, err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": configName, "RepoTags": []string{im.reference}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return nil, err
	}
	t := newTarball()
	t.file("manifest.json", 0o644, manifest)
	t.file(configName, 0o644, config)
	t.file("layer.tar", 0o644, layer)
	return t.bytes()
}

func (im image) layer() ([]byte, error) {
	t := newTarball()
	for _, f := range append(slices.Clone(im.files), im.program) {
		content, err := os.ReadFile(f.source)
		if err != nil {
			return nil, err
		}
		t.parents(f.path)
		t.file(f.path, f.mode, content)
	}
	for _, folder := range im.folders {
		t.parents(folder)
		t.folder(folder, im.user)
	}
	return t.bytes()
}

// A tarball remembers its first error; bytes returns it.
type tarball struct {
	buffer  bytes.Buffer
	w       *tar.Writer
	folders map[string]bool
	err     error
}

func newTarball() *tarball {
	t := &tarball{folders: map[string]bool{"/": true, ".": true}}
	t.w = tar.NewWriter(&t.buffer)
	return t
}

// parents writes the folders above name that are not there yet; root owns them.
func (t *tarball) parents(name string) {
	parent := path.Dir(path.Clean(name))
	if t.folders[parent] {
		return
	}
	t.parents(parent)
	t.folder(parent, owner{})
}

func (t *tarball) folder(name string, o owner) {
	t.folders[path.Clean(name)] = true
	t.write(&tar.Header{Typeflag: tar.TypeDir, Name: relative(name) + "/", Mode: 0o755, Uid: o.uid, Gid: o.gid}, nil)
}

func (t *tarball) file(name string, mode int64, content []byte) {
	t.write(&tar.Header{Typeflag: tar.TypeReg, Name: relative(name), Mode: mode, Size: int64(len(content))}, content)
}

func (t *tarball) write(h *tar.Header, content []byte) {
	if t.err == nil {
		t.err = t.w.WriteHeader(h)
	}
	if t.err == nil {
		_, t.err = t.w.Write(content)
	}
}

func (t *tarball) bytes() ([]byte, error) {
	if t.err == nil {
		t.err = t.w.Close()
	}
	return t.buffer.Bytes(), t.err
}

// relative is name as names in an image's layer are: without the first slash.
func relative(name string) string { return strings.TrimPrefix(path.Clean(name), "/") }
