// Package egress decides which addresses an upstream may be connected to, and
// dials no others.
//
// It imports the standard library only.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// Rules are those of one upstream.
type Rules struct {
	// Private lets it be on a private or loopback address
	// (MailUpstream spec.allowPrivateHosts).
	Private bool
	// Near lets it be nowhere else: for what travels in clear.
	Near bool
}

// Dialer connects by these rules, by IPv6 or IPv4, whichever answers first
// (RFC 8305). They are judged on the socket's own address, so that no DNS answer
// gets around them (CWE-918). An address that they refuse is an *AddressError.
func (r Rules) Dialer() *net.Dialer {
	return &net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return r.Judge(address)
	}}
}

// AddressError is an address that must not be connected to.
type AddressError struct {
	Addr netip.Addr
	why  string
}

// Error names the address, the reason and the remedy.
func (e *AddressError) Error() string { return fmt.Sprintf("%s is %s", e.Addr, e.why) }

// metadata is where clouds answer credentials to whoever asks from inside, as
// far as it is not link-local: AWS, Google, Alibaba, Oracle.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd00:ec2::23"), // EKS Pod Identity
	netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"),
}

// inside are networks that are not public, beside those that netip.Addr knows:
// shared address space (RFC 6598), "this network", benchmarking, class E, and
// IPv6 forms that lead to an IPv4 address (RFC 6052, RFC 8215, RFC 3056,
// RFC 4380, RFC 4291 2.5.5.1, RFC 2765) or are site-local.
var inside = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	nat64, nat64Local, sixToFour, teredo, compatible, translated, netip.MustParsePrefix("fec0::/10"),
}

// IPv6 networks whose addresses lead to an IPv4 address that is in them.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // and longer prefixes in it
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
	compatible = netip.MustParsePrefix("::/96")
	translated = netip.MustParsePrefix("::ffff:0:0:0/96")
)

// embedded are the IPv4 addresses that an IPv6 one may lead to.
func embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() {
		return nil
	}
	b := a.As16()
	v4 := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	last := v4(12, 13, 14, 15)
	switch {
	case nat64.Contains(a), compatible.Contains(a), translated.Contains(a):
		return []netip.Addr{last}
	case nat64Local.Contains(a): // RFC 6052 2.2: it depends on the prefix, which is not known
		return []netip.Addr{v4(6, 7, 9, 10), v4(7, 9, 10, 11), v4(9, 10, 11, 12), last}
	case sixToFour.Contains(a):
		return []netip.Addr{v4(2, 3, 4, 5)}
	case teredo.Contains(a): // the server, and the client with its bits inverted
		return []netip.Addr{v4(4, 5, 6, 7), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})}
	}
	return nil
}

// credentials tells whether a cloud may give some away at the address.
func credentials(a netip.Addr) bool { return a.IsLinkLocalUnicast() || slices.Contains(metadata, a) }

// Judge refuses an address ("192.0.2.1:25") that no server of this upstream can
// have. Link-local ones are refused even where private hosts are allowed, in
// whatever form: there are the metadata services that give away a cloud machine's
// credentials, and no mail server.
func (r Rules) Judge(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap().WithZone("")
	switch {
	case credentials(a) || slices.ContainsFunc(embedded(a), credentials) || a.IsMulticast() || a.IsUnspecified():
		return &AddressError{a, "link-local, a cloud's metadata service or no address of a host, and no mail server is there: correct the upstream's host"}
	case public(a) && r.Near:
		return &AddressError{a, "a public address, and what goes there would travel in clear: use https"}
	case public(a) || r.Private:
		return nil
	case a.IsPrivate() || a.IsLoopback():
		return &AddressError{a, "a private address: set allowPrivateHosts in the MailUpstream if that is meant"}
	}
	return &AddressError{a, "not a public address: set allowPrivateHosts in the MailUpstream if that is meant"}
}

func public(a netip.Addr) bool {
	if a.IsPrivate() || a.IsLoopback() {
		return false
	}
	for _, p := range inside {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
