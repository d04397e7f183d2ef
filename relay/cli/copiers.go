package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// copierFlags are the flags that all copiers commands share, and suggest.
type copierFlags struct {
	whichRelay
	network, since string
	filter         inventory.Filter

	open func(*cobra.Command, func(kubectl.Copiers) error) error // in place of whichRelay; nil: that
}

func (f *copierFlags) where(c *cobra.Command) {
	f.add(c, "state folder of a relay, as `relay --state` has it: what it wrote down last")
}

func newCopiers() *cobra.Command {
	f := &copierFlags{}
	c := f.command()
	f.where(c)
	return c
}

// newCopiersOf is the same over what open opens.
func newCopiersOf(open func(*cobra.Command, func(kubectl.Copiers) error) error) *cobra.Command {
	c := (&copierFlags{open: open}).command()
	c.Long += `
Asks all instances of the relay that --relay names, or of all relays in the
namespace; a device that several saw is one. One that does not answer is named, and
makes the exit status 1. To forget is of one relay.`
	return c
}

func (f *copierFlags) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "copiers",
		Short: "Show the devices that connected, with their TLS, login, last scan and last refusal",
		Long: `Lists the devices that a relay has seen, the one that connected last first: what
they call themselves, how they connect, what was accepted of them last, and what was
refused and why. Devices that were never let in are among them.`,
	}
	list := f.list()
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return needVerb(c, args)
		}
		return list.RunE(c, args)
	}
	c.Flags().AddFlagSet(list.Flags()) // `copiers` alone lists
	c.AddCommand(list, f.show(), f.forget())
	return c
}

// selectors are the flags that choose devices.
func (f *copierFlags) selectors(c *cobra.Command) {
	p := c.Flags()
	p.BoolVar(&f.filter.Refused, "refused", false, "that were refused when they last tried")
	p.BoolVar(&f.filter.Legacy, "legacy", false, "that use clear text, or a TLS older than 1.2")
	p.BoolVar(&f.filter.DryRun, "dry-run", false, "for which a policy in DryRun would change something")
	p.StringVar(&f.network, "network", "", "in this network, or with this address")
	p.StringVar(&f.filter.Name, "name", "", "that call themselves so, or log in as this user")
	p.StringVar(&f.since, "since", "", "that connected since then: 12h, 7d, 2026-11-26")
}

// copiers runs do on the devices that the flags choose.
func (f *copierFlags) copiers(c *cobra.Command, do func([]inventory.Copier) error) error {
	var err error
	if f.network != "" {
		if f.filter.Network, err = readNetwork(f.network); err != nil {
			return usageError{err}
		}
	}
	if f.since != "" {
		if f.filter.Since, err = admin.Since(f.since, time.Now()); err != nil {
			return usageError{fmt.Errorf("--%w", err)}
		}
	}
	return f.with(c, func(known kubectl.Copiers) error {
		all, err := known.AllCopiers(c.Context(), f.filter)
		if err != nil {
			return err
		}
		return do(all)
	})
}

// with runs do on the devices that are known where the flags say.
func (f *copierFlags) with(c *cobra.Command, do func(kubectl.Copiers) error) error {
	if f.open != nil {
		return f.open(c, do)
	}
	if f.state == "" {
		return do(f.client(c.Context()))
	}
	s, err := relay.StoredCopiers(f.state, f.relay)
	if err != nil {
		return err
	}
	return do(storedCopiers{s, func(a netip.Addr) error { return f.forgetStored(c, a) }})
}

// storedCopiers are those of a folder.
type storedCopiers struct {
	*inventory.Store
	forget func(netip.Addr) error
}

func (s storedCopiers) AllCopiers(_ context.Context, f inventory.Filter) ([]inventory.Copier, error) {
	f.Limit = inventory.MaxPage
	page, err := s.List(f)
	return page.Copiers, err
}

func (s storedCopiers) Copier(_ context.Context, a netip.Addr) (inventory.Copier, error) {
	d, err := s.Get(a)
	if err != nil {
		err = fmt.Errorf("%s: %w", a, err)
	}
	return d, err
}

// ForgetCopier implements kubectl.Copiers.
func (s storedCopiers) ForgetCopier(_ context.Context, a netip.Addr) error { return s.forget(a) }

