package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/apply"
	"github.com/printerrelay/printer-relay/controllers/instances"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// Authentication of the operator's metrics.
const (
	MetricsTokenReview = "TokenReview" // the API server says who the bearer is, and whether they may
	MetricsNone        = "None"
)

// leaseName is of the lease that the acting operator holds.
const leaseName = "printer-relay-operator"

// figuresEvery: what is queued changes with every scan, and nobody reads a status
// that often.
const figuresEvery = 30 * time.Second

// copiersEvery is how often the copiers of a status change it on their own account,
// where none is new and none behaves otherwise: every scan changes them.
const copiersEvery = 10 * time.Minute

// Options are what the operator's command line says (docs/operator.md).
type Options struct {
	Image             string // of the relays
	ImagePullPolicy   string
	Namespace         string // the operator's own
	ServiceAccount    string // the operator's own
	WatchNamespaces   []string
	MetricsNamespaces []string
	ClusterDomain     string
	LeaderElect       bool
	Metrics           string   // address; empty: none
	MetricsAuth       string   // MetricsTokenReview or MetricsNone
	Probes            string   // address; empty: none
	Pprof             string   // address of Go's profiles; empty: none
	CheckDNS          bool     // ask DNS about sender domains
	ClusterNetworks   []string // of nodes and Pods, besides what Nodes say
	Console           ConsoleOptions
	Log               *slog.Logger

	// LookEvery is how often the issuer's keys are read, and cert-manager is looked
	// for; 0: lookEvery.
	LookEvery time.Duration
	// SettleNodes is how long nodes may go on changing before that counts; 0:
	// settleNodes.
	SettleNodes time.Duration
	// FiguresEvery is how often a status is written for its figures alone; 0:
	// figuresEvery.
	FiguresEvery time.Duration
	// API is the API server; nil: that of the Pod, or of $KUBECONFIG.
	API *rest.Config
	// Instances is asked how instances stand; nil: their admin ports.
	Instances Instances
	// Resolver is asked about sender domains; nil: with CheckDNS the Pod's.
	Resolver senderdns.Resolver
	// DNSEvery is how often; 0: dnsSoon and dnsSeldom.
	DNSEvery time.Duration
}

// LogTo has what the libraries say of themselves logged too. It is for the whole
// process: call it once, before Run.
func LogTo(log *slog.Logger) {
	l := logr.FromSlogHandler(log.Handler())
	ctrl.SetLogger(l)
	klog.SetLogger(l)
}

// Run runs the operator until ctx ends.
func Run(ctx context.Context, o Options) error {
	log := logr.FromSlogHandler(o.Log.Handler())
	if o.Metrics != "" && o.MetricsAuth != MetricsTokenReview && o.MetricsAuth != MetricsNone {
		return fmt.Errorf("--metrics-authentication %q: want %s or %s", o.MetricsAuth, MetricsTokenReview, MetricsNone)
	}
	if err := o.Console.check(); err != nil {
		return err
	}
	cfg := o.API
	if cfg == nil {
		var err error
		if cfg, err = ctrl.GetConfig(); err != nil {
			return fmt.Errorf("no API server: run in a Pod, or set KUBECONFIG: %w", err)
		}
	}
	if err := kindsServed(ctx, cfg, o.Log); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cfg, o.manager(log))
	if err != nil {
		return err
	}
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	around := &surroundings{api: api.Discovery().RESTClient(), mapper: mgr.GetRESTMapper(), log: o.Log, every: cmp.Or(o.LookEvery, lookEvery), base: render.Settings{
		Image: o.Image, ImagePullPolicy: o.ImagePullPolicy,
		OperatorNamespace: o.Namespace, OperatorServiceAccount: o.ServiceAccount, MetricsNamespaces: o.MetricsNamespaces,
	}}
	if err := around.first(ctx); err != nil {
		return err
	}
	declared, err := declaredNetworks(o.ClusterNetworks)
	if err != nil {
		return err
	}
	nodes := &nodes{
		live: mgr.GetAPIReader(), cache: mgr.GetCache(), declared: declared, every: around.every, settle: cmp.Or(o.SettleNodes, settleNodes), log: o.Log,
		dirty: make(chan struct{}, 1),
	}
	if err := nodes.first(ctx); err != nil {
		return err
	}
	tokens := &instances.ServiceAccountTokens{ServiceAccounts: api.CoreV1().ServiceAccounts(o.Namespace), Name: o.ServiceAccount}
	if o.Instances == nil {
		o.Instances = instances.NewReader(tokens)
	}
	o.FiguresEvery = cmp.Or(o.FiguresEvery, figuresEvery)
	if o.Resolver == nil && o.CheckDNS {
		o.Resolver = senderdns.NewResolver("")
	}
	s := &setup{Options: o, mgr: mgr, around: around, nodes: nodes, tokens: tokens}
	if err := s.reconcilers(ctx); err != nil {
		return err
	}
	if err := errors.Join(mgr.Add(around), mgr.Add(nodes), s.console(api)); err != nil {
		return err
	}
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("cache", synced(mgr.GetCache()))); err != nil {
		return err
	}
	end, err := expose(ctx, mgr.GetClient())
	if err != nil {
		return err
	}
	defer end()
	o.Log.Info("the operator begins", "namespaces", o.WatchNamespaces, "image", o.Image)
	return mgr.Start(ctx)
}

