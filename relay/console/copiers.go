package console

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/inventory"
)

// copierRow is a device as all instances have seen it.
type copierRow struct {
	inventory.Copier
	Health health
	Old    bool // clear text, or a TLS that nobody should use
}

// copiersPage is the inventory of devices.
type copiersPage struct {
	Rows            []copierRow
	Who             string
	Refused, Legacy bool
	DryRun          bool
	Next            string
	Cut             int // so many devices of an instance were looked at, the newest; 0: all
}

// copiers is the page of the devices that a relay has seen.
func (c *Console) copiers(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "copiers", "Copiers of "+v.Relay.Key(), "copiers"
	if err := needPrivate(v); err != nil {
		return err
	}
	in := r.URL.Query()
	out := copiersPage{Who: strings.TrimSpace(in.Get("who")), Refused: in.Get("refused") != "", Legacy: in.Get("legacy") != "", DryRun: in.Get("dryrun") != ""}
	f, err := admin.CopierFilter(out.query(in.Get("after")))
	if err != nil {
		return badRequest{err}
	}
	page, err := c.copiersOf(r.Context(), v, f, &out)
	if err != nil {
		return badRequest{err}
	}
	for i := range page.Copiers {
		d := page.Copiers[i]
		out.Rows = append(out.Rows, copierRow{Copier: d, Health: copierHealth(&d), Old: d.Legacy()})
	}
	out.Next = page.Next
	v.Body = out
	return nil
}

// query is what chooses the rows behind a cursor, as an admin port takes it.
func (p *copiersPage) query(after string) url.Values {
	q := url.Values{"limit": {strconv.Itoa(perPage)}}
	if p.Refused {
		q.Set("refused", "true")
	}
	if p.Legacy {
		q.Set("legacy", "true")
	}
	if p.DryRun {
		q.Set("dry-run", "true")
	}
	if p.Who != "" {
		q.Set(whoIsMeant(p.Who), p.Who)
	}
	if after != "" {
		q.Set("cursor", after)
	}
	return q
}

// maxCopiers bounds the devices that are put together for a page, those of all instances
// counted. One instance knows no more.
const maxCopiers = inventory.MaxPage

// copiersOf gives a page of the devices that f chooses. Where there are several instances
// their lists are put together first: a device that one has refused another may have
// taken a scan from since, and one that all of them saw has one place in the list.
func (c *Console) copiersOf(ctx context.Context, v *view, f inventory.Filter, out *copiersPage) (inventory.Page, error) {
	relays := []Relay{*v.Relay}
	asked, most := f, f.Limit
	if n := len(v.Relay.Instances); n > 1 {
		most = maxCopiers / n
		asked = inventory.Filter{Network: f.Network, Limit: most}
	}
	var lists [][]inventory.Copier
	for _, a := range answered(v, ask[inventory.Page](ctx, relays, "/copiers", admin.CopierQuery(asked))) {
		if len(v.Relay.Instances) == 1 { // it has done all that follows
			a.value.Copiers = a.value.Copiers[:min(len(a.value.Copiers), most)]
			return a.value, nil
		}
		if a.value.Next != "" {
			out.Cut = most
		}
		lists = append(lists, a.value.Copiers[:min(len(a.value.Copiers), most)]) // what an instance says need not be so
	}
	return inventory.PageOf(inventory.Together(f, lists...), f)
}

// whoIsMeant is the parameter for an address or network, or for a name.
func whoIsMeant(who string) string {
	if _, err := netip.ParsePrefix(who); err == nil {
		return "network"
	}
	if _, err := netip.ParseAddr(who); err == nil {
		return "network"
	}
	return "name"
}

func copierHealth(c *inventory.Copier) health {
	var scan, refusal time.Time
	if c.LastScan != nil {
		scan = c.LastScan.At
	}
	if c.LastRefusal != nil {
		refusal = c.LastRefusal.At
	}
	switch {
	case scan.IsZero() && refusal.IsZero():
		return health{"off", "Sent nothing yet"}
	case scan.IsZero():
		return health{"bad", "Never came through"}
	case refusal.After(scan):
		return health{"warn", "Refused last"}
	}
	return health{"ok", "Scans"}
}
