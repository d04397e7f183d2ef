package inventory

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// seen is what an instance saw of 10.20.3.7, minutes before noon.
func seen(last int, change func(c *Copier)) Copier {
	c := Copier{Device: "10.20.3.7", Address: "10.20.3.7", Names: []string{"MFP"}, Listeners: []string{"smtp"}, First: noon.Add(-time.Hour), Last: ago(last), TLS: TLS{Version: "1.2"}}
	if change != nil {
		change(&c)
	}
	return c
}

func ago(minutes int) time.Time { return noon.Add(-time.Duration(minutes) * time.Minute) }

func TestTogether(t *testing.T) {
	scan := func(minutes int, id string) *Scan { return &Scan{At: ago(minutes), ID: id} }
	refused := func(minutes int, code string) *Refusal { return &Refusal{At: ago(minutes), Kind: Refused, Code: code} }
	for name, tc := range map[string]struct{ a, b, want Copier }{
		"counts are summed": {
			seen(1, func(c *Copier) { c.Accepted, c.Refused, c.Aborted = 1, 2, 3 }), seen(9, func(c *Copier) { c.Accepted, c.Refused, c.Aborted = 10, 20, 30 }),
			seen(1, func(c *Copier) { c.Accepted, c.Refused, c.Aborted = 11, 22, 33 }),
		},
		"the newest connection tells of TLS and address, the oldest since when": {
			seen(1, func(c *Copier) { c.TLS, c.Address = TLS{Version: "1.3", Cipher: "X"}, "10.20.3.7" }),
			seen(9, func(c *Copier) {
				c.TLS, c.First, c.Known, c.Hidden = TLS{Failed: "x"}, ago(99), true, true
			}),
			seen(1, func(c *Copier) { c.TLS, c.First, c.Known = TLS{Version: "1.3", Cipher: "X"}, ago(99), true }),
		},
		"a login that only the older saw": {
			seen(1, nil), seen(9, func(c *Copier) { c.Auth = Auth{"PLAIN", "mfp-1", true} }), seen(1, func(c *Copier) { c.Auth = Auth{"PLAIN", "mfp-1", true} }),
		},
		"the newest login": {
			seen(1, func(c *Copier) { c.Auth = Auth{Mechanism: "LOGIN"} }), seen(9, func(c *Copier) { c.Auth = Auth{"PLAIN", "mfp-1", true} }), seen(1, func(c *Copier) { c.Auth = Auth{Mechanism: "LOGIN"} }),
		},
		"names, listeners and instances of both": {
			seen(1, func(c *Copier) { c.Names, c.Instances = []string{"B", "A"}, []string{"office-1"} }),
			seen(9, func(c *Copier) {
				c.Names, c.Listeners, c.Instances = []string{"A", "C"}, []string{"tls", "smtp"}, []string{"office-0"}
			}),
			seen(1, func(c *Copier) {
				c.Names, c.Listeners, c.Instances = []string{"B", "A", "C"}, []string{"smtp", "tls"}, []string{"office-0", "office-1"}
			}),
		},
		"the last scan and the last refusal, whoever saw them": {
			seen(1, func(c *Copier) { c.LastScan, c.LastRefusal = scan(5, "A"), refused(2, "PR-030") }), seen(3, func(c *Copier) { c.LastScan, c.LastRefusal = scan(4, "B"), refused(9, "PR-032") }),
			seen(1, func(c *Copier) { c.LastScan, c.LastRefusal = scan(4, "B"), refused(2, "PR-030") }),
		},
		"one of them saw no scan": {
			seen(1, nil), seen(3, func(c *Copier) { c.LastScan, c.LastRefusal = scan(4, "B"), refused(9, "PR-032") }),
			seen(1, func(c *Copier) { c.LastScan, c.LastRefusal = scan(4, "B"), refused(9, "PR-032") }),
		},
		"senders and domains by value": {
			seen(1, func(c *Copier) {
				c.Senders, c.Recipients = []Counted{{"a", 1, 2, ago(5)}, {"b", 1, 0, ago(6)}}, []Counted{{"x", 1, 1, ago(5)}}
			}),
			seen(2, func(c *Copier) {
				c.Senders, c.Recipients = []Counted{{"b", 3, 4, ago(2)}, {"c", 1, 0, ago(3)}}, []Counted{{"x", 2, 2, ago(7)}}
			}),
			seen(1, func(c *Copier) {
				c.Senders, c.Recipients = []Counted{{"b", 4, 4, ago(2)}, {"c", 1, 0, ago(3)}, {"a", 1, 2, ago(5)}}, []Counted{{"x", 3, 3, ago(5)}}
			}),
		},
		"what a policy would change": {
			seen(1, func(c *Copier) { c.DryRun = []DryRun{{"trial", "r", Accept, Refuse, "old", 3, ago(5)}} }),
			seen(2, func(c *Copier) {
				c.DryRun = []DryRun{{"trial", "r", Accept, Refuse, "new", 4, ago(4)}, {"trial", "r", Refuse, Accept, "", 1, ago(3)}}
			}),
			seen(1, func(c *Copier) {
				c.DryRun = []DryRun{{"trial", "r", Refuse, Accept, "", 1, ago(3)}, {"trial", "r", Accept, Refuse, "new", 7, ago(4)}}
			}),
		},
		"peaks are of one instance": {
			seen(1, func(c *Copier) { c.Peak = Peak{MessagesPerMinute: 3, RecipientsPerDay: 50, Minute: 7, Messages: 1} }),
			seen(2, func(c *Copier) { c.Peak = Peak{MessagesPerMinute: 9, RecipientsPerDay: 40, Minute: 8, Messages: 2} }),
			seen(1, func(c *Copier) { c.Peak = Peak{MessagesPerMinute: 9, RecipientsPerDay: 50, Minute: 8, Messages: 2} }),
		},
	} {
		for order, lists := range map[string][2]Copier{"": {tc.a, tc.b}, ", the other way round": {tc.b, tc.a}} {
			got := Together(Filter{}, []Copier{lists[0]}, []Copier{lists[1]})
			if len(got) != 1 || !reflect.DeepEqual(got[0], tc.want) {
				t.Errorf("%s%s: %+v, want %+v", name, order, got, tc.want)
			}
		}
	}
}

