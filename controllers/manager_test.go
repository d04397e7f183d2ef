package controllers

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// TestStrip: of what the cache holds, everything that can be large and that no
// reconciler reads is gone; when the status was written stays.
func TestStrip(t *testing.T) {
	wrote := metav1.NewTime(time.Unix(1000, 0))
	fields := func() *metav1.FieldsV1 { return metav1.NewFieldsV1(`{"f:spec":{}}`) }
	r := &v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{
		Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "{}", v1alpha1.AnnotationAbandonQueue: "true"},
		ManagedFields: []metav1.ManagedFieldsEntry{
			{Manager: "kubectl", FieldsV1: fields()},
			{Manager: fieldManager, Subresource: "status", Time: &wrote, FieldsV1: fields()},
			{Manager: "other", FieldsV1: fields()},
		},
	}}
	all := r.ManagedFields
	if out, err := strip(r); err != nil || out != any(r) {
		t.Fatal(out, err)
	}
	if len(r.ManagedFields) != 1 || r.ManagedFields[0].FieldsV1 != nil || !status.LastWrite(r, fieldManager).Equal(wrote.Time) {
		t.Errorf("managed fields %v", r.ManagedFields)
	}
	if &all[0] == &r.ManagedFields[0] {
		t.Error("the slice that is kept is a part of the old one: others' fields stay in memory with it")
	}
	if len(r.Annotations) != 1 || r.Annotations[v1alpha1.AnnotationAbandonQueue] != "true" {
		t.Errorf("annotations %v", r.Annotations)
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"a": "b"}, ManagedFields: r.ManagedFields},
		Spec:       corev1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24", "fd00:1::/64"}, ProviderID: "x"},
		Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{SizeBytes: 1}}, Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeHostName, Address: "192.0.2.99"},
			{Type: corev1.NodeInternalIP, Address: "10.0.0.4"},
			{Type: corev1.NodeInternalIP, Address: "::ffff:10.0.0.5"},
			{Type: corev1.NodeExternalIP, Address: "203.0.113.4"},
			{Type: corev1.NodeInternalIP, Address: "2001:db8::4"},
			{Type: corev1.NodeInternalDNS, Address: "a.internal"},
			{Type: corev1.NodeInternalIP, Address: "nonsense"},
		}},
	}
	if _, err := strip(node); err != nil || node.Labels != nil || node.ManagedFields != nil || node.Spec.ProviderID != "" || node.Status.Images != nil {
		t.Errorf("%+v, %v", node, err)
	}
	if got := fmt.Sprint(networksOf(node)); got != "[10.0.0.4/31 10.244.1.0/24 203.0.113.4/32 2001:db8::4/128 fd00:1::/64]" {
		t.Errorf("a node's networks are %s", got)
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "a"}, Status: corev1.PodStatus{PodIP: "10.0.0.1"}}
	if _, err := strip(pod); err != nil || pod.Spec.NodeName != "" || pod.Status.PodIP == "" {
		t.Errorf("%v, %v", pod, err)
	}
}
