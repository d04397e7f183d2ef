// Package rbac has the tests of what the operator may do, on a real API server
// with what config/ installs: all that controllers/rbac.go says, and nothing else.
package rbac

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/test/apiserver"
	"github.com/printerrelay/printer-relay/test/env"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// The names that everything has where nothing else is said, and a namespace that
// a namespaced operator serves.
const (
	own, account = "printer-relay-system", "printer-relay-operator"
	served       = "copiers"
	elsewhere    = "default"
)

// rights are what an account may do: "verb resource.group[/name]".
type rights map[string]bool

// TestOperator: an operator for one namespace has its rights there alone; that
// for all has them everywhere; neither has any other.
func TestOperator(t *testing.T) {
	s := apiserver.Start(t)
	cfg := s.ServiceAccount(t, own, account)
	nobody := s.ServiceAccount(t, own, "nobody")
	if err := s.Client.Create(apiserver.Context(t), namespaceOf(served)); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	s.CertManager(t) // kubectl asks only for kinds that are there
	relays, here := markers(t)

	t.Run("of one namespace", func(t *testing.T) {
		install(t, s, "resources: [config/default]\ncomponents: [config/namespaced]\n")
		same(t, s, cfg, nobody, served, relays)
		same(t, s, cfg, nobody, own, here)
		same(t, s, cfg, nobody, elsewhere, rights{})
		secrets(t, cfg)
	})
	t.Run("of all namespaces", func(t *testing.T) {
		install(t, s, "resources: [config/default]\n")
		relays := union(relays, rights{"get nodes": true, "list nodes": true, "watch nodes": true}) // config/rbac/nodes.yaml
		same(t, s, cfg, nobody, elsewhere, relays)
		same(t, s, cfg, nobody, served, relays)
		same(t, s, cfg, nobody, own, union(relays, here))
		secrets(t, cfg)
		canI(t, s, cfg, relays, here)
	})
}

// install applies a kustomization beside a copy of config/, as a person would.
func install(t *testing.T, s *apiserver.Server, kustomization string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(env.Root(t), "config"))); err != nil {
		t.Fatal(err)
	}
	env.WriteFile(t, filepath.Join(dir, "kustomization.yaml"), kustomization)
	out, errs, ok := s.Kubectl(t, apiserver.Kubeconfig(t, s.Config), "apply", "--server-side", "--force-conflicts", "--warnings-as-errors", "-k", dir)
	t.Cleanup(func() { unbind(t, s) })
	if !ok {
		t.Fatalf("kubectl apply -k:\n%s%s", out, errs)
	}
}

// unbind takes the rights away again: what is bound to an account adds up.
func unbind(t *testing.T, s *apiserver.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), env.Wait) // the test's own has ended
	defer cancel()
	for _, ns := range []string{"", own, served} {
		var bindings client.Object = &rbacv1.RoleBinding{}
		options := []client.DeleteAllOfOption{client.InNamespace(ns), client.MatchingLabels{"app.kubernetes.io/part-of": "printer-relay"}}
		if ns == "" {
			bindings, options = &rbacv1.ClusterRoleBinding{}, options[1:]
		}
		if err := s.Client.DeleteAllOf(ctx, bindings, options...); err != nil {
			t.Error(err)
		}
	}
}

// same wants the rights that cfg has in a namespace, beyond those of nobody in
// particular, to be want, and those that metrics need.
func same(t *testing.T, s *apiserver.Server, cfg, nobody *rest.Config, ns string, want rights) {
	t.Helper()
	want = union(want, rights{ // --metrics-authentication=TokenReview, in every namespace since they are in none
		"create tokenreviews.authentication.k8s.io":        true,
		"create subjectaccessreviews.authorization.k8s.io": true,
	})
	var got rights
	says := func() string {
		var b strings.Builder
		for _, r := range slices.Sorted(maps.Keys(union(want, got))) {
			if !got[r] {
				fmt.Fprintf(&b, "in %s it cannot %s\n", ns, r)
			} else if !want[r] {
				fmt.Fprintf(&b, "in %s it can %s, which controllers/rbac.go does not say\n", ns, r)
			}
		}
		return b.String()
	}
	env.Eventually(t, "the operator may do what controllers/rbac.go says, and nothing else", says, func() bool {
		got = reviewed(t, cfg, ns)
		for r := range reviewed(t, nobody, ns) {
			delete(got, r)
		}
		return maps.Equal(got, want)
	})
}

