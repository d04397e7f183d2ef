package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/suggest"
)

func newSuggest() *cobra.Command {
	f := &copierFlags{}
	o := suggest.Options{}
	enforcement := "DryRun"
	c := &cobra.Command{
		Use:   "suggest",
		Short: "Propose a SenderPolicy from the devices that were seen and refused",
		Long: `Writes SenderPolicies that allow what a relay has seen of its devices, for a person
to review: devices of one network that behave alike become one rule, with the
addresses, logins, senders, recipient domains and TLS that were seen, and comments that
say from what. Nothing is applied. See docs/inventory.md.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch enforcement {
			case "DryRun", "Enforce":
			default:
				return usageError{fmt.Errorf("--enforcement %q: want DryRun or Enforce", enforcement)}
			}
			var all []inventory.Copier
			if err := f.copiers(c, func(chosen []inventory.Copier) error { all = chosen; return nil }); err != nil {
				return err
			}
			if ns, _, named := strings.Cut(f.relay, "/"); named && !c.Flags().Changed("namespace") {
				o.Namespace = ns // elsewhere the relay could not refer to it
			}
			o.Now, o.Enforce, o.Relay = time.Now(), enforcement == "Enforce", f.relay
			got, err := suggest.Of(all, o)
			if err != nil {
				return usageError{fmt.Errorf("--%w", err)}
			}
			if err := relay.CheckPolicies(got.YAML); err != nil {
				return fmt.Errorf("what was made is not valid: choose other values of the flags, or report this: %w", err)
			}
			fmt.Fprint(c.OutOrStdout(), got.YAML)
			fmt.Fprintf(c.ErrOrStderr(), "%d rules, %d warnings (see the comments), %d devices without a rule\n", got.Rules, got.Warnings, got.LeftOut)
			return nil
		},
	}
	f.where(c)
	f.selectors(c)
	p := c.Flags()
	p.StringVar(&o.Name, "policy", "suggested", "name of the SenderPolicy")
	p.StringVar(&o.Namespace, "namespace", "", "namespace of the SenderPolicy (default that of --relay)")
	p.StringVar(&enforcement, "enforcement", enforcement, "DryRun, or Enforce")
	p.StringArrayVar(&o.Recipients, "recipients", nil, "pattern of recipients for devices that were refused before they could name one, such as *@corp.example (repeated)")
	p.BoolVar(&o.Public, "public", false, "propose rules for public addresses that were only refused, too")
	return c
}
