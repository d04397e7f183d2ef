package operator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// TestRightsGone: all rights are taken away and given back.
func TestRightsGone(t *testing.T) {
	r := newRig(t)
	op, f := r.runFaulty()
	r.copiersReady("replicas: 2")
	binding := must[rbacv1.RoleBinding](r, "watched")
	r.delete(binding)
	// Not at once: until then the operator may still mend all that it finds, and rest.
	r.withdrawn("patch", "apps", "deployments")
	before := r.meanwhile()
	r.eventually("the log says who may not do what, and what to do", func() string {
		if text := r.log.String(); !containsAll(text, []string{"system:serviceaccount:" + r.ns + ":" + account, "cannot patch resource", "give the operator its rights back"}) {
			return "the log: " + text
		}
		return ""
	})
	f.cut()
	r.eventually("the API server has refused watches too", func() string {
		if n := f.answered(http.StatusForbidden); n < 20 {
			return fmt.Sprint(n)
		}
		return ""
	})
	binding.ResourceVersion = ""
	if err := r.client.Create(r.ctx(), binding); err != nil {
		t.Fatal(err)
	}
	r.caughtUp(before)
	r.rests(op, func() { r.nudge("copiers") })
}

// TestTerminating: in a namespace that is being deleted, whose objects go one after
// the other, the operator makes nothing anew and no noise, and lets go of what it
// holds.
func TestTerminating(t *testing.T) {
	r := newRig(t)
	r.home = r.server.Namespace(t)
	op, f := r.runFaulty()
	r.copiersReady("replicas: 2")
	r.rests(op, func() { r.nudge("copiers") })
	r.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.ns}})
	f.inject(nil)
	lines := len(r.log.errors())
	// The namespace controller begins with what it finds first.
	r.delete(must[corev1.Service](r, "copiers"))
	r.delete(must[corev1.ConfigMap](r, "copiers-relay"))
	r.delete(must[appsv1.Deployment](r, "copiers-1"))
	r.eventually("the operator has tried to make them anew", func() string {
		if n := f.answered(http.StatusForbidden); n < 4 {
			return fmt.Sprint(n)
		}
		return ""
	})
	r.condition("copiers", "Ready=False", "is being deleted")
	r.condition("copiers", "Stalled=absent")
	r.delete(must[v1alpha1.PrinterRelay](r, "copiers"))
	r.eventually("the relay is gone", func() string {
		if o := get[v1alpha1.PrinterRelay](r, "copiers"); o != nil {
			return describe(o, o.Status.Conditions)
		}
		return ""
	})
	if s := f.storm(); s != "" {
		t.Errorf("a storm: %s", s)
	}
	// What no longer names the upstream is told of once, by an event that the namespace
	// does not take.
	errs := slices.DeleteFunc(r.log.errors()[lines:], func(line string) bool {
		return strings.Contains(line, "Server rejected event") && strings.Contains(line, "smarthost")
	})
	if len(errs) > 0 {
		t.Errorf("noise:\n%s", strings.Join(errs, "\n"))
	}
}

// errors are the lines of a log at that level.
func (b *buffer) errors() (out []string) {
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "level=ERROR") {
			out = append(out, line)
		}
	}
	return out
}

// TestLeaseLost: an operator that cannot renew its lease ends, and has written its
// last before the next writes its first.
func TestLeaseLost(t *testing.T) {
	r := newRig(t)
	cfg := r.namespaced()
	first, ended := r.leader("first", cfg)
	r.copiersReady()
	second, _ := r.leader("second", cfg)
	first.inject(only(func(req *http.Request) bool { return strings.Contains(req.URL.Path, "/leases/") }, unreachable))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // work for who acts
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				edit(r, "office", func(p *v1alpha1.SenderPolicy) { p.Spec.Rules[0].Name = fmt.Sprint("floor-", n) })
			}
		}
	})
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "leader election lost") {
			t.Errorf("it ends with %v", err)
		}
	case <-time.After(patience):
		t.Error("it does not end")
	}
	r.eventually("the second acts", func() string {
		if second.acts().IsZero() {
			return "not yet"
		}
		return ""
	})
	close(stop)
	wg.Wait()
	if last, begins := first.acted(), second.acts(); !last.Before(begins) {
		t.Errorf("the first wrote %s after the second", last.Sub(begins))
	}
	lease := must[coordinationv1.Lease](r, "printer-relay-operator")
	if n := *lease.Spec.LeaseTransitions; n != 1 {
		t.Errorf("the lease has changed hands %d times", n)
	}
	edit(r, "office", func(p *v1alpha1.SenderPolicy) { p.Spec.Rules[0].Name = "attic" })
	r.eventually("the policy is taken up", func() string { return r.rule("attic") })
	r.ready("copiers")
}
