package resolver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers by UDP and TCP on one loopback port.
type server struct {
	addr   netip.AddrPort
	asked  atomic.Int32
	answer func(q dnsmessage.Message, tcp bool) []dnsmessage.Message // in order; none: silence
}

func (s *server) start(t *testing.T) {
	t.Helper()
	var l net.Listener
	var u net.PacketConn
	for { // both on one port
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if u, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			break
		}
		l.Close()
	}
	s.addr = netip.MustParseAddrPort(l.Addr().String())
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			for _, b := range s.reply(t, buf[:n], false) {
				u.WriteTo(b, from) //nolint:errcheck // the client may be gone
			}
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			if _, err := io.ReadFull(c, buf[:2]); err == nil {
				n := int(buf[0])<<8 | int(buf[1])
				if _, err := io.ReadFull(c, buf[:n]); err == nil {
					for _, b := range s.reply(t, buf[:n], true) {
						c.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)) //nolint:errcheck // the client may be gone
					}
				}
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); u.Close(); <-done; <-done })
}

func (s *server) reply(t *testing.T, b []byte, tcp bool) [][]byte {
	s.asked.Add(1)
	var q dnsmessage.Message
	if err := q.Unpack(b); err != nil {
		t.Errorf("a question that is none: %v", err)
		return nil
	}
	if !q.AuthenticData || !q.RecursionDesired {
		t.Error("a question without AD or RD")
	}
	var out [][]byte
	for _, m := range s.answer(q, tcp) {
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		out = append(out, b)
	}
	return out
}

// respond is an answer to q with address records.
func respond(q dnsmessage.Message, ttl uint32, addrs ...string) dnsmessage.Message {
	m := dnsmessage.Message{Header: q.Header, Questions: q.Questions}
	m.Response, m.AuthenticData = true, true
	for _, a := range addrs {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeA, TTL: ttl},
			Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
		})
	}
	return m
}

// of is a resolver that asks servers.
func of(t *testing.T, servers ...*server) *Resolver {
	t.Helper()
	r := New("")
	r.conf = conf{timeout: time.Minute, attempts: 1, checked: time.Now().Add(time.Hour)}
	for _, s := range servers {
		s.start(t)
		r.conf.servers = append(r.conf.servers, s.addr)
	}
	return r
}

func look(t *testing.T, r *Resolver) string {
	t.Helper()
	a, err := r.Lookup(t.Context(), "Mx.Corp.Test.", dnsmessage.TypeA)
	if err != nil {
		return err.Error()
	}
	out := a.Name
	for _, b := range a.Records {
		out += " " + netip.AddrFrom4(b.(*dnsmessage.AResource).A).String()
	}
	if a.Secure {
		out += " secure"
	}
	if a.NXDomain {
		out += " nxdomain"
	}
	return out
}

