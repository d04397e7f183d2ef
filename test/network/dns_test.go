package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/test/rig"
)

// names is a DNS server that answers by the first label of a name, until that is
// mended: then the name has the address 127.0.0.1.
type names struct {
	conn net.PacketConn

	mu     sync.Mutex
	mended map[string]bool // by first label
	asked  map[string]int
}

// dns is what this process asks, as on a machine whose resolv.conf names it.
var dns = &names{mended: map[string]bool{}, asked: map[string]int{}}

// start runs n as long as the process.
func (n *names) start() (err error) {
	if n.conn, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		return err
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
	go func() {
		buf := make([]byte, 4096)
		for {
			k, from, err := n.conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if b := n.answer(buf[:k]); b != nil {
				n.conn.WriteTo(b, from) //nolint:errcheck // who asked may be gone
			}
		}
	}()
	return nil
}

func (n *names) mend(label string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mended[label] = true
}

// answer gives the answer to a question; nil: silence.
func (n *names) answer(b []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	label, _, _ := strings.Cut(q.Name.String(), ".")
	n.mu.Lock()
	n.asked[label]++
	mended := n.mended[label]
	n.mu.Unlock()
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}, Questions: m.Questions}
	switch {
	case mended && q.Type == dnsmessage.TypeA:
		out.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr("127.0.0.1").As4()},
		}}
	case mended: // no IPv6
	case label == "silent":
		return nil
	case label == "servfail":
		out.RCode = dnsmessage.RCodeServerFailure
	case label == "refused":
		out.RCode = dnsmessage.RCodeRefused
	case label == "nxdomain":
		out.RCode = dnsmessage.RCodeNameError
	case label == "empty": // the name is there, and has no address
	}
	b, err := out.Pack()
	if err != nil {
		panic(err) // there is nothing in it that cannot be packed
	}
	return b
}

// Upstreams whose names cannot be had, each for another reason: the mail waits, few
// questions are asked, who is known by address is not slowed, and when the names are
// there again everything arrives.
func TestNamesThatCannotBeHad(t *testing.T) {
	const scans = 6
	t.Parallel()
	u := rig.StartUpstream(t, rig.Script{})
	well := rig.StartUpstream(t, rig.Script{})
	upstreams := map[string]string{"well": well.YAML("well", "")}
	sick := []string{"servfail", "refused", "nxdomain", "empty", "silent"}
	for _, name := range sick {
		y := strings.Replace(u.YAML(name, limits(few)), "host: 127.0.0.1", "host: "+name+".mail.test", 1)
		upstreams[name] = y
	}
	w := start(t, impatient, "", upstreams)
	for _, name := range sick {
		w.scan(name, scans)
	}
	w.scan("well", scans)
	w.all("well", scans, func() map[string]int { return taken(well) })
	for _, name := range sick {
		w.broken(name, few, "connecting to "+name+".mail.test")
		if got := len(only(taken(u), name)); got != 0 {
			t.Errorf("%s: %d scans found a server that has no name", name, got)
		}
		dns.mend(name)
	}
	for _, name := range sick {
		w.all(name, scans, func() map[string]int { return only(taken(u), name) })
		w.sees("it works", name, func(u admin.UpstreamState) bool { return u.Circuit == "Closed" })
	}
	dns.mu.Lock()
	defer dns.mu.Unlock()
	for _, name := range sick {
		// A look-up is at most two rounds of A and AAAA for the name, and for it with
		// each suffix that this machine's resolv.conf lists (at most 6); there is one for
		// each attempt and for each check.
		if k, most := dns.asked[name], 4*7*(w.attempts(name, "")+10); k > most {
			t.Errorf("%s: %d questions, want at most %d", name, k, most)
		}
	}
}

// only is what was taken for recipients at NAME.example.
func only(all map[string]int, name string) map[string]int {
	out := map[string]int{}
	for to, n := range all {
		if strings.HasSuffix(to, fmt.Sprintf("@%s.example", name)) {
			out[to] = n
		}
	}
	return out
}
