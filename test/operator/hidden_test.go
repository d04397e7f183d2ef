package operator

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/test/env"
)

// hidden waits until the ConfigMap says that of who is hidden, the instance runs it, and
// the status knows.
func (r *rig) hidden(want string) {
	r.Helper()
	r.eventually("who is hidden: "+want, func() string {
		text := must[corev1.ConfigMap](r, "copiers-relay").Data[render.ManifestsKey]
		var o v1alpha1.PrinterRelay
		if err := yaml.Unmarshal([]byte(strings.Split(text, "\n---\n")[0]), &o); err != nil {
			r.Fatal(err)
		}
		if got := o.Annotations[v1alpha1.AnnotationHiddenClients]; got != want {
			return fmt.Sprintf("%q", got)
		}
		c := r.relay("copiers")
		if runs := r.node.runs("copiers-0"); c.Status.Instances[0].PlanHash != runs.Hash || written(&runs.HiddenClients) != want {
			return fmt.Sprintf("it runs %+v", runs.HiddenClients)
		}
		return conditionDiffers(c, c.Status.Conditions, "Ready=True", nil)
	})
}

// written as the annotation is.
func written(h *plan.HiddenClients) string {
	if h.All {
		return "all"
	}
	var out []string
	for _, n := range h.Networks {
		out = append(out, strings.TrimSuffix(n.String(), "/32"))
	}
	return strings.Join(out, ",")
}

// addressesKnown waits for the condition.
func (r *rig) addressesKnown(want string, words ...string) {
	r.Helper()
	r.condition("copiers", "ClientAddressesKnown="+want, words...)
}

// TestServiceHidesClients: while the Service does, or the spec wants it to, every client
// is hidden, and the status says what to do; and when no more, no more.
func TestServiceHidesClients(t *testing.T) {
	r := newRig(t)
	op := r.run()
	r.copiersReady()
	r.addressesKnown("Unknown/ClusterNetworksUnknown", "may not list Nodes", "--cluster-networks", "clusterNetworks")
	r.hidden("")
	pod := r.node.podOf("copiers-0").UID
	r.kubectl(copiers("service: {externalTrafficPolicy: Cluster}"))
	r.hidden("all")
	r.addressesKnown("False/AddressesHidden", `Service "copiers"`, "rules on networks let nobody in", "set spec.service.externalTrafficPolicy: Local", "match.users")
	r.condition("copiers", "Ready=True", "rules on networks let nobody in")
	r.condition("copiers", "Accepted=True", "spec.rules[0].match.clientNetworks: match nobody")
	r.conditionOf("SenderPolicy office", "Accepted=True", func() (metav1.Object, []metav1.Condition) {
		p := must[v1alpha1.SenderPolicy](r, "office")
		return p, p.Status.Conditions
	}, "match nobody")
	r.rests(op, func() { r.nudge("copiers") })
	r.kubectl(copiers("service: {type: ClusterIP}"))
	r.hidden("")
	r.kubectl(copiers("service: {type: NodePort, externalTrafficPolicy: Cluster}"))
	r.hidden("all")
	services, configMaps := r.watched(&corev1.ServiceList{}), r.watched(&corev1.ConfigMapList{})
	r.kubectl(copiers("service: {type: NodePort, externalTrafficPolicy: Local}"))
	r.hidden("")
	// Not before the Service shows them: versions grow over all objects. Neither object's
	// newest will do, for others write to them too.
	shows := r.first(services, func(o client.Object) bool {
		s, ok := o.(*corev1.Service)
		return ok && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	})
	says := r.first(configMaps, func(o client.Object) bool {
		c, ok := o.(*corev1.ConfigMap)
		return ok && !strings.Contains(c.Data[render.ManifestsKey], v1alpha1.AnnotationHiddenClients+": all")
	})
	if says < shows {
		t.Errorf("the ConfigMap is of version %d, the Service that shows the clients of %d", says, shows)
	}
	r.kubectl(copiers("service: {externalTrafficPolicy: Local}"))
	r.ready("copiers")
	r.addressesKnown("Unknown/ClusterNetworksUnknown")
	edit(r, "copiers", func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster })
	r.eventually("the Service is repaired", func() string {
		return strings.TrimPrefix(string(must[corev1.Service](r, "copiers").Spec.ExternalTrafficPolicy), "Local")
	})
	r.hidden("")
	r.rests(op, func() { r.nudge("copiers") })
	if now := r.node.podOf("copiers-0").UID; now != pod {
		t.Error("the Pod was replaced")
	}
}

