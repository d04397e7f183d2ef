// Package kubectl is the kubectl plugin: what people ask and do about relays in a
// cluster, with the rights of whoever runs it. It reads the kinds and their status
// from the API server, and reaches the admin port of a relay's Pods by port-forward,
// with a token of the relay's ServiceAccount R-queue that lasts ten minutes.
//
// It may import api, controllers/render, relay/admin with what its documents are made
// of, relay/explain, relay (to read manifests), client-go and controller-runtime's client.
package kubectl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/admin"
)

// Shared are commands that are the same without a cluster: only the relay that they
// speak to is another. Each gets what opens that.
type Shared struct {
	Queue    func(open func(*cobra.Command, func(admin.Queue) error) error) *cobra.Command
	Test     func(open func(*cobra.Command, func(admin.Trier) error) error) *cobra.Command
	Copiers  func(open func(*cobra.Command, func(Copiers) error) error) *cobra.Command
	Messages func(open func(*cobra.Command, func(admin.Messages) error) error) *cobra.Command
	Webhooks func(open func(*cobra.Command, func(admin.Webhooks) error) error) *cobra.Command
	Dial     Dialer // nil: by port-forward
	Said     error  // ends a command whose findings are printed: exit status 1
}

// flags are those of all commands, named as kubectl's.
type flags struct {
	kubeconfig string
	overrides  clientcmd.ConfigOverrides
	relay      string
	output     string
	said       error

	// dial reaches a port of a Pod; nil: by port-forward.
	dial Dialer
}

// New makes the command tree.
func New(version string, s Shared) *cobra.Command {
	f := &flags{said: s.Said, dial: s.Dial}
	root := &cobra.Command{
		Use:     "kubectl",
		Short:   "What `kubectl printer-relay` does: relays in a cluster, their queues, copiers, messages and webhooks, tests, and what to mend",
		Version: version,
		Long: `The kubectl plugin. With a link to this program as kubectl-printer_relay on the PATH
it is "kubectl printer-relay COMMAND"; "printer-relay kubectl COMMAND" is the same. It
uses your kubeconfig and your rights: see docs/kubectl.md.`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q: %s --help lists them", args[0], c.CommandPath())
			}
			return c.Help()
		},
	}
	p := root.PersistentFlags()
	p.StringVar(&f.kubeconfig, "kubeconfig", "", "path of the kubeconfig (default as kubectl)")
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ContextOverrideFlags.Namespace.ShortName = "n"
	names.AuthOverrideFlags.Username.LongName, names.AuthOverrideFlags.Password.LongName = "", "" // no API server takes them any more
	names.ContextOverrideFlags.AuthInfoName.LongName = "kubeconfig-user"                          // --user is the device's
	clientcmd.BindOverrideFlags(&f.overrides, p, names)
	p.StringVar(&f.relay, "relay", "", "name of the PrinterRelay, where there is more than one in the namespace")
	p.StringVarP(&f.output, "output", "o", "table", "table, wide, json or yaml")
	queue := s.Queue(f.queue)
	test := s.Test(f.test)
	test.Use = strings.Replace(test.Use, "send", "test", 1)
	webhooks := s.Webhooks(f.webhooks)
	root.AddCommand(f.status(), queue, s.Copiers(f.copiers), s.Messages(f.messages), webhooks, test, f.explain(), f.dns(), f.suspend(), f.resume(), f.bundle(version))
	complete(root, f)
	for _, c := range webhooks.Commands() {
		if strings.Contains(c.Use, "[WEBHOOK]") {
			c.ValidArgsFunction = f.webhookNames
		}
	}
	return root
}

// cluster is one cluster, as the person who asks sees it.
type cluster struct {
	*flags
	config    *rest.Config
	namespace string
	client    client.Client
	typed     kubernetes.Interface
}

func (f *flags) connect() (*cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &f.overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster: %w", err)
	}
	c := &cluster{flags: f, config: config}
	if c.namespace, _, err = loader.Namespace(); err != nil {
		return nil, err
	}
	ctrllog.SetLogger(logr.Discard()) // what goes wrong is an error here
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	if c.client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("the cluster does not answer: %w", err)
	}
	c.typed, err = kubernetes.NewForConfig(config)
	return c, err
}

// relays gives the PrinterRelay that --relay names, or all of the namespace.
func (c *cluster) relays(ctx context.Context) ([]v1alpha1.PrinterRelay, error) {
	if c.relay != "" {
		var r v1alpha1.PrinterRelay
		name := c.relay
		if ns, n, ok := strings.Cut(name, "/"); ok {
			c.namespace, name = ns, n
		}
		err := c.client.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &r)
		return []v1alpha1.PrinterRelay{r}, err
	}
	var all v1alpha1.PrinterRelayList
	if err := c.client.List(ctx, &all, client.InNamespace(c.namespace)); err != nil {
		return nil, err
	}
	if len(all.Items) == 0 {
		return nil, fmt.Errorf("there is no PrinterRelay in namespace %q: choose another with -n", c.namespace)
	}
	return all.Items, nil
}

// theRelay gives the PrinterRelay that --relay names, or the only one there is.
func (c *cluster) theRelay(ctx context.Context) (*v1alpha1.PrinterRelay, error) {
	all, err := c.relays(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 1 {
		return &all[0], nil
	}
	var names []string
	for i := range all {
		names = append(names, all[i].Name)
	}
	return nil, fmt.Errorf("there are %d PrinterRelays in namespace %q: name one with --relay: %s", len(names), c.namespace, strings.Join(names, ", "))
}

// pods gives the Pods of a relay that run, by the name of their instance.
func (c *cluster) pods(ctx context.Context, relay *v1alpha1.PrinterRelay) ([]corev1.Pod, error) {
	var all corev1.PodList
	if err := c.client.List(ctx, &all, client.InNamespace(relay.Namespace), client.MatchingLabels(render.Selector(relay.Name))); err != nil {
		return nil, err
	}
	running := slices.DeleteFunc(all.Items, func(p corev1.Pod) bool {
		return p.Status.Phase != corev1.PodRunning || p.DeletionTimestamp != nil
	})
	slices.SortFunc(running, func(a, b corev1.Pod) int {
		return strings.Compare(a.Labels[render.LabelInstance], b.Labels[render.LabelInstance])
	})
	if len(running) == 0 {
		return nil, fmt.Errorf("no Pod of PrinterRelay %s/%s runs: kubectl printer-relay status says why", relay.Namespace, relay.Name)
	}
	return running, nil
}

// who is the person, as the API server knows them; empty: it does not say.
func (c *cluster) who(ctx context.Context) string {
	r, err := c.typed.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return r.Status.UserInfo.Username
}

var errNoOutput = errors.New(`--output: want table, wide, json or yaml`)

// print writes v for machines, or calls table for people.
func (f *flags) print(w io.Writer, v any, table func(wide bool) error) error {
	switch f.output {
	case "table", "":
		return table(false)
	case "wide":
		return table(true)
	case "json", "yaml":
		return Encode(w, f.output, v)
	}
	return errNoOutput
}
