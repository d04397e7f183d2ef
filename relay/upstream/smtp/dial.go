package smtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// dial connects to the host, by IPv6 or IPv4, whichever answers first
// (RFC 8305). Which addresses may be connected to is judged on the socket's own
// address, so that no DNS answer gets around it (CWE-918).
func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	address := net.JoinHostPort(t.c.SMTP.Host, strconv.Itoa(t.c.SMTP.Port))
	dial := t.c.Dial
	if dial == nil {
		d := net.Dialer{ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			return t.judge(address)
		}}
		dial = d.DialContext
	}
	limited, cancel := context.WithTimeout(ctx, t.c.Timeouts.Connect)
	defer cancel()
	conn, err := dial(limited, "tcp", address)
	if err == nil {
		return conn, nil
	}
	var bad *addressError
	if errors.As(err, &bad) {
		return nil, bad
	}
	return nil, fmt.Errorf("connecting to %s: %w", address, tell(ctx, err))
}

// addressError is an address that must not be connected to.
type addressError struct {
	a   netip.Addr
	why string
}

func (e *addressError) Error() string { return fmt.Sprintf("%s is %s", e.a, e.why) }

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

// judge refuses an address that no mail server of this upstream can have.
// Link-local ones are refused even where private hosts are allowed: there are
// the metadata services that give away a cloud machine's credentials, and no
// mail server.
func (t *Transport) judge(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap().WithZone("")
	switch {
	case a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a == metadata:
		return &addressError{a, "link-local or no address of a host, and no mail server is there: correct the upstream's host"}
	case t.c.Private:
		return nil
	case a.IsPrivate() || a.IsLoopback():
		return &addressError{a, "a private address: set allowPrivateHosts in the MailUpstream if that is meant"}
	}
	for _, p := range inside {
		if p.Contains(a) {
			return &addressError{a, "not a public address: set allowPrivateHosts in the MailUpstream if that is meant"}
		}
	}
	return nil
}

func hostOf(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}
