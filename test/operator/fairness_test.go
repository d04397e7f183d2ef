package operator

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestFairness: API priority and fairness leaves the operator no seat. It goes on
// when it has some.
func TestFairness(t *testing.T) {
	r := newRig(t)
	op, f := r.runFaulty()
	r.copiersReady("replicas: 2")
	heal := []func(){r.make(fmt.Sprintf(`
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: {name: %s}
spec: {type: Limited, limited: {nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: {type: Reject}}}
`, r.ns)), r.make(fmt.Sprintf(`
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: {name: %[1]s}
spec:
  priorityLevelConfiguration: {name: %[1]s}
  matchingPrecedence: 2
  rules:
  - subjects: [{kind: ServiceAccount, serviceAccount: {name: %[2]s, namespace: %[1]s}}]
    resourceRules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"], clusterScope: true}]
`, r.ns, account))}
	level := &flowcontrolv1.PriorityLevelConfiguration{}
	if err := r.client.Get(r.ctx(), client.ObjectKey{Name: r.ns}, level); err != nil {
		t.Fatal(err)
	}
	who := r.asOperator()
	// It takes both up in its own time: what the operator does before is not refused.
	r.eventually("the operator's requests are of that level", func() string {
		if got := who.levelOf(r); got != string(level.UID) {
			return got
		}
		return ""
	})
	heal = append(heal, who.occupy(r))
	r.eventually("the API server has no seat for the operator", func() string {
		if err := who.ask(r); !apierrors.IsTooManyRequests(err) {
			return fmt.Sprint("it says: ", err)
		}
		return ""
	})
	f.cut()
	before := r.meanwhile()
	r.eventually("the API server has refused for too many requests", func() string {
		if n := f.answered(http.StatusTooManyRequests); n < 10 {
			return fmt.Sprint(n)
		}
		return ""
	})
	for _, do := range slices.Backward(heal) {
		do()
	}
	r.caughtUp(before)
	r.rests(op, func() { r.nudge("copiers") })
}

// subject makes requests in the name of the operator, each once.
type subject struct {
	api kubernetes.Interface
	mu  sync.Mutex
	of  string // the level of priority of the last
}

func (r *rig) asOperator() *subject {
	r.Helper()
	s := &subject{}
	cfg := rest.CopyConfig(r.server.Config)
	cfg.Impersonate.UserName = "system:serviceaccount:" + r.ns + ":" + account
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return levels{next, s} })
	var err error
	if s.api, err = kubernetes.NewForConfig(cfg); err != nil {
		r.Fatal(err)
	}
	return s
}

// levels notes of which level of priority a request was.
type levels struct {
	next http.RoundTripper
	of   *subject
}

// RoundTrip implements http.RoundTripper.
func (l levels) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		l.of.mu.Lock()
		defer l.of.mu.Unlock()
		l.of.of = resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID)
	}
	return resp, err
}

// ask asks for something, and gives what the API server has against it.
func (s *subject) ask(r *rig) error {
	return s.api.CoreV1().RESTClient().Get().Namespace(r.ns).Resource("configmaps").MaxRetries(0).Do(r.ctx()).Error()
}

// levelOf is the level of priority that a request of the operator's is of.
func (s *subject) levelOf(r *rig) string {
	r.Helper()
	if err := s.ask(r); err != nil && !apierrors.IsTooManyRequests(err) {
		return err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of
}

// occupy has one request of the operator's executed for as long as it is not freed, by a
// webhook that does not answer: in a level without seats one request at a time is served
// all the same, as long as there is no other.
func (s *subject) occupy(r *rig) (free func()) {
	r.Helper()
	held := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(r.ctx())
	url, bundle, _ := r.reviews(func(req context.Context) *admissionv1.AdmissionResponse {
		select {
		case held <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
		case <-req.Done(): // the API server's patience ends after half a minute: it is asked again
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	remove := r.make(fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %[1]s}
webhooks:
- name: hold.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  timeoutSeconds: 30
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  objectSelector: {matchLabels: {example.com/hold: "yes"}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  clientConfig: {url: "%[2]s/hold", caBundle: %[3]s}
`, r.ns, url, bundle))
	var wg sync.WaitGroup
	wg.Go(func() {
		hold := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "hold", Labels: map[string]string{"example.com/hold": "yes"}}}
		for ctx.Err() == nil {
			_, _ = s.api.CoreV1().ConfigMaps(r.ns).Create(ctx, hold, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}) //nolint:errcheck // it is made again
		}
	})
	free = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		remove()
	})
	r.Cleanup(free)
	r.eventually("a request is executed and goes on", func() string {
		if len(held) == 0 {
			return "not yet"
		}
		return ""
	})
	return free
}
