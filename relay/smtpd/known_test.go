package smtpd

import (
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// The last places are for whom mail is expected from: a rule names the network, or
// somebody there logged in or sent something within a day. What a rule names is not
// who comes from a hidden address.
func TestWhoIsKnown(t *testing.T) {
	s := New(Config{State: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	defer s.Shutdown(t.Context())
	rule := policy.Rule{Action: policy.Allow, Match: policy.Match{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}}
	s.plan.Store(&plan.Plan{Policies: policy.Set{{Name: "office", Rules: []policy.Rule{rule}}}})
	yesterday := time.Now().Add(-recentTime - time.Minute)
	s.senders.saw(time.Now(), netip.MustParseAddr("192.0.2.1"))
	s.senders.saw(yesterday, netip.MustParseAddr("192.0.2.2"))
	s.guard.passed(time.Now(), netip.MustParseAddr("192.0.2.3"))
	s.guard.passed(yesterday, netip.MustParseAddr("192.0.2.4"))
	s.guard.passed(time.Now(), netip.MustParseAddr("2001:db8::1"))
	for client, want := range map[string][2]bool{ // with its own address, and hidden
		"10.0.0.7":    {true, false},
		"10.0.1.7":    {false, false},
		"192.0.2.1":   {true, true},
		"192.0.2.2":   {false, false},
		"192.0.2.3":   {true, true},
		"192.0.2.4":   {false, false},
		"2001:db8::9": {true, true}, // in the same /64
	} {
		for i, hidden := range []bool{false, true} {
			if got := s.known(netip.MustParseAddr(client), hidden); got != want[i] {
				t.Errorf("%s, hidden %v: known %v", client, hidden, got)
			}
		}
	}
}
