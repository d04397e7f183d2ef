package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// queueFlags are the flags that all queue commands share.
type queueFlags struct {
	whichRelay
	json     bool
	yaml     bool // of the plugin
	override bool
	open     func(*cobra.Command, func(admin.Queue) error) error // in place of whichRelay; nil: that
	filter   queue.Filter
}

func newQueue() *cobra.Command {
	f := &queueFlags{}
	c := f.command()
	f.add(c, stoppedState)
	return c
}

// newQueueOf is the same over a queue that open opens.
func newQueueOf(open func(*cobra.Command, func(admin.Queue) error) error) *cobra.Command {
	f := &queueFlags{open: open}
	c := f.command()
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return asOutput(c, &f.json, &f.yaml) }
	c.Long = strings.Replace(c.Long, `Talks to the admin port of a relay that runs (--admin), or works on the state
folder of one that does not (--state).`, "Talks to all instances of a relay in the cluster.", 1)
	return c
}

func (f *queueFlags) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Look at and change the mail that waits or failed",
		Long: `Talks to the admin port of a relay that runs (--admin), or works on the state
folder of one that does not (--state). Messages are selected by queue ID or by
--upstream, --sender, --client, --older-than, --status and --held-by together, or
with --all. What is released, rerouted or retried after it failed has to pass the
policy of now again.`,
		RunE: needVerb,
	}
	p := c.PersistentFlags()
	p.BoolVar(&f.json, "json", false, "print JSON")
	c.AddCommand(f.list(), f.show(), f.export())
	c.AddCommand(
		f.verb("retry", "Try messages now; failed ones get their full time again", "", "", func(ctx context.Context, q admin.Queue, s queue.Filter, _ string) ([]string, error) {
			return q.Retry(ctx, s)
		}),
		f.verb("hold", "Keep messages from being tried", "reason", "why", func(ctx context.Context, q admin.Queue, s queue.Filter, reason string) ([]string, error) {
			return q.Hold(ctx, s, reason)
		}),
		f.verb("release", "Let held messages go", "", "", func(ctx context.Context, q admin.Queue, s queue.Filter, _ string) ([]string, error) {
			return q.Release(ctx, s)
		}),
		f.verb("bounce", "Give messages up and notify", "reason", "why", func(ctx context.Context, q admin.Queue, s queue.Filter, reason string) ([]string, error) {
			return q.Bounce(ctx, s, reason)
		}),
		f.verb("reroute", "Send messages by one upstream only", "to", `upstream; "" lets the routes decide again`, func(ctx context.Context, q admin.Queue, s queue.Filter, to string) ([]string, error) {
			return q.Reroute(ctx, s, to)
		}),
		f.verb("remove", "Delete messages without a word to anybody", "", "", func(ctx context.Context, q admin.Queue, s queue.Filter, _ string) ([]string, error) {
			return q.Remove(ctx, s)
		}),
	)
	return c
}

func needVerb(c *cobra.Command, args []string) error {
	var verbs []string
	for _, sub := range c.Commands() {
		verbs = append(verbs, sub.Name())
	}
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %q: use %s", args[0], c.CommandPath(), strings.Join(verbs, ", "))}
	}
	return usageError{fmt.Errorf("%s: say what to do: %s", c.CommandPath(), strings.Join(verbs, ", "))}
}

func (f *queueFlags) selectors(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.filter.Upstream, "upstream", "", "that wait for this upstream")
	p.StringVar(&f.filter.Sender, "sender", "", `from this address or pattern, or "<>"`)
	p.StringVar(&f.filter.Client, "client", "", "from this address, network or login")
	p.StringVar((*string)(&f.filter.State), "status", "", "pending, deferred, held or failed")
	p.StringVar(&f.filter.HeldBy, "held-by", "", "that this hold of the PrinterRelay keeps; intake:Hold: that came while intake was Hold")
	p.DurationVar(&f.filter.OlderThan, "older-than", 0, "that came in so long ago")
	p.BoolVar(&f.filter.All, "all", false, "every message")
}

// with runs do on the queue that the flags name.
func (f *queueFlags) with(c *cobra.Command, do func(admin.Queue) error) error {
	c.SetContext(queue.WithPerson(c.Context(), queue.Person{Name: myself(), Override: f.override}))
	if f.open != nil {
		return f.open(c, do)
	}
	if f.state == "" {
		return do(f.client(c.Context()))
	}
	log, err := (&logFlags{format: "text", level: "error"}).logger(c.ErrOrStderr())
	if err != nil {
		return err
	}
	q, err := relay.OpenQueue(f.state, f.relay, log)
	if err != nil {
		return f.locked(err)
	}
	return errors.Join(do(q), q.Close())
}

