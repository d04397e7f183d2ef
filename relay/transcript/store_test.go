package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var t0 = time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)

// failed is a session that ended so many minutes after t0.
func failed(s *Store, addr netip.Addr, minute int, named bool, helo, reply string) {
	r := session(New(t0), "C: EHLO "+helo, "S: "+reply)
	if named {
		r.Named()
	}
	s.Add(r, addr, About{ID: fmt.Sprintf("S%d", minute), Listener: "legacy", Ended: t0.Add(time.Duration(minute) * time.Minute)})
}

func ids(sessions []Session) string {
	var out []string
	for _, s := range sessions {
		out = append(out, s.ID)
	}
	return strings.Join(out, " ")
}

func TestStoreKeepsTheLastOfADevice(t *testing.T) {
	s := NewStore()
	s.Add(session(New(t0), "C: EHLO mfp", "S: 250 relay"), client(1), About{ID: "well"})
	for i := range 20 {
		failed(s, client(1), i, false, "mfp", "550 no")
	}
	if got := ids(s.Sessions(Filter{}, "")); got != "S15 S16 S17 S18 S19" {
		t.Errorf("kept %s", got)
	}
	if d := s.Devices(Filter{}); len(d) != 1 || d[0].Failures != 20 || ids(d[0].Sessions) != "S19 S18 S17 S16 S15" {
		t.Errorf("got %+v", d)
	}
}

// Behind one address may be sixty copiers: one that fails every minute must not
// have the others forgotten.
func TestOneThatFailsAlwaysLeavesRoom(t *testing.T) {
	s := NewStore()
	failed(s, client(1), 0, true, "floor3", "550 no")
	failed(s, client(1), 1, true, "floor4", "535 wrong")
	for i := range 50 {
		failed(s, client(1), 2+i, true, "floor5", "530 TLS")
	}
	if got := ids(s.Sessions(Filter{}, "")); got != "S0 S1 S49 S50 S51" {
		t.Errorf("kept %s", got)
	}
}

func TestFilter(t *testing.T) {
	s := NewStore()
	failed(s, client(1), 1, true, "a", "550 no")
	failed(s, client(258), 2, true, "b", "550 no")
	failed(s, netip.MustParseAddr("2001:db8::1"), 3, true, "c", "550 no")
	failed(s, netip.MustParseAddr("2001:db8::2"), 4, true, "c", "550 no")
	for f, want := range map[Filter]string{
		{}: "S1 S2 S3 S4",
		{Network: netip.MustParsePrefix("100.0.1.0/24")}:    "S2",
		{Network: netip.MustParsePrefix("2001:db8::/64")}:   "S3 S4",
		{Network: netip.MustParsePrefix("2001:db8::1/128")}: "S3",
		{Name: "a"}:    "S1",
		{Name: "none"}: "",
	} {
		if got := ids(s.Sessions(f, "")); got != want {
			t.Errorf("%+v: %s, want %s", f, got, want)
		}
	}
	if got := ids(s.Sessions(Filter{}, "S2")); got != "S2" {
		t.Error(got)
	}
	var b bytes.Buffer
	if err := WriteTable(&b, s.Devices(Filter{}), t0.Add(time.Hour)); err != nil || strings.Count(b.String(), "\n") != 4 || !strings.Contains(b.String(), "2001:db8::/64") {
		t.Errorf("%v\n%s", err, &b)
	}
}

// heap is what is in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bound of a Store, and what its maps and lists may take besides.
const bound = namedBytes + strangerBytes + 1<<20

// A hundred thousand hostile clients, each of which says as much as it can, take
// no more memory than is stated, and the copiers' sessions stay.
func TestHostileClientsFillNoMemory(t *testing.T) {
	s := NewStore()
	for i := range 100 {
		failed(s, client(1<<20+i), i, true, "copier", "550 no")
	}
	before := heap()
	r := New(t0)
	for long := strings.Repeat("x", maxArgument-20); r.out == 0; {
		session(r, "C: EHLO "+long, "C: AUTH PLAIN "+long[:100], "S: 501 "+long)
	}
	hostile := r.Finish(About{ID: "X", Ended: t0.Add(time.Hour)})
	for i := range 100_000 {
		one := hostile
		one.Client, one.HELO, one.encoded = client(i), strings.Clone(hostile.HELO), bytes.Clone(hostile.encoded)
		s.keep(one, false)
	}
	if grew := int64(heap()) - int64(before); grew > bound {
		t.Errorf("%d octets, want %d at most", grew, bound)
	}
	if n := len(s.Devices(Filter{Name: "copier"})); n != 100 {
		t.Errorf("%d of 100 copiers are left", n)
	}
	if s.strangers.bytes > strangerBytes || s.strangers.order.Len() > strangerDevices || len(s.devices) != s.named.order.Len()+s.strangers.order.Len() {
		t.Errorf("%d octets, %d strangers, %d devices", s.strangers.bytes, s.strangers.order.Len(), len(s.devices))
	}
}

