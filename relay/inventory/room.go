package inventory

import (
	"net/netip"
	"time"
	"unsafe"
)

// Bounds of the memory, in octets. Who sends, who is expected and who is a stranger
// have a room each, so that nobody has the copiers forgotten by coming from a million
// addresses. In each room the network that has most of it gives way first, whatever
// its size: who sweeps a network has himself forgotten.
const (
	copierRoom   = 6 << 20 // a scan was accepted, or it logged in
	expectedRoom = 1 << 20 // a rule names its network
	strangerRoom = 1 << 20
)

// rank is which room a device is in.
type rank uint8

const (
	stranger rank = iota
	expected
	copier
	ranks
)

var rooms = [ranks]int{stranger: strangerRoom, expected: expectedRoom, copier: copierRoom}

// room holds the devices of one rank, in a tree of networks.
type room struct {
	size int // octets
	top  node
}

// node is a network with what is in it: networks, or devices at the leaves.
type node struct {
	up       *node
	key      netip.Prefix
	count    int       // devices
	last     time.Time // when one of them came
	networks map[netip.Prefix]*node
	devices  map[*device]struct{}
}

// levels are the networks that a device lies in, the largest first.
func levels(device netip.Prefix) [3]netip.Prefix {
	bits := [3]int{8, 16, 24}
	if device.Addr().Is6() {
		bits = [3]int{32, 48, 56}
	}
	var out [3]netip.Prefix
	for i, n := range bits {
		out[i], _ = device.Addr().Prefix(n) //nolint:errcheck // a device has an address, and it is longer
	}
	return out
}

func (r *room) add(d *device) {
	n := &r.top
	for _, key := range levels(d.key) {
		next := n.networks[key]
		if next == nil {
			if n.networks == nil {
				n.networks = map[netip.Prefix]*node{}
			}
			next = &node{up: n, key: key}
			n.networks[key] = next
		}
		n = next
	}
	if n.devices == nil {
		n.devices = map[*device]struct{}{}
	}
	n.devices[d] = struct{}{}
	d.leaf = n
	for ; n != nil; n = n.up {
		n.count++
	}
	r.size += d.size
	d.touch(d.Last)
}

// touch notes that a device came.
func (d *device) touch(at time.Time) {
	for n := d.leaf; n != nil; n = n.up {
		n.last = at
	}
}

func (r *room) remove(d *device) {
	r.size -= d.size
	delete(d.leaf.devices, d)
	for n := d.leaf; n != nil; n = n.up {
		n.count--
		if n.count == 0 && n.up != nil {
			delete(n.up.networks, n.key)
		}
	}
	d.leaf = nil
}

// least is the device to go: in the network that has most of the room, in the one
// that has most of that, and so on, the one that was silent longest. Of networks with
// as much it is that which was silent longest.
func (r *room) least() *device {
	n := &r.top
	for len(n.networks) > 0 {
		var most *node
		for _, next := range n.networks {
			if most == nil || next.count > most.count || next.count == most.count && next.last.Before(most.last) {
				most = next
			}
		}
		n = most
	}
	var out *device
	for d := range n.devices {
		if out == nil || d.Last.Before(out.Last) {
			out = d
		}
	}
	return out
}

// settle puts a device into its room, and makes room where there is none.
func (s *Store) settle(d *device) {
	is := s.rankOf(d)
	size := d.cost()
	if d.leaf == nil || is != d.rank {
		if d.leaf != nil {
			s.rooms[d.rank].remove(d)
		}
		d.rank, d.size = is, size
		d.Known = is > stranger
		s.rooms[is].add(d)
	} else {
		s.rooms[is].size += size - d.size
		d.size = size
		d.touch(d.Last)
	}
	for r := &s.rooms[is]; r.size > rooms[is] && r.top.count > 1; {
		s.drop(r.least())
	}
}

func (s *Store) rankOf(d *device) rank {
	switch {
	case d.rank == copier, d.Accepted > 0, d.Auth.OK:
		return copier
	case d.rank == expected, s.Expected != nil && !d.Hidden && s.Expected(d.address):
		return expected
	}
	return stranger
}

// drop forgets a device. It wants mu held.
func (s *Store) drop(d *device) {
	s.rooms[d.rank].remove(d)
	delete(s.devices, d.key)
}

// expire forgets who did not come for a long time.
func (s *Store) expire(now time.Time) {
	for _, d := range s.devices {
		if now.Sub(d.Last) > Remember {
			s.drop(d)
			s.dirty = true
		}
	}
}

// deviceCost are the octets of a device without texts and lists: what Go takes for it,
// its places in maps, and the networks that are there for it alone.
const deviceCost = int(unsafe.Sizeof(device{})) + 3*int(unsafe.Sizeof(node{})) + 1300

// cost is at least what a device takes of memory.
func (d *device) cost() int {
	n := deviceCost + len(d.Device) + len(d.Address) + len(d.TLS.Failed) + len(d.Auth.User)
	n += cap(d.Names)*int(unsafe.Sizeof("")) + cap(d.Listeners)*int(unsafe.Sizeof(""))
	for _, v := range d.Names {
		n += len(v)
	}
	for _, l := range [...][]Counted{d.Senders, d.Recipients} {
		n += cap(l) * int(unsafe.Sizeof(Counted{}))
		for i := range l {
			n += len(l[i].Value)
		}
	}
	n += cap(d.DryRun) * int(unsafe.Sizeof(DryRun{}))
	for i := range d.DryRun {
		n += len(d.DryRun[i].Reply)
	}
	if d.LastScan != nil {
		n += int(unsafe.Sizeof(Scan{})) + len(d.LastScan.ID) + len(d.LastScan.Sender)
	}
	if r := d.LastRefusal; r != nil {
		n += int(unsafe.Sizeof(Refusal{})) + int(unsafe.Sizeof("")) + len(r.Reply) + len(r.Why) + len(r.Session) + len(r.RecipientDomain)
	}
	return n
}
