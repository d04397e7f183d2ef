package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

// A layout is an OCI image layout in the making: blobs in the order they came,
// and the first error.
type layout struct {
	t    *tarball
	have map[string]bool
}

func newLayout() *layout {
	l := &layout{t: newTarball(), have: map[string]bool{}}
	l.t.file("oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

func (l *layout) blob(mediaType string, content []byte) descriptor {
	digest := digestOf(content)
	if !l.have[digest] {
		l.have[digest] = true
		name := path.Join("blobs", strings.Replace(digest, ":", "/", 1))
		l.t.parents(name)
		l.t.file(name, 0o644, content)
	}
	return descriptor{MediaType: mediaType, Digest: digest, Size: len(content)}
}

func (l *layout) json(mediaType string, v any) descriptor {
	b, err := json.Marshal(v)
	if err != nil && l.t.err == nil {
		l.t.err = err
	}
	return l.blob(mediaType, b)
}

// archive ends the layout: d is what is in it, by name.
func (l *layout) archive(d descriptor, name string) ([]byte, error) {
	_, tag, _ := cutTag(name)
	d.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
	b, err := json.Marshal(index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{d}})
	if err != nil {
		return nil, err
	}
	l.t.file("index.json", 0o644, b)
	return l.t.bytes()
}

// qualified is a reference as container runtimes keep it: docker.io/library/a:1
// for a:1.
func qualified(reference string) (string, error) {
	repository, _, ok := cutTag(reference)
	if !ok {
		return "", fmt.Errorf("-ref %s: wants a tag, as in %s:1", reference, reference)
	}
	first, _, several := strings.Cut(repository, "/")
	switch {
	case !several:
		return "docker.io/library/" + reference, nil
	case strings.ContainsAny(first, ".:") || first == "localhost":
		return reference, nil
	}
	return "docker.io/" + reference, nil
}

// cutTag splits at the colon of the tag, not at that of a port.
func cutTag(reference string) (repository, tag string, ok bool) {
	i := strings.LastIndexByte(reference, ':')
	if i <= 0 || i == len(reference)-1 || strings.ContainsAny(reference[i+1:], "/@") {
		return reference, "", false
	}
	return reference[:i], reference[i+1:], true
}

// A tarball remembers its first error; bytes returns it. Its files are all from
// 1970.
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
