package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/trial"
)

// sendFlags are those of a test scan, here and in the kubectl plugin.
type sendFlags struct {
	client, passwordFile string
	json, yaml           bool // yaml: of the plugin
	request              trial.Request
}

func (f *sendFlags) add(c *cobra.Command) {
	p := c.Flags()
	p.StringSliceVar(&f.request.To, "to", nil, "address that the scan goes to (required)")
	p.StringVar(&f.request.From, "from", "", "the device's own address (required)")
	p.StringVar(&f.client, "client", "127.0.0.1", "address of the device whose place the test takes: its rules count")
	p.StringVar(&f.request.Listener, "listener", "", "name of the listener (default the first)")
	p.StringVar(&f.request.User, "user", "", "user name that the device logs in with")
	p.StringVar(&f.passwordFile, "password-file", "", "file with the password; - reads standard input")
	p.StringVar(&f.request.Via, "via", "", "upstream that it goes to (default by the routes)")
	p.BoolVar(&f.json, "json", false, "print each step as a line of JSON")
	c.MarkFlagRequired("to")   //nolint:errcheck // fails only for an unknown flag
	c.MarkFlagRequired("from") //nolint:errcheck // the same
}

// run sends by t, and prints each step as it comes.
func (f *sendFlags) run(c *cobra.Command, t admin.Trier) error {
	r := f.request
	var err error
	if r.Client, err = netip.ParseAddr(f.client); err != nil {
		return usageError{fmt.Errorf("--client %q: want an IP address", f.client)}
	}
	if err := r.Check(); err != nil {
		return usageError{err}
	}
	if r.User != "" {
		if f.passwordFile == "" {
			return usageError{fmt.Errorf("--user %q: give --password-file too", r.User)}
		}
		if r.Password, err = readPassword(c.InOrStdin(), f.passwordFile); err != nil {
			return err
		}
	}
	var all trial.Outcome
	e := json.NewEncoder(c.OutOrStdout())
	err = t.Try(c.Context(), r, func(s trial.Step) {
		all.Add(s)
		switch out := c.OutOrStdout(); {
		case f.json:
			e.Encode(s) //nolint:errcheck // standard output
		case f.yaml: // a document for each, so that what reads them has it at once
			fmt.Fprintln(out, "---")
			kubectl.Encode(out, "yaml", s) //nolint:errcheck // the same
		default:
			writeStep(out, &s, kubectl.PainterFor(out))
		}
	})
	if err != nil {
		return err
	}
	switch {
	case all.KeptBack():
		return errKeptBack
	case !all.Passed():
		return errSaid
	}
	return nil
}

// newTestOf sends by what open opens.
func newTestOf(open func(*cobra.Command, func(admin.Trier) error) error) *cobra.Command {
	f := &sendFlags{}
	c := &cobra.Command{
		Use:   "send --from ADDRESS --to ADDRESS",
		Short: "Send a test scan through a relay in the cluster, and follow it to the upstream's reply",
		Long: `Has an instance of the relay take a test scan in the place of a device (--client):
through its listener, its policies, the queue and the upstream, and prints each step
as it passes. Exit status 1 if the upstream has not taken it: the last line says which
step it was, and what to do; 3 if it is held on purpose (a hold, intake, a rule, an
upstream that is suspended): the last line says by which field of which object, and
what lets it go. The scan is always the same page, and it is really sent.`,
		Args:    cobra.NoArgs,
		PreRunE: func(c *cobra.Command, _ []string) error { return asOutput(c, &f.json, &f.yaml) },
		RunE: func(c *cobra.Command, _ []string) error {
			return open(c, func(t admin.Trier) error { return f.run(c, inCluster{t}) })
		},
	}
	f.add(c)
	return c
}

// inCluster names the queue's commands as they are called there.
type inCluster struct{ admin.Trier }

// Try implements admin.Trier.
func (t inCluster) Try(ctx context.Context, r trial.Request, told func(trial.Step)) error {
	return t.Trier.Try(ctx, r, func(s trial.Step) {
		s.Remedy = strings.ReplaceAll(s.Remedy, "printer-relay queue ", "kubectl printer-relay queue ")
		told(s)
	})
}

func newSend() *cobra.Command {
	var addr, relay string
	f := &sendFlags{}
	c := &cobra.Command{
		Use:   "send --from ADDRESS --to ADDRESS",
		Short: "Send a test scan through a relay, and follow it to the upstream's reply",
		Long: `Has a relay that runs take a test scan in the place of a device (--client), through
its listener, its policies, the queue and the upstream, and prints each step as it
passes. Exit status 1 if the upstream has not taken it: the last line says which step
it was, and what to do. The scan is always the same page, and it is really sent.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := queue.WithPerson(c.Context(), queue.Person{Name: myself()})
			c.SetContext(ctx)
			return f.run(c, admin.NewClient(ctx, addr, relay))
		},
	}
	f.add(c)
	c.Flags().StringVar(&addr, "admin", "127.0.0.1:8080", "admin port of the relay")
	c.Flags().StringVar(&relay, "relay", "", "namespace/name, where there is more than one relay")
	return c
}

// writeStep writes a step for people; whether it passed is seen by its colour too.
func writeStep(w io.Writer, s *trial.Step, p kubectl.Painter) {
	var b strings.Builder
	s.WriteText(&b)
	mark, rest, _ := strings.Cut(b.String(), " ")
	to := kubectl.Bad
	switch {
	case s.OK:
		to = kubectl.Good
	case mark != "FAILED":
		to = kubectl.Note
	}
	fmt.Fprint(w, p.In(to, mark)+" "+rest)
}