// TestTogetherChooses: by what all have seen, in the order of one list.
func TestTogetherChooses(t *testing.T) {
	device := func(address string, last int) Copier {
		return seen(last, func(c *Copier) { c.Device, c.Address = address, address })
	}
	refused := seen(5, func(c *Copier) { c.LastRefusal = &Refusal{At: ago(5), Kind: Refused} })
	since := seen(2, func(c *Copier) { c.LastScan = &Scan{At: ago(2)} })
	a := []Copier{device("10.20.3.1", 4), refused, device("2001:db8::/64", 8)}
	b := []Copier{since, device("10.20.3.2", 3), device("10.9.9.9", 4)}
	if got := Together(Filter{Refused: true}, a, b); got == nil || len(got) != 0 {
		t.Errorf("refused once, and accepted elsewhere since: %+v", got)
	}
	var order []string
	for _, c := range Together(Filter{}, a, b) {
		order = append(order, c.Device)
	}
	if want := []string{"10.20.3.7", "10.20.3.2", "10.20.3.1", "10.9.9.9", "2001:db8::/64"}; !reflect.DeepEqual(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	for network, want := range map[string]int{"10.20.0.0/16": 3, "10.9.9.9/32": 1, "2001:db8::7/128": 1, "10.30.0.0/16": 0} {
		if got := Together(Filter{Network: netip.MustParsePrefix(network)}, a, b); len(got) != want {
			t.Errorf("%s: %d devices, want %d", network, len(got), want)
		}
	}
	if got := Together(Filter{Since: ago(3)}, a, b); len(got) != 2 {
		t.Errorf("since: %+v", got)
	}
	if refused.Accepted != 0 || len(a[1].Listeners) != 1 || a[1].LastScan != nil {
		t.Errorf("what was put together was changed: %+v", a[1])
	}
}
