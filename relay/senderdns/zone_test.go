package senderdns

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
)

// zone is DNS in memory: "TXT name" -> values. The value "!" is a name server that
// fails. It knows which names are there at all, as a resolver does.
type zone map[string][]string

func (z zone) get(kind, name string) ([]string, error) {
	key, ok := strings.CutSuffix(name, ".")
	if !ok {
		return nil, &net.DNSError{Err: "a search list was used", Name: name}
	}
	if to := z["CNAME "+key]; kind != "CNAME" && len(to) == 1 {
		return z.get(kind, to[0]+".")
	}
	all := z[kind+" "+key]
	if len(all) == 1 && all[0] == "!" {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	if len(all) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return all, nil
}

// LookupTXT implements Resolver.
func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	all, err := z.get("TXT", name)
	return append([]string(nil), all...), err
}

// LookupMX implements Resolver.
func (z zone) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	all, err := z.get("MX", name)
	var out []*net.MX
	for _, v := range all {
		pref, host, _ := strings.Cut(v, " ")
		n, err := strconv.ParseUint(pref, 10, 16)
		if err != nil {
			panic(v)
		}
		out = append(out, &net.MX{Pref: uint16(n), Host: host})
	}
	return out, err
}

// LookupCNAME implements Resolver: like Go's, it gives the name itself where
// there is an address.
func (z zone) LookupCNAME(_ context.Context, name string) (string, error) {
	all, err := z.get("CNAME", name)
	if err == nil {
		return all[0] + ".", nil
	}
	if _, ok := z["IP "+strings.TrimSuffix(name, ".")]; ok {
		return name, nil
	}
	return "", err
}

// LookupNetIP implements Resolver.
func (z zone) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	all, err := z.get("IP", name)
	var out []netip.Addr
	for _, v := range all {
		out = append(out, netip.MustParseAddr(v))
	}
	return out, err
}

// counted counts what is asked.
type counted struct {
	Resolver
	mu sync.Mutex
	n  map[string]int
}

func (c *counted) count(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[name]++
}

// LookupTXT implements Resolver.
func (c *counted) LookupTXT(ctx context.Context, name string) ([]string, error) {
	c.count(name)
	return c.Resolver.LookupTXT(ctx, name)
}

// LookupNetIP implements Resolver.
func (c *counted) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	c.count("IP " + name)
	return c.Resolver.LookupNetIP(ctx, network, name)
}