// The same holds where a rule names them all.
func TestNamedClientsFillNoMemory(t *testing.T) {
	s := NewStore()
	before := heap()
	for i := range 3000 {
		for n := range 2 {
			r := session(New(t0), "C: EHLO copier")
			for range 20 {
				session(r, "C: RCPT TO:<"+strings.Repeat("x", 200)+"@y.example>", denied)
			}
			r.Named()
			s.Add(r, client(i), About{ID: "X", Ended: t0.Add(time.Duration(i*2+n) * time.Second)})
		}
	}
	if grew := int64(heap()) - int64(before); grew > bound {
		t.Errorf("%d octets, want %d at most", grew, bound)
	}
	if got := s.Devices(Filter{})[0]; got.Device != client(2999).String() || got.Failures != 2 {
		t.Errorf("the last one is not kept: %+v", got)
	}
	total := 0
	for _, d := range s.devices {
		total += d.bytes
	}
	if total != s.named.bytes || total > namedBytes {
		t.Errorf("%d octets, counted %d", total, s.named.bytes)
	}
	runtime.KeepAlive(s)
}

// A device becomes one that is named, and its sessions go along.
func TestAStrangerIsNamed(t *testing.T) {
	s := NewStore()
	failed(s, client(1), 1, false, "a", "550 no")
	failed(s, client(1), 2, true, "a", "550 no")
	failed(s, client(1), 3, false, "a", "550 no")
	if d := s.Devices(Filter{}); len(d) != 1 || !d[0].Named || d[0].Failures != 3 || s.strangers.bytes != 0 || s.strangers.order.Len() != 0 || s.named.bytes != s.devices[netip.PrefixFrom(client(1), 32)].bytes {
		t.Errorf("%+v, strangers %d octets, named %d", d, s.strangers.bytes, s.named.bytes)
	}
}

func TestStoreIsSafeForConcurrentUse(t *testing.T) {
	s := NewStore()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				failed(s, client(n%20), n, i%2 == 0, "a", "550 no")
				if n%10 == 0 {
					s.Devices(Filter{Name: "a"})
					s.Sessions(Filter{}, "")
				}
			}
		})
	}
	wg.Wait()
	if d := s.Devices(Filter{}); len(d) != 20 {
		t.Errorf("%d devices", len(d))
	}
}

// The JSON is read again as what it was; the text is one that people read.
func TestDocuments(t *testing.T) {
	s := NewStore()
	r := session(New(t0), "C: EHLO NPIF65E56", "S: 250 relay.test", "C: MAIL FROM:<a@b.example>", "B: rule office/lan", "S: 550 5.7.1 PR-031 Sender a@b.example not allowed")
	s.Add(r, client(7), About{ID: "ABCDEFGHJK", Listener: "legacy", TLS: "TLS 1.0, X", Ended: t0.Add(time.Second)})
	all := s.Sessions(Filter{}, "")
	for i := range all[0].Lines {
		all[0].Lines[i].Milliseconds = int64(i)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var again []Session
	if err := json.Unmarshal(b, &again); err != nil || fmt.Sprint(again[0].Lines) != fmt.Sprint(all[0].Lines) || again[0].Reply != all[0].Reply {
		t.Errorf("%v: %+v", err, again)
	}
	var text bytes.Buffer
	if err := WriteText(&text, again); err != nil {
		t.Fatal(err)
	}
	const want = `session ABCDEFGHJK, device 100.0.0.7, listener legacy, 2026-11-26 10:00:00 UTC
name:   NPIF65E56
TLS:    TLS 1.0, X
failed: 550 5.7.1 PR-031 Sender a@b.example not allowed
cause:  rule office/lan
    0.000 C: EHLO NPIF65E56
    0.001 S: 250 relay.test
    0.002 C: MAIL FROM:<a@b.example>
    0.003 S: 550 5.7.1 PR-031 Sender a@b.example not allowed
    0.004 #  rule office/lan
`
	if text.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &text, want)
	}
}
