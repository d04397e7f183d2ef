package status

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// What Flux (kstatus, as it has it) and Argo CD (the health check of
// docs/gitops.md, in the Lua that it runs) make of a relay's status.
func TestGitOps(t *testing.T) {
	health := argoCheck(t)
	for name, tt := range map[string]struct {
		change func(*Relay)
		unseen bool // the operator has not looked since the last change
		flux   status.Status
		argo   string
	}{
		"well":              {func(*Relay) {}, false, status.CurrentStatus, "Healthy"},
		"just made":         {func(in *Relay) { in.Object.Status = v1alpha1.PrinterRelayStatus{ObservedGeneration: -1} }, true, status.InProgressStatus, "Progressing"},
		"changed, not seen": {func(in *Relay) { in.Object.Status = Of(*in); in.Object.Generation++ }, true, status.InProgressStatus, "Progressing"},
		"an instance has another plan": {func(in *Relay) {
			in.Instances[1].Report.PlanHash = "of before"
		}, false, status.InProgressStatus, "Progressing"},
		"no plan": {func(in *Relay) {
			in.Policies["office"].Spec.Rules[0].Match.ClientNetworks = []v1alpha1.CIDR{"nonsense"}
			in.Plan = nil
			in.recompile()
		}, false, status.FailedStatus, "Degraded"},
		"a policy is missing": {func(in *Relay) {
			in.Policies = nil
			in.Plan = nil
			in.recompile()
		}, false, status.InProgressStatus, "Degraded"},
	} {
		t.Run(name, func(t *testing.T) {
			in := healthy()
			tt.change(&in)
			o := in.Object.DeepCopy()
			o.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "PrinterRelay"}
			if !tt.unseen {
				o.Status = Of(in)
			}
			fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := status.Compute(&unstructured.Unstructured{Object: fields})
			if err != nil || got.Status != tt.flux {
				t.Errorf("kstatus: %+v %v, want %s; conditions %+v", got, err, tt.flux, o.Status.Conditions)
			}
			if got, message := health(t, fields); got != tt.argo || message == "" {
				t.Errorf("Argo CD: %s %q, want %s", got, message, tt.argo)
			}
		})
	}
}

// argoCheck is the health check of docs/gitops.md, run as Argo CD does.
func argoCheck(t *testing.T) func(t *testing.T, object map[string]any) (health, message string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/gitops.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "resource.customizations.health.printerrelay.dev_PrinterRelay: |\n")
	script, _, ends := strings.Cut(rest, "```")
	if !ok || !ends {
		t.Fatal("docs/gitops.md has no health check of PrinterRelay")
	}
	return func(t *testing.T, object map[string]any) (string, string) {
		t.Helper()
		l := lua.NewState()
		defer l.Close()
		// As JSON has it: all numbers are of one type.
		b, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		var plain any
		if err := json.Unmarshal(b, &plain); err != nil {
			t.Fatal(err)
		}
		l.SetGlobal("obj", luaOf(l, plain))
		if err := l.DoString(script); err != nil {
			t.Fatal(err)
		}
		hs, ok := l.Get(-1).(*lua.LTable)
		if !ok {
			t.Fatalf("it gives %v", l.Get(-1))
		}
		return lua.LVAsString(hs.RawGetString("status")), lua.LVAsString(hs.RawGetString("message"))
	}
}

func luaOf(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case map[string]any:
		out := l.NewTable()
		for k, e := range v {
			out.RawSetString(k, luaOf(l, e))
		}
		return out
	case []any:
		out := l.NewTable()
		for _, e := range v {
			out.Append(luaOf(l, e))
		}
		return out
	case string:
		return lua.LString(v)
	case float64:
		return lua.LNumber(v)
	case bool:
		return lua.LBool(v)
	}
	return lua.LNil
}