// myself is who runs the command, as the system knows them.
func myself() string {
	name := ""
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

func printJSON(c *cobra.Command, v any) error {
	return kubectl.Encode(c.OutOrStdout(), "json", v)
}

// encode prints v for machines: YAML where that is asked for, else JSON.
func (f *queueFlags) encode(c *cobra.Command, v any) error {
	if f.yaml {
		return kubectl.Encode(c.OutOrStdout(), "yaml", v)
	}
	return printJSON(c, v)
}

func (f *queueFlags) list() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List messages; all of them without a selection", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(q admin.Queue) error {
				all, err := listAll(q, f.filter)
				if err != nil {
					return err
				}
				if f.json || f.yaml {
					return f.encode(c, all)
				}
				return printList(c.OutOrStdout(), all, time.Now())
			})
		},
	}
	f.selectors(c)
	return c
}

// listAll gives all messages of a filter.
func listAll(q admin.Queue, s queue.Filter) ([]queue.Summary, error) {
	if c, ok := q.(interface {
		ListAll(queue.Filter) ([]queue.Summary, error)
	}); ok {
		return c.ListAll(s)
	}
	s.Limit = 1000
	all := []queue.Summary{}
	for {
		page, err := q.List(s)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Messages...)
		if page.Next == "" {
			return all, nil
		}
		s.Cursor = page.Next
	}
}

// stateColours are those of the states of a message.
var stateColours = map[queue.State]kubectl.Colour{queue.Deferred: kubectl.Note, queue.Held: kubectl.Note, queue.Failed: kubectl.Bad}

func printList(out io.Writer, all []queue.Summary, now time.Time) error {
	rows := newColumns("ID", "STATUS", "AGE", "SIZE", "CLIENT", "SENDER", "RCPT", "UPSTREAM", "REASON")
	for i := range all {
		m := &all[i]
		rows.add(m.ID, string(m.State), now.Sub(m.Arrived).Round(time.Second).String(), strconv.FormatInt(m.Size, 10), m.Client, "<"+m.Sender+">",
			strconv.Itoa(m.Waiting)+"/"+strconv.Itoa(m.Recipients), strings.Join(m.Upstreams, ","), m.Reason)
		rows.paint(1, stateColours[m.State])
	}
	if err := rows.write(out); err != nil {
		return err
	}
	printRemedies(out, all)
	return nil
}

// printRemedies says once for all messages with the same trouble what to do.
func printRemedies(out io.Writer, all []queue.Summary) {
	var order []string
	messages := map[string]int{}
	for _, m := range all {
		if m.Remedy == "" {
			continue
		}
		if messages[m.Remedy] == 0 {
			order = append(order, m.Remedy)
		}
		messages[m.Remedy]++
	}
	if len(order) > 0 {
		fmt.Fprintln(out, "\nWhat it means, and what to do:")
	}
	for _, r := range order {
		fmt.Fprintf(out, "  %d of %d: %s\n", messages[r], len(all), r)
	}
}

func (f *queueFlags) show() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one message with every attempt", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(q admin.Queue) error {
				d, err := q.Show(args[0])
				if err != nil {
					return err
				}
				return f.encode(c, d)
			})
		},
	}
}

func (f *queueFlags) export() *cobra.Command {
	return &cobra.Command{
		Use: "export ID", Short: "Write a message as it was taken in (RFC 5322) to standard output", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, func(q admin.Queue) error {
				body, err := q.Export(c.Context(), args[0])
				if err != nil {
					return err
				}
				defer body.Close()
				if _, err = io.Copy(c.OutOrStdout(), body); err != nil {
					return fmt.Errorf("%s: what was written is not whole: %w", args[0], err)
				}
				return nil
			})
		},
	}
}

// verb makes a command that changes messages; param, if there is one, is its
// own flag.
func (f *queueFlags) verb(name, short, param, help string, do func(context.Context, admin.Queue, queue.Filter, string) ([]string, error)) *cobra.Command {
	var value string
	c := &cobra.Command{
		Use: name + " [ID...]", Short: short,
		RunE: func(c *cobra.Command, ids []string) error {
			return f.with(c, func(q admin.Queue) error {
				s := f.filter
				s.IDs = ids
				changed, err := do(c.Context(), q, s, value)
				var kept *queue.KeptError
				if err != nil && !errors.As(err, &kept) {
					return err
				}
				if f.json || f.yaml {
					done := admin.Changed{Changed: changed}
					if kept != nil {
						done.Kept = kept.Messages
					}
					return errors.Join(f.encode(c, done), err)
				}
				for _, id := range changed {
					fmt.Fprintln(c.OutOrStdout(), id)
				}
				return err
			})
		},
	}
	f.selectors(c)
	if slices.Contains([]string{"release", "retry", "reroute"}, name) {
		c.Flags().BoolVar(&f.override, "override-policy", false, "also what a hold, the policy of now or the upstream speaks against; it is logged, with who did it")
	}
	if param != "" {
		c.Flags().StringVar(&value, param, "", help)
	}
	return c
}
