package mx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream/egress"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/mtasts"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
)

// candidate is a server that a domain may be served by.
type candidate struct {
	name       string // A-labels, lower case; or an address
	preference uint16
}

// host is a candidate with its addresses.
type host struct {
	name   string
	addrs  []netip.Addr
	secure bool   // DNSSEC vouches for the addresses
	end    string // where the addresses are, behind CNAMEs
}

// servers walks through the servers of a destination, each looked up when its
// turn comes.
type servers struct {
	t      *Transport
	d      *destination
	err    error // of the list itself
	list   []candidate
	end    string // the domain behind CNAMEs
	secure bool   // DNSSEC vouches for the list, or it is the administrator's own
	policy *mtasts.Policy
}

// maxServers of a domain are tried in one attempt.
const maxServers = 8

func (t *Transport) servers(ctx context.Context, d *destination) *servers {
	s := &servers{t: t, d: d}
	switch {
	case d.named:
		s.secure = true
		for _, h := range t.c.MX.Hosts {
			s.list = append(s.list, candidate{name: envelope.DomainKey(h)})
		}
		return s
	case strings.HasPrefix(d.domain, "["):
		a, err := literal(d.domain)
		if err != nil {
			s.err = err
		} else {
			s.list = []candidate{{name: a.String()}}
		}
		return s
	}
	s.err = s.lookupMX(ctx)
	if s.err != nil {
		return s
	}
	if p, ok := t.policies.Policy(ctx, d.domain); ok {
		s.policy = &p
	}
	if len(s.list) > maxServers {
		s.list = s.list[:maxServers]
	}
	return s
}

// next gives the next server to try; nil and no error: there are no more. An
// error is why a server was passed over, or why there is none.
func (s *servers) next(ctx context.Context) (*smtp.Target, error) {
	if err := s.err; err != nil {
		s.err = nil
		return nil, err
	}
	if len(s.list) == 0 {
		return nil, nil //nolint:nilnil // the end
	}
	c := s.list[0]
	s.list = s.list[1:]
	if !s.d.named && c.name == envelope.DomainKey(s.t.c.MX.HeloName) {
		return nil, s.loop(c)
	}
	h, err := s.t.addresses(ctx, c.name)
	if err != nil {
		return nil, &hostError{c.name, err}
	}
	if len(h.addrs) == 0 {
		return nil, &hostError{c.name, errNoAddress}
	}
	if !s.d.named {
		mine := own()
		if slices.ContainsFunc(h.addrs, func(a netip.Addr) bool { return slices.Contains(mine, a) }) {
			return nil, s.loop(c)
		}
	}
	target, err := s.t.target(ctx, s, h)
	if err != nil {
		return nil, &hostError{c.name, err}
	}
	return target, nil
}

var errNoAddress = errors.New("it has no address")

// loop ends the list at a server that is this relay: those of the same and of
// less preference would bring the message back here (RFC 5321 5.1).
func (s *servers) loop(c candidate) error {
	s.list = slices.DeleteFunc(s.list, func(o candidate) bool { return o.preference >= c.preference })
	return &hostError{c.name, errLoop}
}

var errLoop = errors.New("it is this relay itself: mail for the domain would come back")

// refusal is what will not change by trying again.
type refusal struct {
	code     int
	enhanced string
	text     string
}

func (r *refusal) Error() string { return r.text }

// hostError says which server an error is about.
type hostError struct {
	host string
	err  error
}

func (e *hostError) Error() string { return e.host + ": " + e.err.Error() }
func (e *hostError) Unwrap() error { return e.err }

// literal reads an address literal (RFC 5321 4.1.3).
func literal(domain string) (netip.Addr, error) {
	s := strings.Trim(domain, "[]")
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		s = s[5:]
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, &refusal{550, "5.1.2", fmt.Sprintf("%s is no address of a host", domain)}
	}
	return a.Unmap(), nil
}

