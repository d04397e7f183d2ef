package cli

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/simulate"
)

func newSimulate() *cobra.Command {
	var profile, passwordFile string
	var list bool
	o := simulate.Options{}
	c := &cobra.Command{
		Use:   "simulate --profile NAME --server HOST:PORT --from ADDRESS --to ADDRESS",
		Short: "Play a known device's dialogue against a server, and print the transcript",
		Long: `Plays what a known device says, as it says it, against a listener, so that one can
test without walking to the device. It ends where the device would: exit status 1
if a reply is none that the device goes on after. Profiles that log in need --user
and --password-file. A real message is sent, with a scan of one empty page.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if list {
				return listProfiles(c)
			}
			d, err := simulate.Profile(profile)
			if err != nil {
				return usageError{err}
			}
			if err := checkSimulation(&o, d); err != nil {
				return usageError{err}
			}
			if passwordFile != "" {
				if o.Values.Password, err = readPassword(c.InOrStdin(), passwordFile); err != nil {
					return err
				}
			}
			o.Print = func(line string) { fmt.Fprintln(c.OutOrStdout(), line) }
			if err := d.Play(c.Context(), o); err != nil {
				return fmt.Errorf("%s: %w", d.Device, explained(err))
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: the dialogue went as the device needs it\n", d.Device)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&profile, "profile", "", "name of the device's dialogue; --list shows them")
	c.RegisterFlagCompletionFunc("profile", completeProfile) //nolint:errcheck // fails only for an unknown flag
	f.BoolVar(&list, "list", false, "list the profiles")
	f.StringVar(&o.Server, "server", "", "HOST:PORT of the listener")
	f.StringVar(&o.Values.From, "from", "", "the device's own address")
	f.StringVar(&o.Values.To, "to", "", "address that the scan goes to")
	f.StringVar(&o.Values.User, "user", "", "user name of profiles that log in")
	f.StringVar(&passwordFile, "password-file", "", "file with the password; - reads standard input")
	f.DurationVar(&o.Timeout, "timeout", 30*time.Second, "of each step")
	return c
}

func completeProfile(*cobra.Command, []string, string) (names []string, how cobra.ShellCompDirective) {
	all, err := simulate.Profiles()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	for _, d := range all {
		names = append(names, d.Name+"\t"+d.Device)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func listProfiles(c *cobra.Command) error {
	all, err := simulate.Profiles()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROFILE\tDEVICE")
	for _, d := range all {
		fmt.Fprintf(w, "%s\t%s\n", d.Name, d.Device)
	}
	return w.Flush()
}

func checkSimulation(o *simulate.Options, d *simulate.Dialogue) error {
	if _, _, err := net.SplitHostPort(o.Server); err != nil {
		return fmt.Errorf("--server %q: want HOST:PORT", o.Server)
	}
	for flag, v := range map[string]string{"--from": o.Values.From, "--to": o.Values.To} {
		if _, err := envelope.ParseAddress(v); err != nil || v == "" {
			return fmt.Errorf("%s %q: want an address", flag, v)
		}
	}
	if d.LogsIn() && o.Values.User == "" {
		return fmt.Errorf("profile %q logs in: give --user and --password-file", d.Name)
	}
	return nil
}

// maxPassword bounds what is read of a password's file.
const maxPassword = 4 << 10

func readPassword(stdin io.Reader, name string) (string, error) {
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPassword))
	if err != nil {
		return "", fmt.Errorf("--password-file: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// explained adds where the meaning of one of our own refusals stands.
func explained(err error) error {
	var refused *simulate.Refused
	if !errors.As(err, &refused) {
		return err
	}
	if i := strings.Index(refused.Reply, "PR-"); i >= 0 && len(refused.Reply) >= i+6 {
		return fmt.Errorf("%w; docs/replies.md says what to do about %s", err, refused.Reply[i:i+6])
	}
	return err
}
