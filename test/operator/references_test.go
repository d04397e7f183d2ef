package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// TestLateReferences: without a plan nothing runs, and what is missing is named;
// when it comes, the relay comes.
func TestLateReferences(t *testing.T) {
	r := newRig(t)
	r.run()
	r.kubectl(copiers("fallbackUpstreamRefs: [{name: second}]"))
	r.condition("copiers", "Ready=False/ReferenceNotFound",
		`spec.upstreamRef: MailUpstream "smarthost" is not in namespace`, `spec.fallbackUpstreamRefs[0]: MailUpstream "second"`, `spec.senderPolicyRefs[0]: SenderPolicy "office"`)
	r.condition("copiers", "Accepted=Unknown/Pending")
	r.condition("copiers", "Programmed=False/Pending")
	r.condition("copiers", "Stalled=absent")
	if got := r.objects(); len(got) > 0 {
		t.Errorf("without a plan there is %q", got)
	}
	r.kubectl(smarthost)
	r.kubectl(office)
	r.condition("copiers", "Ready=False/ReferenceNotFound", `MailUpstream "second"`)
	r.kubectl(strings.ReplaceAll(smarthost, "smarthost", "second"))
	r.ready("copiers")
}

// TestReferenceGoes: without a policy or upstream that was there no new mail is
// taken, and the instances stay; it heals.
func TestReferenceGoes(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2")
	before := r.generations("copiers-0", "copiers-1")
	for _, c := range []struct {
		name string
		del  func()
		back string
	}{
		{`SenderPolicy "office"`, func() { r.delete(must[v1alpha1.SenderPolicy](r, "office")) }, office},
		{`MailUpstream "smarthost"`, func() { r.delete(must[v1alpha1.MailUpstream](r, "smarthost")) }, smarthost},
	} {
		c.del()
		r.condition("copiers", "Ready=False/ReferenceNotFound", c.name, "no new mail is taken")
		r.eventually("the instances take no new mail", func() string {
			for _, i := range []string{"copiers-0", "copiers-1"} {
				if got := r.node.intake(i); got != plan.IntakeRefuse {
					return i + " " + string(got)
				}
			}
			return ""
		})
		if text := must[corev1.ConfigMap](r, "copiers-relay").Data[render.ManifestsKey]; !strings.Contains(text, "floor-3") || !strings.Contains(text, "smtp.provider.example") {
			t.Errorf("the queue cannot be delivered any more:\n%s", text)
		}
		r.condition("copiers", "Programmed=False")
		r.kubectl(c.back)
		r.ready("copiers")
		if got := r.node.intake("copiers-0"); got != plan.IntakeAccept {
			t.Errorf("intake %s after %s came back", got, c.name)
		}
	}
	if now := r.generations("copiers-0", "copiers-1"); now != before {
		t.Errorf("Deployments were changed: %s, before %s", now, before)
	}
}

// TestHoldWithoutReferences: a hold that is made while a policy is missing reaches the
// instances; a device that was stolen waits for nobody's typing error.
func TestHoldWithoutReferences(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("")
	r.delete(must[v1alpha1.SenderPolicy](r, "office"))
	r.condition("copiers", "Ready=False/ReferenceNotFound", `SenderPolicy "office"`)
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) {
		o.Spec.Holds = []v1alpha1.Hold{{Name: "stolen", ClientNetworks: []v1alpha1.CIDR{"10.20.9.66/32"}, Reason: "ticket 4711"}}
	})
	r.condition("copiers", "Holding=True/Held", `hold "stolen" keeps the mail of 10.20.9.66 (ticket 4711)`)
	r.eventually("the instance has the hold", func() string {
		text := must[corev1.ConfigMap](r, "copiers-relay").Data[render.ManifestsKey]
		if got := r.node.intake("copiers-0"); got != plan.IntakeRefuse || !strings.Contains(text, "stolen") {
			return string(got) + text
		}
		return ""
	})
	r.kubectl(office)
	r.ready("copiers")
}

