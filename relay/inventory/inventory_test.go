package inventory

import (
	"encoding/csv"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func visit(addr string, at time.Time) *Visit {
	return &Visit{At: at, Client: netip.MustParseAddr(addr), Listener: "legacy", Name: "MFP", Session: "S" + addr}
}

func refusal() *Attempt {
	sender := "mfp@corp.example"
	return &Attempt{Kind: Refused, Reply: "550 5.7.1 PR-030 Device may not send here", Code: "PR-030", Step: "MAIL", Why: "no rule matched", Sender: &sender}
}

func accepted() *Message {
	return &Message{ID: "Q1", Sender: "mfp@copier.example", Octets: 4096, Recipients: 2, Domains: []string{"corp.example"}}
}

func get(t *testing.T, s *Store, addr string) Copier {
	t.Helper()
	c, err := s.Get(netip.MustParseAddr(addr))
	if err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	return c
}

func known(s *Store, addr string) bool {
	_, err := s.Get(netip.MustParseAddr(addr))
	return err == nil
}

func TestWhatIsKeptOfADevice(t *testing.T) {
	s := New()
	v := visit("10.20.3.17", noon)
	v.Offered = true
	s.Refused(v, refusal())
	c := get(t, s, "::ffff:10.20.3.17")
	if c.Device != "10.20.3.17" || c.Name() != "MFP" || !c.TLS.Offered || !c.Legacy() || !c.Refusing() || c.Known || c.Refused != 1 ||
		c.LastRefusal.Code != "PR-030" || *c.LastRefusal.Sender != "mfp@corp.example" || c.Senders[0].Refused != 1 {
		t.Errorf("refused: %+v", c)
	}

	// What it went on to try tells the recipient; the reason stays.
	s.Refused(v, &Attempt{Kind: Tried, Domain: "corp.example", Follows: true})
	if c = get(t, s, "10.20.3.17"); c.LastRefusal.RecipientDomain != "corp.example" || c.LastRefusal.Code != "PR-030" || c.Refused != 1 {
		t.Errorf("tried: %+v", c.LastRefusal)
	}
	// To fall silent behind a refusal is no reason of its own.
	s.Refused(v, &Attempt{Kind: TimedOut, Why: "silent"})
	if c = get(t, s, "10.20.3.17"); c.LastRefusal.Code != "PR-030" || c.Aborted != 1 {
		t.Errorf("silent behind a refusal: %+v", c.LastRefusal)
	}

	v = visit("10.20.3.17", noon.Add(time.Hour))
	v.TLS, v.Cipher, v.Name, v.Auth = 0x0303, 0xc02f, "MFP-2", Auth{"LOGIN", "mfp1", true}
	s.Accepted(v, accepted())
	c = get(t, s, "10.20.3.17")
	if c.TLS != (TLS{Version: "1.2", Cipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}) || c.Auth.User != "mfp1" || !slices.Equal(c.Names, []string{"MFP-2", "MFP"}) || c.Legacy() || c.Refusing() || !c.Known ||
		*c.LastScan != (Scan{noon.Add(time.Hour), "Q1", "mfp@copier.example", 4096, "legacy"}) || c.Peak.MessagesPerMinute != 1 || c.Peak.RecipientsPerDay != 2 {
		t.Errorf("accepted: %+v", c)
	}
	v.TLS = 0
	s.Refused(v, &Attempt{Kind: NoTLS, Why: "it knows TLS 1.0 only"})
	if c = get(t, s, "10.20.3.17"); c.TLS != (TLS{Failed: "it knows TLS 1.0 only"}) || c.LastRefusal.Kind != NoTLS || c.Refused != 2 {
		t.Errorf("no TLS: %+v", c)
	}
	if err := s.Forget(netip.MustParseAddr("10.20.3.17")); err != nil || known(s, "10.20.3.17") || s.Forget(netip.MustParseAddr("10.20.3.17")) == nil {
		t.Errorf("forgotten: %v", err)
	}
}

func TestPeaks(t *testing.T) {
	var p Peak
	for i, at := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 70 * time.Second, 24 * time.Hour} {
		p.add(noon.Add(at), i+1)
	}
	if p.MessagesPerMinute != 3 || p.RecipientsPerDay != 1+2+3+4 {
		t.Errorf("%+v", p)
	}
}

