package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/trial"
)

// Client is the queue of a relay that runs, by its admin port. It implements
// Queue.
type Client struct {
	ctx   context.Context // of the command that it serves
	addr  string
	base  string // of the URLs
	relay string
	http  http.Client
}

// callTime bounds one call: an export of a large scan, or a verb over a full queue.
const callTime = 10 * time.Minute

// NewClient makes a client of the admin port at addr (host:port). relay is
// namespace/name; it may be empty where only one runs. ctx ends all calls.
func NewClient(ctx context.Context, addr, relay string) *Client {
	return &Client{ctx: ctx, addr: addr, base: "http://" + addr, relay: relay, http: http.Client{Timeout: callTime}}
}

// NewPodClient is NewClient for an instance in a cluster: name is what errors call it,
// and t reaches its admin port, over TLS, and brings the token.
func NewPodClient(ctx context.Context, name, relay string, t http.RoundTripper) *Client {
	return &Client{
		ctx: ctx, addr: name, base: "https://" + podHost, relay: relay,
		http: http.Client{Timeout: callTime, Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// podHost stands in the URLs of a Pod, which is reached through the API server.
const podHost = "printer-relay"

// Query is what Selection reads f from.
func Query(f queue.Filter) url.Values {
	q := url.Values{}
	for _, id := range f.IDs {
		q.Add("id", id)
	}
	for k, v := range map[string]string{"upstream": f.Upstream, "sender": f.Sender, "client": f.Client, "state": string(f.State), "held-by": f.HeldBy, "cursor": f.Cursor} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if f.OlderThan != 0 {
		q.Set("older-than", f.OlderThan.String())
	}
	if f.All {
		q.Set("all", "true")
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// call gives the body of a good answer, in the format that it asks for; the caller
// closes it.
func (c *Client) call(ctx context.Context, method, path string, q url.Values, accept string) (io.ReadCloser, error) {
	return c.send(ctx, method, path, q, accept, nil)
}

// send is call with a body.
func (c *Client) send(ctx context.Context, method, path string, q url.Values, accept string, content []byte) (io.ReadCloser, error) {
	if q == nil {
		q = url.Values{}
	}
	if c.relay != "" {
		q.Set("relay", c.relay)
	}
	if queue.PersonOf(ctx).Override {
		q.Set(overrideParam, "true")
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path+"?"+q.Encode(), bytes.NewReader(content)) //nolint:gosec // the administrator names the address
	if err != nil {
		return nil, fmt.Errorf("admin port %q: want host:port", c.addr)
	}
	if who := queue.PersonOf(ctx); who.Name != "" {
		req.Header.Set(UserHeader, who.Name)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := c.http.Do(req) //nolint:gosec // the same
	switch {
	case err != nil && c.http.Transport != nil:
		return nil, fmt.Errorf("%s does not answer: %w", c.addr, err)
	case err != nil:
		return nil, fmt.Errorf("no relay answers at %s: start it, or name its admin port with --admin, or the folder of one that does not run with --state (%w)", c.addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return nil, fmt.Errorf("%s: HTTP status %d: %w", c.addr, resp.StatusCode, err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		text = fmt.Sprintf("%s: HTTP status %d", c.addr, resp.StatusCode)
	}
	return nil, &StatusError{resp.StatusCode, text}
}

// StatusError is an answer that is no good one.
type StatusError struct {
	Status int
	Text   string // of the relay
}

// Error implements error.
func (e *StatusError) Error() string { return e.Text }

func (c *Client) ask(ctx context.Context, method, path string, q url.Values, into any) error {
	body, err := c.call(ctx, method, path, q, "")
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("%s gave no answer of a relay's admin port: %w", c.addr, err)
	}
	return nil
}

// List implements Queue.
func (c *Client) List(f queue.Filter) (p queue.Page, err error) {
	err = c.ask(c.ctx, http.MethodGet, "/queue", Query(f), &p)
	return p, err
}

// ListAll gives all messages of f, its limit aside, by one answer.
func (c *Client) ListAll(f queue.Filter) ([]queue.Summary, error) {
	body, err := c.call(c.ctx, http.MethodGet, "/queue", Query(f), csvType)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	all, err := readCSV(body)
	if err != nil {
		return nil, fmt.Errorf("%s gave no whole list of a relay's queue: %w", c.addr, err)
	}
	return all, nil
}

// Show implements Queue.
func (c *Client) Show(id string) (d queue.Detail, err error) {
	err = c.ask(c.ctx, http.MethodGet, "/queue/"+url.PathEscape(id), nil, &d)
	return d, err
}

// Export implements Queue.
func (c *Client) Export(ctx context.Context, id string) (io.ReadCloser, error) {
	return c.call(ctx, http.MethodGet, "/queue/"+url.PathEscape(id)+"/export", nil, "")
}

func (c *Client) verb(ctx context.Context, name string, f queue.Filter, param, value string) ([]string, error) {
	q := Query(f)
	if param != "" {
		q.Set(param, value)
	}
	var done Changed
	err := c.ask(ctx, http.MethodPost, "/queue/"+name, q, &done)
	if err == nil && len(done.Kept) > 0 {
		err = &queue.KeptError{Messages: done.Kept}
	}
	return done.Changed, err
}

// Retry implements Queue.
func (c *Client) Retry(ctx context.Context, f queue.Filter) ([]string, error) {
	return c.verb(ctx, "retry", f, "", "")
}

// Hold implements Queue.
func (c *Client) Hold(ctx context.Context, f queue.Filter, reason string) ([]string, error) {
	return c.verb(ctx, "hold", f, "reason", reason)
}

// Release implements Queue.
func (c *Client) Release(ctx context.Context, f queue.Filter) ([]string, error) {
	return c.verb(ctx, "release", f, "", "")
}

// Bounce implements Queue.
func (c *Client) Bounce(ctx context.Context, f queue.Filter, reason string) ([]string, error) {
	return c.verb(ctx, "bounce", f, "reason", reason)
}

// Reroute implements Queue.
func (c *Client) Reroute(ctx context.Context, f queue.Filter, to string) ([]string, error) {
	return c.verb(ctx, "reroute", f, "to", to)
}

// Remove implements Queue.
func (c *Client) Remove(ctx context.Context, f queue.Filter) ([]string, error) {
	return c.verb(ctx, "remove", f, "", "")
}

// Try sends a test scan, and tells each step as it comes.
func (c *Client) Try(ctx context.Context, r trial.Request, told func(trial.Step)) error {
	b, err := json.Marshal(r) //nolint:gosec // a device's password for the one session, by TLS or loopback
	if err != nil {
		return err
	}
	body, err := c.send(ctx, http.MethodPost, "/test", nil, "", b)
	if err != nil {
		return err
	}
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		var s trial.Step
		switch err := d.Decode(&s); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: the answer broke off: %w", c.addr, err)
		}
		told(s)
	}
}
