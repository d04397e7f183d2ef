package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// messageFlags are the flags that all messages commands share.
type messageFlags struct {
	whichRelay
	json, yaml, wide bool
	filter           history.Filter
	since, until     string
	limit            int

	open func(*cobra.Command, func(admin.Messages) error) error // in place of whichRelay; nil: that
}

func newMessages() *cobra.Command {
	f := &messageFlags{}
	c := f.command()
	f.add(c, stoppedState)
	return c
}

// newMessagesOf is the same over what open opens.
func newMessagesOf(open func(*cobra.Command, func(admin.Messages) error) error) *cobra.Command {
	f := &messageFlags{open: open}
	c := f.command()
	c.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		f.wide = c.Flags().Lookup("output").Value.String() == "wide"
		return asOutput(c, &f.json, &f.yaml)
	}
	c.Long = strings.Replace(c.Long, `Asks the admin port of a relay that runs (--admin) for its history, or reads
the state folder of one that does not (--state). It holds`, `Asks all instances of the relay that --relay names, or of all relays in the
namespace, for their histories. One that does not answer is named, and makes the
exit status 1. They hold`, 1)
	return c
}

func (f *messageFlags) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "messages",
		Short: "Search what became of messages, and what was refused and why",
		Long: `Asks the admin port of a relay that runs (--admin) for its history, or reads
the state folder of one that does not (--state). It holds every message that came
in with each attempt and the server's own words, and what was refused; no
contents, and no subjects unless spec.history.subjects is Keep.`,
		RunE: needVerb,
	}
	c.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	c.AddCommand(f.list(), f.show(), f.forget())
	return c
}

func (f *messageFlags) selectors(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.filter.Sender, "sender", "", `from this address, pattern or domain, or "<>"`)
	p.StringVar(&f.filter.Recipient, "recipient", "", "to this address, pattern or domain")
	p.StringVar(&f.filter.Client, "client", "", "from this address, network, login or name (HELO)")
	p.StringVar(&f.filter.Text, "text", "", "with this text in IDs, addresses, the subject or the words of servers")
	p.StringVar(&f.since, "since", "", "that came in since this time, or so long ago: 48h")
	p.StringVar(&f.until, "until", "", "that came in before this time, or so long ago")
}

// times reads the flags that are times.
func (f *messageFlags) times() error {
	now := time.Now()
	var err error
	if f.filter.Since, err = admin.Moment("--since", f.since, now); err != nil {
		return usageError{err}
	}
	if f.filter.Until, err = admin.Moment("--until", f.until, now); err != nil {
		return usageError{err}
	}
	return nil
}

// with runs do on the history that the flags name, or on those of all instances;
// readOnly: it changes nothing.
func (f *messageFlags) with(c *cobra.Command, readOnly bool, do func(admin.Messages) error) error {
	if err := f.times(); err != nil {
		return err
	}
	if f.open != nil {
		return f.open(c, do)
	}
	if f.state == "" {
		return do(f.client(c.Context()).History())
	}
	h, err := relay.OpenHistory(f.state, f.relay, readOnly)
	if err != nil {
		return err
	}
	return errors.Join(do(h), h.Close())
}

func (f *messageFlags) list() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List messages and refusals, the newest first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, true, func(m admin.Messages) error {
				all, err := searchAll(c.Context(), m, f.filter, f.limit)
				if err != nil {
					return err
				}
				return f.print(c, all, func(w io.Writer) error { return printMessages(w, all, f.limit, f.wide) })
			})
		},
	}
	f.selectors(c)
	p := c.Flags()
	p.StringVar(&f.filter.Upstream, "upstream", "", "that this upstream was tried for")
	p.StringVar((*string)(&f.filter.State), "status", "", "waiting, deferred, held, accepted, failed, removed, refused, lost or unknown")
	p.StringVar((*string)(&f.filter.Kind), "kind", "", "message or refusal")
	p.IntVar(&f.limit, "limit", 100, "at most so many; 0: all")
	return c
}

// print writes v for machines where the flags say so, or calls text for people.
func (f *messageFlags) print(c *cobra.Command, v any, text func(io.Writer) error) error {
	switch {
	case f.json:
		return printJSON(c, v)
	case f.yaml:
		return kubectl.Encode(c.OutOrStdout(), "yaml", v)
	}
	return text(c.OutOrStdout())
}

// searchAll gives the first entries of a filter; limit 0: all.
func searchAll(ctx context.Context, m admin.Messages, f history.Filter, limit int) ([]history.Entry, error) {
	all := []history.Entry{}
	for {
		f.Limit = 1000
		if limit > 0 {
			f.Limit = min(f.Limit, limit-len(all))
		}
		page, err := m.List(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Entries...)
		if page.Next == "" || limit > 0 && len(all) >= limit {
			return all, nil
		}
		f.Cursor = page.Next
	}
}

// printMessages writes a table; the wide one tells the instances.
func printMessages(out io.Writer, all []history.Entry, limit int, wide bool) error {
	titles := []string{"TIME", "ID", "STATUS", "SIZE", "CLIENT", "SENDER", "RECIPIENT", "UPSTREAM", "WORDS"}
	if wide {
		titles = slices.Insert(titles, len(titles)-1, "INSTANCE")
	}
	rows := newColumns(titles...)
	for i := range all {
		e := &all[i]
		row := []string{
			e.At.Local().Format("2006-01-02 15:04:05"), e.ID, string(e.State), strconv.FormatInt(e.Size, 10), clientOf(e), senderOf(e),
			recipientsOf(e), strings.Join(e.Upstreams, ","),
		}
		if wide {
			row = append(row, e.Instance)
		}
		rows.add(append(row, wordsOf(e))...)
		rows.paint(2, entryColours[e.State])
	}
	if err := rows.write(out); err != nil {
		return err
	}
	if limit > 0 && len(all) == limit {
		fmt.Fprintf(out, "\nThe newest %d; --limit shows more.\n", limit)
	}
	return nil
}

