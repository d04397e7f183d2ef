package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// newSessions looks at failed sessions at the admin port. They are in memory
// only: there is no folder to ask in its place.
func newSessions() *cobra.Command {
	var addr, relay, client string
	var json bool
	c := &cobra.Command{
		Use:   "sessions",
		Short: "Show what was said in the sessions that failed, and why they did",
		Long: `Asks the admin port of a relay that runs for the transcripts of the last five
failed sessions of each device. They hold no message, no password and nothing
that was sent to log in. They are kept in memory, since the relay started.`,
		RunE: needVerb,
	}
	p := c.PersistentFlags()
	p.StringVar(&addr, "admin", "127.0.0.1:8080", "admin port of the relay")
	p.StringVar(&relay, "relay", "", "namespace/name, where there is more than one relay")
	p.BoolVar(&json, "json", false, "print JSON")
	list := &cobra.Command{
		Use: "list", Short: "List the devices whose sessions failed, the last one first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			devices, err := admin.NewClient(c.Context(), addr, relay).Devices(c.Context(), client)
			switch {
			case err != nil:
				return err
			case json:
				return printJSON(c, devices)
			case len(devices) == 0:
				fmt.Fprintln(c.OutOrStdout(), "no failed session is kept")
				return nil
			}
			return transcript.WriteTable(c.OutOrStdout(), devices, time.Now())
		},
	}
	list.Flags().StringVar(&client, "client", "", "of this address, network, name (HELO) or login")
	c.AddCommand(list, &cobra.Command{
		Use: "show ID|DEVICE", Short: "Show the transcript of a session, or those of a device", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := admin.NewClient(c.Context(), addr, relay).Transcripts(c.Context(), args[0])
			if err != nil {
				return err
			}
			if json {
				return printJSON(c, found)
			}
			return transcript.WriteText(c.OutOrStdout(), found)
		},
	})
	return c
}
