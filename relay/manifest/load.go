package manifest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

type loader struct {
	validators map[string]*validator
	seen       map[string]string // object -> file:line
	set        *Set
	problems   Problems
	budget     budget // of the file that is being looked at
}

// document is one YAML document while it is being looked at.
type document struct {
	l      *loader
	file   string
	node   *yaml.Node
	object string
}

func (d document) problem(path string, line int, format string, a ...any) {
	d.l.problems = append(d.l.problems, Problem{File: d.file, Line: line, Object: d.object, Field: path, Message: fmt.Sprintf(format, a...)})
}

func (l *loader) file(name string, b []byte) {
	d := document{l: l, file: name}
	if line, what := unreadable(b); what != "" {
		d.problem("", line, "%s", what)
		return
	}
	l.budget = budget{left: maxNodes + 2*len(b)} // without aliases there are fewer values than octets; those of a List count twice
	dec := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			line, text := syntaxError(err)
			d.problem("", line, "is not YAML: %s%s", text, tabHint(b, line))
			return
		}
		if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
			l.node(name, doc.Content[0], true)
		}
	}
}

// node looks at one object, or at a List of them; Lists do not nest.
func (l *loader) node(file string, n *yaml.Node, lists bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // an empty document
	}
	d := document{l: l, file: file, node: n}
	v, err := plain(n, &l.budget)
	if err != nil {
		d.problem("", err.line, "%s", err.text)
		return
	}
	obj, ok := v.(map[string]any)
	if !ok {
		d.problem("", n.Line, "is not a Kubernetes object: it needs apiVersion, kind and metadata.name")
		return
	}
	if items, ok := find(n, "items"); lists && ok && obj["kind"] == "List" && items.Kind == yaml.SequenceNode {
		for _, item := range items.Content {
			l.node(file, item, false)
		}
		return
	}
	l.object(d, obj)
}

func (l *loader) object(d document, obj map[string]any) {
	apiVersion, _ := obj["apiVersion"].(string)
	kind, _ := obj["kind"].(string)
	meta, _ := obj["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if kind == "" || apiVersion == "" || name == "" {
		d.problem("", d.node.Line, "is not a Kubernetes object: it needs apiVersion, kind and metadata.name")
		return
	}
	if meta["namespace"] == nil || meta["namespace"] == "" {
		meta["namespace"] = "default"
	}
	ns, ok := meta["namespace"].(string)
	if !ok || len(validation.IsDNS1123Label(ns)) > 0 {
		d.problem("metadata.namespace", d.lineOf("metadata.namespace"), "must be lower-case letters, digits and hyphens, in quotes if it is a number")
		return
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 { // it becomes the name of a folder too
		d.problem("metadata.name", d.lineOf("metadata.name"), "%q must be lower-case letters, digits, hyphens and dots", name)
		return
	}
	d.object = kind + " " + ns + "/" + name
	ours := apiVersion == v1alpha1.GroupVersion.String() && l.validators[kind] != nil
	if !ours && (apiVersion != "v1" || kind != "Secret") {
		d.problem("apiVersion", d.lineOf("apiVersion"), "%s %s is no kind of this folder: it holds PrinterRelay, MailUpstream and SenderPolicy of %s, and v1 Secret", apiVersion, kind, v1alpha1.GroupVersion)
		return
	}
	if first, ok := l.seen[d.object]; ok {
		d.problem("metadata.name", d.lineOf("metadata.name"), "is in %s already: remove one of the two", first)
		return
	}
	if l.set.documents == nil {
		l.set.documents = map[string]document{}
	}
	l.set.documents[d.object] = d
	l.seen[d.object] = fmt.Sprintf("%s:%d", d.file, d.node.Line)
	if !ours {
		l.secret(d, ns, name, obj)
		return
	}
	delete(obj, "status") // what a cluster wrote there is not ours to judge
	errs, unknown := l.validators[kind].validate(obj, nil)
	for _, path := range unknown {
		d.problem(path, d.lineOf(path), "is no field of this kind: check its spelling and indentation")
	}
	for _, e := range tidy(errs) {
		if e.Field == "<nil>" { // of the whole object; all that a rule sees there is the name
			e.Field = "metadata.name"
		}
		d.problem(e.Field, d.lineOf(e.Field), "%s", detail(e))
	}
	if len(errs) > 0 || len(unknown) > 0 {
		return
	}
	if err := l.keep(kind, obj); err != nil {
		d.problem("", d.node.Line, "%v", err)
	}
}

func (l *loader) keep(kind string, obj map[string]any) error {
	into := map[string]func() error{
		"PrinterRelay": func() error { return keep(&l.set.Relays, obj) },
		"MailUpstream": func() error { return keep(&l.set.Upstreams, obj) },
		"SenderPolicy": func() error { return keep(&l.set.Policies, obj) },
	}
	return into[kind]()
}

func keep[T any](list *[]*T, obj map[string]any) error {
	out := new(T)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj, out); err != nil {
		return err
	}
	*list = append(*list, out)
	return nil
}

// secret keeps a Secret. Its messages never hold a value.
func (l *loader) secret(d document, ns, name string, obj map[string]any) {
	for key := range obj {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"}, key) {
			d.problem(key, d.lineOf(key), "is no field of a Secret")
		}
	}
	data := map[string][]byte{}
	for _, part := range []string{"data", "stringData"} {
		m, ok := obj[part].(map[string]any)
		if !ok && obj[part] != nil {
			d.problem(part, d.lineOf(part), "must be a map of strings")
			continue
		}
		for key, v := range m {
			path := part + "." + key
			s, ok := v.(string)
			if !ok {
				d.problem(path, d.lineOf(path), "must be a string: put it in quotes")
				continue
			}
			data[key] = []byte(s)
			if part == "data" {
				b, err := base64.StdEncoding.DecodeString(s)
				if err != nil {
					d.problem(path, d.lineOf(path), "is not base64: use stringData for plain text")
				}
				data[key] = b
			}
		}
	}
	if l.set.Secrets[ns] == nil {
		l.set.Secrets[ns] = secrets.Map{}
	}
	l.set.Secrets[ns][name] = data
}
