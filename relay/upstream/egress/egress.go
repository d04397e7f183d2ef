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
// far as it is not link-local.
var metadata = netip.MustParseAddr("fd00:ec2::254")

// inside are networks that are not public, beside those that netip.Addr knows:
// shared address space (RFC 6598), "this network", benchmarking, class E, and
// IPv6 forms that lead to an IPv4 address (RFC 6052, RFC 8215, RFC 3056,
// RFC 4380, RFC 4291 2.5.5.1) or are site-local.
var inside = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("::/96"), netip.MustParsePrefix("fec0::/10"),
}

// Judge refuses an address ("192.0.2.1:25") that no server of this upstream can
// have. Link-local ones are refused even where private hosts are allowed: there
// are the metadata services that give away a cloud machine's credentials, and no
// mail server.
func (r Rules) Judge(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap().WithZone("")
	switch {
	case a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == metadata:
		return &AddressError{a, "link-local or no address of a host, and no mail server is there: correct the upstream's host"}
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
