package render

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/admin/access"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// ManifestsKey is the key of the manifests in the ConfigMap.
const ManifestsKey = "relay.yaml"

// MaxConfigMap is what a ConfigMap holds, in octets.
const MaxConfigMap = 1 << 20

// TooLargeError says that the ConfigMap cannot hold a relay's manifests.
type TooLargeError struct {
	Octets        int    // of the whole
	Largest       string // the largest object: "SenderPolicy default/office"
	LargestOctets int
}

// Error says what to do.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the relay's configuration has %d octets, and a ConfigMap holds %d; the largest object is %s with %d: shorten it, or split the relay",
		e.Octets, MaxConfigMap, e.Largest, e.LargestOctets)
}

// manifests is what relay.yaml says.
type manifests struct {
	plan      *plan.Plan // nil: nothing is to run
	relay     *v1alpha1.PrinterRelay
	upstreams []*v1alpha1.MailUpstream
	policies  []*v1alpha1.SenderPolicy
}

// source decides what the relay runs: what Input says, else what it ran last.
func source(in Input) (manifests, error) {
	if in.Plan == nil {
		return lastSource(in)
	}
	m := manifests{plan: in.Plan, relay: plan.WithHidden(in.Relay, in.Hidden, in.Policies)}
	for _, name := range slices.Sorted(maps.Keys(in.Plan.Upstreams)) {
		u := in.Upstreams[name]
		if u == nil {
			return m, fmt.Errorf("the plan names MailUpstream %q, which is not in the input", name)
		}
		m.upstreams = append(m.upstreams, u)
	}
	for _, ref := range in.Relay.Spec.SenderPolicyRefs {
		p := in.Policies[ref.Name]
		if p == nil {
			return m, fmt.Errorf("the relay names SenderPolicy %q, which is not in the input", ref.Name)
		}
		m.policies = append(m.policies, p)
	}
	slices.SortFunc(m.policies, func(a, b *v1alpha1.SenderPolicy) int { return strings.Compare(a.Name, b.Name) })
	return m, nil
}

// lastSource is what the relay ran last, with all that is stopped since. Manifests that cannot be read, or do
// not compile, are none: they were written by another version.
func lastSource(in Input) (manifests, error) {
	m, err := parse(in.Last)
	if err != nil || m.relay == nil || m.relay.Namespace != in.Relay.Namespace || m.relay.Name != in.Relay.Name {
		return manifests{}, nil //nolint:nilerr // nothing to go on by, as without it
	}
	input := plan.Input{Relay: m.relay, Upstreams: map[string]*v1alpha1.MailUpstream{}, Policies: map[string]*v1alpha1.SenderPolicy{}}
	for _, u := range m.upstreams {
		input.Upstreams[u.Name] = u
	}
	for _, p := range m.policies {
		input.Policies[p.Name] = p
	}
	ran, diagnostics := plan.Compile(input)
	if diagnostics.Failed() {
		return manifests{}, nil
	}
	m.stop(ran, in)
	if in.Refuse {
		m.relay.Spec.Intake = v1alpha1.IntakeRefuse
	}
	m.relay.Spec.Replicas = in.Relay.Spec.Replicas
	m.relay = plan.WithHidden(m.relay, in.Hidden, input.Policies)
	input.Relay = m.relay
	if m.plan, diagnostics = plan.Compile(input); diagnostics.Failed() {
		return manifests{}, nil
	}
	return m, nil
}

// stop adds to what ran last all that the objects of now stop (plan.Stopping). The kill
// switch must not wait for an object that is missing, or for a field that is wrong
// elsewhere. What now lets go waits for the rest. Rendered again it adds nothing.
func (m *manifests) stop(ran *plan.Plan, in Input) {
	now, _ := plan.Compile(plan.Input{Relay: in.Relay, Upstreams: in.Upstreams, Policies: in.Policies})
	stopped := ran.Stopping(plan.StopsOf(now, in.Upstreams))
	m.relay.Spec.Intake = v1alpha1.IntakeMode(stopped.Intake)
	for _, u := range m.upstreams {
		if up := stopped.Upstreams[u.Name]; up != nil {
			u.Spec.Suspend = up.Suspend
		}
	}
	m.relay.Annotations = in.Relay.Annotations // who is hidden now
	m.relay = plan.WithAhead(m.relay, stopped.Holds)
}

// parse reads a relay.yaml.
func parse(text string) (manifests, error) {
	var m manifests
	docs := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		if err := m.add(doc); err != nil {
			return m, err
		}
	}
}

