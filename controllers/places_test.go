package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// most counts how many do something at once.
type most struct{ now, most atomic.Int32 }

func (m *most) during(do func()) {
	n := m.now.Add(1)
	defer m.now.Add(-1)
	for was := m.most.Load(); n > was && !m.most.CompareAndSwap(was, n); was = m.most.Load() {
	}
	do()
}

// slow answers questions about objects after a second: there are none.
type slow struct {
	client.Client
	asked most
}

func (s *slow) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	s.asked.during(func() { time.Sleep(time.Second) })
	return apierrors.NewNotFound(schema.GroupResource{}, "none")
}

// silent are instances that say nothing until their time is out.
type silent struct{ asked most }

func (s *silent) Report(context.Context, types.NamespacedName, string) (*status.Report, error) {
	s.asked.during(func() { time.Sleep(3 * time.Second) })
	return nil, errors.New("its admin port does not answer")
}

// TestWorkIsBounded: however many relays are looked at, eight looks at a time ask the API
// server for something.
func TestWorkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		r := &relays{client: s, work: make(places, concurrency), sightings: &sightings{}, forgotten: func(types.NamespacedName) {}}
		var wg sync.WaitGroup
		for n := range looksAtOnce {
			wg.Go(func() {
				key := types.NamespacedName{Namespace: "office", Name: fmt.Sprint(n)}
				if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := s.asked.most.Load(); got != concurrency {
			t.Errorf("%d looks work at once, want %d", got, concurrency)
		}
		if n := len(r.work); n > 0 {
			t.Errorf("%d places are taken still", n)
		}
	})
}

// TestSilenceKeepsNobody: looks that wait for instances have no place, and take one
// again afterwards; one whose time is out meanwhile ends without.
func TestSilenceKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silent{}
		r := &relays{instances: s, work: make(places, concurrency)}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range looksAtOnce {
			wg.Go(func() {
				p := onePod(r)
				if err := p.enterWork(ctx); err != nil {
					t.Error(err)
				}
				if err := p.ask(ctx); err != nil || p.there.silent[0] == "" || !p.working {
					t.Errorf("%v, %q, it works: %t", err, p.there.silent[0], p.working)
				}
				p.leaveWork()
			})
		}
		wg.Wait()
		if got := s.asked.most.Load(); got != looksAtOnce {
			t.Errorf("%d instances are waited for at once, want %d", got, looksAtOnce)
		}
		late := onePod(r)
		if err := late.enterWork(ctx); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			time.Sleep(time.Second)
			for range concurrency {
				r.work <- struct{}{} // others work
			}
			cancel()
		})
		if err := late.ask(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("whose time is out: %v", err)
		}
		late.leaveWork()
		wg.Wait()
		if n := len(r.work); n != concurrency {
			t.Errorf("it gave up another's place: %d are taken", n)
		}
	})
}

// onePod is a look at a relay with an instance that runs.
func onePod(r *relays) *pass {
	running := corev1.ContainerStatus{Name: render.ContainerName, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}
	return &pass{relays: r, relay: &v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Namespace: "office", Name: "a"}}, there: there{
		deployments: map[int]*appsv1.Deployment{0: {}}, reports: map[int]*status.Report{}, silent: map[int]string{},
		pods: map[int]*corev1.Pod{0: {Status: corev1.PodStatus{PodIP: "10.0.0.1", ContainerStatuses: []corev1.ContainerStatus{running}}}},
	}}
}

// TestAgain: what changed just now is looked at soon, and nothing so seldom that a
// refused credential were in the status later than in a minute (preflight.md).
func TestAgain(t *testing.T) {
	ready, programmed := v1alpha1.ConditionReady, v1alpha1.ConditionProgrammed
	for name, c := range map[string]struct {
		condition string
		is        metav1.ConditionStatus
		since     time.Duration
		unwell    bool // an upstream takes no mail
		empty     bool // there is no Pod
		failures  int
		want      time.Duration
	}{
		"all is well":                       {condition: ready, is: "True", since: time.Hour, want: 30 * time.Second},
		"an upstream takes no mail":         {condition: ready, is: "True", since: time.Hour, unwell: true, want: 15 * time.Second},
		"not ready for a moment":            {condition: ready, is: "False", want: time.Second},
		"not ready for forty seconds":       {condition: ready, is: "Unknown", since: 40 * time.Second, want: 10 * time.Second},
		"not ready for a day":               {condition: ready, is: "False", since: 24 * time.Hour, want: 30 * time.Second},
		"not programmed for twenty seconds": {condition: programmed, is: "False", since: 20 * time.Second, want: 5 * time.Second},
		"no Pod to ask":                     {condition: ready, is: "False", since: time.Hour, empty: true, want: 0},
		"no Pod, and something in the way":  {condition: ready, is: "False", since: time.Hour, empty: true, failures: 1, want: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := onePod(&relays{sightings: &sightings{}})
				p.failures = make([]status.Failure, c.failures)
				if c.empty {
					p.there.pods = nil
				}
				if c.unwell {
					p.sightings.put(p.key(), sighting{unwell: map[string]string{"u": "refused"}})
				}
				said := metav1.Condition{Type: c.condition, Status: c.is, LastTransitionTime: metav1.NewTime(time.Now().Add(-c.since))}
				if got := p.again(v1alpha1.PrinterRelayStatus{Conditions: []metav1.Condition{said}}); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		})
	}
}
