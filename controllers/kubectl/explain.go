package kubectl

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/explain"
)

func (f *flags) explain() *cobra.Command {
	var address string
	var withTLS bool
	var q explain.Question
	c := &cobra.Command{
		Use: "explain --client ADDRESS --from ADDRESS --to ADDRESS", Args: cobra.NoArgs,
		Short: "Which rule decides for a client, a sender and a recipient, and why",
		Long:  "Asks the configuration that the relay's instances run, with the addresses that the cluster hides.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			addr, err := netip.ParseAddr(address)
			if err != nil {
				return fmt.Errorf("--client %q: want an IP address", address)
			}
			q.Client = addr
			if withTLS {
				q.TLS = tls.VersionTLS13
			}
			c, err := f.connect()
			if err != nil {
				return err
			}
			conf, err := c.running(cmd.Context())
			if err != nil {
				return err
			}
			for _, p := range conf.Plans {
				a, err := explain.Ask(p, q)
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				if err := f.print(out, a, func(bool) error { a.WriteText(out); return nil }); err != nil {
					return err
				}
			}
			return nil
		},
	}
	p := c.Flags()
	p.StringVar(&address, "client", "", "the copier's address (required)")
	p.StringVar(&q.User, "login", "", "the login it authenticated as")
	p.BoolVar(&withTLS, "tls", false, "the connection has TLS")
	p.StringVar(&q.From, "from", "", "MAIL FROM (required)")
	p.StringVar(&q.To, "to", "", "RCPT TO (required)")
	for _, flag := range []string{"client", "from", "to"} {
		c.MarkFlagRequired(flag) //nolint:errcheck // fails only for an unknown flag
	}
	return c
}

// running is the configuration that the instances of the relay have: that of its
// ConfigMap.
func (c *cluster) running(ctx context.Context) (*relay.Configuration, error) {
	r, err := c.theRelay(ctx)
	if err != nil {
		return nil, err
	}
	var m corev1.ConfigMap
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: render.ConfigMapName(r.Name)}, &m); err != nil {
		return nil, fmt.Errorf("the relay's configuration: %w", err)
	}
	dir, err := os.MkdirTemp("", "printer-relay-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it holds no Secret
	if err := os.WriteFile(filepath.Join(dir, render.ManifestsKey), []byte(m.Data[render.ManifestsKey]), 0o600); err != nil {
		return nil, err
	}
	return relay.LoadConfiguration(dir, r.Namespace+"/"+r.Name)
}

func (f *flags) dns() *cobra.Command {
	return &cobra.Command{
		Use: "dns MAILUPSTREAM", Args: cobra.ExactArgs(1), Short: "The DNS records that an upstream's sender domain needs, and what is published",
		Long:              "Shows what the operator found. Exit status 1 if a record is not as it has to be.",
		ValidArgsFunction: f.names(func() client.ObjectList { return &v1alpha1.MailUpstreamList{} }),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.connect()
			if err != nil {
				return err
			}
			var u v1alpha1.MailUpstream
			if err := c.client.Get(cmd.Context(), client.ObjectKey{Namespace: c.namespace, Name: args[0]}, &u); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			err = f.print(out, append([]v1alpha1.DNSRecordStatus{}, u.Status.DNS...), func(bool) error {
				w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "STATE\tTYPE\tNAME\tEXPECTED\tPUBLISHED")
				for _, r := range u.Status.DNS {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.State, r.Type, line(r.Name), line(r.Expected), line(r.Observed))
				}
				return w.Flush()
			})
			if err == nil && statusOf(u.Status.Conditions, v1alpha1.ConditionDNSReady) == "False" {
				return f.said
			}
			return err
		},
	}
}
