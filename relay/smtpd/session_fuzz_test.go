package smtpd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/manifest"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// FuzzSession: whatever octets a client sends, in whatever pieces, to a listener
// of any profile, the whole server, from socket to spool, answers each command
// once, in one line that a panel can show; every message it says 250 to is in the
// spool once, with the octets that RFC 5321 says it has, and nothing else is;
// policy holds; and the session ends, without a panic and without a goroutine
// left. A session runs in a bubble of its own, where time passes at once: what
// waits without a deadline fails, and how fast the machine is makes no difference.
func FuzzSession(f *testing.F) {
	w := newSessionWorld(f)
	for _, s := range sessionSeeds(f) {
		f.Add(s.in, s.sizes, s.profile, s.hangUp)
	}
	f.Fuzz(func(t *testing.T, in, sizes []byte, profile byte, hangUp bool) {
		w.session(t, in, sizes, profile, hangUp)
	})
}

// sessionWorld is what sessions share: plans are data.
type sessionWorld struct {
	base    *plan.Plan
	secrets secrets.Source
	tls     *tls.Config
	metrics *metrics.Set
}

const sessionManifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  intake: Hold
  upstreamRef: {name: folder}
  senderPolicyRefs: [{name: office}]
  addresses: {defaultDomain: corp.example}
  listeners:
  - name: smtp
    port: 25
    authentication: {mode: Optional, mechanisms: [Plain, Login, CRAMMD5], plaintext: Allow, secretRef: {name: logins}}
    limits: {messageSize: 16Ki}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec: {type: Maildir, maildir: {path: mail}}
---
apiVersion: v1
kind: Secret
metadata: {name: logins}
stringData: {mfp1: correct horse}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [10.0.0.0/8]}
    senders: {allowed: ["*@copier.example"]}
    recipients: {allowed: ["*@corp.example"], maximum: 3}
