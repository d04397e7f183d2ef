package rbac

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/printerrelay/printer-relay/test/apiserver"
)

func namespaceOf(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// everywhere stands for `kubectl --all-namespaces`.
const everywhere = "*"

// forbidden are verbs, resources as `kubectl auth can-i` has them, and
// namespaces; what would give away a Secret, or more rights than the operator has.
var forbidden = []struct{ verbs, resources, namespaces string }{
	{"get list watch create update patch delete deletecollection", "secrets", "* " + own + " " + served + " " + elsewhere},
	{"create update delete deletecollection", "pods", "* " + own + " " + served},
	{"get create", "pods/exec pods/attach pods/portforward pods/proxy services/proxy", "* " + own + " " + served},
	{"get", "pods/log", "* " + own + " " + served},
	{"update patch", "pods/ephemeralcontainers", "* " + own + " " + served},
	{"bind escalate", "clusterroles.rbac.authorization.k8s.io roles.rbac.authorization.k8s.io", "* " + own + " " + served},
	{"create update patch delete", "clusterroles.rbac.authorization.k8s.io roles.rbac.authorization.k8s.io clusterrolebindings.rbac.authorization.k8s.io rolebindings.rbac.authorization.k8s.io", "* " + own + " " + served},
	{"create", "serviceaccounts/token", "* " + own + " " + served}, // of any that it names
	{"create", "serviceaccounts/default#token", own + " " + served},
	{"create", "serviceaccounts/" + account + "#token", served + " " + elsewhere},
	{"impersonate", "users groups serviceaccounts", "* " + own},
	{"get create", "nodes/proxy", "*"},
	{"create update patch delete", "nodes", "*"},
	{"create approve", "certificatesigningrequests.certificates.k8s.io", "*"},
	{"create patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io customresourcedefinitions.apiextensions.k8s.io namespaces", "*"},
	{"create update delete deletecollection", "printerrelays.printerrelay.dev", "* " + served},
	{"create update patch delete deletecollection", "mailupstreams.printerrelay.dev senderpolicies.printerrelay.dev", "* " + served},
	{"*", "*", "* " + own + " " + served},
}

// question is one that kubectl is asked, and the answer.
type question struct {
	args []string
	want string
}

// canI asks `kubectl auth can-i` for each thing that the operator must not and
// may do.
func canI(t *testing.T, s *apiserver.Server, cfg *rest.Config, relays, here rights) {
	t.Helper()
	var questions []question
	for _, f := range forbidden {
		for _, verb := range strings.Fields(f.verbs) {
			for _, resource := range strings.Fields(f.resources) {
				for _, ns := range strings.Fields(f.namespaces) {
					questions = append(questions, question{arguments(verb, resource, ns), "no"})
				}
			}
		}
	}
	for _, r := range slices.Sorted(maps.Keys(relays)) {
		questions = append(questions, question{asked(r, everywhere), "yes"})
	}
	for _, r := range slices.Sorted(maps.Keys(here)) {
		questions = append(questions, question{asked(r, own), "yes"})
	}
	kubeconfig := apiserver.Kubeconfig(t, cfg)
	var g errgroup.Group
	g.SetLimit(4)
	for _, q := range questions {
		g.Go(func() error {
			out, errs, ok := s.Kubectl(t, kubeconfig, append([]string{"auth", "can-i"}, q.args...)...)
			if answer, _, _ := strings.Cut(strings.TrimSpace(out), " "); answer != q.want || ok != (q.want == "yes") {
				t.Errorf("kubectl auth can-i %s: %q %s, want %s", strings.Join(q.args, " "), out, errs, q.want)
			}
			return nil
		})
	}
	_ = g.Wait() //nolint:errcheck // each says its own
	if len(questions) < 200 {
		t.Errorf("%d questions only", len(questions))
	}
}

// asked gives the arguments of a right in words.
func asked(r, ns string) []string {
	r, name, named := strings.Cut(r, " #")
	verb, resource, _ := strings.Cut(r, " ")
	if resource, sub, ok := strings.Cut(resource, "/"); ok && named {
		return arguments(verb, resource+"/"+name+"#"+sub, ns)
	}
	if resource, rest, ok := strings.Cut(resource, "/"); ok { // printerrelays/status.printerrelay.dev
		sub, group, _ := strings.Cut(rest, ".")
		return arguments(verb, strings.TrimSuffix(resource+"."+group, ".")+"/"+sub, ns)
	}
	return arguments(verb, resource, ns)
}

// arguments are those of can-i: pods/exec is a subresource,
// serviceaccounts/NAME#token one of an object by name.
func arguments(verb, resource, ns string) []string {
	resource, sub, named := strings.Cut(resource, "#")
	if !named {
		resource, sub, _ = strings.Cut(resource, "/")
	}
	args := []string{verb, resource}
	if sub != "" {
		args = append(args, fmt.Sprint("--subresource=", sub))
	}
	if ns == everywhere {
		return append(args, "--all-namespaces")
	}
	return append(args, "--namespace", ns)
}
