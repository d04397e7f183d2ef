package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/instances"
	"github.com/printerrelay/printer-relay/controllers/render"
)

// failing is a cluster of which nothing can be read. It keeps when each kind was tried.
type failing struct {
	client.Client
	mu    sync.Mutex
	tried map[string][]time.Time
}

// Get implements client.Reader.
func (f *failing) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := reflect.TypeOf(o).Elem().Name()
	f.tried[kind] = append(f.tried[kind], time.Now())
	return errors.New("etcdserver: request timed out")
}

// List implements client.Reader: nobody names anything.
func (f *failing) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// sharedInformers are fake ones that several controllers may ask for at once.
type sharedInformers struct {
	*informertest.FakeInformers
	mu sync.Mutex
}

// GetInformer implements cache.Informers.
func (s *sharedInformers) GetInformer(ctx context.Context, o client.Object, opts ...cache.InformerGetOption) (cache.Informer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.FakeInformers.GetInformer(ctx, o, opts...)
	if err != nil {
		return nil, err
	}
	return &sharedInformer{i.(*controllertest.FakeInformer), &s.mu}, nil
}

// add tells all who asked for it of an object.
func (s *sharedInformers) add(ctx context.Context, o client.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.FakeInformerFor(ctx, o)
	if err == nil {
		i.Add(o)
	}
	return err
}

type sharedInformer struct {
	*controllertest.FakeInformer
	mu *sync.Mutex
}

// AddEventHandlerWithOptions implements cache.Informer.
func (i *sharedInformer) AddEventHandlerWithOptions(h toolscache.ResourceEventHandler, o toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.FakeInformer.AddEventHandlerWithOptions(h, o)
}

// TestEachBacksOff: whichever of the three kinds it is, what fails for hours is tried
// again within half a minute of its mending, and no more often than that.
func TestEachBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Log: slog.New(slog.DiscardHandler), Namespace: "operator", ServiceAccount: "operator"}
		f := &failing{tried: map[string][]time.Time{}}
		informers := &sharedInformers{FakeInformers: &informertest.FakeInformers{Scheme: scheme()}}
		mgr := fakeManager(t, &o, informers, f)
		around := &surroundings{}
		around.now.Store(&render.Settings{})
		s := &setup{Options: o, mgr: mgr, around: around, nodes: &nodes{}, tokens: &instances.ServiceAccountTokens{}}
		if err := s.reconcilers(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- mgr.Start(ctx) }()
		time.Sleep(time.Minute) // the sources are there
		begun := time.Now()
		at := metav1.ObjectMeta{Namespace: "office", Name: "a"}
		relay := &v1alpha1.PrinterRelay{ObjectMeta: at}
		relay.Spec.UpstreamRef.Name = "a"
		for _, object := range []client.Object{relay, &v1alpha1.MailUpstream{ObjectMeta: at}, &v1alpha1.SenderPolicy{ObjectMeta: at}} {
			if err := informers.add(ctx, object); err != nil {
				t.Fatal(err)
			}
		}
		const hours = 3
		time.Sleep(hours * time.Hour)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, kind := range []string{"PrinterRelay", "MailUpstream", "SenderPolicy"} {
			if bad := everyHalfMinute(f.tried[kind], begun, hours*time.Hour); bad != "" {
				t.Errorf("%s: %s", kind, bad)
			}
		}
	})
}

// everyHalfMinute says what is wrong with when something was tried.
func everyHalfMinute(tried []time.Time, begun time.Time, took time.Duration) string {
	const most = 30 * time.Second
	last := begun
	for n, at := range tried {
		if wait := at.Sub(last); wait > most {
			return fmt.Sprintf("try %d is %s after the one before", n+1, wait)
		}
		last = at
	}
	// A dozen comes before the time has grown to that.
	if n := len(tried); n == 0 || n > int(took/most)+20 {
		return fmt.Sprintf("it was tried %d times in %s", n, took)
	}
	return ""
}

// fakeManager has its cache and client replaced.
func fakeManager(t *testing.T, o *Options, c cache.Cache, to client.Client) ctrl.Manager {
	t.Helper()
	m := o.manager(logr.Discard())
	m.NewCache = func(*rest.Config, cache.Options) (cache.Cache, error) { return c, nil }
	m.NewClient = func(*rest.Config, client.Options) (client.Client, error) { return to, nil }
	m.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
		mapper := meta.NewDefaultRESTMapper(nil)
		mapper.Add(v1alpha1.GroupVersion.WithKind("PrinterRelay"), meta.RESTScopeNamespace)
		return mapper, nil
	}
	mgr, err := ctrl.NewManager(&rest.Config{Host: "127.0.0.1:1"}, m)
	if err != nil {
		t.Fatal(err)
	}
	return mgr
}
