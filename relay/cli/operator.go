package cli

import (
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/controllers"
)

// garbage is how much of it may lie about, in percent of what is in use, where
// GOGC does not say: an operator mostly waits, and holds what is in a cluster.
const garbage = 50

func newOperator() *cobra.Command {
	var o controllers.Options
	var log logFlags
	var consoleAuthentication string
	c := &cobra.Command{
		Use:   "operator --image IMAGE --namespace NAMESPACE",
		Short: "Run the Kubernetes operator: PrinterRelays become running relays",
		Long: `Runs the controllers of PrinterRelay, MailUpstream and SenderPolicy against the
API server of the Pod that it runs in, or of $KUBECONFIG. It never reads a
Secret: they are mounted into the relays' Pods.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Log, err = log.logger(c.ErrOrStderr()); err != nil {
				return err
			}
			o.Console.Version = Version()
			if err = o.Console.Authenticate(consoleAuthentication); err != nil {
				return usageError{err}
			}
			controllers.LogTo(o.Log)
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(garbage)
			}
			return controllers.Run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Image, "image", "", "image of the relays (required)")
	f.StringVar(&o.ImagePullPolicy, "image-pull-policy", "", "of the relays' containers (default the cluster's)")
	f.StringVar(&o.Namespace, "namespace", "", "the operator's own namespace (required)")
	f.StringVar(&o.ServiceAccount, "service-account", "printer-relay-operator", "the operator's own ServiceAccount, whose tokens open the relays' admin ports")
	f.StringSliceVar(&o.WatchNamespaces, "watch-namespaces", nil, "namespaces to serve (default all)")
	f.StringSliceVar(&o.MetricsNamespaces, "metrics-namespaces", nil, "namespaces whose Pods may read the relays' metrics")
	f.StringVar(&o.ClusterDomain, "cluster-domain", "cluster.local", "domain of the cluster's Services")
	f.StringSliceVar(&o.ClusterNetworks, "cluster-networks", nil, "networks of the cluster's nodes and Pods, besides what its Nodes say: who comes from there is in no network of a rule")
	f.BoolVar(&o.LeaderElect, "leader-elect", true, "act only while holding the lease, so that several replicas can run")
	f.StringVar(&o.Metrics, "metrics", ":8080", `address of the metrics, with TLS; "" for none`)
	f.StringVar(&o.MetricsAuth, "metrics-authentication", controllers.MetricsTokenReview, "who may read the metrics: TokenReview asks the API server, None lets everybody")
	f.StringVar(&o.Probes, "probes", ":8081", `address of /healthz and /readyz; "" for none`)
	f.StringVar(&o.Pprof, "pprof", "", `address of Go's profiles, which anybody may read who reaches it; "" for none`)
	f.StringVar(&o.Console.Address, "console", "127.0.0.1:8090", `address of the web pages; "" for none. On loopback kubectl port-forward reaches them, elsewhere --console-authentication decides who may see what`)
	f.StringVar(&consoleAuthentication, "console-authentication", "", "TokenReview asks the API server whose token it is and what they may see, and speaks TLS; None lets in who reaches the loopback address (default None on loopback, TokenReview elsewhere)")
	f.StringVar(&o.Console.Certificate, "console-certificate", "", "folder with tls.crt and tls.key of the console (default a certificate made at the start)")
	f.StringSliceVar(&o.Console.Proxies, "console-proxies", nil, "networks of the proxies whose X-Forwarded-User and X-Forwarded-Groups are believed (default none)")
	f.StringVar(&o.Console.ProxyCA, "console-proxy-ca", "", "file of the authorities that the proxies' client certificates have to be of (default: they need none)")
	f.BoolVar(&o.CheckDNS, "check-dns", true, "ask DNS about the sender domains of MailUpstreams; off in clusters that cannot see the Internet's DNS")
	log.add(c, "json")
	c.MarkFlagRequired("image")     //nolint:errcheck // fails only for an unknown flag
	c.MarkFlagRequired("namespace") //nolint:errcheck // the same
	return c
}
