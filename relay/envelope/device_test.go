package envelope

import (
	"net/netip"
	"testing"
)

func TestDevice(t *testing.T) {
	for a, want := range map[string]string{
		"10.20.3.7": "10.20.3.7/32", "::ffff:10.20.3.7": "10.20.3.7/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Device(netip.MustParseAddr(a)); got.String() != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
	}
	if Device(netip.Addr{}).IsValid() {
		t.Error("no address is a device")
	}
}
