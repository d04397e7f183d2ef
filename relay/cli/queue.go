package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// queueFlags are the flags that all queue commands share.
type queueFlags struct {
	addr, relay                     string
	upstream, sender, client, state string
	olderThan                       time.Duration
	all, json                       bool
}

func newQueue() *cobra.Command {
	f := &queueFlags{}
	c := &cobra.Command{
		Use:   "queue",
		Short: "Look at and change the mail that waits or failed",
		Long: `Talks to the admin port of a running relay. Messages are selected by queue ID or
by --upstream, --sender, --client, --older-than, --state and --all together.`,
	}
	p := c.PersistentFlags()
	p.StringVar(&f.addr, "admin", "127.0.0.1:8080", "admin port of the relay")
	p.StringVar(&f.relay, "relay", "", "namespace/name, where the process runs more than one relay")
	p.BoolVar(&f.json, "json", false, "print JSON")
	c.AddCommand(f.list(), f.show(), f.export())
	c.AddCommand(
		f.verb("retry", "Try messages now; failed ones get their full time again", nil),
		f.verb("hold", "Keep messages from being tried", map[string]string{"reason": "why"}),
		f.verb("release", "Let held messages go", nil),
		f.verb("bounce", "Give messages up and notify", map[string]string{"reason": "why"}),
		f.verb("reroute", "Send messages by one upstream only", map[string]string{"to": `upstream; "" lets the routes decide again`}),
		f.verb("remove", "Delete messages without a word to anybody", nil),
	)
	return c
}

func (f *queueFlags) selectors(c *cobra.Command) {
	p := c.Flags()
	p.StringVar(&f.upstream, "upstream", "", "that wait for this upstream")
	p.StringVar(&f.sender, "sender", "", `from this address or pattern, or "<>"`)
	p.StringVar(&f.client, "client", "", "from this address, network or login")
	p.StringVar(&f.state, "state", "", "pending, deferred, held or failed")
	p.DurationVar(&f.olderThan, "older-than", 0, "that came in so long ago")
	p.BoolVar(&f.all, "all", false, "every message")
}

func (f *queueFlags) query(ids []string) url.Values {
	q := url.Values{"id": ids}
	for k, v := range map[string]string{"relay": f.relay, "upstream": f.upstream, "sender": f.sender, "client": f.client, "state": f.state} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.olderThan > 0 {
		q.Set("older-than", f.olderThan.String())
	}
	if f.all {
		q.Set("all", "true")
	}
	return q
}

// call asks the admin port; the caller closes the body.
func (f *queueFlags) call(ctx context.Context, method, path string, q url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+f.addr+path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Timeout: 10 * time.Minute}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("no relay answers at %s: start it, or name its admin port with --admin (%w)", f.addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%s", strings.TrimSpace(string(b)))
}

func (f *queueFlags) ask(c *cobra.Command, method, path string, q url.Values, into any) error {
	body, err := f.call(c.Context(), method, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	return json.NewDecoder(body).Decode(into)
}

func printJSON(c *cobra.Command, v any) error {
	e := json.NewEncoder(c.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (f *queueFlags) list() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List messages; all of them without a selection", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := f.query(nil)
			if f.upstream+f.sender+f.client+f.state == "" && f.olderThan == 0 {
				q.Set("all", "true")
			}
			q.Set("limit", "1000")
			var all []queue.Summary
			for {
				var page queue.Page
				if err := f.ask(c, http.MethodGet, "/queue", q, &page); err != nil {
					return err
				}
				all = append(all, page.Messages...)
				if page.Next == "" {
					break
				}
				q.Set("cursor", page.Next)
			}
			if f.json {
				return printJSON(c, all)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATE\tAGE\tSIZE\tCLIENT\tSENDER\tRCPT\tUPSTREAM\tREASON")
			for _, m := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t<%s>\t%d/%d\t%s\t%s\n", m.ID, m.State, time.Since(m.Arrived).Round(time.Second), m.Size, m.Client, m.Sender, m.Waiting, m.Recipients, strings.Join(m.Upstreams, ","), m.Reason)
			}
			return w.Flush()
		},
	}
	f.selectors(c)
	return c
}

func (f *queueFlags) show() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one message with every attempt", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var d queue.Detail
			if err := f.ask(c, http.MethodGet, "/queue/"+url.PathEscape(args[0]), f.query(nil), &d); err != nil {
				return err
			}
			return printJSON(c, d)
		},
	}
}

func (f *queueFlags) export() *cobra.Command {
	return &cobra.Command{
		Use: "export ID", Short: "Write a message as it was taken in (RFC 5322) to standard output", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			body, err := f.call(c.Context(), http.MethodGet, "/queue/"+url.PathEscape(args[0])+"/export", f.query(nil))
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(c.OutOrStdout(), body)
			return err
		},
	}
}

func (f *queueFlags) verb(name, short string, params map[string]string) *cobra.Command {
	values := map[string]*string{}
	c := &cobra.Command{
		Use: name + " [ID...]", Short: short,
		RunE: func(c *cobra.Command, ids []string) error {
			q := f.query(ids)
			for k, v := range values {
				q.Set(k, *v)
			}
			var done admin.Changed
			if err := f.ask(c, http.MethodPost, "/queue/"+name, q, &done); err != nil {
				return err
			}
			if f.json {
				return printJSON(c, done)
			}
			for _, id := range done.Changed {
				fmt.Fprintln(c.OutOrStdout(), id)
			}
			return nil
		},
	}
	f.selectors(c)
	for k, help := range params {
		values[k] = c.Flags().String(k, "", help)
	}
	return c
}
