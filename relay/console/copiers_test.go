package console

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/inventory"
)

// knowing is an instance with an inventory of these devices.
func knowing(t *testing.T, name string, devices []inventory.Copier) Instance {
	t.Helper()
	s := inventory.New()
	s.Restore(devices, time.Now())
	return Instance{Name: name, Ask: func(_ context.Context, _ string, q url.Values, into any) error {
		f, err := admin.CopierFilter(q)
		if err != nil {
			return err
		}
		page, err := s.List(f)
		*into.(*inventory.Page) = page
		return err
	}}
}

func deviceSeen(n int, last time.Time) inventory.Copier {
	a := netip.AddrFrom4([4]byte{10, 1, byte(n / 200), byte(n%200 + 1)}).String()
	return inventory.Copier{Device: a, Address: a, Known: true, First: last, Last: last}
}

var deviceCell = regexp.MustCompile(`<th scope="row">([0-9.]+)`)

// rows are the devices of all pages, as one clicks through them.
func rows(t *testing.T, c *Console, query string) (devices []string) {
	t.Helper()
	next := regexp.MustCompile(`href="(\?after=[^"]+)"`)
	for at := "?" + query; at != ""; {
		body := get(c, "GET", office+"copiers"+at).Body.String()
		for _, m := range deviceCell.FindAllStringSubmatch(body, -1) {
			devices = append(devices, m[1])
		}
		at = ""
		if m := next.FindStringSubmatch(body); m != nil {
			at = strings.ReplaceAll(m[1], "&amp;", "&")
		}
		if len(devices) > 10_000 {
			t.Fatal("the pages do not end")
		}
	}
	return devices
}

// A device that two instances saw, at times that lie pages apart, is in the list once,
// where it was seen last.
func TestADeviceOfTwoInstancesIsListedOnce(t *testing.T) {
	const n = 3*perPage + 7
	now := time.Now().Add(-time.Hour).Truncate(time.Second)
	var first, second []inventory.Copier
	want := make([]string, n)
	for i := range n {
		first = append(first, deviceSeen(i, now.Add(-time.Duration(i)*time.Minute)))
		second = append(second, deviceSeen(i, now.Add(-time.Duration(n+i/2)*time.Minute)))
		want[i] = first[i].Device
	}
	w := saying("x")
	w.relays[0].Instances = []Instance{knowing(t, "office-0", first), knowing(t, "office-1", second)}
	if got := rows(t, consoleOf(w), ""); !slices.Equal(got, want) {
		t.Errorf("%d rows, want %d, each device once, the last first: %v", len(got), n, got)
	}
	w.relays[0].Instances = w.relays[0].Instances[:1]
	if got := rows(t, consoleOf(w), ""); !slices.Equal(got, want) {
		t.Errorf("of one instance: %d rows, want %d", len(got), n)
	}
}

// What was refused last, or is without encryption, is so by what all instances saw.
func TestCopiersAreChosenByWhatAllInstancesSaw(t *testing.T) {
	now := time.Now().Add(-time.Hour).Truncate(time.Second)
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	refused := func(n, minutes int) inventory.Copier {
		c := deviceSeen(n, at(minutes))
		c.LastRefusal, c.Refused = &inventory.Refusal{At: at(minutes)}, 1
		return c
	}
	scanned := func(n, minutes int) inventory.Copier {
		c := deviceSeen(n, at(minutes))
		c.LastScan, c.Accepted, c.TLS.Version, c.Names = &inventory.Scan{At: at(minutes)}, 1, "1.3", []string{fmt.Sprint("mfp", n)}
		return c
	}
	w := saying("x")
	w.relays[0].Instances = []Instance{
		knowing(t, "office-0", []inventory.Copier{refused(1, 1), refused(2, 9), refused(3, 3)}),
		knowing(t, "office-1", []inventory.Copier{scanned(1, 5), scanned(2, 5)}),
	}
	c := consoleOf(w)
	for query, want := range map[string][]string{
		"":                         {"10.1.0.3", "10.1.0.2", "10.1.0.4"},
		"refused=1":                {"10.1.0.3", "10.1.0.4"},
		"legacy=1":                 {"10.1.0.3", "10.1.0.4"},
		"who=mfp1":                 {"10.1.0.2"},
		"who=10.1.0.2%2F31":        {"10.1.0.3", "10.1.0.2"},
		"who=10.1.0.2&refused=1":   nil,
		"who=mfp2&refused=1":       {"10.1.0.3"},
		"who=10.1.0.0%2F16":        {"10.1.0.3", "10.1.0.2", "10.1.0.4"},
		"who=10.1.0.4&legacy=1":    {"10.1.0.4"},
		"who=somebody+else":        nil,
		"refused=1&after=1-device": nil,
	} {
		if got := rows(t, c, query); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	if page := get(c, "GET", office+"copiers?after=x"); page.Code != 400 {
		t.Errorf("what is no cursor: %d", page.Code)
	}
}

// Each instance is asked for so many that all of them together stay within the bound,
// and the page says where one knew more.
func TestCopiersOfManyInstancesAreBounded(t *testing.T) {
	w := saying("x")
	w.relays[0].Instances = nil
	for i := range 16 {
		w.relays[0].Instances = append(w.relays[0].Instances, Instance{Name: fmt.Sprint("office-", i), Ask: func(_ context.Context, _ string, q url.Values, into any) error {
			if q.Get("limit") != "1250" || q.Get("refused") != "" || q.Get("network") != "10.0.0.0/8" {
				t.Errorf("asked: %v", q)
			}
			*into.(*inventory.Page) = inventory.Page{Copiers: []inventory.Copier{deviceSeen(i, time.Now())}, Next: "1-x"}
			return nil
		}})
	}
	page := get(consoleOf(w), "GET", office+"copiers?refused=1&who=10.0.0.0%2F8").Body.String()
	if !strings.Contains(page, "1250 newest") {
		t.Errorf("nobody is told:\n%s", page)
	}
}
