package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

// webhookFlags are the flags that all webhooks commands share.
type webhookFlags struct {
	addr, relay string
	output      string
	limit       int

	open func(*cobra.Command, func(admin.Webhooks) error) error // in place of the admin port; nil: that
}

// newWebhooks looks at the webhooks of a relay that runs: what waits is its own.
func newWebhooks() *cobra.Command {
	f := &webhookFlags{}
	c := f.command()
	p := c.PersistentFlags()
	p.StringVar(&f.addr, "admin", "127.0.0.1:8080", "admin port of the relay")
	p.StringVar(&f.relay, "relay", "", "namespace/name, where there is more than one relay")
	return c
}

// newWebhooksOf is the same over what open opens.
func newWebhooksOf(open func(*cobra.Command, func(admin.Webhooks) error) error) *cobra.Command {
	c := (&webhookFlags{open: open}).command()
	c.Long += `
Asks all instances of the relay that --relay names, or of all relays in the namespace:
each tells of its own mail. One that does not answer is named, and makes the exit
status 1. A test is of one relay.`
	return c
}

func (f *webhookFlags) command() *cobra.Command {
	c := &cobra.Command{
		Use:     "webhooks",
		Aliases: []string{"webhook"},
		Short:   "Show what waits for the webhooks, and test them",
		Long: `Shows how the web addresses stand that spec.webhooks of a PrinterRelay names, with
each event that waits to be told, and sends them test events.`,
		RunE: needVerb,
	}
	c.AddCommand(f.list(), f.test())
	return c
}

// webhookForms are what -o gives.
var webhookForms = []string{"table", "wide", "json", "yaml"}

// with runs do on the webhooks that the flags name.
func (f *webhookFlags) with(c *cobra.Command, do func(admin.Webhooks) error) error {
	if !slices.Contains(webhookForms, f.output) {
		return usageError{fmt.Errorf("--output %q: want %s", f.output, strings.Join(webhookForms, ", "))}
	}
	if f.open != nil {
		return f.open(c, do)
	}
	ctx := queue.WithPerson(c.Context(), queue.Person{Name: myself()})
	c.SetContext(ctx)
	return do(admin.NewClient(ctx, f.addr, f.relay).Webhooks())
}

func (f *webhookFlags) outputFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&f.output, "output", "o", "table", "table, wide, json or yaml")
	return c
}

// print writes v for machines where the flags say so, or calls text for people.
func (f *webhookFlags) print(c *cobra.Command, v any, text func(io.Writer) error) error {
	if f.output == "json" || f.output == "yaml" {
		return kubectl.Encode(c.OutOrStdout(), f.output, v)
	}
	return text(c.OutOrStdout())
}

func (f *webhookFlags) list() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the webhooks, and what waits for each", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c, func(w admin.Webhooks) error {
				all, err := w.List(c.Context())
				if err != nil {
					return err
				}
				return f.print(c, all, func(out io.Writer) error { return f.table(out, all, time.Now()) })
			})
		},
	}
	c.Flags().IntVar(&f.limit, "limit", 100, "in the table, at most so many events that wait for a webhook; 0: all")
	return f.outputFlag(c)
}

// table writes the webhooks, and below them what waits.
func (f *webhookFlags) table(out io.Writer, all []webhook.Status, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "there is no webhook: spec.webhooks of a PrinterRelay names them")
		return err
	}
	told := slices.ContainsFunc(all, func(s webhook.Status) bool { return s.Instance != "" })
	column := func(row []string, instance string) []string {
		if told {
			return slices.Insert(row, 1, instance)
		}
		return row
	}
	hooks := newColumns(column([]string{"WEBHOOK", "HOST", "WAITING", "LAST TOLD", "NEXT TRY", "LAST REPLY", "STATE"}, "INSTANCE")...)
	events := newColumns(column([]string{"WEBHOOK", "EVENT", "AGE", "TRIES", "MESSAGE", "DEVICE", "SENDER", "RECIPIENT"}, "INSTANCE")...)
	waiting, more := 0, 0
	for i := range all {
		s := &all[i]
		hooks.add(column([]string{
			s.Name, s.Host, strconv.Itoa(s.Waiting), since(now, s.Last), until(now, s), replyWord(s.Reply, now), stateWord(&s.State),
		}, s.Instance)...)
		hooks.paint(len(hooks.widths)-1, stateColour(&s.State))
		waiting += len(s.Pending)
		shown := s.Pending
		if f.limit > 0 && len(shown) > f.limit {
			more += len(shown) - f.limit
			shown = shown[:f.limit]
		}
		for k := range shown {
			events.add(column(pendingRow(s.Name, &shown[k], now), s.Instance)...)
		}
	}
	if err := hooks.write(out); err != nil || waiting == 0 {
		return err
	}
	fmt.Fprintln(out)
	if err := events.write(out); err != nil || more == 0 {
		return err
	}
	_, err := fmt.Fprintf(out, "\nand %d more; --limit 0 shows all\n", more)
	return err
}

