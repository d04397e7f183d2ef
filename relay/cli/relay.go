package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay"
)

func newRelay() *cobra.Command {
	o := relay.Options{Version: Version()}
	var log logFlags
	c := &cobra.Command{
		Use:   "relay --manifests DIR",
		Short: "Run the PrinterRelays of a manifest folder; reload on change",
		Long: `Runs every PrinterRelay in DIR (or the one that --name selects), each with its
own folder under --state. DIR holds the YAML that kubectl apply takes, and
Secrets. Changes apply within a second; a bad edit keeps the last good
configuration and is reported in the log, at /readyz and in the metrics.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Log, err = log.logger(c.ErrOrStderr()); err != nil {
				return err
			}
			return relay.Run(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Manifests, "manifests", "", "folder of the manifests (required)")
	f.StringVar(&o.Name, "name", "", "namespace/name of the one PrinterRelay to run")
	f.StringVar(&o.State, "state", "/var/lib/printer-relay", "folder for spools and keys")
	f.StringVar(&o.Bind, "bind", "", "address that listeners bind to (default all)")
	f.StringVar(&o.Admin, "admin", "127.0.0.1:8080", `address of the admin port; "" for none`)
	f.StringVar(&o.Secrets, "secrets", "", "folder of mounted Secrets, NAME/KEY, instead of those in the manifests")
	f.IntVar(&o.PortOffset, "port-offset", 0, "added to each listener's port")
	f.StringVar(&o.Instance, "instance", "", "name of this instance (in a Pod)")
	f.StringVar(&o.Instances, "instances", "", "JSON file that names the instances to drain (in a Pod)")
	f.StringVar(&o.AdminAccess, "admin-access", "", "JSON file that says whose bearer tokens open the admin port, which speaks TLS then (default: loopback only)")
	f.StringVar(&o.Probes, "probes", "", "address of a port that serves /healthz and /readyz only")
	f.DurationVar(&o.Grace, "grace", 25*time.Second, "how long sessions and deliveries may go on after SIGTERM")
	log.add(c, "text")
	c.MarkFlagRequired("manifests") //nolint:errcheck // fails only for an unknown flag
	return c
}
