package console

import (
	"cmp"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/inventory"
)

// copierRow is a device as all instances have seen it.
type copierRow struct {
	inventory.Copier
	Health   health
	Old      bool // clear text, or a TLS that nobody should use
	Instance string
}

// copiersPage is the inventory of devices.
type copiersPage struct {
	Rows            []copierRow
	Who             string
	Refused, Legacy bool
	Next            string
}

// copiers is the page of the devices that a relay has seen.
func (c *Console) copiers(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "copiers", "Copiers of "+v.Relay.Key(), "copiers"
	if err := needPrivate(v); err != nil {
		return err
	}
	in := r.URL.Query()
	out := copiersPage{Who: strings.TrimSpace(in.Get("who")), Refused: in.Get("refused") != "", Legacy: in.Get("legacy") != ""}
	q := url.Values{"limit": {strconv.Itoa(perPage)}}
	if out.Refused {
		q.Set("refused", "true")
	}
	if out.Legacy {
		q.Set("legacy", "true")
	}
	if out.Who != "" {
		q.Set(whoIsMeant(out.Who), out.Who)
	}
	if after := in.Get("after"); after != "" {
		q.Set("cursor", after)
	}
	more := false
	var all []answerOf[inventory.Copier]
	for _, a := range answered(v, ask[inventory.Page](r.Context(), []Relay{*v.Relay}, "/copiers", q)) {
		more = more || a.value.Next != ""
		for _, d := range a.value.Copiers {
			all = append(all, answerOf[inventory.Copier]{instance: a.instance, value: d})
		}
	}
	out.Rows = together(all)
	if len(out.Rows) > perPage || more && len(out.Rows) > 0 { // what an instance says need not be so
		out.Rows = out.Rows[:min(len(out.Rows), perPage)]
		last := &out.Rows[len(out.Rows)-1]
		out.Next = strconv.FormatInt(last.Last.UnixNano(), 10) + "-" + last.Device
	}
	v.Body = out
	return nil
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

// together makes one row of what several instances saw of a device: the newest of
// what happened, and the sums of what is counted.
func together(all []answerOf[inventory.Copier]) (out []copierRow) {
	slices.SortStableFunc(all, func(a, b answerOf[inventory.Copier]) int {
		return cmp.Or(b.value.Last.Compare(a.value.Last), strings.Compare(a.value.Device, b.value.Device))
	})
	at := map[string]int{}
	for _, a := range all {
		d := a.value
		i, known := at[d.Device]
		if !known {
			at[d.Device] = len(out)
			out = append(out, copierRow{Copier: d, Instance: a.instance})
			continue
		}
		out[i].Join(&d)
	}
	for i := range out {
		out[i].Health, out[i].Old = copierHealth(&out[i].Copier), out[i].Legacy()
	}
	return out
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