func TestOneDeviceHasOneSlash64(t *testing.T) {
	s := New()
	for i := range 1000 {
		s.Seen(visit(fmt.Sprintf("2001:db8:1:2::%x", i+1), noon))
	}
	c := get(t, s, "2001:db8:1:2::ffff")
	if len(s.devices) != 1 || c.Device != "2001:db8:1:2::/64" || c.Address != "2001:db8:1:2::3e8" {
		t.Errorf("%d devices, %s %s", len(s.devices), c.Device, c.Address)
	}
}

var addresses = flag.Int("addresses", 20_000, "how many of them TestSweep comes from")

// TestSweep: a million addresses, of any networks, neither grow the memory nor have
// those forgotten who send, who log in, or whom a rule names.
func TestSweep(t *testing.T) {
	n := *addresses
	s := New()
	s.Expected = func(a netip.Addr) bool { return netip.MustParsePrefix("10.20.0.0/16").Contains(a) }
	var copiers, others []string
	for i := range 200 {
		a := fmt.Sprintf("10.20.%d.%d", i/50, i)
		s.Accepted(visit(a, noon), accepted())
		copiers = append(copiers, a)
	}
	for _, a := range []string{"11.1.2.3", "2001:db8:1:2::3"} { // it sends, though no rule names its network, from where the sweep comes
		s.Accepted(visit(a, noon), accepted())
		copiers = append(copiers, a)
	}
	for i := range 50 {
		a := fmt.Sprintf("10.20.77.%d", i)
		s.Refused(visit(a, noon), refusal())
		others = append(others, a)
	}
	s.Refused(visit("192.168.7.7", noon), refusal()) // no rule names it: who sweeps one network does not have it forgotten
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		a := netip.AddrFrom4([4]byte{11, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		if i%2 == 1 {
			a = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), 15: 1})
		}
		long := 10
		if i%10 == 0 {
			long = 300
		}
		text := strings.Repeat("x", long)
		v := Visit{At: noon.Add(time.Duration(i) * time.Millisecond), Client: a, Listener: "legacy", Name: text, Session: "S"}
		s.Refused(&v, &Attempt{Kind: Refused, Reply: text, Why: text, Sender: &text, Domain: text})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > strangerRoom {
		t.Errorf("%d addresses took %d octets, and strangers have %d", n, grown, strangerRoom)
	}
	for _, a := range slices.Concat(copiers, others, []string{"192.168.7.7"}) {
		if !known(s, a) {
			t.Fatalf("%s was forgotten for %d strangers", a, n)
		}
	}
	for i := range s.rooms {
		if s.rooms[i].size > rooms[i] {
			t.Errorf("room %d has %d octets of %d", i, s.rooms[i].size, rooms[i])
		}
	}
	t.Logf("%d devices after %d addresses", len(s.devices), n)
}

// TestSweepFromWithin: of those whom rules let in, too, who has most gives way first.
func TestSweepFromWithin(t *testing.T) {
	s := New()
	s.Accepted(visit("10.99.1.1", noon), accepted())
	for i := range 8_000 {
		a := netip.AddrFrom4([4]byte{10, 20, byte(i >> 8), byte(i)})
		s.Accepted(&Visit{At: noon.Add(time.Duration(i) * time.Second), Client: a, Listener: "legacy", Name: "x"}, accepted())
	}
	if !known(s, "10.99.1.1") {
		t.Error("the copier of another network was forgotten")
	}
	if s.rooms[copier].size > copierRoom || s.rooms[copier].top.count < 1000 {
		t.Errorf("%d devices have %d octets", s.rooms[copier].top.count, s.rooms[copier].size)
	}
}