func TestLookup(t *testing.T) {
	const found = "mx.corp.test 192.0.2.1 secure"
	one := func(m dnsmessage.Message) []dnsmessage.Message { return []dnsmessage.Message{m} }
	with := func(code dnsmessage.RCode) *server {
		return &server{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			m := respond(q, 60)
			m.RCode = code
			return one(m)
		}}
	}
	well := func() *server {
		return &server{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message { return one(respond(q, 60, "192.0.2.1")) }}
	}
	for name, c := range map[string]struct {
		servers []*server
		want    string
	}{
		"answer":    {[]*server{well()}, found},
		"not there": {[]*server{with(dnsmessage.RCodeNameError)}, "mx.corp.test secure nxdomain"},
		"nothing":   {[]*server{with(dnsmessage.RCodeSuccess)}, "mx.corp.test secure"},
		"one fails": {[]*server{with(dnsmessage.RCodeServerFailure), with(dnsmessage.RCodeRefused), well()}, found},
		"all fail":  {[]*server{with(dnsmessage.RCodeRefused), with(dnsmessage.RCodeServerFailure)}, "DNS lookup of A mx.corp.test: the resolver fails (SERVFAIL): the domain's servers do not answer it, or DNSSEC finds their answer false"},
		"larger than UDP": {[]*server{{answer: func(q dnsmessage.Message, tcp bool) []dnsmessage.Message {
			m := respond(q, 60, "192.0.2.1")
			if !tcp {
				m.Answers, m.Truncated = nil, true
			}
			return one(m)
		}}}, found},
		"older than EDNS": {[]*server{{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			if len(q.Additionals) > 0 {
				m := dnsmessage.Message{Header: q.Header}
				m.Response, m.RCode = true, dnsmessage.RCodeFormatError
				return one(m)
			}
			return one(respond(q, 60, "192.0.2.1"))
		}}}, found},
		"a forger is faster": {[]*server{{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			id, question, query := respond(q, 60, "203.0.113.6"), respond(q, 60, "203.0.113.6"), respond(q, 60, "203.0.113.6")
			id.ID++
			question.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("other.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
			query.Response = false
			return []dnsmessage.Message{id, question, query, respond(q, 60, "192.0.2.1")}
		}}}, found},
		"records of others": {[]*server{{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			m := respond(q, 60, "203.0.113.6", "192.0.2.1")
			m.Answers[0].Header.Name = dnsmessage.MustNewName("other.test.")
			return one(m)
		}}}, found},
		"aliases": {[]*server{{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			m := respond(q, 60, "192.0.2.1")
			m.Answers[0].Header.Name = dnsmessage.MustNewName("End.test.")
			for i, hop := range [][2]string{{"two.test.", "end.test."}, {"mx.corp.test.", "TWO.test."}} {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(hop[0]), Class: dnsmessage.ClassINET, Type: dnsmessage.TypeCNAME, TTL: uint32(i)},
					Body:   &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(hop[1])},
				})
			}
			return one(m)
		}}}, "end.test 192.0.2.1 secure"},
		"aliases in a ring": {[]*server{{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			m := respond(q, 60)
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, Type: dnsmessage.TypeCNAME},
				Body:   &dnsmessage.CNAMEResource{CNAME: q.Questions[0].Name},
			})
			return one(m)
		}}}, "mx.corp.test secure"},
	} {
		if got := look(t, of(t, c.servers...)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Answers are kept as long as they say, and no longer than we want.
func TestCache(t *testing.T) {
	for ttl, want := range map[uint32]int32{0: 2, 3600: 1} {
		s := &server{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
			return []dnsmessage.Message{respond(q, ttl, "192.0.2.1")}
		}}
		r := of(t, s)
		look(t, r)
		look(t, r)
		if n := s.asked.Load(); n != want {
			t.Errorf("TTL %d: asked %d times, want %d", ttl, n, want)
		}
	}
	now := time.Unix(0, 0)
	c := cache{}
	for i := range maxEntries + 100 {
		c.put(cacheKey{fmt.Sprint(i), dnsmessage.TypeA}, Answer{Name: "x"}, now, time.Minute)
	}
	if len(c) != maxEntries {
		t.Errorf("%d entries", len(c))
	}
	last := cacheKey{fmt.Sprint(maxEntries + 99), dnsmessage.TypeA}
	if _, ok := c.get(last, now); !ok {
		t.Error("what was put last is not there")
	}
	if _, ok := c.get(last, now.Add(time.Minute)); ok {
		t.Error("it has expired")
	}
	c.put(last, Answer{}, now.Add(time.Hour), time.Minute)
	c.put(cacheKey{"new", dnsmessage.TypeA}, Answer{}, now.Add(time.Hour), time.Minute)
	if len(c) != 2 {
		t.Errorf("%d entries: those that have expired go first", len(c))
	}
}

// A resolver that is silent about one domain is not dead.
func TestAlive(t *testing.T) {
	s := &server{answer: func(q dnsmessage.Message, _ bool) []dnsmessage.Message {
		if q.Questions[0].Name.String() == "." {
			m := respond(q, 0)
			m.RCode = dnsmessage.RCodeServerFailure
			return []dnsmessage.Message{m}
		}
		return nil
	}}
	r := of(t, s)
	r.conf.timeout = 50 * time.Millisecond
	_, err := r.Lookup(t.Context(), "mx.corp.test", dnsmessage.TypeA)
	if e, ok := err.(*Error); !ok || !e.Silent { //nolint:errorlint // it is not wrapped
		t.Errorf("%v", err)
	}
	r.conf.timeout = time.Minute
	if err := r.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	dead := New("")
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.conf = conf{timeout: time.Minute, attempts: 1, checked: time.Now().Add(time.Hour), servers: []netip.AddrPort{netip.MustParseAddrPort(l.LocalAddr().String())}}
	l.Close() // the kernel says at once that nobody listens
	if err := dead.Alive(t.Context()); err == nil || !strings.Contains(err.Error(), "no resolver answers") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Lookup(ctx, "other.test", dnsmessage.TypeA); err == nil {
		t.Error("a lookup that was stopped has an answer")
	}
	if _, err := r.Lookup(t.Context(), strings.Repeat("x", 300), dnsmessage.TypeA); err == nil || !strings.Contains(err.Error(), "no domain name") {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "[127.0.0.1:53] 5s 2 false",
		"nameserver 10.0.0.10\n": "[10.0.0.10:53] 5s 2 false",
		"nameserver ::1\nnameserver fe80::1%eth0\n": "[[::1]:53 [fe80::1%eth0]:53] 5s 2 false",
		"# nameserver 1.1.1.1\nsearch a b\noptions ndots:5 timeout:2 attempts:9 trust-ad\n nameserver 10.0.0.1\nnameserver x\n":         "[10.0.0.1:53] 2s 3 true",
		"nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\noptions timeout:0 attempts:x timeout:99\n": "[10.0.0.1:53 10.0.0.2:53 10.0.0.3:53] 10s 2 false",
	} {
		c := parse(text)
		if got := fmt.Sprint(c.servers, c.timeout, c.attempts, c.trustAD); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// resolv.conf is read again when it changes; what was trusted before is
// forgotten when that ends.
func TestConfigurationFollowsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(text string, at int64) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	write("nameserver 10.0.0.1\noptions trust-ad\n", 1)
	r := New(file)
	if c := r.configuration(); !c.trustAD {
		t.Fatalf("%+v", c)
	}
	r.cache.put(cacheKey{"a.test", dnsmessage.TypeA}, Answer{Secure: true}, time.Now(), time.Hour)
	write("nameserver 10.0.0.2\n", 2)
	if c := r.configuration(); !c.trustAD { // not looked at yet
		t.Errorf("%+v", c)
	}
	r.conf.checked = time.Time{}
	if c := r.configuration(); c.trustAD || c.servers[0].String() != "10.0.0.2:53" || len(r.cache) != 0 {
		t.Errorf("%+v, %d answers", c, len(r.cache))
	}
}

// Whatever a resolver sends, nothing panics, and records are those asked for.
func FuzzUnpack(f *testing.F) {
	q := dnsmessage.Question{Name: dnsmessage.MustNewName("mx.corp.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := respond(dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{q}}, 60, "192.0.2.1")
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := unpack(b, 7, q)
		if err != nil {
			return
		}
		a, ttl := read(m, "mx.corp.test", dnsmessage.TypeA)
		if ttl < 0 || ttl > maxTTL {
			t.Errorf("TTL %s", ttl)
		}
		for _, r := range a.Records {
			if _, ok := r.(*dnsmessage.AResource); !ok {
				t.Errorf("%T", r)
			}
		}
	})
}

// Whatever resolv.conf says, there are servers to ask, and bounds.
func FuzzParse(f *testing.F) {
	f.Add("nameserver 10.0.0.1\noptions timeout:2 attempts:3 trust-ad\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parse(text)
		if len(c.servers) < 1 || len(c.servers) > maxServers || c.timeout <= 0 || c.timeout > maxTimeout || c.attempts < 1 || c.attempts > maxAttempts {
			t.Errorf("%+v", c)
		}
	})
}
