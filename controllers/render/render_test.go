package render

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/plan"
)

var update = flag.Bool("update", false, "write testdata/*/objects.yaml anew")

// testSettings are an operator's.
func testSettings() Settings {
	return Settings{
		Image:                  "registry.example/printer-relay:1.0.0",
		OperatorNamespace:      "printer-relay-system",
		OperatorServiceAccount: "printer-relay",
		MetricsNamespaces:      []string{"monitoring"},
		Issuer:                 "https://kubernetes.default.svc.cluster.local",
		Keys:                   json.RawMessage(`{"keys":[{"kty":"RSA","kid":"one","n":"AQAB","e":"AQAB"}]}`),
	}
}

// options of a case, in its input.yaml.
type options struct {
	Draining    []int  `json:"draining"`
	Instances   []int  `json:"instances"`
	CertManager bool   `json:"certManager"`
	PullPolicy  string `json:"imagePullPolicy"`
	Last        string `json:"last"` // the case whose relay.yaml runs; what this case names is missing
	Refuse      bool   `json:"refuse"`
}

// load reads a case as the API server would give it: with defaults.
func load(t *testing.T, dir string) Input {
	t.Helper()
	var o options
	if b, err := os.ReadFile(filepath.Join(dir, "input.yaml")); err == nil {
		if err := yaml.UnmarshalStrict(b, &o); err != nil {
			t.Fatal(err)
		}
	}
	in := Input{
		Settings: testSettings(), Draining: o.Draining, Instances: o.Instances, Refuse: o.Refuse,
		Upstreams: map[string]*v1alpha1.MailUpstream{}, Policies: map[string]*v1alpha1.SenderPolicy{},
	}
	in.Settings.CertManager, in.Settings.ImagePullPolicy = o.CertManager, o.PullPolicy
	set := &manifest.Set{}
	for _, name := range []string{"relay", "upstreams", "policies"} {
		s := loadFile(t, filepath.Join(dir, name+".yaml"))
		set.Relays = append(set.Relays, s.Relays...)
		set.Upstreams = append(set.Upstreams, s.Upstreams...)
		set.Policies = append(set.Policies, s.Policies...)
	}
	if len(set.Relays) != 1 {
		t.Fatalf("%s: %d PrinterRelays", dir, len(set.Relays))
	}
	in.Relay = set.Relays[0]
	in.Relay.UID = "2f5a9f0e-6a0c-4c62-8f4e-d8a2f6a4c001"
	for _, u := range set.Upstreams {
		in.Upstreams[u.Name] = u
	}
	for _, p := range set.Policies {
		in.Policies[p.Name] = p
	}
	if o.Last != "" {
		in.Last = objects(t, load(t, filepath.Join("testdata", o.Last))).ConfigMap.Data[ManifestsKey]
		return in
	}
	compile(t, &in)
	return in
}

// loadFile reads one file of a case, which may be missing, by itself.
func loadFile(t *testing.T, file string) *manifest.Set {
	t.Helper()
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return &manifest.Set{}
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), b, 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems, err := manifest.Load(dir)
	if err != nil || len(problems) > 0 {
		t.Fatalf("%s: %v%v", file, err, problems)
	}
	return set
}

// compile sets the plan of what in holds.
func compile(t *testing.T, in *Input) {
	t.Helper()
	p, found := plan.Compile(plan.Input{Relay: in.Relay, Upstreams: in.Upstreams, Policies: in.Policies})
	if found.Failed() {
		t.Fatal(found)
	}
	in.Plan = p
}

func objects(t *testing.T, in Input) *Set {
	t.Helper()
	set, err := Objects(in)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// all gives every object of a set, in the order to apply them.
func all(s *Set) []any {
	var out []any
	for _, o := range s.Common() {
		out = append(out, o)
	}
	for _, c := range s.Certificates {
		out = append(out, c.Object)
	}
	for _, i := range s.Instances {
		if i.Volume != nil {
			out = append(out, i.Volume)
		}
		out = append(out, i.Deployment)
	}
	return out
}

func text(t *testing.T, s *Set) []byte {
	t.Helper()
	var b bytes.Buffer
	for i, o := range all(s) {
		if i > 0 {
			b.WriteString("---\n")
		}
		y, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(y)
	}
	return b.Bytes()
}

func cases(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/*/relay.yaml")
	if err != nil || len(dirs) < 12 {
		t.Fatalf("%d cases in testdata: %v", len(dirs), err)
	}
	for i := range dirs {
		dirs[i] = filepath.Dir(dirs[i])
	}
	return dirs
}

func TestObjectsAreGolden(t *testing.T) {
	for _, dir := range cases(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := text(t, objects(t, load(t, dir)))
			golden := filepath.Join(dir, "objects.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs in %s; if that is meant: go test ./controllers/render -update", golden, firstDifference(string(got), string(want)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return "line " + g[i]
		}
	}
	return "length"
}

// The order of a map must not be seen anywhere.
func TestObjectsAreTheSameEveryTime(t *testing.T) {
	for _, dir := range cases(t) {
		in := load(t, dir)
		want := text(t, objects(t, in))
		for range 5 {
			if got := text(t, objects(t, in)); !bytes.Equal(got, want) {
				t.Fatalf("%s: rendered twice, %s differs", dir, firstDifference(string(got), string(want)))
			}
		}
	}
}

// What is rendered may be changed by whoever gets it; the input comes from a
// cache that is shared.
func TestInputIsNotChanged(t *testing.T) {
	for _, dir := range cases(t) {
		in := load(t, dir)
		before := in.Relay.DeepCopy()
		set := objects(t, in)
		for _, i := range set.Instances {
			i.Deployment.Spec.Template.Labels["x"] = "x"
			i.Deployment.Spec.Template.Annotations["x"] = "x"
			if r := i.Deployment.Spec.Template.Spec.Containers[0].Resources; r.Requests != nil {
				clear(*r.Requests)
			}
		}
		if set.Service != nil {
			set.Service.WithAnnotations(map[string]string{"x": "x"})
		}
		a, b := mustJSON(t, before), mustJSON(t, in.Relay)
		if a != b {
			t.Errorf("%s: the PrinterRelay was changed:\n%s\n%s", dir, a, b)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func decode(t *testing.T, from, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(mustJSON(t, from)), to); err != nil {
		t.Fatal(err)
	}
}
