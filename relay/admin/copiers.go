package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// Copiers are the devices that a relay has seen. *inventory.Store implements it.
type Copiers interface {
	List(f inventory.Filter) (inventory.Page, error)
	Get(a netip.Addr) (inventory.Copier, error)
	Forget(a netip.Addr) error
	Newest(n int) []inventory.Copier
}

// copierRoutes serves GET /copiers (a page as JSON, or all as CSV where Accept is
// text/csv), and GET and DELETE /copiers/{address}. The relay is named as for /queue;
// the rest of the query is what CopierFilter reads.
func (s *Server) copierRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /copiers", s.withCopiers(func(w http.ResponseWriter, r *http.Request, all Copiers) error {
		f, err := CopierFilter(r.URL.Query())
		if err != nil {
			return err
		}
		asCSV := strings.Contains(r.Header.Get("Accept"), csvType)
		if asCSV {
			f.Limit, f.Cursor = inventory.MaxPage, ""
		}
		page, err := all.List(f)
		if err != nil {
			return err
		}
		if !asCSV {
			writeJSON(w, page)
			return nil
		}
		w.Header().Set("Content-Type", csvType+"; charset=utf-8; header=present")
		w.Header().Set("Content-Disposition", `attachment; filename="copiers.csv"`)
		takesLong(w)
		out := bufio.NewWriterSize(w, 64<<10)
		if inventory.WriteCSV(out, page.Copiers) != nil || out.Flush() != nil {
			panic(http.ErrAbortHandler) // the caller must not take a part for the whole
		}
		return nil
	}))
	mux.HandleFunc("GET /copiers/{address}", s.withCopiers(func(w http.ResponseWriter, r *http.Request, all Copiers) error {
		a, err := DeviceAddress(r.PathValue("address"))
		if err != nil {
			return err
		}
		c, err := all.Get(a)
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		writeJSON(w, c)
		return nil
	}))
	mux.HandleFunc("DELETE /copiers/{address}", s.withCopiers(func(w http.ResponseWriter, r *http.Request, all Copiers) error {
		a, err := DeviceAddress(r.PathValue("address"))
		if err != nil {
			return err
		}
		if err := all.Forget(a); err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		s.Log.Info("a copier was forgotten by hand", "device", a.String(), "from", r.RemoteAddr, "by", queue.PersonOf(r.Context()).Name)
		writeJSON(w, struct{}{})
		return nil
	}))
}

func (s *Server) withCopiers(h func(http.ResponseWriter, *http.Request, Copiers) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		relay, err := s.relayOf(r.URL.Query().Get("relay"))
		if err == nil {
			err = h(w, r, relay.Copiers())
		}
		answerError(w, err)
	}
}

// DeviceAddress reads which device is meant: an address, or an IPv6 /64.
func DeviceAddress(s string) (netip.Addr, error) {
	if p, err := netip.ParsePrefix(s); err == nil && (p.IsSingleIP() || p.Bits() == 64) {
		return p.Addr(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return a, fmt.Errorf("device %.60q: want its IP address", s)
	}
	return a.Unmap().WithZone(""), nil
}

// CopierFilter reads an inventory.Filter from a query: refused, legacy and dry-run
// (true), network (or address), name, since (a duration before now, or a time as RFC
// 3339 has it), limit, cursor.
func CopierFilter(q url.Values) (f inventory.Filter, err error) {
	f = inventory.Filter{
		Refused: q.Get("refused") == "true", Legacy: q.Get("legacy") == "true", DryRun: q.Get("dry-run") == "true",
		Name: q.Get("name"), Cursor: q.Get("cursor"),
	}
	if v := q.Get("network"); v != "" {
		if f.Network = sessionFilter(v).Network; !f.Network.IsValid() {
			return f, fmt.Errorf("network %.60q: want an address or a network, such as 10.20.3.0/24", v)
		}
	}
	if v := q.Get("since"); v != "" {
		if f.Since, err = Since(v, time.Now()); err != nil {
			return f, err
		}
	}
	if v := q.Get("limit"); v != "" {
		if f.Limit, err = strconv.Atoi(v); err != nil || f.Limit < 1 {
			return f, fmt.Errorf("limit %.60q: want a number of at least 1", v)
		}
	}
	return f, nil
}

// Since reads a duration before now, or a time.
func Since(v string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(v, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, v); err == nil {
			return t, nil
		}
	}
	return now, fmt.Errorf("since %.60q: want a duration such as 12h or 7d, or a time such as 2026-11-26T08:00:00Z", v)
}

// CopierQuery is what CopierFilter reads f from.
func CopierQuery(f inventory.Filter) url.Values {
	q := url.Values{}
	for name, v := range map[string]bool{"refused": f.Refused, "legacy": f.Legacy, "dry-run": f.DryRun} {
		if v {
			q.Set(name, "true")
		}
	}
	if f.Network.IsValid() {
		q.Set("network", f.Network.String())
	}
	for name, v := range map[string]string{"name": f.Name, "cursor": f.Cursor} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.UTC().Format(time.RFC3339Nano))
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// Copiers asks for a page of the devices that a relay has seen.
func (c *Client) Copiers(ctx context.Context, f inventory.Filter) (p inventory.Page, err error) {
	err = c.ask(ctx, http.MethodGet, "/copiers", CopierQuery(f), &p)
	return p, err
}

// AllCopiers asks for all devices that f chooses, its limit aside, by one answer.
func (c *Client) AllCopiers(ctx context.Context, f inventory.Filter) ([]inventory.Copier, error) {
	f.Limit, f.Cursor = inventory.MaxPage, ""
	p, err := c.Copiers(ctx, f)
	return p.Copiers, err
}

// CopiersCSV asks for them as CSV; the caller closes it.
func (c *Client) CopiersCSV(ctx context.Context, f inventory.Filter) (io.ReadCloser, error) {
	return c.call(ctx, http.MethodGet, "/copiers", CopierQuery(f), csvType)
}

// Copier asks for one device.
func (c *Client) Copier(ctx context.Context, a netip.Addr) (d inventory.Copier, err error) {
	err = c.ask(ctx, http.MethodGet, "/copiers/"+url.PathEscape(a.String()), nil, &d)
	return d, err
}

// ForgetCopier has the relay forget a device.
func (c *Client) ForgetCopier(ctx context.Context, a netip.Addr) error {
	return c.ask(ctx, http.MethodDelete, "/copiers/"+url.PathEscape(a.String()), nil, &struct{}{})
}
