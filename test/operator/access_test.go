package operator

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/env"
)

// account is the operator's ServiceAccount.
const account = "printer-relay-operator"

// rights are what config/rbac grants: for all that it watches, and in its own
// namespace.
func rights(t testing.TB) (watched, own []rbacv1.PolicyRule) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(env.Root(t), "config/rbac/role.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range strings.Split(string(text), "\n---\n") {
		var role rbacv1.Role // a ClusterRole has the same fields
		if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
			t.Fatal(err)
		}
		if role.Kind == "ClusterRole" {
			watched = append(watched, role.Rules...)
		} else {
			own = append(own, role.Rules...)
		}
	}
	if len(watched) == 0 || len(own) == 0 {
		t.Fatal("config/rbac/role.yaml holds no ClusterRole or no Role")
	}
	return watched, own
}

// namespaced gives the operator's ServiceAccount what config/rbac grants, as
// Roles in the rig's namespace, and nothing else.
func (r *rig) namespaced() *rest.Config {
	r.Helper()
	watched, own := rights(r)
	r.role(r.ns, "watched", watched)
	r.role(r.home, "own", own)
	cfg := r.server.ServiceAccount(r, r.home, account)
	r.effective(cfg, r.ns, watched)
	r.effective(cfg, r.home, own)
	return cfg
}

// role grants rules in a namespace to the operator of the rig.
func (r *rig) role(namespace, name string, rules []rbacv1.PolicyRule) {
	r.Helper()
	role := &rbacv1.Role{Rules: rules}
	role.Namespace, role.Name = namespace, name
	binding := &rbacv1.RoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: r.home, Name: account}},
	}
	binding.Namespace, binding.Name = namespace, name
	for _, o := range []client.Object{role, binding} {
		if err := r.client.Create(r.ctx(), o); client.IgnoreAlreadyExists(err) != nil {
			r.Fatal(err)
		}
	}
}

// effective waits until the API server's authorizer knows all rules.
func (r *rig) effective(cfg *rest.Config, namespace string, rules []rbacv1.PolicyRule) {
	r.Helper()
	c, err := client.New(cfg, client.Options{Scheme: apiserver.Scheme})
	if err != nil {
		r.Fatal(err)
	}
	last := rules[len(rules)-1]
	r.eventually("the operator may "+last.String(), func() string { return may(r.ctx(), c, namespace, last) })
}

func may(ctx context.Context, c client.Client, namespace string, rule rbacv1.PolicyRule) string {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: rule.Verbs[0], Group: rule.APIGroups[0], Resource: rule.Resources[0]},
	}}
	if len(rule.ResourceNames) > 0 {
		review.Spec.ResourceAttributes.Name = rule.ResourceNames[0]
	}
	resource, sub, _ := strings.Cut(rule.Resources[0], "/")
	review.Spec.ResourceAttributes.Resource, review.Spec.ResourceAttributes.Subresource = resource, sub
	if err := c.Create(ctx, review); err != nil {
		return err.Error()
	}
	if !review.Status.Allowed {
		return "not yet: " + review.Status.Reason
	}
	return ""
}
