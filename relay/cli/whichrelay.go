package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// whichRelay are the flags that name a relay: one that runs, by its admin port, or the
// state folder of one that does not.
type whichRelay struct{ addr, state, relay string }

// add adds the flags to c and the commands below it; folder says what --state is.
func (w *whichRelay) add(c *cobra.Command, folder string) {
	p := c.PersistentFlags()
	p.StringVar(&w.addr, "admin", "127.0.0.1:8080", "admin port of a relay that runs")
	p.StringVar(&w.state, "state", "", folder)
	p.StringVar(&w.relay, "relay", "", "namespace/name, where there is more than one relay")
	c.MarkFlagsMutuallyExclusive("admin", "state")
}

const stoppedState = "state folder of a relay that does not run, as `relay --state` has it"

// client asks the relay's admin port.
func (w *whichRelay) client(ctx context.Context) *admin.Client {
	return admin.NewClient(ctx, w.addr, w.relay)
}

// locked is err with what to do where a relay that runs has the state folder.
func (w *whichRelay) locked(err error) error {
	if errors.Is(err, spool.ErrLocked) {
		return fmt.Errorf("a relay that runs has %s: ask it at its admin port, with --admin in place of --state, or stop it first (%w)", w.state, err)
	}
	return err
}