func pendingRow(name string, e *webhook.Pending, now time.Time) []string {
	what, from, to, id := string(e.Type), "<"+e.Sender+">", "-", e.ID
	if e.Count > 1 {
		what += fmt.Sprintf(" (%d times)", e.Count)
	}
	if len(e.Recipients) > 0 {
		to = "<" + e.Recipients[0] + ">"
	}
	if n := len(e.Recipients); n > 1 {
		to += fmt.Sprintf(" +%d", n-1)
	}
	if id == "" {
		id = "-"
		if e.Sender == "" { // of a refusal: nobody was named yet
			from = "-"
		}
	}
	return []string{name, what, ago(now, e.At), strconv.Itoa(e.Tries), id, e.Device, from, to}
}

func since(now, at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return ago(now, at)
}

// until is how long there is no other request.
func until(now time.Time, s *webhook.Status) string {
	switch {
	case s.Next.After(now):
		return "in " + ago(s.Next, now)
	case s.Waiting > 0 && !s.Disabled:
		return "now"
	}
	return "-"
}

func replyWord(r *webhook.Reply, now time.Time) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%s, %s ago", statusWord(r), ago(now, r.At))
}

// statusWord is a reply in a line.
func statusWord(r *webhook.Reply) string {
	s := strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status)))
	if r.Text != "" {
		s += fmt.Sprintf(" (%s)", reply.Line(r.Text, 60))
	}
	return s
}

func stateColour(s *webhook.State) kubectl.Colour {
	if s.Problem != "" {
		return kubectl.Bad
	}
	return kubectl.Good
}

func stateWord(s *webhook.State) string {
	switch {
	case s.Problem == "":
		return "well"
	case s.Remedy == "":
		return s.Problem
	}
	return s.Problem + "; what to do: " + s.Remedy
}

func (f *webhookFlags) test() *cobra.Command {
	c := &cobra.Command{
		Use: "test [WEBHOOK]", Short: "Send a test event to a webhook, or to all, and show what it answers", Args: cobra.MaximumNArgs(1),
		Long: `Sends a signed event of type webhook.test at once, beside what waits, and shows the
receiver's reply. What is wrong is said with the field that it is about, and what to do.
Exit status 1 if a webhook did not take it. One that does is told at once what waits.`,
		RunE: func(c *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			return f.with(c, func(w admin.Webhooks) error {
				all, err := w.Test(c.Context(), name)
				if err != nil {
					return err
				}
				if len(all) == 0 {
					return fmt.Errorf("there is no webhook to test: spec.webhooks of a PrinterRelay names them")
				}
				if err := f.print(c, all, func(out io.Writer) error { return printTests(out, all) }); err != nil {
					return err
				}
				if slices.ContainsFunc(all, func(t webhook.Tested) bool { return !t.OK }) {
					return errSaid
				}
				return nil
			})
		},
	}
	if f.open == nil {
		c.ValidArgsFunction = f.names
	}
	return f.outputFlag(c)
}

// names completes the names of the webhooks that a relay has.
func (f *webhookFlags) names(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.Background(), completeTime) // a shell's command has none
	defer cancel()
	all, err := admin.NewClient(ctx, f.addr, f.relay).Webhooks().List(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for i := range all {
		names = append(names, all[i].Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeTime bounds what a shell waits for.
const completeTime = 3 * time.Second

// printTests writes a line for each test, with what is wrong below it.
func printTests(out io.Writer, all []webhook.Tested) error {
	var b strings.Builder
	paint := kubectl.PainterFor(out)
	line := func(format string, a ...any) { b.WriteString(reply.Printable(fmt.Sprintf(format, a...)) + "\n") }
	for i := range all {
		t := &all[i]
		mark, colour, said := "ok", kubectl.Good, "no reply"
		if !t.OK {
			mark, colour = "FAILED", kubectl.Bad
		}
		if t.Reply != nil {
			said = statusWord(t.Reply)
		}
		b.WriteString(paint.In(colour, fmt.Sprintf("%-7s", mark)))
		line(" %-10s %s", strings.TrimSpace(t.Webhook+" "+t.Instance), strings.TrimSpace(fmt.Sprintf("%s: %s, after %d ms", t.Host, said, t.Took)))
		if t.OK {
			continue
		}
		where := "PrinterRelay " + t.Relay
		if t.Field != "" {
			where += ", " + t.Field
		}
		line("%-18s %s: %s", "", where, t.Problem)
		if t.Remedy != "" {
			line("%-18s what to do: %s", "", t.Remedy)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
