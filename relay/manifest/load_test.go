package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/test/kinds"
)

const policyYAML = "apiVersion: printerrelay.dev/v1alpha1\nkind: SenderPolicy\nmetadata: {name: p}\nspec: {rules: [{name: a, match: {users: [u]}}]}\n"

// TestFiles: what is wrong with a file as such, whole.
func TestFiles(t *testing.T) {
	const object = "SenderPolicy default/p: "
	for name, tc := range map[string]struct {
		text string
		want string // empty: nothing is wrong
	}{
		"good":                     {policyYAML, ""},
		"byte order mark":          {"\ufeff" + policyYAML, ""},
		"CRLF":                     {strings.ReplaceAll(policyYAML, "\n", "\r\n"), ""},
		"empty documents":          {"---\n---\n" + policyYAML + "---\n# nothing\n", ""},
		"comments":                 {"# to be written\n", ""},
		"List":                     {"kind: List\napiVersion: v1\nitems:\n- " + strings.ReplaceAll(policyYAML, "\n", "\n  "), ""},
		"JSON":                     {`{"apiVersion":"printerrelay.dev/v1alpha1","kind":"SenderPolicy","metadata":{"name":"p"},"spec":{"rules":[{"name":"a","match":{"users":["u"]}}]}}`, ""},
		"empty":                    {"", "m.yaml:1: is empty: write its objects, or remove the file"},
		"white space":              {"\n \n", "m.yaml:1: is empty: write its objects, or remove the file"},
		"tab":                      {"kind: X\nspec:\n\trules: []\n", "m.yaml:3: is not YAML: found character that cannot start any token: indent with spaces, not with tabs"},
		"not UTF-8":                {policyYAML + "# M\xfcnchen\n", "m.yaml:5: is not UTF-8: save the file in that encoding"},
		"UTF-16":                   {"\xff\xfea\x00", "m.yaml:1: is not UTF-8: save the file in that encoding"},
		"control character":        {policyYAML + "# \x00\n", "m.yaml:5: holds the control character U+0000: remove it"},
		"unclosed":                 {"a: [1\nb: 2\n", "m.yaml:2: is not YAML: did not find expected ',' or ']'"},
		"a word":                   {"hello\n", "m.yaml:1: is not a Kubernetes object: it needs apiVersion, kind and metadata.name"},
		"a list":                   {"- a\n", "m.yaml:1: is not a Kubernetes object: it needs apiVersion, kind and metadata.name"},
		"no name":                  {strings.Replace(policyYAML, "{name: p}", "{}", 1), "m.yaml:1: is not a Kubernetes object: it needs apiVersion, kind and metadata.name"},
		"name is a number":         {strings.Replace(policyYAML, "{name: p}", "{name: 5}", 1), "m.yaml:1: is not a Kubernetes object: it needs apiVersion, kind and metadata.name"},
		"name is a path":           {strings.Replace(policyYAML, "{name: p}", "{name: ../p}", 1), `m.yaml:3: metadata.name: "../p" must be lower-case letters, digits, hyphens and dots`},
		"namespace is a path":      {strings.Replace(policyYAML, "{name: p}", "{name: p, namespace: ..}", 1), "m.yaml:3: metadata.namespace: must be lower-case letters, digits and hyphens, in quotes if it is a number"},
		"namespace is a number":    {strings.Replace(policyYAML, "{name: p}", "{name: p, namespace: 5}", 1), "m.yaml:3: metadata.namespace: must be lower-case letters, digits and hyphens, in quotes if it is a number"},
		"another version":          {"# c\n" + strings.Replace(policyYAML, "v1alpha1", "v1", 1), "m.yaml:2: " + object + "apiVersion: printerrelay.dev/v1 SenderPolicy is no kind of this folder: it holds PrinterRelay, MailUpstream and SenderPolicy of printerrelay.dev/v1alpha1, and v1 Secret"},
		"key twice":                {policyYAML + "kind: SenderPolicy\n", `m.yaml:5: the key "kind" is here twice`},
		"key twice, deep":          {strings.Replace(policyYAML, "name: a,", "name: a, name: b,", 1), `m.yaml:4: the key "name" is here twice`},
		"object twice":             {policyYAML + "---\n" + policyYAML, "m.yaml:8: " + object + "metadata.name: is in m.yaml:1 already: remove one of the two"},
		"unknown field":            {policyYAML + "spce: {}\n", "m.yaml:5: " + object + "spce: is no field of this kind: check its spelling and indentation"},
		"List in a List":           {"kind: List\nitems:\n- kind: List\n  items: []\n", "m.yaml:3: is not a Kubernetes object: it needs apiVersion, kind and metadata.name"},
		"size with a fraction":     {strings.Replace(policyYAML, "match:", "content: {messageSize: 1.5}, match:", 1), "m.yaml:4: " + object + "spec.rules[0].content.messageSize: must be a size in octets, such as 40Mi or 25M"},
		"merge key":                {"a: &a {b: c}\nd:\n  <<: *a\n", "m.yaml:3: a key must be a plain word"},
		"number too large":         {strings.Replace(policyYAML, "users: [u]", "users: [99999999999999999999]", 1), "m.yaml:4: " + object + "spec.rules[0].match.users[0]: must be of type string, and is of type number: check its quotes and indentation"},
		"the second is still said": {"---\nhello\n---\nworld\n", "m.yaml:2: is not a Kubernetes object: it needs apiVersion, kind and metadata.name\nm.yaml:4: is not a Kubernetes object: it needs apiVersion, kind and metadata.name"},
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := load(t, tc.text)
			if got := problems.Error(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if tc.want == "" && name != "comments" && len(set.Policies) != 1 {
				t.Errorf("%d policies", len(set.Policies))
			}
		})
	}
}

