package manifest

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// nodeError is what is wrong with a node, and where.
type nodeError struct {
	line int
	text string
}

// budget bounds the work that one file can ask for: a few lines of aliases can
// stand for millions of values.
type budget struct {
	left  int // values, those of an alias counted each time
	depth int
}

// plain makes of a YAML node what a JSON decoder would make of it, the types
// that the schema validation wants: map[string]any, []any, string, int64,
// float64, bool, nil.
func plain(n *yaml.Node, b *budget) (any, *nodeError) {
	if b.left--; b.left < 0 {
		return nil, &nodeError{n.Line, fmt.Sprintf("the aliases of the file stand for more than %d values: write them out", maxNodes)}
	}
	if b.depth++; b.depth > maxDepth {
		return nil, &nodeError{n.Line, fmt.Sprintf("is nested more than %d deep, or an alias stands for itself", maxDepth)}
	}
	defer func() { b.depth-- }()
	switch n.Kind {
	case yaml.AliasNode:
		return plain(n.Alias, b)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := plain(c, b)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.MappingNode:
		return plainMap(n, b)
	}
	return scalar(n)
}

func plainMap(n *yaml.Node, b *budget) (any, *nodeError) {
	out := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			return nil, &nodeError{k.Line, "a key must be a plain word"}
		}
		if _, ok := out[k.Value]; ok {
			return nil, &nodeError{k.Line, fmt.Sprintf("the key %q is here twice", k.Value)}
		}
		v, err := plain(n.Content[i+1], b)
		if err != nil {
			return nil, err
		}
		out[k.Value] = v
	}
	return out, nil
}

func scalar(n *yaml.Node) (any, *nodeError) {
	bad := &nodeError{n.Line, "the value cannot be read: put it in quotes"}
	switch n.Tag {
	case "!!null":
		return nil, nil
	case "!!bool":
		var v bool
		if n.Decode(&v) != nil {
			return nil, bad
		}
		return v, nil
	case "!!int":
		var v int64
		if n.Decode(&v) != nil {
			return nil, bad
		}
		return v, nil
	case "!!float":
		var v float64
		if n.Decode(&v) != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, bad
		}
		return v, nil
	}
	return n.Value, nil
}

// find gives the value of a key of a mapping.
func find(n *yaml.Node, key string) (*yaml.Node, bool) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		return nil, false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1], true
		}
	}
	return nil, false
}

// step is one part of a field path: name, [3] or ["key"].
var step = regexp.MustCompile(`[^.\[\]]+|\[[^\]]*\]`)

// lineOf gives the line of a field path such as spec.rules[0].match, or of the
// nearest part of it that is there.
func (d document) lineOf(path string) int {
	n := d.node
	line := n.Line
	for _, s := range step.FindAllString(path, -1) {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		next := child(n, s)
		if next == nil {
			break
		}
		n, line = next, keyLine(n, next)
	}
	return line
}

func child(n *yaml.Node, s string) *yaml.Node {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		inner = strings.TrimSuffix(inner, "]")
		var i int
		if _, err := fmt.Sscanf(inner, "%d", &i); err == nil && n.Kind == yaml.SequenceNode {
			if i >= 0 && i < len(n.Content) {
				return n.Content[i]
			}
			return nil
		}
		s = strings.Trim(inner, `"`)
	}
	v, _ := find(n, s)
	return v
}

// keyLine is where the field is named, not where its value begins.
func keyLine(parent, value *yaml.Node) int {
	if parent.Kind == yaml.MappingNode {
		for i := 1; i < len(parent.Content); i += 2 {
			if parent.Content[i] == value {
				return parent.Content[i-1].Line
			}
		}
	}
	return value.Line
}
