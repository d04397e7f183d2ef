package suggest

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// TestWhole: networks put together hold the addresses that were there, and no other.
func TestWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	for round := range 200 {
		v6, seen := round%2 == 1, map[netip.Addr]bool{}
		var all []netip.Prefix
		at := func(i int) netip.Addr {
			if v6 {
				return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, byte(i)})
			}
			return netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})
		}
		for range 20 + rng.IntN(400) {
			a := at(rng.IntN(256 << (1 - round%2)))
			bits := 32
			if v6 {
				bits = 64
			}
			seen[a] = true
			all = append(all, netip.PrefixFrom(a, bits))
		}
		out := whole(all)
		for i := range 512 {
			a := at(i)
			in := slices.ContainsFunc(out, func(p netip.Prefix) bool { return p.Contains(a) })
			if in != seen[a] {
				t.Fatalf("%s is in: %v, was seen: %v\n%v", a, in, seen[a], out)
			}
		}
	}
	var all []netip.Prefix
	for i := range 1024 {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)}), 32))
	}
	if got := whole(all); len(got) != 4 || got[0].String() != "10.20.0.0/24" {
		t.Errorf("wider than /24: %v", got)
	}
}