// scheme knows the kinds, and those of Kubernetes.
func scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // generated code that contradicts itself
		}
	}
	return s
}

// concurrency is how many objects of a kind are worked on at once. Most of that time
// is waiting for the API server, which is not to be stormed.
const concurrency = 8

// looksAtOnce is how many relays are looked at at once: besides those that are worked
// on, such as wait for their instances (pass.ask). One whose Pods are silent waits for
// three seconds, every half a minute: with as many as there are places for work, the
// others would not get any.
const looksAtOnce = 64

// lookBound is how long one look at an object may take, however slow the API server
// is: after that it is begun anew.
const lookBound = 2 * time.Minute

func (o *Options) manager(log logr.Logger) ctrl.Options {
	grace := 20 * time.Second
	return ctrl.Options{
		Scheme: scheme(), Logger: log,
		Cache: o.cache(),
		// Certificates are read from the cache too, once there is one.
		Client:                  client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		LeaderElection:          o.LeaderElect,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: o.Namespace,
		// Nothing runs after Start: the next one need not wait until the lease ends.
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &grace,
		HealthProbeBindAddress:        orOff(o.Probes),
		PprofBindAddress:              orOff(o.Pprof),
		Metrics:                       o.metrics(),
		Controller: config.Controller{
			MaxConcurrentReconciles: concurrency, RecoverPanic: new(true),
			ReconciliationTimeout: lookBound,
			EnableWarmup:          new(true), // who takes over has read everything before
			SkipNameValidation:    new(true), // several operators run in one process in tests
		},
	}
}

// cache holds the three kinds, and of all others what carries our label: of a
// cluster's other objects nothing is read.
func (o *Options) cache() cache.Options {
	everything := cache.ByObject{Label: labels.Everything(), Transform: strip}
	out := cache.Options{
		DefaultLabelSelector: labels.SelectorFromSet(labels.Set{render.LabelManagedBy: render.ProgramName}),
		DefaultTransform:     strip,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.PrinterRelay{}: everything, &v1alpha1.MailUpstream{}: everything, &v1alpha1.SenderPolicy{}: everything,
			&corev1.Node{}: everything, // read only where the operator may
		},
	}
	if len(o.WatchNamespaces) > 0 {
		out.DefaultNamespaces = map[string]cache.Config{}
		for _, ns := range o.WatchNamespaces {
			out.DefaultNamespaces[ns] = cache.Config{}
		}
	}
	return out
}

// strip keeps what the reconcilers read. Of managed fields that is when the
// status was written; they, and what kubectl apply remembers, can be larger than
// the object.
func strip(in any) (any, error) {
	o, err := meta.Accessor(in)
	if err != nil {
		return in, nil //nolint:nilerr // a tombstone has none
	}
	if pod, ok := in.(*corev1.Pod); ok {
		pod.Spec = corev1.PodSpec{}
	}
	if node, ok := in.(*corev1.Node); ok {
		stripNode(node)
		return in, nil
	}
	apply.Reduce(in, fieldManager)
	delete(o.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	var kept []metav1.ManagedFieldsEntry // a part of the old slice would keep all of it
	for _, f := range o.GetManagedFields() {
		if f.Manager != fieldManager {
			continue
		}
		if f.Subresource != "" {
			f.FieldsV1 = nil
		}
		kept = append(kept, f)
	}
	o.SetManagedFields(kept)
	return in, nil
}

func (o *Options) metrics() metricsserver.Options {
	m := metricsserver.Options{BindAddress: orOff(o.Metrics), SecureServing: true}
	if o.MetricsAuth == MetricsTokenReview {
		m.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return m
}

// orOff is an address as controller-runtime takes it.
func orOff(address string) string {
	if address == "" {
		return "0"
	}
	return address
}

// synced is ready when the cache holds what is in the cluster, so that who
// waits for the operator in a rollout waits for that too.
func synced(c cache.Cache) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("what is in the cluster is not read yet")
		}
		return nil
	}
}