// reviewed asks the API server for all that an account may do in a namespace.
func reviewed(t *testing.T, cfg *rest.Config, ns string) rights {
	t.Helper()
	c, err := client.New(cfg, client.Options{Scheme: apiserver.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: ns}}
	if err := c.Create(apiserver.Context(t), review); err != nil {
		t.Fatal(err)
	}
	if review.Status.Incomplete {
		t.Fatalf("the API server does not know all rights: %s", review.Status.EvaluationError)
	}
	out := rights{}
	for _, rule := range review.Status.ResourceRules {
		out.add(rule.APIGroups, rule.Resources, rule.ResourceNames, rule.Verbs)
	}
	for _, rule := range review.Status.NonResourceRules {
		out.add([]string{""}, rule.NonResourceURLs, nil, rule.Verbs)
	}
	return out
}

func (r rights) add(groups, resources, names, verbs []string) {
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range groups {
		for _, resource := range resources {
			for _, name := range names {
				for _, verb := range verbs {
					r[right(verb, resource, group, name)] = true
				}
			}
		}
	}
}

// right is one in words; a name stands behind a #, since a resource may have a /.
func right(verb, resource, group, name string) string {
	out := verb + " " + resource
	if group != "" {
		out += "." + group
	}
	if name != "" {
		out += " #" + name
	}
	return out
}

func union(a, b rights) rights {
	out := maps.Clone(a)
	if out == nil {
		out = rights{}
	}
	maps.Copy(out, b)
	return out
}

var marker = regexp.MustCompile(`(?m)^// \+kubebuilder:rbac:(.+)$`)

// markers gives what controllers/rbac.go says: where relays are, and in the
// operator's own namespace.
func markers(t *testing.T) (relays, here rights) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(env.Root(t), "controllers/rbac.go"))
	if err != nil {
		t.Fatal(err)
	}
	relays, here = rights{}, rights{}
	for _, m := range marker.FindAllStringSubmatch(string(b), -1) {
		words := map[string][]string{}
		for word := range strings.SplitSeq(m[1], ",") {
			key, value, _ := strings.Cut(word, "=")
			words[key] = strings.Split(strings.ReplaceAll(value, `"`, ""), ";")
		}
		into := relays
		if words["namespace"] != nil {
			into = here
		}
		into.add(words["groups"], words["resources"], words["resourceNames"], words["verbs"])
	}
	if len(relays) < 40 || len(here) < 8 {
		t.Fatalf("%d and %d rights: the markers are not read as they should be", len(relays), len(here))
	}
	return relays, here
}

// secrets: what the API server says to the operator itself when it asks.
func secrets(t *testing.T, cfg *rest.Config) {
	t.Helper()
	c, err := client.New(cfg, client.Options{Scheme: apiserver.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	ctx := apiserver.Context(t)
	for _, ns := range []string{own, served, elsewhere} {
		secret := &corev1.Secret{}
		secret.Name, secret.Namespace = "a", ns
		for verb, err := range map[string]error{
			"get":              c.Get(ctx, client.ObjectKeyFromObject(secret), &corev1.Secret{}),
			"list":             c.List(ctx, &corev1.SecretList{}, client.InNamespace(ns)),
			"list everywhere":  c.List(ctx, &corev1.SecretList{}),
			"create":           c.Create(ctx, secret.DeepCopy()),
			"patch":            c.Patch(ctx, secret.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte("{}"))),
			"delete":           c.Delete(ctx, secret.DeepCopy()),
			"deletecollection": c.DeleteAllOf(ctx, secret.DeepCopy(), client.InNamespace(ns)),
		} {
			if !apierrors.IsForbidden(err) {
				t.Errorf("%s Secrets in %s: %v", verb, ns, err)
			}
		}
	}
}
