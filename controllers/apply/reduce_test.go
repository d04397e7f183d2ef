package apply

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	networkingac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const manager = "printer-relay"

// owned gives an object the managed fields of a manager.
func owned[P client.Object](o P, apiVersion, manager, fields string) P {
	o.SetNamespace("ns")
	o.SetName("a")
	o.SetManagedFields(append(o.GetManagedFields(), metav1.ManagedFieldsEntry{
		Manager: manager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: apiVersion, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(fields),
	}))
	return o
}

// reduced are objects of all kinds, as the API server gives them, and what the
// manager wants of them.
var reduced = map[string]struct {
	is   func() client.Object
	want runtime.ApplyConfiguration
}{
	"ServiceAccount": {
		func() client.Object {
			no := false
			return owned(&corev1.ServiceAccount{AutomountServiceAccountToken: &no}, "v1", manager, `{"f:automountServiceAccountToken":{}}`)
		},
		coreac.ServiceAccount("a", "ns").WithAutomountServiceAccountToken(false),
	},
	"ConfigMap": {
		func() client.Object {
			return owned(&corev1.ConfigMap{Data: map[string]string{"k": "v", "theirs": "w"}}, "v1", manager, `{"f:data":{"f:k":{}}}`)
		},
		coreac.ConfigMap("a", "ns").WithData(map[string]string{"k": "v"}),
	},
	"Service": {
		func() client.Object {
			return owned(&corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.0.0.1"}}, "v1", manager, `{"f:spec":{"f:type":{}}}`)
		},
		coreac.Service("a", "ns").WithSpec(coreac.ServiceSpec().WithType(corev1.ServiceTypeClusterIP)),
	},
	"PersistentVolumeClaim": {
		func() client.Object {
			return owned(&corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "x"}}, "v1", manager, `{"f:spec":{"f:volumeName":{}}}`)
		},
		coreac.PersistentVolumeClaim("a", "ns").WithSpec(coreac.PersistentVolumeClaimSpec().WithVolumeName("x")),
	},
	"Deployment": {
		func() client.Object {
			return owned(&appsv1.Deployment{Spec: appsv1.DeploymentSpec{MinReadySeconds: 3, Paused: true}}, "apps/v1", manager, `{"f:spec":{"f:minReadySeconds":{}}}`)
		},
		appsac.Deployment("a", "ns").WithSpec(appsac.DeploymentSpec().WithMinReadySeconds(3)),
	},
	"NetworkPolicy": {
		func() client.Object {
			return owned(&networkingv1.NetworkPolicy{Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress"}}}, "networking.k8s.io/v1", manager, `{"f:spec":{"f:policyTypes":{}}}`)
		},
		networkingac.NetworkPolicy("a", "ns").WithSpec(networkingac.NetworkPolicySpec().WithPolicyTypes("Ingress")),
	},
	"PodDisruptionBudget": {
		func() client.Object {
			always := policyv1.AlwaysAllow
			return owned(&policyv1.PodDisruptionBudget{Spec: policyv1.PodDisruptionBudgetSpec{UnhealthyPodEvictionPolicy: &always}}, "policy/v1", manager, `{"f:spec":{"f:unhealthyPodEvictionPolicy":{}}}`)
		},
		policyac.PodDisruptionBudget("a", "ns").WithSpec(policyac.PodDisruptionBudgetSpec().WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow)),
	},
}

// TestReduce: an object of the cache is small, and tells the same about what is
// wanted of it as the whole one: that it is so, that a field is another's, and
// that a value differs.
func TestReduce(t *testing.T) {
	for name, c := range reduced {
		t.Run(name, func(t *testing.T) {
			k, err := kindOf(c.want)
			if err != nil {
				t.Fatal(err)
			}
			same := func(o client.Object) bool {
				t.Helper()
				s, err := k.same(o, manager)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			whole, small, theirs := c.is(), c.is(), c.is()
			theirs.GetManagedFields()[0].Manager = "kubectl"
			Reduce(small, manager)
			Reduce(small, manager) // the cache may give it again
			Reduce(theirs, manager)
			if !same(whole) || !same(small) || same(theirs) {
				t.Errorf("the same: whole %t, reduced %t, another's %t", same(whole), same(small), same(theirs))
			}
			if len(small.GetManagedFields()) > 0 {
				t.Error("managed fields are kept")
			}
			k.want = map[string]any{"other": true}
			if same(small) {
				t.Error("what differs is the same")
			}
		})
	}
}

// TestReduced: what is large is dropped, and what is read stays.
func TestReduced(t *testing.T) {
	m := reduced["ConfigMap"].is().(*corev1.ConfigMap)
	m.Annotations = map[string]string{"a": "b"}
	Reduce(m, manager)
	if m.Data != nil || m.Annotations["a"] != "b" {
		t.Errorf("%v", m)
	}
	d := reduced["Deployment"].is().(*appsv1.Deployment)
	d.Status.ReadyReplicas, d.Generation = 1, 2
	Reduce(d, manager)
	if d.Spec.Paused || d.Status.ReadyReplicas != 1 || d.Generation != 2 {
		t.Errorf("%v", d)
	}
	s := reduced["Service"].is().(*corev1.Service)
	if Reduce(s, manager); s.Spec.ClusterIP == "" {
		t.Error("the address of a Service is gone")
	}
}

// TestReduceBroken: an object whose managed fields cannot be read stays whole,
// and the comparison says why.
func TestReduceBroken(t *testing.T) {
	m := owned(&corev1.ConfigMap{Data: map[string]string{"k": "v"}}, "v1", manager, `{"nonsense":{}}`)
	before, err := json.Marshal(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	Reduce(m, manager)
	after, err := json.Marshal(m.Data)
	if err != nil || string(before) != string(after) || len(m.ManagedFields) == 0 {
		t.Errorf("%s, %v, %v", after, m.ManagedFields, err)
	}
	k, err := kindOf(coreac.ConfigMap("a", "ns"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.same(m, manager); err == nil {
		t.Error("no error")
	}
}
