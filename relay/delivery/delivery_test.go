package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a Transport that reads all and answers what it is told.
type fake struct {
	caps   upstream.Capabilities
	answer upstream.Outcome

	mu     sync.Mutex
	got    []sent
	closed int
}

type sent struct {
	upstream.Message
	data string
}

func (f *fake) Deliver(_ context.Context, m *upstream.Message) []upstream.Outcome {
	r, err := m.Open()
	var b []byte
	if err == nil {
		b, err = io.ReadAll(r)
		r.Close()
	}
	if err != nil {
		return upstream.All(len(m.Recipients), upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "local", Cause: err})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, sent{*m, string(b)})
	return upstream.All(len(m.Recipients), f.answer)
}

func (f *fake) Capabilities() upstream.Capabilities { return f.caps }
func (f *fake) Close() error                        { f.closed++; return nil }

func (f *fake) all() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

var accepted = upstream.Outcome{Kind: upstream.Accepted, Code: 250, Text: "ok"}

// rig is a Delivery over a real spool with fake transports.
type rig struct {
	*testing.T
	*Delivery
	dir string
	log bytes.Buffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, dir: t.TempDir()}
	sp, err := spool.Open(r.dir, spool.Options{NoSyncFS: true, Slots: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() }) //nolint:errcheck // the test is over
	r.Delivery = New(Config{State: t.TempDir(), Spool: sp, Secrets: func() secrets.Source { return secrets.Map{} }, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	return r
}

// has gives the Delivery an upstream; s may be nil.
func (r *rig) has(name string, s *plan.Sender) *fake {
	f := &fake{answer: accepted}
	r.upstreams[name] = &route{&plan.Upstream{Name: name, Sender: s}, f, &keyring{}}
	return f
}

func addr(s string) envelope.Address {
	a, err := envelope.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

const (
	head = "From: \"Copier, 3rd floor\"\r\n <mfp@copier.test>\r\nTo: a@corp.example\r\nSubject: scan\r\n\r\n"
	body = "page one\r\n.dot\r\npage two\r\n"
)

// stored puts a message into the spool.
func (r *rig) stored(id, head, body string) *queue.Message {
	r.Helper()
	w, err := r.Spool.Create(id)
	if err != nil {
		r.Fatal(err)
	}
	if _, err := io.WriteString(w, head+body); err != nil {
		r.Fatal(err)
	}
	if err := w.Commit([]byte("{}")); err != nil {
		r.Fatal(err)
	}
	return &queue.Message{
		ID: id, Origin: &queue.Origin{Sender: addr("mfp@copier.test"), Client: queue.Client{Addr: netip.MustParseAddr("10.20.3.7"), HELO: "mfp", User: "mfp-1"}},
		Recipients: []queue.Recipient{{Address: addr("a@corp.example")}}, Size: int64(len(head + body)), HeaderSize: int64(len(head)),
	}
}

func (r *rig) attempt(name string, m *queue.Message) upstream.Outcome {
	r.Helper()
	a := queue.Attempt{Upstream: name, Message: m, Number: 1}
	for _, x := range m.Recipients {
		a.Recipients = append(a.Recipients, x.Address)
	}
	out := r.Deliver(r.Context(), a)
	if len(out) != len(a.Recipients) {
		r.Fatalf("%d outcomes for %d recipients", len(out), len(a.Recipients))
	}
	return out[0]
}

func TestIdentityIsAppliedPerUpstreamFromTheOriginal(t *testing.T) {
	r := newRig(t)
	first := r.has("first", &plan.Sender{Domain: "first.example", LocalPart: "scans", Rewrite: "OutsideDomain"})
	second := r.has("second", &plan.Sender{Domain: "second.example", LocalPart: "copier", DisplayName: "{original} via {device}", Rewrite: "OutsideDomain"})
	plain := r.has("plain", nil)
	own := r.has("own", &plan.Sender{Domain: "copier.test", LocalPart: "scans", Rewrite: "OutsideDomain"})
	m := r.stored("A", head, body)
	for _, name := range []string{"first", "second", "plain", "own", "first"} {
		if o := r.attempt(name, m); o.Kind != upstream.Accepted {
			t.Fatalf("%s: %v", name, o)
		}
	}
	for name, tc := range map[string]struct {
		f            *fake
		sender, from string
	}{
		"first":  {first, "scans@first.example", "<scans@first.example>"},
		"second": {second, "copier@second.example", `"Copier, 3rd floor via mfp-1" <copier@second.example>`},
		"plain":  {plain, "mfp@copier.test", "\"Copier, 3rd floor\"\r\n <mfp@copier.test>"},
		"own":    {own, "mfp@copier.test", "<mfp@copier.test>"},
	} {
		got := tc.f.all()[0]
		if got.Sender.String() != tc.sender || !strings.Contains(got.data, tc.from) {
			t.Errorf("%s: MAIL FROM %s and\n%s", name, got.Sender, got.data)
		}
		h, b, _ := strings.Cut(got.data, "\r\n\r\n")
		if b != body || !strings.Contains(h, "Subject: scan") || !strings.Contains(h, "To: a@corp.example") {
			t.Errorf("%s: it is another message:\n%s", name, got.data)
		}
		if got.Size != int64(len(got.data)) {
			t.Errorf("%s: Size %d of %d octets", name, got.Size, len(got.data))
		}
		if strings.Contains(h, ".example>") && name == "plain" {
			t.Errorf("%s: rewritten:\n%s", name, h)
		}
	}
	if got := first.all(); got[0].data != got[1].data {
		t.Error("a second attempt has other octets")
	}
	if plain.all()[0].data != head+body {
		t.Error("without an identity it is not the stored octets")
	}
}

func TestTheRulesIdentityComesFirst(t *testing.T) {
	r := newRig(t)
	f := r.has("out", &plan.Sender{Domain: "copier.test", LocalPart: "scans", DisplayName: "{device}", Rewrite: "OutsideDomain"})
	m := r.stored("A", head, body)
	m.Identity.LocalPart, m.Identity.DisplayName = "finance-scans", "Finance MFP"
	r.attempt("out", m)
	if got := f.all()[0]; got.Sender.String() != "finance-scans@copier.test" || !strings.Contains(got.data, "Finance MFP <finance-scans@copier.test>") && !strings.Contains(got.data, `"Finance MFP" <finance-scans@copier.test>`) {
		t.Errorf("MAIL FROM %s and\n%s", got.Sender, got.data)
	}
}

// A sender that the rule does not allow leaves under the upstream's identity or
// not at all (senders.otherwise: Rewrite).
// What a rewritten sender says of the device shows no inside address where the
// listener's Received does not.
func TestDeviceOfARedactedListener(t *testing.T) {
	inside := netip.MustParseAddr("10.20.3.7")
	for want, c := range map[string]queue.Client{
		"mfp-1":        {User: "mfp-1", HELO: "NPI1", Addr: inside, Redacted: true},
		"NPI1":         {HELO: "NPI1", Addr: inside, Redacted: true},
		"a device":     {HELO: "[10.20.3.7]", Addr: inside, Redacted: true},
		"10.20.3.7":    {Addr: inside},
		"[10.20.3.8]":  {HELO: "[10.20.3.8]", Addr: inside},
		"copier floor": {HELO: "copier floor", Addr: inside, Redacted: true},
	} {
		if got := device(&c); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
	if got := device(&queue.Client{HELO: "10.20.3.7", Addr: inside, Redacted: true}); got != "a device" {
		t.Error(got)
	}
	if got := device(&queue.Client{HELO: "[IPv6:fd00::7]", Addr: inside, Redacted: true}); got != "a device" {
		t.Error(got)
	}
}

func TestASenderThatIsNotAllowedNeverLeavesAsItIs(t *testing.T) {
	r := newRig(t)
	plain := r.has("plain", nil)
	m := r.stored("A", head, body)
	m.ForceIdentity = true
	o := r.attempt("plain", m)
	if o.Kind != upstream.Failed || o.Scope != upstream.ScopeMessage || !strings.Contains(o.Text, "sender.domain") {
		t.Errorf("%+v", o)
	}
	if got := plain.all(); len(got) > 0 {
		t.Errorf("it left as %s:\n%s", got[0].Sender, got[0].data)
	}
	m.DSNOf = "X" // the relay's own
	if o := r.attempt("plain", m); o.Kind != upstream.Accepted {
		t.Errorf("a notification: %+v", o)
	}
}

func TestANotificationKeepsItsNullSender(t *testing.T) {
	r := newRig(t)
	f := r.has("out", &plan.Sender{Domain: "out.example", LocalPart: "scans", Rewrite: "Always"})
	m := r.stored("A", head, body)
	m.Sender, m.DSNOf = envelope.Address{}, "0"
	r.attempt("out", m)
	if got := f.all()[0]; !got.Sender.IsNull() || got.data != head+body {
		t.Errorf("MAIL FROM <%s> and\n%s", got.Sender, got.data)
	}
}

// A provider is told who sends, by SMTP too; a mail server gets <>, which keeps
// notifications from being answered by others.
func TestANotificationByAProvider(t *testing.T) {
	r := newRig(t)
	r.plan = &plan.Plan{Delivery: plan.Delivery{Bounce: plan.Bounce{From: addr("relay@out.example")}}}
	m := r.stored("A", head, body)
	m.Sender, m.DSNOf = envelope.Address{}, "0"
	for kind, want := range map[string]string{"SMTP": "", "Microsoft365": "relay@out.example", "SendGrid": "relay@out.example"} {
		f := r.has(kind, &plan.Sender{Domain: "out.example", LocalPart: "scans", Rewrite: "Always"})
		r.upstreams[kind].plan.Type, r.upstreams[kind].plan.SMTP = kind, &plan.SMTP{}
		r.attempt(kind, m)
		if got := f.all()[0]; got.Sender.String() != want || got.data != head+body {
			t.Errorf("%s: MAIL FROM <%s>, want <%s>, and\n%s", kind, got.Sender, want, got.data)
		}
	}
}

func TestRewriteNeverRefusesWhatDoesNotFit(t *testing.T) {
	r := newRig(t)
	f := r.has("out", &plan.Sender{Domain: "out.example", LocalPart: "scans", Rewrite: "Never"})
	fits := r.has("fits", &plan.Sender{Domain: "copier.test", LocalPart: "scans", Rewrite: "Never"})
	m := r.stored("A", head, body)
	if o := r.attempt("out", m); o.Kind != upstream.Failed || o.Scope != upstream.ScopeMessage || o.Code != 550 || !strings.Contains(o.Text, "sender.rewrite is Never") {
		t.Errorf("got %+v", o)
	}
	if len(f.all()) != 0 {
		t.Error("it was sent")
	}
	if o := r.attempt("fits", m); o.Kind != upstream.Accepted || fits.all()[0].Sender != m.Sender {
		t.Errorf("one that fits: %v", o)
	}
}

func TestSMTPUTF8EndsWithTheAddressThatNeededIt(t *testing.T) {
	r := newRig(t)
	f := r.has("out", &plan.Sender{Domain: "out.example", LocalPart: "scans", Rewrite: "Always"})
	for id, tc := range map[string]struct {
		to   string
		want bool
	}{"A": {"a@corp.example", false}, "B": {"ä@corp.example", true}} {
		m := r.stored(id, "From: mfp@copier.test\r\nSubject: scan\r\n\r\n", body)
		m.Sender, m.UTF8, m.Recipients[0].Address = addr("kopierer-ö@copier.test"), true, addr(tc.to)
		r.attempt("out", m)
		if got := f.all()[len(f.all())-1]; got.UTF8 != tc.want {
			t.Errorf("to %s: UTF8 %t, want %t", tc.to, got.UTF8, tc.want)
		}
	}
}

func TestAnUpstreamThatIsNotConfiguredDefers(t *testing.T) {
	r := newRig(t)
	if o := r.attempt("nowhere", r.stored("A", head, body)); o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream {
		t.Errorf("got %v", o)
	}
}

// What the disk has spoilt is never sent, with and without a rewrite.
func TestACorruptEntryIsNotSent(t *testing.T) {
	for name, s := range map[string]*plan.Sender{"as it is": nil, "rewritten": {Domain: "out.example", LocalPart: "scans", Rewrite: "Always"}} {
		for where, offset := range map[string]int{"header": -len(head+body) + 8, "body": -len(body) + 2} {
			t.Run(name+", "+where, func(t *testing.T) {
				r := newRig(t)
				f := r.has("out", s)
				m := r.stored("A", head, body)
				path := filepath.Join(r.dir, "messages", "A")
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				at := bytes.Index(b, []byte(head+body)) + len(head+body) + offset
				b[at] ^= 1
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				o := r.attempt("out", m)
				if o.Kind != upstream.Deferred || o.Scope != upstream.ScopeMessage || !errors.Is(o.Cause, spool.ErrCorrupt) {
					t.Errorf("got %+v", o)
				}
				if len(f.all()) != 0 {
					t.Error("it was sent")
				}
				if !strings.Contains(r.log.String(), "id=A") {
					t.Errorf("log: %s", &r.log)
				}
			})
		}
	}
}

func TestAMissingEntryDefers(t *testing.T) {
	r := newRig(t)
	r.has("out", &plan.Sender{Domain: "out.example", LocalPart: "scans", Rewrite: "Always"})
	m := r.stored("A", head, body)
	if err := r.Spool.Remove("A"); err != nil {
		t.Fatal(err)
	}
	if o := r.attempt("out", m); o.Kind != upstream.Deferred || !errors.Is(o.Cause, spool.ErrNotFound) {
		t.Errorf("got %+v", o)
	}
}

func TestCapabilities(t *testing.T) {
	r := newRig(t)
	if r.CarriesUTF8() {
		t.Error("no upstream carries UTF8")
	}
	a, b := r.has("a", nil), r.has("b", nil)
	a.caps, b.caps = upstream.Capabilities{MaxSize: 100, UTF8: true}, upstream.Capabilities{UTF8: false}
	if r.CarriesUTF8() {
		t.Error("b does not carry UTF8")
	}
	b.caps.UTF8 = true
	if !r.CarriesUTF8() {
		t.Error("both carry UTF8")
	}
	for _, tc := range []struct{ told, limit, want int64 }{{0, 0, 0}, {100, 0, 100}, {0, 50, 50}, {100, 50, 50}, {100, 200, 100}} {
		a.caps.MaxSize = tc.told
		r.route("a").plan.MessageSize = tc.limit
		if got := r.Capabilities("a").MaxSize; got != tc.want {
			t.Errorf("told %d, limit %d: %d, want %d", tc.told, tc.limit, got, tc.want)
		}
	}
	if got := r.Capabilities("nowhere"); got != (upstream.Capabilities{}) {
		t.Errorf("nowhere: %v", got)
	}
}

func TestUpdateKeepsTransportsWhoseSettingsStay(t *testing.T) {
	r := newRig(t)
	dir := t.TempDir()
	p := func(smtp string, sender *plan.Sender, box string) *plan.Plan {
		return &plan.Plan{Namespace: "ns", Hostname: "relay.test", Upstreams: map[string]*plan.Upstream{
			"mta":  {Name: "mta", Type: "SMTP", Connections: 1, SMTP: &plan.SMTP{Host: smtp, Port: 25, TLS: plan.TLSNone}, Sender: sender},
			"file": {Name: "file", Type: "Maildir", Maildir: &plan.Maildir{Path: box}},
		}}
	}
	if err := r.Update(p("one.example", nil, "box")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if _, err := os.Stat(filepath.Join(r.State, "box", "new")); err != nil {
		t.Errorf("a relative Maildir is not below the state folder: %v", err)
	}
	mta, file := r.route("mta").transport, r.route("file").transport
	if err := r.Update(p("one.example", &plan.Sender{Domain: "x.example"}, "box")); err != nil {
		t.Fatal(err)
	}
	if r.route("mta").transport != mta || r.route("file").transport != file {
		t.Error("another identity made another transport")
	}
	if r.route("mta").plan.Sender == nil {
		t.Error("the identity is the old one")
	}
	// What cannot be had as a whole changes nothing.
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Update(p("two.example", nil, filepath.Join(blocked, "box"))); err == nil || !strings.Contains(err.Error(), "MailUpstream ns/file: ") {
		t.Errorf("a Maildir below a file: %v", err)
	}
	if r.route("mta").transport != mta || r.plan.Upstreams["mta"].SMTP.Host != "one.example" {
		t.Error("a failed update has changed an upstream")
	}
	if err := r.Update(p("two.example", nil, "box")); err != nil {
		t.Fatal(err)
	}
	if r.route("mta").transport == mta || r.route("file").transport != file {
		t.Error("the changed upstream and no other gets a new transport")
	}
	unknown := p("two.example", nil, "box")
	unknown.Upstreams["ses"] = &plan.Upstream{Name: "ses", Type: "SES"}
	if err := r.Update(unknown); err == nil || !strings.Contains(err.Error(), "ns/ses: type SES is not supported in this build") {
		t.Errorf("an upstream type that is not built: %v", err)
	}
	gone := r.has("gone", nil)
	if err := r.Update(p("two.example", nil, "box")); err != nil {
		t.Fatal(err)
	}
	if gone.closed != 1 || r.route("gone") != nil {
		t.Errorf("an upstream that is gone: closed %d times", gone.closed)
	}
}