func readNetwork(s string) (netip.Prefix, error) {
	if n, err := netip.ParsePrefix(s); err == nil {
		return n.Masked(), nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.Prefix{}, fmt.Errorf("--network %q: want a network or an address, such as 10.20.3.0/24", s)
}

// copierForms are what -o gives.
var copierForms = []string{"table", "wide", "json", "yaml", "csv"}

func (f *copierFlags) list() *cobra.Command {
	var output string
	c := &cobra.Command{Use: "list", Short: "List devices; `copiers` alone does the same", Args: cobra.NoArgs}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !slices.Contains(copierForms, output) {
			return usageError{fmt.Errorf("--output %q: want table, wide, json, yaml or csv", output)}
		}
		return f.copiers(c, func(all []inventory.Copier) error {
			switch output {
			case "json", "yaml":
				return kubectl.Encode(c.OutOrStdout(), output, all)
			case "csv":
				return inventory.WriteCSV(c.OutOrStdout(), all)
			}
			return printCopiers(c.OutOrStdout(), all, output == "wide", f.filter.DryRun, time.Now())
		})
	}
	f.selectors(c)
	c.Flags().StringVarP(&output, "output", "o", "table", "table, wide, json, yaml or csv")
	return c
}

func printCopiers(out io.Writer, all []inventory.Copier, wide, dry bool, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "no such device is known")
		return err
	}
	titles := []string{"DEVICE", "NAME", "TLS", "AUTH", "LAST", "SCANS", "LAST SCAN", "REFUSED", "WHY"}
	switch {
	case dry:
		titles = []string{"DEVICE", "NAME", "LAST", "DRY RUN"}
	case wide:
		titles = append(titles[:8], "LISTENERS", "CIPHER", "FIRST", "SENDERS", "RECIPIENT DOMAINS", "WHY")
	}
	told := len(all[0].Instances) > 0 // of all, or of none
	if told && wide && !dry {
		titles = slices.Insert(titles, len(titles)-1, "INSTANCES")
	}
	rows := newColumns(titles...)
	for i := range all {
		c := &all[i]
		if dry {
			for k := range c.DryRun {
				rows.add(c.Device, c.Name(), ago(now, c.Last), c.DryRun[k].Text())
			}
			continue
		}
		name := c.Name()
		if !wide {
			name = cut(name, maxName)
		}
		row := []string{deviceName(c), name, tlsWord(c), authWord(c), ago(now, c.Last), strconv.FormatUint(c.Accepted, 10), lastScan(c, now), strconv.FormatUint(c.Refused+c.Aborted, 10)}
		if wide {
			row = append(row, strings.Join(c.Listeners, ","), c.TLS.Cipher, ago(now, c.First), counted(c.Senders), counted(c.Recipients))
			if told {
				row = append(row, strings.Join(c.Instances, ","))
			}
		}
		rows.add(append(row, whyWord(c))...)
		rows.paint(2, tlsColour(c))
		if c.Refusing() {
			rows.paint(len(titles)-1, kubectl.Bad)
		}
	}
	return rows.write(out)
}

// maxName is how much of the name that a device gives itself stands in a table that is not wide.
const maxName = 40

// cut is s within n characters, with a sign where there were more.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func tlsColour(c *inventory.Copier) kubectl.Colour {
	switch {
	case c.TLS.Version == "" && c.TLS.Failed != "":
		return kubectl.Bad
	case c.Legacy():
		return kubectl.Note
	}
	return kubectl.Plain
}

func deviceName(c *inventory.Copier) string {
	if c.Hidden {
		return c.Device + " (many)"
	}
	return c.Device
}

func tlsWord(c *inventory.Copier) string {
	switch {
	case c.TLS.Version != "":
		return c.TLS.Version
	case c.TLS.Failed != "":
		return "failed"
	case c.TLS.Offered:
		return "none (offered)"
	}
	return "none"
}

func authWord(c *inventory.Copier) string {
	a := c.Auth
	if a.Mechanism == "" {
		return "none"
	}
	word := a.Mechanism
	if a.User != "" {
		word += " " + a.User
	}
	if !a.OK {
		word += " (failed)"
	}
	return word
}

func lastScan(c *inventory.Copier, now time.Time) string {
	if c.LastScan == nil {
		return "never"
	}
	return ago(now, c.LastScan.At)
}

// whyWord is why a device cannot scan now, or could not last; of one that can, that
// is of the past.
func whyWord(c *inventory.Copier) string {
	r := c.LastRefusal
	if r == nil {
		return ""
	}
	why := cmp.Or(r.Reply, r.Kind+": "+r.Why)
	if !c.Refusing() {
		return "(before its last scan) " + why
	}
	return why
}

func counted(l []inventory.Counted) string {
	var out []string
	for i := range l {
		out = append(out, cmp.Or(l[i].Value, "<>"))
	}
	return strings.Join(out, ",")
}

