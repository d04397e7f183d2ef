package dialogs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// off is what a listener has without a setting that a device needs; where a setting
// is for named networks, they are another's.
var off = map[string]string{
	"commandSyntax: Lenient": "commandSyntax: Strict",
	"profile: Legacy":        "profile: Intermediate",
	"plaintext: Allow":       "plaintext: Deny",
	"127.0.0.1/32":           "127.0.0.9/32",
	"hideStartTLS: true":     "hideStartTLS: false",
}

// shownElsewhere are dialogues that would wait for a reply which does not come.
var shownElsewhere = map[string]string{
	"fax-bare-lf-throughout": "wire: TestGap06BareLFEndsOnlyADeclaredSessionOfBareLF",
}

// What a copier's dialogue sets is off by default, and the device cannot do without:
// with each of its settings taken back, or given to another network, it goes another
// way.
func TestEachSettingIsNeededAndOffByDefault(t *testing.T) {
	if *update {
		return // the files are written by the other test
	}
	files, err := filepath.Glob("copiers/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	tried := map[string]bool{}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		for on, default_ := range off {
			d := load(t, path)
			set := false
			for i, line := range d.Header["listener"] {
				set = set || strings.Contains(line, on)
				d.Header["listener"][i] = strings.ReplaceAll(line, on, default_)
			}
			if !set {
				continue
			}
			tried[on] = true
			if shownElsewhere[name] != "" {
				continue
			}
			t.Run(name+" "+on, func(t *testing.T) {
				if _, err := d.hold(t, t.TempDir()); err == nil {
					t.Errorf("%s needs no %s", name, on)
				}
			})
		}
	}
	for on := range off {
		if !tried[on] {
			t.Errorf("no dialogue sets %s", on)
		}
	}
}

const page = "../../docs/compatibility.md"

// The page names every dialogue, in the row of what it is about, and no other; it has
// every value that a listener's compatibility can have.
func TestTheCompatibilityPageIsWhole(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	named := map[string]string{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for _, m := range regexp.MustCompile("`([a-z0-9-]+)\\.txt`").FindAllStringSubmatch(line, -1) {
			if len(cells) != 4 || strings.TrimSpace(cells[0]) == "" || strings.TrimSpace(cells[1]) == "" || strings.TrimSpace(cells[2]) == "" {
				t.Errorf("the row of %s has not what the device does, its setting and its family: %s", m[1], line)
			}
			named[m[1]] = cells[1]
		}
	}
	files, err := filepath.Glob("copiers/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		setting, ok := named[name]
		if !ok {
			t.Errorf("%s does not name %s.txt", page, name)
		}
		delete(named, name)
		header := strings.Join(load(t, path).Header["listener"], "\n")
		for _, word := range []string{"Lenient", "Legacy", "BareLF", "hideStartTLS", "plaintext", "clientOverrides", "CRAMMD5"} {
			if strings.Contains(header, word) != strings.Contains(setting, word) {
				t.Errorf("%s: the dialogue sets %s: %v, its row says %q", name, word, strings.Contains(header, word), strings.TrimSpace(setting))
			}
		}
	}
	for name := range named {
		t.Errorf("%s names %s.txt, which is not there", page, name)
	}
	for _, value := range listenerValues(t) {
		if !strings.Contains(text, value) {
			t.Errorf("%s says nothing of %s", page, value)
		}
	}
}

// listenerValues are the values and fields of the kinds that say what a listener
// forgives.
func listenerValues(t *testing.T) []string {
	t.Helper()
	types := []string{"TLSProfile", "LineEndings", "CommandSyntax", "Mechanism", "PlaintextMode"}
	structs := []string{"Compatibility", "ClientOverride"}
	var out []string
	for _, file := range []string{"listener_types.go", "shared_types.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/"+file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && slices.Contains(types, id.Name) {
					value, err := strconv.Unquote(n.Values[0].(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, value)
				}
			case *ast.TypeSpec:
				s, ok := n.Type.(*ast.StructType)
				if !ok || !slices.Contains(structs, n.Name.Name) {
					break
				}
				for _, field := range s.Fields.List {
					tag := strings.TrimPrefix(field.Tag.Value, "`json:\"")
					out = append(out, tag[:strings.IndexAny(tag, ",\"")])
				}
			}
			return true
		})
	}
	if len(out) < 15 {
		t.Fatalf("found %v only", out)
	}
	return out
}
