package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/importpostfix"
)

func newImport() *cobra.Command {
	c := &cobra.Command{Use: "import", Short: "Make manifests of another mail server's configuration"}
	c.AddCommand(newImportPostfix())
	return c
}

func newImportPostfix() *cobra.Command {
	var output, report string
	var o importpostfix.Options
	c := &cobra.Command{
		Use:   "postfix DIR",
		Short: "Make manifests of a Postfix configuration, and say what could not be carried",
		Long: `Reads main.cf, master.cf and the tables that they name in DIR, a copy of
/etc/postfix, and writes a PrinterRelay, its MailUpstreams and SenderPolicies. No
password is copied: the manifests begin with the commands that make the Secrets.

Nobody may send who could not before: what cannot be followed is refused. Each
parameter that is not carried, or works otherwise, is listed on standard error
with the reason and the remedy.

Tables that lie elsewhere (/etc/mailname, /etc/opendkim.conf, KeyTable) are found
if they are copied beside main.cf.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if report != "text" && report != "json" {
				return usageError{fmt.Errorf("--report %q: want text or json", report)}
			}
			r, err := importpostfix.Import(os.DirFS(args[0]), o)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if output != "" {
				err = os.WriteFile(output, r.Manifests, 0o600)
			} else {
				_, err = c.OutOrStdout().Write(r.Manifests)
			}
			if err != nil {
				return err
			}
			if err := reportFindings(c.ErrOrStderr(), report, r.Findings); err != nil {
				return err
			}
			for _, f := range r.Findings {
				if f.Level == importpostfix.Open {
					return errSaid
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&output, "output", "o", "", "file to write the manifests to; the default is standard output")
	f.StringVar(&report, "report", "text", "text or json: how what was not carried is listed")
	f.StringVar(&o.Name, "name", "office", "name of the PrinterRelay and the SenderPolicy")
	f.StringVarP(&o.Namespace, "namespace", "n", "", "namespace of all objects; the default is to write none")
	f.StringVar(&o.Hostname, "hostname", "", "in place of myhostname")
	f.StringSliceVar(&o.Users, "users", nil, "logins of the copiers, which Postfix leaves to Dovecot or Cyrus")
	return c
}

// reportFindings prints a line for each finding, with what to do below it.
func reportFindings(w io.Writer, format string, findings []importpostfix.Finding) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if findings == nil {
			findings = []importpostfix.Finding{}
		}
		return e.Encode(findings)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(t, "%s\t%s\t%s = %s\n\t\t%s\n", f.Level, f.Where, f.Parameter, f.Value, f.Why)
		if f.Remedy != "none" {
			fmt.Fprintf(t, "\t\t-> %s\n", f.Remedy)
		}
	}
	return t.Flush()
}