func ago(now, at time.Time) string {
	d := now.Sub(at)
	switch {
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 2*time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + "d"
}

func (f *copierFlags) show() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "show ADDRESS", Short: "Show all that is known of a device", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := admin.DeviceAddress(args[0])
			if err != nil {
				return usageError{err}
			}
			if output != "text" && output != "json" && output != "yaml" {
				return usageError{fmt.Errorf("--output %q: want text, json or yaml", output)}
			}
			return f.with(c, func(known kubectl.Copiers) error {
				d, err := known.Copier(c.Context(), a)
				switch {
				case err != nil:
					return err
				case output == "text":
					return printCopier(c.OutOrStdout(), &d, time.Now())
				}
				return kubectl.Encode(c.OutOrStdout(), output, d)
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text, json or yaml")
	return c
}

func (f *copierFlags) forget() *cobra.Command {
	return &cobra.Command{
		Use: "forget ADDRESS", Short: "Forget a device; it is new when it connects again", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a, err := admin.DeviceAddress(args[0])
			if err != nil {
				return usageError{err}
			}
			return f.with(c, func(known kubectl.Copiers) error { return known.ForgetCopier(c.Context(), a) })
		},
	}
}

// forgetStored forgets a device of a folder, which no relay may have open.
func (f *copierFlags) forgetStored(c *cobra.Command, a netip.Addr) error {
	log, err := (&logFlags{format: "text", level: "error"}).logger(c.ErrOrStderr())
	if err != nil {
		return err
	}
	return f.locked(relay.ForgetStoredCopier(f.state, f.relay, a, log))
}

// printCopier writes all that is known of a device, for people.
func printCopier(out io.Writer, c *inventory.Copier, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name, format string, a ...any) {
		fmt.Fprintf(w, "%s:\t%s\n", name, reply.Printable(fmt.Sprintf(format, a...)))
	}
	line("device", "%s", c.Device)
	if c.Address != c.Device {
		line("last address", "%s", c.Address)
	}
	if c.Hidden {
		line("hidden", "it is a node's or load balancer's address: many devices may be behind it")
	}
	line("names", "%s", cmp.Or(strings.Join(c.Names, ", "), "none"))
	line("listeners", "%s", strings.Join(c.Listeners, ", "))
	if len(c.Instances) > 0 {
		line("instances", "%s", strings.Join(c.Instances, ", "))
	}
	tlsText := tlsWord(c)
	if c.TLS.Cipher != "" {
		tlsText += ", " + c.TLS.Cipher
	}
	if c.TLS.Failed != "" {
		tlsText += ": " + c.TLS.Failed
	}
	line("TLS", "%s", tlsText)
	line("login", "%s", authWord(c))
	line("first seen", "%s (%s ago)", stamp(c.First), ago(now, c.First))
	line("last connection", "%s (%s ago)", stamp(c.Last), ago(now, c.Last))
	line("counted", "%d scans accepted, %d refusals, %d broken off", c.Accepted, c.Refused, c.Aborted)
	if c.Peak.MessagesPerMinute > 0 {
		line("at most", "%d scans in a minute, %d recipients in a day", c.Peak.MessagesPerMinute, c.Peak.RecipientsPerDay)
	}
	if s := c.LastScan; s != nil {
		line("last scan", "%s, %s, from <%s>, %d octets, listener %s", stamp(s.At), s.ID, s.Sender, s.Octets, s.Listener)
	}
	if r := c.LastRefusal; r != nil {
		line("last refusal", "%s, %s", stamp(r.At), cmp.Or(r.Reply, r.Kind))
		if r.Why != "" {
			line("  why", "%s", r.Why)
		}
		tried := strings.TrimSpace(r.Step)
		if r.Sender != nil {
			tried += " from <" + *r.Sender + ">"
		}
		if r.RecipientDomain != "" {
			tried += " to somebody at " + r.RecipientDomain
		}
		line("  tried", "%s", strings.TrimSpace(tried))
		if r.Session != "" {
			line("  transcript", "printer-relay sessions show %s (or %s)", r.Session, c.Address)
		}
	}
	for i := range c.Senders {
		s := &c.Senders[i]
		line("sender", "<%s>, %d accepted, %d refused, last %s", s.Value, s.Accepted, s.Refused, stamp(s.Last))
	}
	for i := range c.Recipients {
		r := &c.Recipients[i]
		line("recipient domain", "%s, %d accepted, %d refused, last %s", r.Value, r.Accepted, r.Refused, stamp(r.Last))
	}
	for i := range c.DryRun {
		d := &c.DryRun[i]
		text := d.Text() + ", last " + stamp(d.Last)
		if d.Reply != "" {
			text += ": " + d.Reply
		}
		line("dry run", "%s", text)
	}
	return w.Flush()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
