package kinds_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	ac "github.com/printerrelay/printer-relay/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/kinds"
)

const gitops, operator = client.FieldOwner("gitops"), client.FieldOwner("operator")

// extract gives what a manager owns of an object's specification, or of its
// status.
func extract(t *testing.T, obj client.Object, manager client.FieldOwner, subresource string) runtime.ApplyConfiguration {
	t.Helper()
	var out runtime.ApplyConfiguration
	var err error
	switch obj := obj.(type) {
	case *v1alpha1.PrinterRelay:
		out, err = ac.ExtractPrinterRelayFrom(obj, string(manager), subresource)
	case *v1alpha1.MailUpstream:
		out, err = ac.ExtractMailUpstreamFrom(obj, string(manager), subresource)
	case *v1alpha1.SenderPolicy:
		out, err = ac.ExtractSenderPolicyFrom(obj, string(manager), subresource)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// empty gives an empty object of a kind and its apply configuration.
func empty(t *testing.T, kind string) (client.Object, runtime.ApplyConfiguration) {
	t.Helper()
	switch kind {
	case "PrinterRelay":
		return &v1alpha1.PrinterRelay{}, &ac.PrinterRelayApplyConfiguration{}
	case "MailUpstream":
		return &v1alpha1.MailUpstream{}, &ac.MailUpstreamApplyConfiguration{}
	case "SenderPolicy":
		return &v1alpha1.SenderPolicy{}, &ac.SenderPolicyApplyConfiguration{}
	}
	t.Fatalf("no kind %q", kind)
	return nil, nil
}

// TestApplyRoundTrips: with the generated apply configurations a manager owns
// every field that it set, of all that the kinds have, and none that the API
// server added.
func TestApplyRoundTrips(t *testing.T) {
	s := apiserver.Start(t)
	ns, ctx := s.Namespace(t), apiserver.Context(t)
	for _, obj := range append(kinds.Objects(t), kinds.Minimal(t)...) {
		u := object(obj, ns)
		t.Run(u.GetKind()+" "+u.GetName(), func(t *testing.T) {
			is, want := empty(t, u.GetKind())
			read(t, u.Object, want)
			if err := s.Client.Apply(ctx, want, gitops); err != nil {
				t.Fatal(err)
			}
			if err := s.Client.Get(ctx, client.ObjectKeyFromObject(u), is); err != nil {
				t.Fatal(err)
			}
			got := extract(t, is, gitops, "")
			if !reflect.DeepEqual(plain(t, got), plain(t, u.Object)) {
				t.Errorf("applied\n%v\nowned\n%v", plain(t, u.Object), plain(t, got))
			}
			if fields := is.GetManagedFields(); len(fields) != 1 || fields[0].Operation != metav1.ManagedFieldsOperationApply {
				t.Errorf("other managers: %v", fields)
			}
			versions := []string{}
			for range 2 { // the first stores the status's default beside the rest, for which nobody asked; the second nothing
				_, again := empty(t, u.GetKind())
				read(t, u.Object, again)
				if err := s.Client.Apply(ctx, again, gitops); err != nil {
					t.Fatal(err)
				}
				if err := s.Client.Get(ctx, client.ObjectKeyFromObject(u), is); err != nil {
					t.Fatal(err)
				}
				versions = append(versions, is.GetResourceVersion())
			}
			if versions[0] != versions[1] || is.GetGeneration() != 1 {
				t.Errorf("the same once more is a change: versions %v, generation %d", versions, is.GetGeneration())
			}
		})
	}
}

// read fills into, which has to know every field of obj.
func read(t *testing.T, obj map[string]any, into runtime.ApplyConfiguration) {
	t.Helper()
	b, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatal(err)
	}
}

// plain is a value as JSON has it.
func plain(t *testing.T, v any) (out any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestListsMerge: two managers own a listener each; what one takes away of its
// own leaves the other's, and what is the other's is a conflict.
func TestListsMerge(t *testing.T) {
	s := apiserver.Start(t)
	ns, ctx := s.Namespace(t), apiserver.Context(t)
	listener := func(name string, port int32) *ac.ListenerApplyConfiguration {
		return ac.Listener().WithName(name).WithPort(port)
	}
	relay := func() *ac.PrinterRelayApplyConfiguration { return ac.PrinterRelay("r", ns) }
	base := func() *ac.PrinterRelaySpecApplyConfiguration {
		return ac.PrinterRelaySpec().WithHostname("relay.example").WithUpstreamRef(ac.LocalReference().WithName("u")).
			WithSenderPolicyRefs(ac.LocalReference().WithName("p"))
	}
	apply := func(owner client.FieldOwner, want *ac.PrinterRelayApplyConfiguration) error {
		return s.Client.Apply(ctx, want, owner)
	}
	names := func() string {
		t.Helper()
		is := &v1alpha1.PrinterRelay{}
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: ns, Name: "r"}, is); err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, l := range is.Spec.Listeners {
			out = append(out, l.Name)
		}
		for _, ref := range is.Spec.SenderPolicyRefs {
			out = append(out, ref.Name)
		}
		return strings.Join(out, " ")
	}
	for _, step := range []struct {
		name  string
		owner client.FieldOwner
		spec  *ac.PrinterRelaySpecApplyConfiguration
		names string // of listeners and policies, afterwards
		error string
	}{
		{"the first listener", gitops, base().WithListeners(listener("smtp", 25)), "smtp p", ""},
		{"another manager adds one", operator, ac.PrinterRelaySpec().WithListeners(listener("extra", 26)), "smtp extra p", ""},
		{"and a policy", operator, ac.PrinterRelaySpec().WithListeners(listener("extra", 26)).WithSenderPolicyRefs(ac.LocalReference().WithName("q")), "smtp extra p q", ""},
		{"the other's listener is the other's", operator, ac.PrinterRelaySpec().WithListeners(listener("smtp", 27)), "smtp extra p q", `conflict with "gitops": .spec.listeners[name="smtp"].port`},
		{"two listeners of one port", operator, ac.PrinterRelaySpec().WithListeners(listener("extra", 25)), "smtp extra p q", "each listener needs a port of its own"},
		{"the first manager knows nothing of it", gitops, base().WithListeners(listener("smtp", 25), listener("submission", 587)), "smtp extra submission p q", ""},
		{"what is its own it takes away", operator, ac.PrinterRelaySpec(), "smtp submission p", ""},
	} {
		err := apply(step.owner, relay().WithSpec(step.spec))
		if (err == nil) != (step.error == "") || err != nil && !strings.Contains(err.Error(), step.error) {
			t.Errorf("%s: %v, want %q", step.name, err, step.error)
		}
		if strings.HasPrefix(step.error, "conflict") && !apierrors.IsConflict(err) {
			t.Errorf("%s: %v is no conflict", step.name, err)
		}
		if got := names(); got != step.names {
			t.Errorf("%s: there is %q, want %q", step.name, got, step.names)
		}
	}
}

