package operator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/test/env"
)

const (
	relaysCRD    = "printerrelays.printerrelay.dev"
	upstreamsCRD = "mailupstreams.printerrelay.dev"
)

// crd reads one of config/crd.
func crd(t testing.TB, name string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	plural, _, _ := strings.Cut(name, ".")
	text, err := os.ReadFile(filepath.Join(env.Root(t), "config/crd/bases", "printerrelay.dev_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// install makes a CRD what is wanted, and waits until the API server serves it.
func (r *rig) install(want *apiextensionsv1.CustomResourceDefinition) {
	r.Helper()
	ctx := context.WithoutCancel(r.ctx())
	r.eventually("the CRD is taken", func() string {
		is := &apiextensionsv1.CustomResourceDefinition{}
		err := r.client.Get(ctx, client.ObjectKeyFromObject(want), is)
		next := want.DeepCopy()
		switch {
		case apierrors.IsNotFound(err):
			err = r.client.Create(ctx, next)
		case err == nil && is.DeletionTimestamp != nil:
			return "it is being deleted"
		case err == nil:
			next.ResourceVersion, next.Status = is.ResourceVersion, is.Status
			err = r.client.Update(ctx, next)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	r.eventually("the kind is served", func() string {
		is := &apiextensionsv1.CustomResourceDefinition{}
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(want), is); err != nil {
			return err.Error()
		}
		for _, c := range is.Status.Conditions {
			if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
				return ""
			}
		}
		return "not established"
	})
}

// declares waits until the API server takes a PrinterRelay with a field of that name in
// its spec, or does not: what it serves of a CRD follows a moment after the CRD.
func (r *rig) declares(want bool, field string) {
	r.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(copiers(field+": x")), &u.Object); err != nil {
		r.Fatal(err)
	}
	u.SetNamespace(r.ns)
	u.SetName("probe")
	r.eventually(fmt.Sprintf("spec.%s is declared: %t", field, want), func() string {
		err := r.client.Apply(r.ctx(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("probe"), client.DryRunAll)
		if err == nil != want || err != nil && !strings.Contains(err.Error(), "not declared") {
			return fmt.Sprint("it says: ", err)
		}
		return ""
	})
}

// storesAgain has only a version of a CRD among those that objects are stored by.
func (r *rig) storesAgain(name, version string) {
	r.Helper()
	r.eventually("the CRD takes it", func() string { // others write to its status too
		is := &apiextensionsv1.CustomResourceDefinition{}
		if err := r.client.Get(r.ctx(), client.ObjectKey{Name: name}, is); err != nil {
			return err.Error()
		}
		is.Status.StoredVersions = []string{version}
		if err := r.client.Status().Update(r.ctx(), is); err != nil {
			return err.Error()
		}
		return ""
	})
}

// properties of a part of a CRD's schema, by the names that lead to it.
func properties(t testing.TB, c *apiextensionsv1.CustomResourceDefinition, path ...string) map[string]apiextensionsv1.JSONSchemaProps {
	t.Helper()
	at := c.Spec.Versions[0].Schema.OpenAPIV3Schema
	for _, name := range path {
		next, ok := at.Properties[name]
		if !ok {
			t.Fatalf("the schema of %s has no %v", c.Name, path)
		}
		at = &next
	}
	return at.Properties
}

// TestCRDUpgraded: CRDs are applied anew while the operator runs: with a field more,
// another version beside the operator's that is stored from then on, and as an older
// release had them, without a field that this one writes. Of the last it says what is
// wrong, serves the relays all the same, and goes on when the CRDs are its own.
func TestCRDUpgraded(t *testing.T) {
	r := newRigAlone(t)
	op, _ := r.runFaulty()
	t.Cleanup(func() { op.stop(); r.install(crd(t, relaysCRD)) })
	r.copiersReady("replicas: 2")
	r.rests(op, func() { r.nudge("copiers") })

	more := crd(t, relaysCRD)
	properties(t, more, "spec")["novelty"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	properties(t, more, "status")["novelty"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	next := more.Spec.Versions[0].DeepCopy()
	next.Name = "v1alpha2"
	more.Spec.Versions[0].Storage = false
	more.Spec.Versions = append(more.Spec.Versions, *next)
	r.quiet(op, func() {
		r.install(more)
		r.declares(true, "novelty")
		r.nudge("copiers")
	})
	r.kubectl(copiers("replicas: 2", "novelty: x", "pod: {annotations: {a: b}}"))
	r.ready("copiers")
	if d := must[appsv1.Deployment](r, "copiers-1"); d.Spec.Template.Annotations["a"] != "b" {
		t.Errorf("annotations %v", d.Spec.Template.Annotations)
	}
	// What is stored goes back to the version that stays.
	more.Spec.Versions[0].Storage, more.Spec.Versions[1].Storage = true, false
	properties(t, more, "spec")["mark"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	r.install(more)
	r.declares(true, "mark")
	edit(r, "copiers", func(*v1alpha1.PrinterRelay) {})
	r.storesAgain(relaysCRD, "v1alpha1")
	r.install(crd(t, relaysCRD))
	r.declares(false, "mark")
	r.kubectl(copiers("replicas: 2"))
	r.ready("copiers")

	old := crd(t, relaysCRD)
	delete(properties(t, old, "status"), "listeners")
	properties(t, old, "spec")["mark"] = apiextensionsv1.JSONSchemaProps{Type: "string"}
	r.install(old)
	r.declares(true, "mark")
	edit(r, "office", func(p *v1alpha1.SenderPolicy) { p.Spec.Rules[0].Name = "floor-4" })
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.Replicas = new(int32(3)) })
	r.eventually("the relays are served", func() string { return r.rule("floor-4") })
	r.eventually("there is a third instance", func() string {
		if get[appsv1.Deployment](r, "copiers-2") == nil {
			return "not yet"
		}
		return ""
	})
	r.eventually("the log says what is wrong, and what to do", func() string {
		if text := r.log.String(); !containsAll(text, []string{"status of PrinterRelay " + r.ns + "/copiers", "status.listeners", "apply config/crd of its release"}) {
			return "the log: " + text
		}
		return ""
	})
	r.happened("copiers", "Warning CRDOutdated", "status.listeners", "apply config/crd of its release")
	r.install(crd(t, relaysCRD))
	r.declares(false, "mark")
	r.ready("copiers")
	// Watches that began by the old schema show statuses without the field until the API
	// server ends them.
	r.settles(op, func() { r.nudge("copiers") })
}

// TestCRDGone: the operator begins before its CRDs, says so, and waits for them. The
// CRD of the upstreams vanishes for a moment, and with it all
// MailUpstreams: no relay's objects go, and none takes new mail until it has its
// upstream back. Then the CRD of the relays vanishes: their instances end and their
// volumes stay, and the same relays find them again. The operator runs on.
func TestCRDGone(t *testing.T) {
	r := newRigAlone(t)
	r.vanish(upstreamsCRD)
	op, _ := r.runFaulty(func(o *controllers.Options) { o.LookEvery = 100 * time.Millisecond })
	t.Cleanup(func() {
		op.stop()
		r.install(crd(t, upstreamsCRD))
		r.install(crd(t, relaysCRD))
	})
	r.eventually("it says what it waits for", func() string {
		if text := r.log.String(); !containsAll(text, []string{"cannot begin yet", "kind MailUpstream of printerrelay.dev/v1alpha1 is not served", "config/crd"}) {
			return "the log: " + text
		}
		return ""
	})
	r.install(crd(t, upstreamsCRD))
	r.applyAgain(smarthost)
	r.copiersReady("replicas: 2")
	objects, pod := r.objects(), r.node.podOf("copiers-0").UID
	r.vanish(upstreamsCRD)
	r.condition("copiers", "ResolvedRefs=False/ReferenceNotFound", "smarthost")
	r.eventually("no mail is taken", func() string {
		if i := r.node.intake("copiers-0"); i != "Refuse" {
			return string(i)
		}
		return ""
	})
	if now := r.objects(); strings.Join(now, " ") != strings.Join(objects, " ") {
		t.Errorf("objects were %v and are %v", objects, now)
	}
	r.install(crd(t, upstreamsCRD))
	r.applyAgain(smarthost)
	r.ready("copiers")
	if now := r.node.podOf("copiers-0").UID; now != pod {
		t.Error("the Pod was replaced")
	}

	volume := must[corev1.PersistentVolumeClaim](r, "copiers-0").UID
	r.vanish(relaysCRD)
	r.eventually("the instances are ended", func() string {
		if d := get[appsv1.Deployment](r, "copiers-0"); d != nil {
			return "not yet"
		}
		return ""
	})
	r.collect()
	r.install(crd(t, relaysCRD))
	r.applyAgain(copiers("replicas: 2"))
	r.ready("copiers")
	if now := must[corev1.PersistentVolumeClaim](r, "copiers-0").UID; now != volume {
		t.Error("it has another volume")
	}
	r.rests(op, func() { r.nudge("copiers") })
}

// vanish deletes a CRD, and waits until it and all of its objects are gone.
func (r *rig) vanish(name string) {
	r.Helper()
	// No operator lets go of what earlier tests left.
	var left v1alpha1.PrinterRelayList
	if err := r.client.List(r.ctx(), &left); err != nil {
		r.Fatal(err)
	}
	for i := range left.Items {
		if o := &left.Items[i]; o.Namespace != r.ns && len(o.Finalizers) > 0 {
			if err := r.client.Patch(r.ctx(), o, client.RawPatch(types.MergePatchType, []byte(`{"metadata": {"finalizers": null}}`))); err != nil {
				r.Fatal(err)
			}
		}
	}
	is := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
	r.delete(is)
	r.eventually(name+" is gone", func() string {
		err := r.client.Get(r.ctx(), client.ObjectKey{Name: name}, is)
		if apierrors.IsNotFound(err) {
			return ""
		}
		return describeCRD(is)
	})
	r.server.Forgets(r, v1alpha1.GroupVersion.WithKind(crd(r, name).Spec.Names.Kind))
}

func describeCRD(c *apiextensionsv1.CustomResourceDefinition) string {
	var out []string
	for _, is := range c.Status.Conditions {
		out = append(out, string(is.Type)+"="+string(is.Status)+": "+is.Message)
	}
	return strings.Join(out, "\n")
}

// applyAgain applies as soon as the API server serves the kind again.
func (r *rig) applyAgain(text string) {
	r.Helper()
	var o metav1.PartialObjectMetadata
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		r.Fatal(err)
	}
	r.eventually("the kind is served", func() string {
		err := r.client.Get(r.ctx(), r.key("none"), &o)
		if err == nil || apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) && strings.Contains(err.Error(), `"none" not found`) {
			return ""
		}
		return err.Error()
	})
	r.kubectl(text)
}