// lookupMX lists the mail servers of a domain in the order to try them (RFC 5321
// 5.1); without MX records the domain itself.
func (s *servers) lookupMX(ctx context.Context) error {
	domain := s.d.domain
	a, err := s.t.c.Resolver.Lookup(ctx, domain, dnsmessage.TypeMX)
	if err != nil {
		return err
	}
	s.end, s.secure = a.Name, a.Secure
	var list []candidate
	for _, b := range a.Records {
		if r, ok := b.(*dnsmessage.MXResource); ok {
			list = append(list, candidate{strings.ToLower(strings.TrimSuffix(r.MX.String(), ".")), r.Pref})
		}
	}
	switch {
	case a.NXDomain:
		return &refusal{550, "5.1.2", fmt.Sprintf("the domain %s does not exist", domain)}
	case len(list) > 0 && !slices.ContainsFunc(list, func(c candidate) bool { return c.name != "" }): // RFC 7505
		return &refusal{556, "5.1.10", fmt.Sprintf("the domain %s takes no mail (its MX says so)", domain)}
	case len(list) == 0:
		s.list = []candidate{{name: domain}}
		return nil
	}
	list = slices.DeleteFunc(list, func(c candidate) bool { return c.name == "" })  // RFC 7505 3
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] }) //nolint:gosec // no secret
	slices.SortStableFunc(list, func(a, b candidate) int { return int(a.preference) - int(b.preference) })
	s.list = list
	return nil
}

// addresses looks up a host: by turns IPv6 and IPv4, so that a network without
// one of them costs one try.
func (t *Transport) addresses(ctx context.Context, name string) (*host, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return &host{name: name, addrs: []netip.Addr{a.Unmap()}, end: name}, nil
	}
	six, err6 := t.c.Resolver.Lookup(ctx, name, dnsmessage.TypeAAAA)
	four, err4 := t.c.Resolver.Lookup(ctx, name, dnsmessage.TypeA)
	var v6, v4 []netip.Addr
	for _, b := range six.Records {
		if r, ok := b.(*dnsmessage.AAAAResource); ok {
			v6 = append(v6, netip.AddrFrom16(r.AAAA).Unmap())
		}
	}
	for _, b := range four.Records {
		if r, ok := b.(*dnsmessage.AResource); ok {
			v4 = append(v4, netip.AddrFrom4(r.A))
		}
	}
	if err := cmp.Or(err6, err4); err != nil && len(v6)+len(v4) == 0 {
		return nil, err
	}
	// Both are of one zone: where one is signed, so is the other, however it
	// was kept from us.
	h := &host{name: name, end: cmp.Or(four.Name, six.Name), secure: six.Secure || four.Secure}
	if six.Secure && !four.Secure {
		h.end = six.Name
	}
	for i := range max(len(v6), len(v4)) {
		if i < len(v6) {
			h.addrs = append(h.addrs, v6[i])
		}
		if i < len(v4) {
			h.addrs = append(h.addrs, v4[i])
		}
	}
	return h, nil
}

const (
	maxAddresses = 6                // of one server that are tried
	addressTime  = 15 * time.Second // for each, where there are more
)

// dialError is that no address of a host could be connected to.
type dialError struct {
	err   error
	local bool // this machine has no way out
}

func (e *dialError) Error() string { return "connecting: " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// dial connects to the first address that answers.
func (t *Transport) dial(ctx context.Context, addrs []netip.Addr, port int) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.c.Timeouts.Connect)
	defer cancel()
	d := egress.Rules{Private: t.c.Private}.Dialer()
	addrs = addrs[:min(len(addrs), maxAddresses)]
	if len(addrs) > 1 {
		d.Timeout = addressTime
	}
	failure := &dialError{local: true}
	var bad *egress.AddressError
	four := false
	for _, a := range addrs {
		conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(a, uint16(port)).String()) //nolint:gosec // a port
		if err == nil {
			return conn, nil
		}
		if errors.As(err, &bad) {
			failure.local = false
			continue
		}
		failure.err = tell(a, err)
		failure.local = failure.local && noWay(err)
		four = four || a.Is4()
	}
	if failure.err == nil {
		return nil, bad // none may be connected to
	}
	failure.local = failure.local && four // without IPv6 a server that has nothing else is its own trouble
	return nil, failure
}

// noWay tells whether the network of this machine lets nothing out to there.
func noWay(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN)
}

func tell(a netip.Addr, err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return fmt.Errorf("%s does not answer in time", a)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("%s: %w", a, err)
}

var _ Lookuper = (*resolver.Resolver)(nil)
