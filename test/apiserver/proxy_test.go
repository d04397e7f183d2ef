package apiserver

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/test/env"
)

// TestProxy: who comes through it is who they are, what they write is counted,
// and a watch tells at once.
func TestProxy(t *testing.T) {
	s := Start(t)
	ns, ctx := s.Namespace(t), Context(t)
	cfg, writes := s.Proxy(t, s.ServiceAccount(t, ns, "sa"))
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: Scheme})
	if err != nil {
		t.Fatal(err)
	}
	configMap := func() *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "a"}}
	}
	if err := c.Create(ctx, configMap()); !apierrors.IsForbidden(err) {
		t.Fatalf("without a right: %v", err)
	}
	meta := metav1.ObjectMeta{Namespace: ns, Name: "sa"}
	for _, o := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "sa"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "sa"}},
		},
	} {
		if err := s.Client.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	env.Eventually(t, "the right is known", func() string { return "" }, func() bool {
		return c.List(ctx, &corev1.ConfigMapList{}, client.InNamespace(ns)) == nil
	})
	w, err := c.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace(ns))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	writes.Reset()
	if err := c.Create(ctx, configMap()); err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Type != "ADDED" { // the watch ends with ctx
		t.Errorf("the watch tells %v", e)
	}
	if got := writes.Count(); len(got) != 1 || got["create configmaps"] != 1 {
		t.Errorf("writes: %s", writes)
	}
}