// first gives the version of the first object of a watch that is so.
func (r *rig) first(w watch.Interface, is func(client.Object) bool) int {
	r.Helper()
	for {
		select {
		case e, open := <-w.ResultChan():
			if o, ok := e.Object.(client.Object); ok && e.Type == watch.Modified && is(o) {
				return number(r, o.GetResourceVersion())
			} else if !open {
				r.Fatal("the watch has ended")
			}
		case <-time.After(patience):
			r.Fatal("it is never so")
		}
	}
}

func number(r *rig, version string) int {
	r.Helper()
	n, err := strconv.Atoi(version)
	if err != nil {
		r.Fatal(err)
	}
	return n
}

// nodeRights are those of config/rbac/nodes.yaml.
func nodeRights(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(env.Root(t), "config/rbac/nodes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal([]byte(strings.Split(string(b), "\n---\n")[0]), &role); err != nil || len(role.Rules) != 1 {
		t.Fatalf("%v: %v", role.Rules, err)
	}
	return role.Rules
}

// machine makes a Node, for as long as the test.
func (r *rig) machine(name, podCIDR string, addresses ...string) *corev1.Node {
	r.Helper()
	n := &corev1.Node{Spec: corev1.NodeSpec{PodCIDR: podCIDR, PodCIDRs: []string{podCIDR}}}
	n.Name = r.ns + "-" + name
	if err := r.client.Create(r.ctx(), n); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = r.client.Delete(context.WithoutCancel(r.Context()), n) }) //nolint:errcheck // it may be gone
	for _, a := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	if err := r.client.Status().Update(r.ctx(), n); err != nil {
		r.Fatal(err)
	}
	return n
}

// TestNodesHideClients: what Nodes say goes to the relays that it matters to, from when
// the operator may read them; a Node that has nothing to do with a relay's rules has it
// write nothing, and none makes a new Pod.
func TestNodesHideClients(t *testing.T) {
	r := newRigAlone(t)
	often := func(o *controllers.Options) {
		o.LookEvery, o.SettleNodes, o.FiguresEvery = 50*time.Millisecond, time.Millisecond, time.Hour
	}
	first := r.run(often)
	r.copiersReady()
	r.addressesKnown("Unknown/ClusterNetworksUnknown", "may not list Nodes")
	r.machine("a", "10.1.0.0/24", "10.20.3.5", "2001:db8::5") // a node in the rule's network
	r.bind("nodes", account, nodeRights(t))
	r.hidden("10.20.3.5")
	r.addressesKnown("Unknown/ClusterNetworksUnknown", "in no podCIDR of the Nodes") // those of the rig's Pods are others
	r.machine("b", "10.0.0.0/16", "10.99.0.6")
	r.nudged("copiers", func() string {
		o := r.relay("copiers")
		return conditionDiffers(o, o.Status.Conditions, "ClientAddressesKnown=True/Known", nil)
	})
	template, pod := must[appsv1.Deployment](r, "copiers-0").Generation, r.node.podOf("copiers-0").UID
	r.rests(first, func() { r.nudge("copiers") })

	// Nodes that come, beat and go elsewhere.
	r.quiet(first, func() {
		for i := range 3 {
			seen := r.changes()
			n := r.machine(fmt.Sprint("elsewhere-", i), fmt.Sprintf("10.77.%d.0/24", i), fmt.Sprint("10.99.1.", i))
			r.seesNodes(seen)
			seen = r.changes()
			n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: fmt.Sprint(i)}}
			if err := r.client.Status().Update(r.ctx(), n); err != nil {
				t.Fatal(err)
			}
			if err := r.client.Delete(r.ctx(), n); err != nil {
				t.Fatal(err)
			}
			r.seesNodes(seen)
		}
		r.nudge("copiers")
	})

	// One that comes into the rule's network, and goes.
	c := r.machine("c", "10.78.0.0/24", "::ffff:10.20.3.9")
	r.hidden("10.20.3.5,10.20.3.9")
	first.stop()
	second := r.run(often) // it knows at once
	r.quiet(second, func() { r.nudge("copiers"); r.nudge("copiers") })
	r.hidden("10.20.3.5,10.20.3.9")
	if err := r.client.Delete(r.ctx(), c); err != nil {
		t.Fatal(err)
	}
	r.hidden("10.20.3.5")
	r.rests(second, func() { r.nudge("copiers") })
	if d := must[appsv1.Deployment](r, "copiers-0").Generation; d != template || r.node.podOf("copiers-0").UID != pod {
		t.Error("nodes that came and went changed the Pod")
	}
}

