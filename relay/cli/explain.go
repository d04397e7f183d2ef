package cli

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/reply"
)

func newExplain() *cobra.Command {
	var dir, name, client, user, from, to string
	var withTLS bool
	c := &cobra.Command{
		Use:   "explain -f DIR --client ADDRESS --from ADDRESS --to ADDRESS",
		Short: "Say which rule decides for a client, a sender and a recipient, and why",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			addr, err := netip.ParseAddr(client)
			if err != nil {
				return usageError{fmt.Errorf("--client %q: want an IP address", client)}
			}
			from := strings.TrimSuffix(strings.TrimPrefix(from, "<"), ">")
			if _, err := given(from, "any.invalid"); err != nil {
				return usageError{fmt.Errorf("--from %q: %w", from, err)}
			}
			if a, err := given(to, "any.invalid"); err != nil || a.IsNull() {
				return usageError{fmt.Errorf("--to %q: want an address", to)}
			}
			conf, err := relay.LoadConfiguration(dir, name)
			if err != nil {
				return err
			}
			who := policy.Client{Addr: addr.Unmap(), User: user}
			if withTLS {
				who.TLSVersion = tls.VersionTLS13
			}
			for _, p := range conf.Plans {
				sender, err := given(from, p.Addresses.DefaultDomain)
				if err != nil {
					return usageError{fmt.Errorf("--from %q: %w", from, err)}
				}
				rcpt, err := given(to, p.Addresses.DefaultDomain)
				if err != nil {
					return usageError{fmt.Errorf("--to %q: %w", to, err)}
				}
				who.Hidden = p.HiddenClients.Hides(who.Addr)
				explain(c, p, who, sender, rcpt)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&dir, "filename", "f", "", "folder of the manifests (required)")
	f.StringVar(&name, "name", "", "namespace/name of the one PrinterRelay to ask")
	f.StringVar(&client, "client", "", "the copier's address (required)")
	f.StringVar(&user, "user", "", "the login it authenticated as")
	f.BoolVar(&withTLS, "tls", false, "the connection has TLS")
	f.StringVar(&from, "from", "", "MAIL FROM (required)")
	f.StringVar(&to, "to", "", "RCPT TO (required)")
	for _, flag := range []string{"filename", "client", "from", "to"} {
		c.MarkFlagRequired(flag) //nolint:errcheck // fails only for an unknown flag
	}
	return c
}

// given reads an address as a lenient listener does: one without a domain has
// the default one.
func given(s, defaultDomain string) (envelope.Address, error) {
	a, err := envelope.ParseAddress(s)
	if errors.Is(err, envelope.ErrNoDomain) && defaultDomain != "" {
		a.Domain, err = defaultDomain, nil
	}
	return a, err
}

// atMail is the relay's own refusal, beside that of the policies.
func atMail(p *plan.Plan, d policy.Decision, from envelope.Address) *reply.Reply {
	if p.Intake == plan.IntakeRefuse {
		return reply.IntakeRefused()
	}
	if d.Reply == nil && !d.Force {
		if domain, ok := p.SendsAs(from); !ok {
			return reply.SenderDomain(domain)
		}
	}
	return d.Reply
}

func explain(c *cobra.Command, p *plan.Plan, who policy.Client, from, to envelope.Address) {
	out := c.OutOrStdout()
	fmt.Fprintf(out, "PrinterRelay %s/%s\n", p.Namespace, p.Name)
	d := p.Policies.AtMail(who, from)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, s := range d.Steps {
		verdict := "passes on"
		if s.Match {
			verdict = "decides"
		}
		if s.DryRun {
			verdict += " (dry run)"
		}
		fmt.Fprintf(w, "  %s/%s\t%s\t%s\n", s.Policy, s.Rule, verdict, s.Why)
	}
	w.Flush() //nolint:errcheck // a terminal
	defer explainDryRun(out, p, &d, from, to)
	if r := atMail(p, d, from); r != nil {
		fmt.Fprintf(out, "  MAIL: refused: %s\n", r)
		return
	}
	held := ""
	if p.Intake == plan.IntakeHold {
		held = ", and held: the relay's intake is Hold"
	}
	fmt.Fprintf(out, "  MAIL: %s by %s/%s%s\n", d.Action, d.Rule.Policy, d.Rule.Name, held)
	for _, a := range p.RewriteRecipient(to) {
		if r := d.Rule.CheckRecipient(a, 0, 1); r != nil {
			fmt.Fprintf(out, "  RCPT <%s>: refused: %s\n", a, r)
			continue
		}
		routed := who.Addr
		if who.Hidden {
			routed = netip.Addr{}
		}
		r := p.Route(routed, from, a)
		fmt.Fprintf(out, "  RCPT <%s>: accepted, goes to upstream %s\n", a, r.Upstream)
	}
}

// explainDryRun says of each policy in DryRun whose rule matches what would become of
// the message if the policy were enforced, beside what becomes of it.
func explainDryRun(out io.Writer, p *plan.Plan, d *policy.Decision, from, to envelope.Address) {
	now := verdict(p, d, from, to)
	for i := range d.DryRun {
		dry := &d.DryRun[i]
		would := verdict(p, dry, from, to)
		if would == now {
			fmt.Fprintf(out, "  dry run %s/%s: changes nothing: %s\n", dry.Rule.Policy, dry.Rule.Name, now)
			continue
		}
		fmt.Fprintf(out, "  dry run %s/%s: would be %s; now %s\n", dry.Rule.Policy, dry.Rule.Name, would, now)
	}
}

// verdict is what becomes of a message by a decision.
func verdict(p *plan.Plan, d *policy.Decision, from, to envelope.Address) string {
	if r := atMail(p, *d, from); r != nil {
		return "refused: " + r.String()
	}
	for _, a := range p.RewriteRecipient(to) {
		if r := d.Rule.CheckRecipient(a, 0, 1); r != nil {
			return "refused: " + r.String()
		}
	}
	if d.Action == policy.Hold || p.Intake == plan.IntakeHold {
		return "accepted and held"
	}
	return "accepted"
}
