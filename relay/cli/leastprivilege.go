package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/delivery"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/privilege"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// checkTime bounds what a provider is asked.
const checkTime = time.Minute

func newLeastPrivilege() *cobra.Command {
	var dir, secretsDir, output string
	var check bool
	c := &cobra.Command{
		Use:   "least-privilege MAILUPSTREAM -f DIR",
		Short: "Write the narrowest permission at the vendor that the policies using an upstream need",
		Long: `Compiles the manifests in DIR, works out as whom and to whom scans leave by the
MailUpstream (name, or namespace/name), and writes what its credential has to be
allowed, as the vendor wants it: an IAM policy, an Exchange role assignment, a
connector, a sending key. With --check the provider is asked whether the present
credential may do more; nothing is sent.

What runs in a cluster can be had as manifests:
  kubectl get printerrelays,mailupstreams,senderpolicies -n NAMESPACE -o yaml >DIR/all.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return usageError{fmt.Errorf("--output %q: want text or json", output)}
			}
			conf, err := relay.LoadConfiguration(dir, "")
			if err != nil {
				fmt.Fprintln(c.ErrOrStderr(), err)
				return errSaid
			}
			plans, name, err := sendingBy(conf.Plans, args[0])
			if err != nil {
				return err
			}
			a, ok := privilege.For(plans, name)
			if !ok {
				return fmt.Errorf("MailUpstream %s: no PrinterRelay in %s sends by it", args[0], dir)
			}
			if check {
				source := secrets.Source(conf.Secrets[plans[0].Namespace])
				if secretsDir != "" {
					source = secrets.Dir(secretsDir)
				}
				checked(c.Context(), a, plans, name, source)
			}
			if output == "json" {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetEscapeHTML(false)
				e.SetIndent("", "  ")
				return e.Encode(a)
			}
			_, err = io.WriteString(c.OutOrStdout(), a.Text())
			return err
		},
	}
	f := c.Flags()
	f.StringVarP(&dir, "filename", "f", "", "folder of the manifests (required)")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	f.BoolVar(&check, "check", false, "ask the provider, with the Secrets of the folder, whether the credential may do more")
	f.StringVar(&secretsDir, "secrets", "", "with --check: folder of mounted Secrets, DIR/NAME/KEY, in place of those in the manifests")
	c.MarkFlagRequired("filename") //nolint:errcheck // fails only for an unknown flag
	return c
}

// sendingBy gives the plans of the namespace that the upstream is in. A name alone
// has to be in one namespace only.
func sendingBy(all []*plan.Plan, upstream string) (plans []*plan.Plan, name string, err error) {
	namespace, name, named := strings.Cut(upstream, "/")
	if !named {
		name = namespace
	}
	var spaces []string
	for _, p := range all {
		if p.Upstreams[name] == nil || named && p.Namespace != namespace {
			continue
		}
		plans = append(plans, p)
		spaces = append(spaces, p.Namespace)
	}
	slices.Sort(spaces)
	switch spaces = slices.Compact(spaces); len(spaces) {
	case 0:
		return nil, "", fmt.Errorf("MailUpstream %s: no PrinterRelay of the folder sends by it: correct the name, or name it in an upstreamRef", upstream)
	case 1:
		return plans, name, nil
	}
	return nil, "", usageError{fmt.Errorf("MailUpstream %s is in several namespaces: write one of %s/%s", upstream, strings.Join(spaces, "/"+name+", "), name)}
}

// checked asks the provider what the present credential is.
func checked(ctx context.Context, a *privilege.Advice, plans []*plan.Plan, name string, source secrets.Source) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	only := *plans[0]
	only.Upstreams = map[string]*plan.Upstream{name: only.Upstreams[name]}
	d := delivery.New(delivery.Config{Secrets: func() secrets.Source { return source }, Log: slog.New(slog.DiscardHandler)})
	defer d.Close()
	if only.Upstreams[name].Maildir != nil {
		a.Checked = "there is no credential"
		return
	}
	if err := d.Update(&only); err != nil {
		a.Checked = "not checked: " + err.Error()
		return
	}
	h, ok := d.Check(ctx, name)
	if !ok {
		a.Checked = "not checked: upstreams of this type cannot tell without sending"
		return
	}
	a.Checked = found(h, only.Upstreams[name].Type)
	a.Broader = h.Warnings
}

// found says what a check of an upstream of the type saw, and what to do about it.
func found(h upstream.Health, kind string) string {
	verdict := "the credential was not judged"
	switch {
	case h.Reachable == upstream.Bad:
		verdict = "not reached"
	case h.Credentials == upstream.Good:
		verdict = "the credential is good"
	case h.Credentials == upstream.Bad:
		verdict = "the credential is refused"
	}
	if h.Text == "" {
		return verdict
	}
	out := verdict + ": " + h.Text
	if h.Reachable != upstream.Bad && h.Credentials != upstream.Bad {
		return out
	}
	if a, ok := remedy.Find(remedy.Failure{Type: kind, Text: h.Text}); ok {
		out += "; " + a.String()
	}
	return out
}