// changes counts how often operators saw the cluster's addresses change.
func (r *rig) changes() int {
	return strings.Count(r.log.String(), "the cluster's own addresses changed")
}

func (r *rig) seesNodes(before int) {
	r.Helper()
	r.eventually("the operator sees that nodes changed", func() string {
		if r.changes() == before {
			return "not yet"
		}
		return ""
	})
}

// nudged waits while the relay is looked at again and again: nothing tells of what is
// waited for.
func (r *rig) nudged(relay string, wrong func() string) {
	r.Helper()
	r.eventually("so when it is looked at", func() string {
		r.annotate(relay, "example.com/nudge", fmt.Sprint(time.Now().UnixNano()))
		return wrong()
	})
}

// TestClusterNetworks: what the command line names takes the place of Nodes.
func TestClusterNetworks(t *testing.T) {
	r := newRig(t)
	r.run(func(o *controllers.Options) { o.ClusterNetworks = []string{"10.20.3.64/26", "10.0.0.0/16", "fd00::/8"} })
	r.copiersReady()
	r.hidden("10.20.3.64/26")
	r.addressesKnown("True/Known")
	err := controllers.Run(r.ctx(), controllers.Options{API: r.server.Config, Log: slog.New(slog.DiscardHandler), Namespace: r.ns, ClusterNetworks: []string{"10.0.0.1"}})
	if err == nil || !strings.Contains(err.Error(), `--cluster-networks "10.0.0.1": want a network`) {
		t.Errorf("%v", err)
	}
}

// TestOpenRelay: an instance that finds itself open is not Ready, and one event says so
// whoever the operator is; another says that it is over.
func TestOpenRelay(t *testing.T) {
	r := newRig(t)
	first := r.run()
	r.copiersReady()
	events := func(reason string) int { return r.count("copiers", reason) }
	r.node.set("copiers-0", func(i *instance) { i.openRelay, i.notReady = []string{"scans"}, true })
	r.condition("copiers", "Ready=False/OpenRelay", "0 of 1", `instance "copiers-0"`, "listener scans", "set spec.intake: Refuse", "report it")
	r.happened("copiers", "Warning OpenRelay: ", `instance "copiers-0" would relay for anybody`, "listener scans")
	r.rests(first, func() { r.nudge("copiers") })
	first.stop()
	second := r.run()
	r.quiet(second, func() { r.nudge("copiers"); r.nudge("copiers") })
	if n := events("Warning OpenRelay"); n != 1 {
		t.Errorf("%d events: %q", n, r.events("copiers"))
	}
	r.node.set("copiers-0", func(i *instance) { i.openRelay, i.notReady = nil, false })
	r.ready("copiers")
	r.happened("copiers", "Normal OpenRelayEnded: ", "no instance would relay for anybody any more")
	if n, m := events("Warning OpenRelay"), events("Normal OpenRelayEnded"); n != 1 || m != 1 {
		t.Errorf("%d and %d events: %q", n, m, r.events("copiers"))
	}
}