// generations of Deployments: a change of the spec is a new one.
func (r *rig) generations(names ...string) string {
	r.Helper()
	var out []string
	for _, name := range names {
		d := must[appsv1.Deployment](r, name)
		out = append(out, fmt.Sprint(name, d.UID, d.Generation))
	}
	return strings.Join(out, " ")
}

// TestReload: an edit of what is no part of the Pods changes the ConfigMap only,
// and Programmed says when all instances have it.
func TestReload(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady("replicas: 2")
	before := r.generations("copiers-0", "copiers-1")
	for _, c := range []struct {
		name string
		edit func()
		want string // in relay.yaml
	}{
		{"policy", func() {
			edit(r, "office", func(p *v1alpha1.SenderPolicy) {
				p.Spec.Rules[0].Recipients.Allowed = []v1alpha1.AddressPattern{"*@new.example"}
			})
		}, "*@new.example"},
		{"upstream", func() {
			edit(r, "smarthost", func(u *v1alpha1.MailUpstream) { u.Spec.SMTP.Host = "other.example" })
		}, "other.example"},
		{"route", func() {
			edit(r, "copiers", func(o *v1alpha1.PrinterRelay) {
				o.Spec.Routes = []v1alpha1.Route{{Name: "in", RecipientDomains: []string{"in.example"}, UpstreamRef: v1alpha1.LocalReference{Name: "smarthost"}}}
			})
		}, "in.example"},
		{"listener", func() {
			edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.Listeners[0].Port = 2525 })
		}, "2525"},
	} {
		hash := r.relay("copiers").Status.Instances[0].PlanHash
		r.node.set("copiers-1", func(i *instance) { i.stale = true })
		c.edit()
		r.eventually(c.name+" is in the ConfigMap", func() string {
			text := must[corev1.ConfigMap](r, "copiers-relay").Data[render.ManifestsKey]
			if !strings.Contains(text, c.want) {
				return text
			}
			return ""
		})
		r.condition("copiers", "Programmed=False/RollingOut", "copiers-1", "has not taken up the configuration")
		r.node.set("copiers-1", func(i *instance) { i.stale = false })
		r.condition("copiers", "Programmed=True")
		r.ready("copiers")
		for _, i := range r.relay("copiers").Status.Instances {
			if i.PlanHash == hash {
				t.Errorf("%s: instance %s still reports the hash of before", c.name, i.Name)
			}
		}
	}
	if now := r.generations("copiers-0", "copiers-1"); now != before {
		t.Errorf("Deployments were changed: %s, before %s", now, before)
	}
}

// TestInvalid: an edit that does not compile changes nothing that runs.
func TestInvalid(t *testing.T) {
	r := newRig(t)
	op := r.run()
	r.copiersReady()
	before := must[corev1.ConfigMap](r, "copiers-relay").ResourceVersion
	// The API server's rules know nothing of what the relay itself is called.
	edit(r, "smarthost", func(u *v1alpha1.MailUpstream) {
		u.Spec.SMTP.Host, u.Spec.SMTP.Port = "relay.corp.example", 25
	})
	r.condition("copiers", "Accepted=False/Invalid", "MailUpstream", "smarthost", "go on with the configuration before")
	r.condition("copiers", "Ready=False/Invalid")
	r.condition("copiers", "Stalled=True")
	r.conditionOf("MailUpstream smarthost", "Accepted=False/Invalid", r.upstream("smarthost"))
	r.rests(op, func() { r.nudge("copiers") })
	if now := must[corev1.ConfigMap](r, "copiers-relay").ResourceVersion; now != before {
		t.Error("the ConfigMap was changed")
	}
	if o := r.objects(); !slices.Contains(o, "Deployment/copiers-0") {
		t.Errorf("objects %q", o)
	}
}
