package kinds_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/kinds"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// verdict is what was said of an object: a line "Type field: message" for each
// problem, in order of the alphabet; and the object with its defaults, if there
// is none.
type verdict struct {
	problems []string
	after    map[string]any
}

// problem adds one. Where spec.replicas cannot be read, the API server says so once
// more, of the scale subresource: the loader has none, and the type error says it.
func (v *verdict) problem(kind, field, message string) {
	if field == ".spec.replicas" && strings.Contains(message, "accessor error") {
		return
	}
	v.problems = append(v.problems, kind+" "+field+": "+message)
}

// TestAPIServerAgrees: a real API server accepts and refuses as the loader does,
// in the same words, and sets the same defaults; and each of the kinds' rules
// refuses something there.
func TestAPIServerAgrees(t *testing.T) {
	s := apiserver.Start(t)
	ns := s.Namespace(t)
	said := kinds.Said{}
	for i, c := range kinds.All(t) {
		t.Run(c.Name, func(t *testing.T) {
			offline := loaders(t, c)
			online := servers(t, s, ns, fmt.Sprint("old-", i), c, said)
			if c.Want != "" && len(online.problems) == 0 {
				t.Errorf("the API server accepts it; want %q", c.Want)
			}
			if got, want := strings.Join(online.problems, "\n"), strings.Join(offline.problems, "\n"); got != want {
				t.Errorf("the API server says\n%s\nthe loader\n%s", got, want)
			}
			if got, want := text(t, online.after), text(t, offline.after); got != want {
				t.Errorf("the API server makes of it\n%s\nthe loader\n%s", got, want)
			}
		})
	}
	for _, r := range said.Missing(t) {
		t.Errorf("%s %s: the API server refuses no case with %q", r.Kind, r.Field, r.Message)
	}
}

// loaders is the loader's verdict.
func loaders(t *testing.T, c kinds.Case) (v verdict) {
	t.Helper()
	obj := runtime.DeepCopyJSON(c.Object)
	errs, unknown, err := manifest.Validate(obj, c.Old)
	if err != nil {
		t.Fatal(err)
	}
	if len(unknown) > 0 { // an API server looks no further
		for _, field := range unknown {
			v.problem("Unknown", field, "")
		}
		return v
	}
	for _, e := range errs {
		v.problem(string(e.Type), e.Field, e.ErrorBody())
	}
	slices.Sort(v.problems)
	if len(errs) == 0 {
		v.after = obj
	}
	return v
}

// servers is the API server's verdict; what it says is added to said.
func servers(t *testing.T, s *apiserver.Server, ns, old string, c kinds.Case, said kinds.Said) (v verdict) {
	t.Helper()
	ctx := apiserver.Context(t)
	c1 := client.WithFieldValidation(s.Client, metav1.FieldValidationStrict)
	obj := object(c.Object, ns)
	var err error
	if c.Old == nil {
		err = c1.Create(ctx, obj, client.DryRunAll)
	} else {
		before := object(c.Old, ns)
		before.SetName(old) // others are there already
		if err := c1.Create(ctx, before); err != nil {
			t.Fatal(err)
		}
		obj.SetName(old)
		obj.SetResourceVersion(before.GetResourceVersion())
		err = c1.Update(ctx, obj, client.DryRunAll)
		obj.SetName(c.Object["metadata"].(map[string]any)["name"].(string))
	}
	if err == nil {
		v.after = obj.Object
		return v
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatal(err)
	}
	switch st := status.Status(); st.Reason {
	case metav1.StatusReasonInvalid:
		for _, cause := range st.Details.Causes {
			v.problem(string(cause.Type), cause.Field, cause.Message)
			said.Add(c, cause.Field, cause.Message)
		}
	case metav1.StatusReasonBadRequest:
		for field := range strings.SplitSeq(st.Message[strings.Index(st.Message, "unknown field "):], ", ") {
			v.problem("Unknown", strings.Trim(strings.TrimPrefix(field, "unknown field "), `"`), "")
		}
	default:
		t.Fatal(err)
	}
	slices.Sort(v.problems)
	return v
}

// object is what a person wrote, in namespace ns.
func object(m map[string]any, ns string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(m)}
	u.SetNamespace(ns)
	return u
}

// text is an object without its metadata, which differ by design.
func text(t *testing.T, obj map[string]any) string {
	t.Helper()
	out := map[string]any{}
	for key, v := range obj {
		if key != "metadata" {
			out[key] = v
		}
	}
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