// entryColours are those of the states of what the history has.
var entryColours = map[history.State]kubectl.Colour{
	history.Deferred: kubectl.Note, history.Held: kubectl.Note, history.Accepted: kubectl.Good, history.Failed: kubectl.Bad, history.Refused: kubectl.Bad, history.Lost: kubectl.Bad, history.Unknown: kubectl.Note,
}

// senderOf is who a message is from; where a login was refused nobody was named yet.
func senderOf(e *history.Entry) string {
	if e.Step == "AUTH" {
		return "-"
	}
	return "<" + e.Sender + ">"
}

func clientOf(e *history.Entry) string {
	if e.User != "" {
		return e.User + "@" + e.Client
	}
	return e.Client
}

func recipientsOf(e *history.Entry) string {
	if len(e.Recipients) == 0 {
		return "-"
	}
	s := "<" + e.Recipients[0].Address + ">"
	if e.RecipientCount > 1 {
		s += fmt.Sprintf(" +%d", e.RecipientCount-1)
	}
	return s
}

func wordsOf(e *history.Entry) string {
	if e.Kind != history.Refusal {
		return e.Reply
	}
	s := e.Step + ": " + e.Reply
	if e.Count > 1 {
		s = fmt.Sprintf("%s (%d times)", s, e.Count)
	}
	if e.Cause != "" {
		s += " [" + e.Cause + "]"
	}
	return s
}

func (f *messageFlags) show() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one message with every attempt and the server's own words, or a refusal", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c, true, func(m admin.Messages) error {
				d, err := m.Show(c.Context(), args[0])
				if err != nil {
					return err
				}
				return f.print(c, d, func(w io.Writer) error { return printMessage(w, &d) })
			})
		},
	}
}

func printMessage(out io.Writer, d *history.Detail) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-12s%s\n", name+":", reply.Printable(value))
		}
	}
	line("ID", d.ID)
	line("Status", string(d.State))
	line("Time", d.At.Local().Format(time.RFC1123Z))
	line("Client", strings.TrimSpace(clientOf(&d.Entry)+" "+d.HELO))
	line("TLS", d.TLS)
	line("Instance", d.Instance)
	line("Listener", d.Listener)
	line("Rule", d.Rule)
	line("Sender", "<"+d.Sender+">")
	for _, r := range d.Recipients {
		line("Recipient", strings.TrimSpace("<"+r.Address+"> "+r.Status))
	}
	if more := d.RecipientCount - len(d.Recipients); more > 0 {
		line("", fmt.Sprintf("and %d more recipients", more))
	}
	if d.Size > 0 {
		line("Size", strconv.FormatInt(d.Size, 10)+" octets")
	}
	line("Message-ID", d.MessageID)
	line("Subject", d.Subject)
	line("About", d.NotificationOf)
	if d.Kind == history.Refusal {
		line("Refused", wordsOf(&d.Entry))
	}
	for i := range d.Events {
		printEvent(&b, &d.Events[i])
	}
	if d.EventsOmitted > 0 {
		fmt.Fprintf(&b, "\n%d events in between are not kept.\n", d.EventsOmitted)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func printEvent(b *strings.Builder, x *history.Event) {
	line := func(indent, format string, a ...any) {
		b.WriteString(indent + reply.Printable(fmt.Sprintf(format, a...)) + "\n")
	}
	first := x.At.Local().Format("2006-01-02 15:04:05") + "  " + x.Event
	for _, s := range []string{x.Upstream, x.Text} {
		if s != "" {
			first += " " + s
		}
	}
	if x.By != "" {
		first += " by " + x.By
	}
	if x.Took > 0 {
		first += fmt.Sprintf(" (%s)", x.Took.Round(time.Millisecond))
	}
	line("\n", "%s", first)
	const indent = "    "
	for i := range x.Results {
		r := &x.Results[i]
		code := ""
		if r.Code != 0 {
			code = strconv.Itoa(r.Code)
		}
		line(indent, "%s: %s", r.Outcome, strings.Join(strings.Fields(code+" "+r.Enhanced+" "+r.Text), " "))
		if r.Remote != "" {
			line(indent, "said by %s", r.Remote)
		}
		if r.Remedy != "" {
			line(indent, "%s", r.Remedy)
		}
		if !r.Next.IsZero() {
			line(indent, "next attempt %s", r.Next.Local().Format("2006-01-02 15:04:05"))
		}
	}
}

func (f *messageFlags) forget() *cobra.Command {
	c := &cobra.Command{
		Use: "forget", Short: "Erase entries for good, such as those of a person", Args: cobra.NoArgs,
		Long: `Erases entries whole, whoever else they name, and writes the file anew without
them. The queue, the log and what was delivered know nothing of it.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, false, func(m admin.Messages) error {
				n, err := m.Forget(c.Context(), f.filter)
				if err != nil {
					return err
				}
				return f.print(c, admin.Forgotten{Forgotten: n}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "%d erased\n", n)
					return err
				})
			})
		},
	}
	f.selectors(c)
	return c
}
