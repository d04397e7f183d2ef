package envelope

import (
	"net/netip"
	"strings"
)

// Device is whom a client's address stands for where something is counted by
// client: the address, or with IPv6 its /64, since one machine has as many
// addresses of it as it likes (RFC 8981). The zero Prefix for the zero Addr.
func Device(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) //nolint:errcheck // fails for the zero Addr only
	return p
}

// IsAddress tells whether what a client calls itself is an address and no name, with
// or without the brackets of RFC 5321 4.1.3.
func IsAddress(helo string) bool {
	helo = strings.Trim(helo, " []")
	if tag := "IPv6:"; len(helo) > len(tag) && strings.EqualFold(helo[:len(tag)], tag) {
		helo = helo[len(tag):]
	}
	_, err := netip.ParseAddr(helo)
	return err == nil
}
