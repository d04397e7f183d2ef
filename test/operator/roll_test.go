package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
)

// three instances of a relay.
var three = []string{"copiers-0", "copiers-1", "copiers-2"}

// changed are the instances whose Deployment is not as generations says.
func (r *rig) changed(before map[string]int64) (out []string) {
	r.Helper()
	for _, name := range three {
		if must[appsv1.Deployment](r, name).Generation != before[name] {
			out = append(out, name)
		}
	}
	return out
}

func (r *rig) generationOf() map[string]int64 {
	r.Helper()
	out := map[string]int64{}
	for _, name := range three {
		out[name] = must[appsv1.Deployment](r, name).Generation
	}
	return out
}

// wantChanged waits until just these are changed.
func (r *rig) wantChanged(before map[string]int64, want ...string) {
	r.Helper()
	r.eventually("changed are "+strings.Join(want, ", "), func() string {
		if got := r.changed(before); !slices.Equal(got, want) {
			return "changed are " + strings.Join(got, ", ")
		}
		return ""
	})
}

// TestRoll: a change of the Pods' template goes from instance to instance, each
// when the one before takes mail by the plan.
func TestRoll(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*rig, *operator)
	}{
		{"a new Secret", func(r *rig, _ *operator) {
			r.kubectl("{apiVersion: v1, kind: Secret, metadata: {name: provider}, stringData: {username: a, password: b}}")
			edit(r, "smarthost", func(u *v1alpha1.MailUpstream) {
				u.Spec.SMTP.Authentication = &v1alpha1.SMTPUpstreamAuthentication{Mechanism: v1alpha1.UpstreamMechanismAuto, SecretRef: v1alpha1.LocalReference{Name: "provider"}}
			})
		}},
		{"a new image", func(r *rig, op *operator) {
			op.stop()
			r.run(func(o *controllers.Options) { o.Image = image + "1" })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			op := r.run()
			r.copiersReady("replicas: 3")
			before := r.generationOf()
			r.node.set("copiers-0", func(i *instance) { i.notReady = true })
			r.condition("copiers", "Ready=False/InstanceNotReady", "copiers-0")
			r.node.set("copiers-1", func(i *instance) { i.silent = "no route to host" })
			c.change(r, op)
			// Who serves nobody is replaced at once, and the others wait for it.
			r.wantChanged(before, "copiers-0")
			r.eventually("the others wait", func() string {
				if m := r.relay("copiers").Status.Instances[2].Message; !strings.Contains(m, "waits for its turn") {
					return m
				}
				return ""
			})
			r.nudge("copiers")
			if o := r.relay("copiers"); strings.Contains(describe(o, o.Status.Conditions), "SecretNotFound") {
				t.Errorf("a Secret that is there is missed by those that do not mount it yet:\n%s", describe(o, o.Status.Conditions))
			}
			r.wantChanged(before, "copiers-0")
			r.node.set("copiers-0", func(i *instance) { i.notReady = false })
			r.wantChanged(before, "copiers-0", "copiers-1")
			// Ready is not enough: it has to say that it runs the plan.
			r.eventually("copiers-1 is Ready", func() string {
				if must[appsv1.Deployment](r, "copiers-1").Status.ReadyReplicas == 0 {
					return "not yet"
				}
				return ""
			})
			r.nudge("copiers")
			r.wantChanged(before, "copiers-0", "copiers-1")
			r.node.set("copiers-1", func(i *instance) { i.silent = "" })
			r.wantChanged(before, three...)
			r.ready("copiers")
		})
	}
}

// TestFirst: the first time all instances are made at once.
func TestFirst(t *testing.T) {
	r := newRig(t)
	for _, name := range three {
		r.node.set(name, func(i *instance) { i.notReady = true })
	}
	r.run()
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers("replicas: 3"))
	r.eventually("three instances", func() string {
		o := r.objects()
		for _, name := range three {
			if !slices.Contains(o, "Deployment/"+name) {
				return strings.Join(o, "\n")
			}
		}
		return ""
	})
	r.condition("copiers", "Ready=False/RollingOut", "0 of 3")
	for _, name := range three {
		r.node.set(name, func(i *instance) { i.notReady = false })
	}
	r.ready("copiers")
}

// TestSecretMissing: the relay says which Secret is missing, by the field that
// names it, and heals.
func TestSecretMissing(t *testing.T) {
	r := newRig(t)
	r.run()
	r.kubectl(strings.Replace(smarthost, "port: 587", "port: 587, authentication: {secretRef: {name: provider}}", 1) + "\n---\n" + office + "\n---\n" + copiers())
	r.condition("copiers", "Ready=False/SecretNotFound", `MailUpstream `+r.ns+`/smarthost: spec.smtp.authentication.secretRef: Secret "provider"`)
	r.condition("copiers", "ResolvedRefs=False/SecretNotFound")
	r.conditionOf("MailUpstream smarthost", "ResolvedRefs=False/SecretNotFound", r.upstream("smarthost"))
	r.kubectl("{apiVersion: v1, kind: Secret, metadata: {name: provider}, stringData: {username: a, password: b}}")
	r.ready("copiers")
	r.conditionOf("MailUpstream smarthost", "Ready=True", r.upstream("smarthost"))
}

