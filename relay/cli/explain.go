package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/explain"
)

func newExplain() *cobra.Command {
	var dir, name, client string
	var q explain.Question
	var withTLS bool
	c := &cobra.Command{
		Use:   "explain -f DIR --client ADDRESS --from ADDRESS --to ADDRESS",
		Short: "Say which rule decides for a client, a sender and a recipient, and why",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if q.Client, err = netip.ParseAddr(client); err != nil {
				return usageError{fmt.Errorf("--client %q: want an IP address", client)}
			}
			if q.To == "" {
				return usageError{errors.New(`--to "": want an address`)}
			}
			if err := flagged(q.Check()); err != nil {
				return err
			}
			if withTLS {
				q.TLS = tls.VersionTLS13
			}
			conf, err := relay.LoadConfiguration(dir, name)
			if err != nil {
				return err
			}
			for _, p := range conf.Plans {
				a, err := explain.Ask(p, q)
				if err != nil {
					return flagged(err)
				}
				a.WriteText(c.OutOrStdout())
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&dir, "filename", "f", "", "folder of the manifests (required)")
	f.StringVar(&name, "name", "", "namespace/name of the one PrinterRelay to ask")
	f.StringVar(&client, "client", "", "the copier's address (required)")
	f.StringVar(&q.User, "user", "", "the login it authenticated as")
	f.BoolVar(&withTLS, "tls", false, "the connection has TLS")
	f.StringVar(&q.From, "from", "", "MAIL FROM (required)")
	f.StringVar(&q.To, "to", "", "RCPT TO (required)")
	for _, flag := range []string{"filename", "client", "from", "to"} {
		c.MarkFlagRequired(flag) //nolint:errcheck // fails only for an unknown flag
	}
	return c
}

// flagged names the flag of what cannot be read.
func flagged(err error) error {
	var field *explain.FieldError
	if errors.As(err, &field) {
		return usageError{errors.New("--" + field.Error())}
	}
	return err
}