func (m *manifests) add(doc []byte) error {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "PrinterRelay":
		m.relay = &v1alpha1.PrinterRelay{}
		return yaml.UnmarshalStrict(doc, m.relay)
	case "MailUpstream":
		m.upstreams = append(m.upstreams, &v1alpha1.MailUpstream{})
		return yaml.UnmarshalStrict(doc, m.upstreams[len(m.upstreams)-1])
	case "SenderPolicy":
		m.policies = append(m.policies, &v1alpha1.SenderPolicy{})
		return yaml.UnmarshalStrict(doc, m.policies[len(m.policies)-1])
	}
	return fmt.Errorf("kind %q is none of the relay's", kind.Kind)
}

// document is one object in relay.yaml: its names and spec, and nothing that
// changes by itself.
type document struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   metadata `json:"metadata"`
	Spec       any      `json:"spec"`
}

type metadata struct {
	Annotations map[string]string `json:"annotations,omitempty"` // those that Compile reads
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace"`
}

// chunk is the text of one object.
type chunk struct {
	object string
	text   []byte
}

func newChunk(kind string, o metav1.Object, spec any) (chunk, error) {
	text, err := yaml.Marshal(document{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: kind,
		Metadata: metadata{Annotations: compiled(o.GetAnnotations()), Name: o.GetName(), Namespace: o.GetNamespace()},
		Spec:     spec,
	})
	return chunk{object: kind + " " + o.GetNamespace() + "/" + o.GetName(), text: text}, err
}

// compiled are the annotations that are part of the plan.
func compiled(all map[string]string) map[string]string {
	var out map[string]string
	for _, name := range []string{v1alpha1.AnnotationSharers, v1alpha1.AnnotationHiddenClients, v1alpha1.AnnotationHoldsAhead} {
		if v, ok := all[name]; ok {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = v
		}
	}
	return out
}

// chunks are the objects in their order: the relay, its upstreams by name, its
// policies by name. Service and Pod are left out: the relay does not read them, and
// a change of them changes no file.
func (m manifests) chunks() ([]chunk, error) {
	spec, err := convert[map[string]any](&m.relay.Spec)
	if err != nil {
		return nil, err
	}
	delete(*spec, "service")
	delete(*spec, "pod")
	var out []chunk
	add := func(kind string, o metav1.Object, spec any) error {
		c, err := newChunk(kind, o, spec)
		out = append(out, c)
		return err
	}
	if err := add("PrinterRelay", m.relay, spec); err != nil {
		return nil, err
	}
	for _, u := range m.upstreams {
		if err := add("MailUpstream", u, u.Spec); err != nil {
			return nil, err
		}
	}
	for _, p := range m.policies {
		if err := add("SenderPolicy", p, p.Spec); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// configMap holds what the relay reads: its manifests, who may use the admin
// port, and which instances drain.
func (r *renderer) configMap(m manifests) (*coreac.ConfigMapApplyConfiguration, error) {
	chunks, err := m.chunks()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for i, c := range chunks {
		if i > 0 {
			text.WriteString("---\n")
		}
		text.Write(c.text)
	}
	admin, err := indented(r.access())
	if err != nil {
		return nil, fmt.Errorf("the issuer's keys: %w", err)
	}
	instances, err := indented(r.instances())
	if err != nil {
		return nil, err
	}
	if size := text.Len() + len(admin) + len(instances); size > MaxConfigMap {
		largest := slices.MaxFunc(chunks, func(a, b chunk) int { return len(a.text) - len(b.text) })
		return nil, &TooLargeError{Octets: size, Largest: largest.object, LargestOctets: len(largest.text)}
	}
	return coreac.ConfigMap(ConfigMapName(r.Relay.Name), r.Relay.Namespace).
		WithLabels(labels(r.Relay.Name, "")).WithOwnerReferences(owner(r.Relay)).
		WithData(map[string]string{ManifestsKey: text.String(), access.File: admin, access.InstancesFile: instances}), nil
}

func (r *renderer) access() access.Access {
	return access.Access{
		Issuer: r.Settings.Issuer,
		Keys:   r.Settings.Keys,
		Subjects: []string{
			access.ServiceAccount(r.Settings.OperatorNamespace, r.Settings.OperatorServiceAccount),
			access.ServiceAccount(r.Relay.Namespace, QueueServiceAccountName(r.Relay.Name)),
		},
		Audiences: []string{access.Audience, access.AudienceOf(r.Relay.Namespace, r.Relay.Name)},
	}
}

func (r *renderer) instances() access.Instances {
	out := access.Instances{Draining: []string{}}
	for _, n := range slices.Compact(slices.Sorted(slices.Values(r.Draining))) {
		out.Draining = append(out.Draining, InstanceName(r.Relay.Name, n))
	}
	return out
}

func indented(v any) (string, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return string(b) + "\n", err
}