// TestUpstreamDown: an upstream that takes no mail is said of the upstream.
func TestUpstreamDown(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady()
	r.node.set("copiers-0", func(i *instance) { i.lastError = "connection refused" })
	r.nudge("copiers")
	r.conditionOf("MailUpstream smarthost", "Ready=False/Unreachable", r.upstream("smarthost"), "1 of 1 instance", "connection refused")
	r.node.set("copiers-0", func(i *instance) { i.lastError = "" })
	r.nudge("copiers")
	r.conditionOf("MailUpstream smarthost", "Ready=True", r.upstream("smarthost"))
}

// TestEvents: one for each change of Ready, and none at rest.
func TestEvents(t *testing.T) {
	r := newRig(t)
	op := r.run()
	r.node.set("copiers-0", func(i *instance) { i.notReady = true })
	r.kubectl(smarthost + "\n---\n" + office + "\n---\n" + copiers())
	r.condition("copiers", "Ready=False/RollingOut")
	r.node.set("copiers-0", func(i *instance) { i.notReady = false })
	r.ready("copiers")
	r.node.set("copiers-0", func(i *instance) { i.notReady = true })
	r.condition("copiers", "Ready=False/InstanceNotReady")
	r.node.set("copiers-0", func(i *instance) { i.notReady = false })
	r.ready("copiers")
	want := map[string]int{"Normal RollingOut": 1, "Normal Ready": 2, "Warning InstanceNotReady": 1}
	count := func() string {
		got := map[string]int{}
		for _, e := range r.events("copiers") {
			text, _, _ := strings.Cut(e, ":")
			got[text]++
		}
		delete(got, "Normal AddressPending") // the load balancer may be slower than the Pod
		if len(got) != len(want) {
			return strings.Join(r.events("copiers"), "\n")
		}
		for k, n := range want {
			if got[k] != n {
				return strings.Join(r.events("copiers"), "\n")
			}
		}
		return ""
	}
	r.eventually("one event for each change", count)
	r.rests(op, func() { r.nudge("copiers") })
	if more := count(); more != "" {
		t.Errorf("events:\n%s", more)
	}
}

// TestTooLarge: what no ConfigMap can hold changes nothing that runs, and the
// largest object is named.
func TestTooLarge(t *testing.T) {
	r := newRig(t)
	op := r.run()
	r.copiersReady()
	before := must[corev1.ConfigMap](r, "copiers-relay").ResourceVersion
	refs := []v1alpha1.LocalReference{{Name: "office"}}
	for n := range 3 {
		p := &v1alpha1.SenderPolicy{}
		p.Namespace, p.Name = r.ns, "big-"+string(rune('a'+n))
		p.Spec.Rules = bigRules(n == 1)
		if err := r.client.Create(r.ctx(), p); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, v1alpha1.LocalReference{Name: p.Name})
	}
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.SenderPolicyRefs = refs })
	r.condition("copiers", "Accepted=False/TooLarge", "SenderPolicy "+r.ns+"/big-b", "split the relay")
	r.condition("copiers", "Ready=False/TooLarge")
	r.condition("copiers", "Stalled=True")
	r.rests(op, func() { r.nudge("copiers") })
	if now := must[corev1.ConfigMap](r, "copiers-relay").ResourceVersion; now != before {
		t.Error("the ConfigMap was changed")
	}
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.SenderPolicyRefs = refs[:1] })
	r.ready("copiers")
}

// bigRules are about 400 kB, or a little more.
func bigRules(more bool) (out []v1alpha1.Rule) {
	for n := range 64 {
		rule := v1alpha1.Rule{Name: fmt.Sprint("rule-", n)}
		rule.Match.ClientNetworks = []v1alpha1.CIDR{"10.20.3.0/24"}
		for k := range 63 {
			rule.Recipients.Allowed = append(rule.Recipients.Allowed, v1alpha1.AddressPattern(strings.Repeat("a", k+1)+"@"+strings.Repeat("corp.", 14)+"example"))
		}
		if more {
			rule.Recipients.Allowed = append(rule.Recipients.Allowed, "more@corp.example")
		}
		out = append(out, rule)
	}
	return out
}

// TestPrune: what the relay no longer has goes.
func TestPrune(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2")
	r.kubectl("{apiVersion: v1, kind: ServiceAccount, metadata: {name: mine}}")
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) {
		o.Spec.Replicas = new(int32(1))
		o.Spec.Pod.ServiceAccountName = "mine"
	})
	r.eventually("PodDisruptionBudget and ServiceAccount are gone", func() string {
		o := r.objects()
		if slices.Contains(o, "PodDisruptionBudget/copiers-relay") || slices.Contains(o, "ServiceAccount/copiers-relay") {
			return strings.Join(o, "\n")
		}
		return ""
	})
	r.ready("copiers")
	must[corev1.ServiceAccount](r, "mine")
	// Ready of the new generation means the new Pod.
	if pod := r.node.podOf("copiers-0"); pod == nil || pod.Spec.ServiceAccountName != "mine" {
		t.Errorf("Ready with the Pod of before: %v", pod)
	}
}
