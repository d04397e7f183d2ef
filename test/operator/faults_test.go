package operator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
)

// connectionFaults are what can become of the operator's connection to the API
// server.
var connectionFaults = []struct {
	name   string
	inject func(*faulty) (heal func())
	met    int           // this many requests have to meet it
	wait   time.Duration // no read is made again before
}{
	{name: "the API server is gone", met: 20, inject: func(f *faulty) func() {
		f.inject(unreachable)
		f.cut()
		return func() { f.inject(nil) }
	}},
	{name: "watches break and cannot be begun anew", met: 10, inject: func(f *faulty) func() {
		f.inject(onWatches(unreachable))
		f.cut()
		return func() { f.inject(nil) }
	}},
	{name: "watches end at once, again and again", met: 30, inject: func(f *faulty) func() {
		f.inject(onWatches(ends))
		f.cut()
		return func() { f.inject(nil) }
	}},
	{name: "watches are told 410 Gone", met: 8, inject: func(f *faulty) func() {
		// Of versions that are named: one that is not named is never too old.
		f.inject(only(func(req *http.Request) bool { return watches(req) && req.URL.Query().Get("resourceVersion") != "" }, expired))
		f.cut()
		return func() { f.inject(nil) }
	}},
	{name: "watches tell late", inject: func(f *faulty) func() {
		var release []func()
		for _, resource := range []string{"deployments", "services", "configmaps", "pods", "printerrelays", "senderpolicies"} {
			release = append(release, f.hold(resource))
		}
		return func() {
			for _, do := range release {
				do()
			}
		}
	}},
	{name: "all is answered 429, to try again in a second", met: 20, wait: time.Second, inject: func(f *faulty) func() {
		f.inject(throttled(time.Second))
		f.cut()
		return func() { f.inject(nil) }
	}},
	{name: "what writes is answered 429, and not when to try again", met: 5, inject: func(f *faulty) func() {
		f.inject(onWrites(failing(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests")))
		return func() { f.inject(nil) }
	}},
	{name: "what writes is answered 500", met: 10, inject: func(f *faulty) func() {
		f.inject(onWrites(failing(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcdserver: request timed out")))
		return func() { f.inject(nil) }
	}},
	{name: "what writes is answered 409", met: 10, inject: func(f *faulty) func() {
		f.inject(onWrites(failing(http.StatusConflict, metav1.StatusReasonConflict, "the object has been modified; please apply your changes to the latest version and try again")))
		return func() { f.inject(nil) }
	}},
	{name: "the API server is slow", inject: func(f *faulty) func() {
		f.inject(func(r *http.Request) (*http.Response, error) {
			late := time.NewTimer(100 * time.Millisecond)
			defer late.Stop()
			select {
			case <-late.C:
				return nil, nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		return func() { f.inject(nil) }
	}},
}

// TestConnectionFaults: whatever becomes of the connection to the API server, the
// operator backs off while it lasts, and afterwards finds out all that happened
// meanwhile, changes, new objects and deletions, without a restart. Then it rests.
func TestConnectionFaults(t *testing.T) {
	for _, c := range connectionFaults {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			op, f := r.runFaulty()
			r.copiersReady("replicas: 2")
			r.rests(op, func() { r.nudge("copiers") })
			heal := c.inject(f)
			defer heal()
			before := r.meanwhile()
			r.eventually("requests meet the fault", func() string {
				if n := f.count(); n < c.met {
					return fmt.Sprint(n)
				}
				return ""
			})
			storm, hasty := f.storm(), f.hasty(c.wait)
			heal()
			if hasty != "" {
				t.Errorf("it does not wait as long as it is told, %s: %s", c.wait, hasty)
			}
			if storm != "" {
				t.Errorf("it does not back off: %s", storm)
			}
			r.caughtUp(before)
			r.rests(op, func() { r.nudge("copiers") })
		})
	}
}

// meanwhile changes, adds and deletes what concerns a relay, and gives the UIDs of
// what is to be made anew.
func (r *rig) meanwhile() []types.UID {
	r.Helper()
	service, deployment := must[corev1.Service](r, "copiers"), must[appsv1.Deployment](r, "copiers-1")
	r.delete(service)
	r.delete(deployment)
	edit(r, "office", func(p *v1alpha1.SenderPolicy) { p.Spec.Rules[0].Name = "floor-4" })
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.Replicas = new(int32(3)) })
	return []types.UID{service.UID, deployment.UID}
}

// caughtUp waits until all that meanwhile did is mended or taken up, and nothing is
// doubled.
func (r *rig) caughtUp(before []types.UID) {
	r.Helper()
	want := []string{
		"ConfigMap/copiers-relay", "Deployment/copiers-0", "Deployment/copiers-1", "Deployment/copiers-2", "NetworkPolicy/copiers-relay",
		"PersistentVolumeClaim/copiers-0", "PersistentVolumeClaim/copiers-1", "PersistentVolumeClaim/copiers-2", "PodDisruptionBudget/copiers-relay",
		"Service/copiers", "ServiceAccount/copiers-queue", "ServiceAccount/copiers-relay",
	}
	r.eventually("all objects are there, each once", func() string {
		if got := r.objectsOf("copiers"); !slices.Equal(got, want) {
			return fmt.Sprint(got)
		}
		if s, d := must[corev1.Service](r, "copiers"), must[appsv1.Deployment](r, "copiers-1"); slices.Contains(before, s.UID) || slices.Contains(before, d.UID) {
			return "one is of before"
		}
		return ""
	})
	r.eventually("the policy is taken up", func() string { return r.rule("floor-4") })
	r.eventually("every instance has its Pod", func() string {
		for _, name := range []string{"copiers-0", "copiers-1", "copiers-2"} {
			if d := must[appsv1.Deployment](r, name); d.Status.ReadyReplicas != 1 || d.Status.ObservedGeneration != d.Generation {
				return name
			}
		}
		return ""
	})
	r.ready("copiers")
}

// TestCrash: kube-apiserver and etcd are killed while the operator makes relays and
// changes one: all comes to be, nothing twice.
func TestCrash(t *testing.T) {
	r := newRigAlone(t)
	op, _ := r.runFaulty(func(o *controllers.Options) { o.LookEvery = 100 * time.Millisecond })
	r.copiersReady("replicas: 2")
	others := []string{"east", "north", "south", "west"}
	for _, name := range others {
		r.kubectl(strings.Replace(copiers(), "{name: copiers}", "{name: "+name+"}", 1))
	}
	before := r.meanwhile()
	r.server.Kill(t, "etcd", "kube-apiserver")()
	r.caughtUp(before)
	for _, name := range others {
		r.ready(name)
		if got, want := r.objectsOf(name), strings.ReplaceAll(strings.Join(r.objectsOf(others[0]), " "), others[0], name); strings.Join(got, " ") != want {
			t.Errorf("%s has %v, want %s", name, got, want)
		}
	}
	r.settles(op, func() { r.nudge(append(others, "copiers")...) })
}

// objectsOf are those of objects that are of one relay.
func (r *rig) objectsOf(relay string) []string {
	r.Helper()
	return slices.DeleteFunc(r.objects(), func(o string) bool {
		_, name, _ := strings.Cut(o, "/")
		return name != relay && !strings.HasPrefix(name, relay+"-")
	})
}
