package envelope

import "net/netip"

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