// TestCost: what a device is reckoned at is what it takes, or more.
func TestCost(t *testing.T) {
	for name, note := range map[string]func(*Store, *Visit){
		"seen":     func(s *Store, v *Visit) { s.Seen(v) },
		"accepted": func(s *Store, v *Visit) { s.Accepted(v, accepted()) },
		"refused":  func(s *Store, v *Visit) { s.Refused(v, refusal()) },
	} {
		s := New()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range 600 { // each in a network of its own: the dearest
			note(s, &Visit{At: noon, Client: netip.AddrFrom4([4]byte{byte(i % 200), byte(i), byte(i >> 4), 1}), Listener: "legacy", Name: fmt.Sprintf("MFP-%d", i), Session: fmt.Sprint(i)})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		reckoned := int64(0)
		for i := range s.rooms {
			reckoned += int64(s.rooms[i].size)
		}
		took := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		if took > reckoned {
			t.Errorf("%s: %d devices take %d octets, and are reckoned at %d", name, len(s.devices), took, reckoned)
		}
		t.Logf("%s: %d octets each, reckoned at %d", name, took/int64(len(s.devices)), reckoned/int64(len(s.devices)))
	}
}

// TestAMessageCostsNothing: a device that is known costs no allocation.
func TestAMessageCostsNothing(t *testing.T) {
	s := New()
	v, m := *visit("10.20.3.17", noon), *accepted()
	s.Accepted(&v, &m)
	if n := testing.AllocsPerRun(100, func() {
		v.At = v.At.Add(time.Second)
		s.Accepted(&v, &m)
		s.Seen(&v)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAccepted(b *testing.B) {
	s := New()
	v, m := *visit("10.20.3.17", noon), *accepted()
	for b.Loop() {
		s.Accepted(&v, &m)
		s.Seen(&v)
	}
}

func TestForgottenAfterAWhile(t *testing.T) {
	s := New()
	s.Seen(visit("10.0.0.1", noon))
	s.Seen(visit("10.0.0.2", noon.Add(time.Hour)))
	s.expire(noon.Add(Remember + time.Minute))
	if known(s, "10.0.0.1") || !known(s, "10.0.0.2") || len(s.rooms[stranger].top.networks) != 1 {
		t.Error("the wrong one is known")
	}
}

type hides string

func (h hides) Hides(s string) bool { return strings.Contains(s, string(h)) }

// TestHostileText: whatever a device says is bounded and printable, and holds no password.
func TestHostileText(t *testing.T) {
	for _, text := range []string{"\x1b[2Jrm", "a\r\nX: y", "\u202egnp.exe", "\xff\xfe", strings.Repeat("ü", 5000), "=HYPERLINK()", "hunter2 is it", "\x00", "\u2028", "<script>"} {
		s := New()
		v := visit("10.0.0.1", noon)
		v.Name, v.Guard = text, hides("hunter2")
		a := refusal()
		a.Sender, a.Domain, a.Reply, a.Why = &text, text, text, text
		s.Refused(v, a)
		m := accepted()
		m.Sender, m.Domains = text, []string{text}
		s.Accepted(v, m)
		c := get(t, s, "10.0.0.1")
		shown := []string{c.Name(), c.LastRefusal.Reply, c.LastRefusal.Why, *c.LastRefusal.Sender, c.LastRefusal.RecipientDomain, c.LastScan.Sender, c.Senders[0].Value, c.Recipients[0].Value}
		for _, got := range shown {
			if len(got) > maxSender || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(got, "hunter2") {
				t.Errorf("%q is kept as %q", text, got)
			}
		}
	}
}

func FuzzHostileName(f *testing.F) {
	for _, s := range []string{"MFP", "\x1b[31m", "\xf0\x9f", "=1+1", strings.Repeat("a", 300)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, name, sender string) {
		s := New()
		v := visit("10.0.0.1", noon)
		v.Name = name
		a := refusal()
		a.Sender = &sender
		s.Refused(v, a)
		s.Refused(v, a)
		c := get(t, s, "10.0.0.1")
		if len(c.Names) > 1 || len(c.Senders) != 1 || len(c.Name()) > maxName || !utf8.ValidString(c.Name()) {
			t.Fatalf("%q %q: %+v", name, sender, c)
		}
		b, err := encode([]Copier{c})
		if err != nil {
			t.Fatal(err)
		}
		back, err := decode(b)
		if err != nil || back[0].Name() != c.Name() || back[0].Senders[0].Value != c.Senders[0].Value {
			t.Fatalf("%v: %+v, was %+v", err, back, c)
		}
		var out strings.Builder
		if err := WriteCSV(&out, back); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatalf("%v: %q", err, out.String())
		}
		for _, got := range rows[1] {
			if got != "" && strings.ContainsRune("=+-@\t\r", rune(got[0])) {
				t.Fatalf("a spreadsheet reads %q as a formula", got)
			}
		}
	})
}

func TestListsOfADeviceAreBounded(t *testing.T) {
	s := New()
	s.Accepted(visit("10.0.0.1", noon), accepted())
	for i := range 1000 {
		v := visit("10.0.0.1", noon.Add(time.Duration(i)*time.Second))
		v.Name, v.Listener = fmt.Sprintf("n%d", i), fmt.Sprintf("l%d", i)
		a := refusal()
		sender := fmt.Sprintf("s%d@x.example", i)
		a.Sender, a.Domain = &sender, fmt.Sprintf("d%d.example", i)
		s.Refused(v, a)
		s.WouldHave(v, DryRun{Policy: "p", Rule: fmt.Sprint(i), Now: Accept, Would: Refuse})
	}
	c := get(t, s, "10.0.0.1")
	if len(c.Names) != maxNames || len(c.Listeners) != maxListeners || len(c.Senders) != maxSenders || len(c.Recipients) != maxRecipients || len(c.DryRun) != maxDryRun {
		t.Errorf("%+v", c)
	}
	if c.Names[0] != "n999" || c.DryRun[0].Rule != "999" || c.Senders[0].Value != "s999@x.example" {
		t.Errorf("not the last first: %+v", c)
	}
	if !slices.ContainsFunc(c.Senders, func(x Counted) bool { return x.Value == "mfp@copier.example" }) || !slices.ContainsFunc(c.Recipients, func(x Counted) bool { return x.Value == "corp.example" }) {
		t.Error("what was accepted went for what was refused")
	}
}

func TestList(t *testing.T) {
	s := New()
	for i := range 25 {
		v := visit(fmt.Sprintf("10.0.%d.1", i), noon.Add(time.Duration(i/2)*time.Minute)) // two at a time
		if i%5 == 0 {
			v.TLS = 0x0304
		}
		if i%3 == 0 {
			s.Refused(v, refusal())
		} else {
			s.Accepted(v, accepted())
		}
	}
	for name, tc := range map[string]struct {
		f    Filter
		want int
	}{
		"all":       {Filter{}, 25},
		"refused":   {Filter{Refused: true}, 9},
		"legacy":    {Filter{Legacy: true}, 20},
		"network":   {Filter{Network: netip.MustParsePrefix("10.0.8.0/21")}, 8},
		"name":      {Filter{Name: "MFP"}, 25},
		"none":      {Filter{Name: "mfp"}, 0},
		"since":     {Filter{Since: noon.Add(10 * time.Minute)}, 5},
		"dry run":   {Filter{DryRun: true}, 0},
		"two tests": {Filter{Refused: true, Legacy: true}, 7},
	} {
		var got []string
		tc.f.Limit = 4
		for {
			p, err := s.List(tc.f)
			if err != nil || p.Total != tc.want || p.Copiers == nil {
				t.Fatalf("%s: %d of %d, %v", name, p.Total, tc.want, err)
			}
			for i := range p.Copiers {
				got = append(got, p.Copiers[i].Device)
				if i > 0 && p.Copiers[i].Last.After(p.Copiers[i-1].Last) {
					t.Errorf("%s: not the newest first", name)
				}
			}
			if p.Next == "" {
				break
			}
			tc.f.Cursor = p.Next
		}
		slices.Sort(got)
		if len(slices.Compact(got)) != tc.want {
			t.Errorf("%s: %d devices by pages, want %d", name, len(got), tc.want)
		}
	}
	if _, err := s.List(Filter{Cursor: "x"}); err == nil {
		t.Error("a cursor that is none")
	}
}

func TestNewestShowsCopiersAmongStrangers(t *testing.T) {
	s := New()
	for i := range 60 {
		s.Accepted(visit(fmt.Sprintf("10.0.0.%d", i), noon), accepted())
		s.Seen(visit(fmt.Sprintf("192.0.2.%d", i), noon.Add(time.Hour)))
	}
	all := s.Newest(50)
	strangers := 0
	for i := range all {
		if !all[i].Known {
			strangers++
		}
	}
	if len(all) != 50 || strangers != 10 {
		t.Errorf("%d, of them %d strangers", len(all), strangers)
	}
	if few := New(); len(few.Newest(50)) != 0 {
		t.Error("nobody is somebody")
	}
}

func TestCSVIsSafeForSpreadsheets(t *testing.T) {
	s := New()
	v := visit("10.0.0.1", noon)
	v.Name = `=HYPERLINK("http://x.example","a")`
	s.Refused(v, refusal())
	var out strings.Builder
	if err := WriteCSV(&out, s.chosen(Filter{})); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][4] != "'"+v.Name || rows[1][24] != "PR-030" {
		t.Errorf("%v %q", err, rows)
	}
}
