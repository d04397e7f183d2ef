package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/dkim"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// dnsReport is what `dns` prints.
type dnsReport struct {
	Upstream string             `json:"upstream"` // namespace/name
	Domain   string             `json:"domain,omitempty"`
	Records  []senderdns.Record `json:"records"`
	Notes    []string           `json:"notes,omitempty"`

	why string
}

type dnsFlags struct {
	dir, secrets, output, server string
	blackHole                    bool

	upstream string // as it was found
}

func newDNS() *cobra.Command {
	var o dnsFlags
	c := &cobra.Command{
		Use:   "dns MAILUPSTREAM -f DIR",
		Short: "Show the DNS records that an upstream's sender domain needs, and what is published",
		Long: `Works out the SPF, DKIM, DMARC and return-path records of a MailUpstream's sender
domain and compares them with what DNS says now. What is to be published is
printed whole, to paste: an SPF record is merged into the one that is there.

The public keys of spec.dkim come from the Secrets in DIR, or below --secrets.
With --black-hole the records are those by which the domain says that no mail is
from it. With -o zone they are printed as a zone file has them.

The exit status is 0 if all records are as they have to be, 1 if some are not or
something is not known, 2 if the command could not be carried out.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "json", "yaml", "zone"}, o.output) {
				return usageError{fmt.Errorf("--output %q: want text, json, yaml or zone", o.output)}
			}
			report, err := o.look(c.Context(), args[0])
			if err == nil {
				err = report.print(c.OutOrStdout(), o.output)
			}
			if err != nil {
				return failure{err}
			}
			if slices.ContainsFunc(report.Records, func(r senderdns.Record) bool { return r.State != senderdns.OK }) || report.Domain == "" && report.why != "" {
				return errSaid
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&o.dir, "filename", "f", "", "folder of the manifests (required)")
	f.StringVar(&o.secrets, "secrets", "", "folder of Secrets, NAME/KEY (default those in the manifests)")
	f.StringVarP(&o.output, "output", "o", "text", "text, json, yaml or zone")
	f.BoolVar(&o.blackHole, "black-hole", false, "the records by which the domain says that no mail is from it")
	f.StringVar(&o.server, "server", "", "address of the name server to ask (default the system's)")
	c.MarkFlagRequired("filename") //nolint:errcheck // fails only for an unknown flag
	return c
}

// needs are those of the upstream; the note says why its keys are not known.
func (o *dnsFlags) needs(name string) (n senderdns.Needs, note string, err error) {
	u, err := relay.LoadUpstream(o.dir, name)
	if err != nil {
		return n, "", err
	}
	o.upstream = u.Namespace + "/" + u.Plan.Name
	var source secrets.Source = u.Secrets
	if o.secrets != "" {
		source = secrets.Dir(o.secrets)
	}
	keys, note := publicKeys(u.Plan.DKIM, source)
	return senderdns.Of(u.Plan, keys), note, nil
}

// look asks DNS about the upstream's domain.
func (o *dnsFlags) look(ctx context.Context, name string) (*dnsReport, error) {
	needs, note, err := o.needs(name)
	if err != nil {
		return nil, err
	}
	server := o.server
	if server != "" {
		if _, _, err := net.SplitHostPort(server); err != nil {
			server = net.JoinHostPort(server, "53")
		}
	}
	out := &dnsReport{Upstream: o.upstream, Domain: needs.Domain, Notes: needs.Notes}
	records := needs.Records
	if o.blackHole {
		records, out.Notes, note = needs.BlackHole(), nil, ""
	}
	for _, why := range []string{needs.Why, note} {
		if why != "" {
			out.Notes = append(out.Notes, why)
		}
	}
	if !needs.NotSent {
		out.why = needs.Why
	}
	out.Records = senderdns.Check(ctx, senderdns.NewResolver(server), records)
	if silent(out.Records) {
		return nil, errors.New("no name server answers: check the network, or name one with --server")
	}
	return out, nil
}

// silent tells whether DNS was asked, and told nothing at all.
func silent(records []senderdns.Record) bool {
	asked := slices.ContainsFunc(records, func(r senderdns.Record) bool { return r.Unanswered })
	return asked && !slices.ContainsFunc(records, func(r senderdns.Record) bool { return r.State != senderdns.Unknown || r.Observed != "" })
}

// publicKeys are the records of the keys that the upstream signs with; the note
// says why there are none.
func publicKeys(d *plan.DKIM, source secrets.Source) (out []senderdns.Key, note string) {
	if d == nil {
		return nil, ""
	}
	data, err := source.Get(d.Secret)
	if errors.Is(err, secrets.ErrNotFound) {
		return nil, fmt.Sprintf("Secret %q of spec.dkim.secretRef is not in the manifests: name the folder of Secrets with --secrets to have its records", d.Secret)
	}
	keys, bad := dkim.Keys(data)
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Sprintf("Secret %q of spec.dkim.secretRef: %v", d.Secret, err)
	}
	for _, k := range keys {
		name, value := k.Record(d.Selector, d.Domain)
		out = append(out, senderdns.Key{Name: name, Value: value})
	}
	return out, ""
}

func (r *dnsReport) print(out io.Writer, format string) error {
	switch format {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(r)
	case "yaml":
		return r.yaml(out)
	case "zone":
		r.zone(out)
	default:
		r.text(out)
	}
	return nil
}

// yaml is the JSON document in the other notation.
func (r *dnsReport) yaml(out io.Writer) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return err
	}
	plainStyle(&doc)
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	return errors.Join(e.Encode(&doc), e.Close())
}

// plainStyle has a document written as people write it.
func plainStyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plainStyle(c)
	}
}

// text is for people: each record with what is published, and what to.
func (r *dnsReport) text(out io.Writer) {
	fmt.Fprintf(out, "MailUpstream %s", r.Upstream)
	if r.Domain != "" {
		fmt.Fprintf(out, ", sender domain %s", r.Domain)
	}
	fmt.Fprintln(out)
	for _, x := range r.Records {
		fmt.Fprintf(out, "\n%-9s  %s  %s %s\n", x.State, x.Purpose, x.Type, x.Name)
		if x.Observed != "" {
			fmt.Fprintf(out, "  published: %s\n", x.Observed)
		}
		if x.Expected != "" && x.State != senderdns.OK {
			fmt.Fprintf(out, "  to be:     %s\n", x.Expected)
		}
		if x.Why != "" {
			fmt.Fprintf(out, "  %s\n", x.Why)
		}
	}
	for i, n := range r.Notes {
		if i == 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "note: %s\n", n)
	}
}

// zone is for a zone file: what is to be there, as comments what else is known.
func (r *dnsReport) zone(out io.Writer) {
	fmt.Fprintf(out, "; MailUpstream %s, sender domain %s\n", r.Upstream, r.Domain)
	for _, x := range r.Records {
		fmt.Fprintf(out, ";\n; %s: %s\n", x.Purpose, x.State)
		if x.Observed != "" && x.State != senderdns.OK {
			fmt.Fprintf(out, "; published is: %s\n", x.Observed)
		}
		if x.Why != "" {
			fmt.Fprintf(out, "; %s\n", x.Why)
		}
		line := x.ZoneLine()
		if line == "" {
			line = "; " + x.Type + " " + x.Name
		}
		fmt.Fprintln(out, line)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, ";\n; %s\n", n)
	}
}