`

func newSessionWorld(t testing.TB) *sessionWorld {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "relay.yaml"), []byte(sessionManifests), 0o600); err != nil {
		t.Fatal(err)
	}
	set, problems, err := manifest.Load(dir)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	in := plan.Input{Relay: set.Relays[0], Upstreams: map[string]*upstreamKind{}, Policies: map[string]*policyKind{}}
	for _, u := range set.Upstreams {
		in.Upstreams[u.Name] = u
	}
	for _, p := range set.Policies {
		in.Policies[p.Name] = p
	}
	p, found := plan.Compile(in)
	if found.Failed() {
		t.Fatal(found)
	}
	return &sessionWorld{base: p, secrets: set.Secrets[p.Namespace], tls: sessionTLS(t), metrics: metrics.New(prometheus.NewRegistry(), "fuzz")}
}

func sessionTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

var lineEndings = []string{"Normalize", "Reject", "BareLF"}

// sessionProfiles counts the profiles of a listener: each of its settings that
// changes how it reads, with each other.
const sessionProfiles = 3 * 2 * 3 * 2

// plan is the relay with a listener of one profile.
func (w *sessionWorld) plan(profile byte) *plan.Plan {
	n := int(profile) % sessionProfiles
	next := func(of int) int { v := n % of; n /= of; return v }
	p := *w.base
	l := p.Listeners[0]
	l.Compat = plan.Compat{LineEndings: lineEndings[next(3)], Lenient: next(2) == 1}
	l.Auth.Mode = []plan.AuthMode{plan.AuthNone, plan.AuthOptional, plan.AuthRequired}[next(3)]
	l.TLS.Mode = []plan.TLSMode{plan.TLSNone, plan.TLSStartTLS}[next(2)]
	p.Listeners = []plan.Listener{l}
	return &p
}

// session plays one session and judges it.
func (w *sessionWorld) session(t *testing.T, in, sizes []byte, profile byte, hangUp bool) {
	t.Helper()
	dir := t.TempDir()
	stuck := time.AfterFunc(time.Minute, func() { panic("the session goes round in circles") }) // which lets no time pass in a bubble
	defer stuck.Stop()
	synctest.Test(t, func(t *testing.T) {
		b := w.open(t, dir, w.plan(profile))
		said := b.talk(in, sizes, hangUp)
		b.close()
		if b.log.Len() > 0 {
			t.Errorf("a fault in the session: %s\nsent: %q", b.log.String(), in)
		}
		b.judge(t, in, said, hangUp)
		if err := b.spool.Close(); err != nil {
			t.Error(err)
		}
	})
}

// bench is a server with a listener that no socket leads to.
type bench struct {
	dir    string
	plan   *plan.Plan
	server *Server
	queue  *queue.Queue
	spool  *spool.Spool
	l      *listener
	raw    *memory
	log    *faults
}

func (w *sessionWorld) open(t *testing.T, dir string, p *plan.Plan) *bench {
	t.Helper()
	b := &bench{dir: dir, plan: p, raw: newMemory(), log: &faults{}}
	var err error
	if b.spool, err = spool.Open(dir, spool.Options{NoSyncFS: true, MinFree: 1, Slots: 4}); err != nil {
		t.Fatal(err)
	}
	b.queue = queue.New(b.spool, queue.Options{Settings: queue.SettingsOf(p)})
	b.server = New(Config{State: t.TempDir(), Spool: b.spool, Queue: b.queue, Limiter: policy.NewLimiter(), Metrics: w.metrics, Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelError}))})
	b.server.plan.Store(p)
	b.server.users.Store(&loginCache{src: w.secrets, log: b.server.Log})
	b.l = b.server.newListener(b.raw)
	st := &listenerState{plan: &p.Listeners[0]}
	if st.plan.TLS.Mode != plan.TLSNone {
		st.tls = w.tls
	}
	b.l.state.Store(st)
	b.server.serve(b.l)
	return b
}

// talk sends the octets in pieces and gives what the server said until it closed.
func (b *bench) talk(in, sizes []byte, hangUp bool) []byte {
	near, far := net.Pipe()
	b.raw.conns <- from{far, netip.MustParseAddr("10.0.0.1")}
	var sent sync.WaitGroup
	sent.Go(func() {
		for n := 0; len(in) > 0; n++ {
			piece := len(in)
			if len(sizes) > 0 && sizes[n%len(sizes)] < 255 {
				piece = min(piece, int(sizes[n%len(sizes)])+1)
			}
			if _, err := near.Write(in[:piece]); err != nil {
				return // it has closed
			}
			in = in[piece:]
		}
		if hangUp {
			near.Close()
		}
	})
	said, _ := io.ReadAll(near) //nolint:errcheck // its own end, where it hung up
	sent.Wait()
	near.Close()
	return said
}

func (b *bench) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.server.retire(ctx, b.l)
	b.server.Shutdown(ctx)
}

// judge compares what was said and what is in the spool with the reference.
func (b *bench) judge(t *testing.T, in, said []byte, hangUp bool) {
	t.Helper()
	answers, err := answers(said)
	if err != nil && !hangUp {
		t.Errorf("%v\nall: %q", err, said)
	}
	acknowledged := map[string]bool{}
	for _, a := range answers {
		if id, ok := strings.CutPrefix(a.text, "250 2.0.0 Queued as "); ok {
			if acknowledged[id] {
				t.Errorf("%s was acknowledged twice", id)
			}
			acknowledged[id] = true
		}
	}
	stored := b.stored(t)
	for id := range acknowledged {
		if _, ok := stored[id]; !ok {
			t.Errorf("%s was acknowledged and is not in the spool", id)
		}
	}
	if hangUp { // it did not hear of all
		return
	}
	for id, m := range stored {
		if !acknowledged[id] {
			t.Errorf("in the spool and never acknowledged: %q", m.body)
		}
	}
	l := &b.plan.Listeners[0]
	transfers, err := dialect{l.Compat.Lenient, l.Compat.LineEndings == "BareLF"}.follow(in, answers)
	if err == errUnclear { //nolint:errorlint // it is no other's
		return
	}
	if err != nil {
		t.Errorf("%v\nsent: %q\nsaid: %q", err, in, said)
	}
	b.compare(t, transfers, stored)
}

// kept is one message of the spool.
type kept struct {
	*queue.Message
	body []byte
}

func (b *bench) stored(t *testing.T) map[string]kept {
	t.Helper()
	page, err := b.queue.List(queue.Filter{All: true, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]kept{}
	for _, s := range page.Messages {
		d, err := b.queue.Show(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.spool.Body(s.ID)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		out[s.ID] = kept{d.Message, body}
	}
	if n := b.spool.Usage().Entries; n != len(out) {
		t.Errorf("%d entries in the spool, %d in the queue", n, len(out))
	}
	files, err := os.ReadDir(filepath.Join(b.dir, "messages"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := out[f.Name()]; !ok {
			t.Errorf("a file is left of a message that was not taken: %s", f.Name())
		}
	}
	return out
}

var hop = regexp.MustCompile(`^Received: from [^\r\n]*\r\n\tby relay\.test \(Printer Relay\) with E?SMTPA? id [^\r\n]*;\r\n\t[^\r\n]*\r\n$`)

// compare holds the spool to what the client sent.
func (b *bench) compare(t *testing.T, transfers []transfer, stored map[string]kept) {
	t.Helper()
	l := &b.plan.Listeners[0]
	for _, tr := range transfers {
		id, ok := strings.CutPrefix(tr.text, "250 2.0.0 Queued as ")
		if !ok {
			if tr.code[0] == '2' {
				t.Errorf("an end of data was answered with %q", tr.text)
			}
			continue
		}
		m, ok := stored[id]
		if !ok {
			continue // said already
		}
		delete(stored, id)
		var want bytes.Buffer
		_, err := message.Intake(&want, bytes.NewReader(tr.data), message.IntakeOptions{
			Reject: l.Compat.LineEndings == "Reject", MaxSize: l.AdvertisedSize, Hostname: b.plan.Hostname, ID: id, Sender: m.Sender, Now: m.Arrived,
		})
		if err != nil || !bytes.HasSuffix(m.body, want.Bytes()) || !hop.Match(m.body[:max(0, len(m.body)-want.Len())]) {
			t.Errorf("sent:   %q\nstored: %q\nwant:   a Received field and %q (%v)", tr.data, m.body, want.Bytes(), err)
		}
		if head := int64(bytes.Index(m.body, []byte("\r\n\r\n")) + 4); m.Size != int64(len(m.body)) || m.HeaderSize != head || m.Held == "" {
			t.Errorf("size %d of %d, header %d of %d, held %q", m.Size, len(m.body), m.HeaderSize, head, m.Held)
		}
		if envelope.DomainKey(m.Sender.Domain) != "copier.example" || len(m.Recipients) == 0 || len(m.Recipients) > min(3, tr.recipients) ||
			slices.ContainsFunc(m.Recipients, func(r queue.Recipient) bool { return envelope.DomainKey(r.Address.Domain) != "corp.example" }) {
			t.Errorf("%s -> %v was let in; %d recipients were accepted", m.Sender, m.Recipients, tr.recipients)
		}
		if l.Auth.Mode == plan.AuthRequired && m.Client.User == "" {
			t.Error("a message without the login that is required")
		}
	}
	for _, m := range stored {
		t.Errorf("in the spool, and no message of the client's: %q", m.body)
	}
}

// faults takes what the server logs as an error.
type faults struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *faults) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}
