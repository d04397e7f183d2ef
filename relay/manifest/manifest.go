// Package manifest loads the YAML that kubectl apply takes, standalone: it
// validates it with the CRDs' own schema and CEL rules, and says file, line and
// field of what is wrong. It is the only package under relay/ that knows
// Kubernetes machinery.
//
// It may import api/v1alpha1, config/crd, relay/secrets and k8s.io/*.
package manifest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// Bounds on what is read.
const (
	maxFile  = 4 << 20
	maxFiles = 1000
	maxNodes = 200_000 // that the aliases of one file stand for
	maxDepth = 100
)

// Set is what a manifest folder holds, defaults set, sorted as read.
type Set struct {
	Relays    []*v1alpha1.PrinterRelay
	Upstreams []*v1alpha1.MailUpstream
	Policies  []*v1alpha1.SenderPolicy
	Secrets   map[string]secrets.Map // by namespace
	Where     map[string]string      // Problem.Object -> its file, of all that are there, good or not
	documents map[string]document    // likewise
}

// Problem makes a Problem of a finding about a field of an object: with the
// file and line of the field, or of the nearest part of it that is there.
func (s *Set) Problem(object, field, message string) Problem {
	p := Problem{Object: object, Field: field, Message: message}
	if d, ok := s.documents[object]; ok {
		p.File, p.Line = d.file, d.lineOf(field)
	}
	return p
}

// Problem is one thing to mend in a manifest.
type Problem struct {
	File    string // empty: the object is in none
	Line    int
	Object  string // "PrinterRelay default/office"; empty: not known
	Field   string // "spec.listeners[0].port"; empty: the whole
	Message string
}

// Error is the problem in one line.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	}
	if p.Object != "" {
		b.WriteString(p.Object + ": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems are all that was found, as one error.
type Problems []Problem

// Error is a line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Load reads every *.yaml, *.yml and *.json in dir, not below it. Problems say
// what is wrong with the manifests; the error says that they could not be read.
func Load(dir string) (*Set, Problems, error) {
	files, err := list(dir)
	if err != nil {
		return nil, nil, err
	}
	vs, err := validators()
	if err != nil {
		return nil, nil, fmt.Errorf("the embedded schemas: %w", err)
	}
	l := &loader{validators: vs, seen: map[string]string{}, set: &Set{Secrets: map[string]secrets.Map{}}}
	for _, file := range files {
		b, err := read(filepath.Join(dir, file))
		if err != nil { // the others count all the same
			document{l: l, file: file}.problem("", 1, "%v", err)
			continue
		}
		if len(b) > maxFile {
			document{l: l, file: file}.problem("", 1, "is larger than %d octets: split it", maxFile)
			continue
		}
		l.file(file, b)
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { // as one reads the files
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	l.set.Where = where(l.seen)
	return l.set, l.problems, nil
}

// list names the manifest files of dir. Names that begin with a dot are not
// manifests: editors and the kubelet keep theirs under such names.
func list(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	var files []string
	for _, e := range entries {
		ext := strings.ToLower(filepath.Ext(e.Name()))
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			continue
		}
		files = append(files, e.Name())
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("manifests: %s holds %d files, more than %d", dir, len(files), maxFiles)
	}
	return files, nil
}

// read gives the file, or where it is too large the beginning of it, one octet
// more than maxFile.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	return b, nil
}

// Fingerprint changes whenever a file of dir does, or, for a folder of mounted
// Secrets, of a folder in it. It reads no content: it is asked several times a
// second.
func Fingerprint(dir string) (string, error) {
	h := sha256.New()
	err := fingerprint(h, dir, 2)
	return hex.EncodeToString(h.Sum(nil)[:12]), err
}

func fingerprint(w io.Writer, dir string, depth int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("manifests: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // what the kubelet swaps is seen through the links beside it
		}
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("manifests: %w", err)
		}
		if info.IsDir() {
			if depth > 1 {
				if err := fingerprint(w, path, depth-1); err != nil {
					return err
				}
			}
			continue
		}
		target, _ := filepath.EvalSymlinks(path) //nolint:errcheck // the rest of the line still tells a change
		fmt.Fprintln(w, path, target, info.Size(), info.ModTime().UnixNano())
	}
	return nil
}
