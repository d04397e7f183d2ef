// Package senderdns works out the DNS records that an upstream's sender domain
// needs (SPF, DKIM, DMARC, where bounces go), and compares them with what DNS
// says now. It asks through a Resolver, within bounds, and keeps nothing.
//
// It may import relay/plan and relay/envelope; no file, no clock, no log.
package senderdns

import (
	"context"
	"net"
	"net/netip"
	"strings"
)

// State says how a record stands.
type State string

// The states of a record.
const (
	OK        State = "OK"
	Missing   State = "Missing"
	Different State = "Different"
	Unknown   State = "Unknown" // what is to be there, or what is there, is not known
)

// What a record is for.
const (
	SPF      = "SPF"
	DKIM     = "DKIM"
	DMARC    = "DMARC"
	Bounces  = "bounces"  // where they go
	Provider = "provider" // asks for it
)

// Record is one record that the sender domain needs, and what is published.
type Record struct {
	Purpose  string `json:"purpose"`
	Name     string `json:"name"` // without a dot at its end
	Type     string `json:"type"`
	Expected string `json:"expected,omitempty"` // whole, to publish; empty: not known, or nothing is to be there
	Observed string `json:"observed,omitempty"` // several are parted by " | "
	State    State  `json:"state"`
	Why      string `json:"why,omitempty"` // what is wrong, and what to do

	Unanswered bool `json:"-"` // DNS did not answer, which may go by
}

// Resolver asks DNS, as net.Resolver does. A name that is not there, or has no
// such record, is a *net.DNSError with IsNotFound.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupCNAME(ctx context.Context, name string) (string, error)
	LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error)
}

// NewResolver asks the system's name servers, or the one at address
// (host:port) alone. It is Go's own resolver in any case: the C library's would not
// tell an alias from what stands behind it.
func NewResolver(address string) *net.Resolver {
	r := &net.Resolver{PreferGo: true}
	if address != "" {
		r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	}
	return r
}

// Key is the public part of a key that the upstream signs with: the name of its
// record and the TXT value.
type Key struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// bare is a name as it is compared: in lower case, without a dot at its end.
func bare(name string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
}

// within tells whether a name is domain, or below it.
func within(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }
