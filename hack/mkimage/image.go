package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"os"
	"time"
)

// What OCI's image specification calls the parts of an image.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

type owner struct{ uid, gid int }

// An image is what goes into one, whatever the architecture: paths are absolute.
type image struct {
	path    string   // of the program
	folders []string // empty ones, which user owns
	user    owner
	labels  map[string]string
	created time.Time
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type config struct {
	platform
	Created time.Time     `json:"created"`
	Config  runtimeConfig `json:"config"`
	RootFS  rootFS        `json:"rootfs"`
}

type runtimeConfig struct {
	User       string            `json:"User"`
	Entrypoint []string          `json:"Entrypoint"`
	Env        []string          `json:"Env"`
	WorkingDir string            `json:"WorkingDir"`
	Labels     map[string]string `json:"Labels,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

// archive returns the layout of one image for each of the programs, and the
// digest of their index.
func (im image) archive(reference string, programs []string) (octets []byte, digest string, err error) {
	name, err := qualified(reference)
	if err != nil {
		return nil, "", err
	}
	l := newLayout()
	ix := index{SchemaVersion: 2, MediaType: typeIndex, Annotations: im.labels}
	seen := map[string]string{}
	for _, program := range programs {
		d, err := im.build(l, program)
		if err != nil {
			return nil, "", err
		}
		if first, twice := seen[d.Platform.Architecture]; twice {
			return nil, "", fmt.Errorf("%s and %s are both for %s", first, program, d.Platform.Architecture)
		}
		seen[d.Platform.Architecture] = program
		ix.Manifests = append(ix.Manifests, d)
	}
	d := l.json(typeIndex, ix)
	octets, err = l.archive(d, name)
	return octets, d.Digest, err
}

// build adds the image of one program to l.
func (im image) build(l *layout, program string) (descriptor, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return descriptor{}, err
	}
	architecture, err := architectureOf(content)
	if err != nil {
		return descriptor{}, fmt.Errorf("%s: %w", program, err)
	}
	layer, err := im.layer(content)
	if err != nil {
		return descriptor{}, err
	}
	packed, err := compressed(layer)
	if err != nil {
		return descriptor{}, err
	}
	p := platform{Architecture: architecture, OS: "linux"}
	d := l.json(typeManifest, manifest{
		SchemaVersion: 2,
		MediaType:     typeManifest,
		Config: l.json(typeConfig, config{
			platform: p,
			Created:  im.created,
			Config: runtimeConfig{
				User:       fmt.Sprintf("%d:%d", im.user.uid, im.user.gid),
				Entrypoint: []string{im.path},
				Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
				WorkingDir: "/",
				Labels:     im.labels,
			},
			RootFS: rootFS{Type: "layers", DiffIDs: []string{digestOf(layer)}},
		}),
		Layers:      []descriptor{l.blob(typeLayer, packed)},
		Annotations: im.labels,
	})
	d.Platform = &p
	return d, nil
}

func (im image) layer(program []byte) ([]byte, error) {
	t := newTarball()
	t.parents(im.path)
	t.file(im.path, 0o755, program)
	for _, folder := range im.folders {
		t.parents(folder)
		t.folder(folder, im.user)
	}
	return t.bytes()
}

// architectureOf is what Go and OCI call the machine that a program is for.
func architectureOf(program []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", fmt.Errorf("not a program for Linux: %w", err)
	}
	for _, section := range f.Progs {
		if section.Type == elf.PT_INTERP {
			return "", fmt.Errorf("not a static program, and there are no libraries in the image: build it with CGO_ENABLED=0")
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("for a machine that mkimage does not know: %s", f.Machine)
}

func compressed(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out) // without a name or a time in its head
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
