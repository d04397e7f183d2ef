package queue

import (
	"net/netip"
	"slices"
	"testing"
)

// One machine has all addresses of a /64: that is one turn, not one for each.
func TestTurnsOfAnIPv6NetworkAreOneClients(t *testing.T) {
	var f fair
	for _, a := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2"} {
		f.push(&job{it: &item{msg: &Message{Origin: &Origin{Client: Client{Addr: netip.MustParseAddr(a)}}}}})
	}
	var got []string
	for f.n > 0 {
		got = append(got, f.pop().it.msg.Client.Addr.String())
	}
	want := []string{"2001:db8::1", "2001:db8:0:1::1", "10.0.0.1", "10.0.0.2", "2001:db8::2", "::ffff:10.0.0.1", "2001:db8::3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
