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

func TestIsAddress(t *testing.T) {
	for helo, want := range map[string]bool{
		"[10.20.3.7]": true, "10.20.3.7": true, "[IPv6:fd00::7]": true, "[ipv6:fd00::7]": true, "fd00::7": true, "[fe80::7%eth0]": true,
		"": false, "[]": false, "IPv6:": false, "mfp-1": false, "10.20.3": false, "mfp.10.20.3.7": false,
	} {
		if got := IsAddress(helo); got != want {
			t.Errorf("%q: %v", helo, got)
		}
	}
}