// TestStatusIsApart: who applies a status owns nothing of the specification and
// cannot change it, nor the other way round.
func TestStatusIsApart(t *testing.T) {
	s := apiserver.Start(t)
	ns, ctx := s.Namespace(t), apiserver.Context(t)
	for _, obj := range kinds.Minimal(t) {
		u := object(obj, ns)
		t.Run(u.GetKind(), func(t *testing.T) {
			is, spec := empty(t, u.GetKind())
			_, status := empty(t, u.GetKind())
			read(t, u.Object, spec)
			withStatus := object(obj, ns).Object
			withStatus["status"] = map[string]any{
				"observedGeneration": int64(1),
				"conditions": []any{map[string]any{
					"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
				}},
			}
			withStatus["spec"] = map[string]any{}
			read(t, withStatus, status)
			if err := s.Client.Apply(ctx, spec, gitops); err != nil {
				t.Fatal(err)
			}
			if err := s.Client.Status().Apply(ctx, status, operator); err != nil {
				t.Fatal(err)
			}
			if err := s.Client.Get(ctx, client.ObjectKeyFromObject(u), is); err != nil {
				t.Fatal(err)
			}
			if got := plain(t, extract(t, is, gitops, "")); !reflect.DeepEqual(got, plain(t, u.Object)) {
				t.Errorf("the specification is no longer its manager's: %v", got)
			}
			delete(withStatus, "spec")
			if got := plain(t, extract(t, is, operator, "status")); !reflect.DeepEqual(got, plain(t, withStatus)) {
				t.Errorf("of the status is owned\n%v\nwant\n%v", got, plain(t, withStatus))
			}
			if is.GetGeneration() != 1 {
				t.Errorf("a status makes generation %d", is.GetGeneration())
			}
		})
	}
}

// TestUnknownFields: kubectl refuses a field that the kinds have not, as the
// loader does; a client that does not ask for it has it dropped.
func TestUnknownFields(t *testing.T) {
	s := apiserver.Start(t)
	ns, ctx := s.Namespace(t), apiserver.Context(t)
	file := t.TempDir() + "/m.yaml"
	env.WriteFile(t, file, strings.Replace(kinds.Good, "    port: 25", "    prot: 25\n    port: 25", 1))
	out, errs, ok := s.Kubectl(t, apiserver.Kubeconfig(t, s.Config), "apply", "--server-side", "-n", ns, "-f", file)
	if ok || !strings.Contains(errs, `.spec.listeners[name="smtp"].prot: field not declared in schema`) {
		t.Errorf("%s\n%s", out, errs)
	}
	out, errs, ok = s.Kubectl(t, apiserver.Kubeconfig(t, s.Config), "apply", "-n", ns, "-f", file)
	if ok || !strings.Contains(errs, `unknown field "spec.listeners[0].prot"`) {
		t.Errorf("%s\n%s", out, errs)
	}
	for _, obj := range kinds.Minimal(t) {
		u := object(obj, ns)
		u.SetName("lax")
		u.Object["spec"].(map[string]any)["nonsense"] = "x"
		if err := s.Client.Create(ctx, u, client.FieldValidation(metav1.FieldValidationIgnore)); err != nil {
			t.Fatal(err)
		}
		if v, ok := u.Object["spec"].(map[string]any)["nonsense"]; ok {
			t.Errorf("%s keeps spec.nonsense: %v", u.GetKind(), v)
		}
	}
}