// A file that is too large is said to be, the others are read, and no more of
// it than the bound is.
func TestHugeFile(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "huge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(1 << 40); err != nil { // sparse
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "m.yaml"), []byte(policyYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems, err := Load(dir)
	if err != nil || problems.Error() != "huge.yaml:1: is larger than 4194304 octets: split it" || len(set.Policies) != 1 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestTooManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range maxFiles + 1 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i, ".yaml")), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "holds 1001 files, more than 1000") {
		t.Error(err)
	}
}

// The same folder gives the same problems in the same order: a log that is
// compared, and a person who works through them, want that.
func TestProblemsAreInOrder(t *testing.T) {
	text := strings.Replace(kinds.Good, "    port: 25", "    prot: 25\n    zzz: 1\n    tls: {mode: Maybe}\n    limits: {recipients: 0, connections: 0}", 1) + "nonsense: 1\n"
	_, first := load(t, text)
	if len(first) < 6 || !slices.IsSortedFunc(first, func(a, b Problem) int { return a.Line - b.Line }) {
		t.Errorf("%v", first)
	}
	for range 20 {
		if _, again := load(t, text); again.Error() != first.Error() {
			t.Fatalf("first\n%v\nthen\n%v", first, again)
		}
	}
}

// FuzzLoad: no file makes the loader panic or name a line that is not there,
// and what it says nothing against is there.
func FuzzLoad(f *testing.F) {
	f.Add(kinds.Good)
	f.Add("a: &a [*a]")
	f.Add("{}\n---\nkind: List\nitems: [1]")
	f.Add(policyYAML + "---\n\t")
	f.Add("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: '&'}\nstringData: {b: c}\n")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 32<<10 {
			return
		}
		vs, err := validators()
		if err != nil {
			t.Fatal(err)
		}
		l := &loader{validators: vs, seen: map[string]string{}, set: &Set{Secrets: map[string]secrets.Map{}}}
		l.file("m.yaml", []byte(s))
		lines := strings.Count(s, "\n") + strings.Count(s, "\r") + strings.Count(s, "\u0085") + strings.Count(s, "\u2028") + strings.Count(s, "\u2029") + 1
		for _, p := range l.problems {
			if p.Line < 1 || p.Line > lines+1 || p.Message == "" {
				t.Fatalf("%v, in %d lines", p, lines)
			}
		}
		got := len(l.set.Relays) + len(l.set.Upstreams) + len(l.set.Policies)
		for _, m := range l.set.Secrets {
			got += len(m)
		}
		if len(l.problems) == 0 && got != len(l.seen) {
			t.Fatalf("%d objects of %d, and no problem", got, len(l.seen))
		}
	})
}
