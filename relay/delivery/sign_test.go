package delivery

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/printerrelay/printer-relay/relay/dkim"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// keyPEM is a new private key.
func keyPEM(t *testing.T, kind string) []byte {
	t.Helper()
	var key any
	var err error
	if kind == dkim.RSAKey {
		key, err = rsa.GenerateKey(rand.Reader, 1024)
	} else {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

// signs makes the rig's upstream sign as domain, with the Secret "key".
func (r *rig) signs(name, domain, rewrite string) *fake {
	f := r.has(name, &plan.Sender{Domain: domain, LocalPart: "scans", Rewrite: rewrite})
	r.upstreams[name].plan.DKIM = &plan.DKIM{Domain: domain, Selector: "s1", Secret: "key"}
	return f
}

// hasKeys gives the Delivery the Secret "key".
func (r *rig) hasKeys(data map[string][]byte) { r.hasSecrets(secrets.Map{"key": data}) }

func (r *rig) hasSecrets(m secrets.Map) { r.Secrets = func() secrets.Source { return m } }

// signatures tells of each signature of a message its domain, or why it does not
// verify with the keys of data.
func signatures(t *testing.T, data map[string][]byte, message string) []string {
	t.Helper()
	keys, err := dkim.Keys(data)
	if err != nil {
		t.Fatal(err)
	}
	vs, err := msgauth.VerifyWithOptions(strings.NewReader(message), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		_, domain, _ := strings.Cut(name, "._domainkey.")
		for _, k := range keys {
			if n, v := k.Record("s1", domain); n == name {
				return []string{v}, nil
			}
		}
		return nil, fmt.Errorf("no record %s", name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, v := range vs {
		if v.Err != nil {
			out = append(out, v.Err.Error())
			continue
		}
		out = append(out, v.Domain)
	}
	return out
}

func TestWhatLeavesIsSignedAsTheUpstreamsDomain(t *testing.T) {
	rsaPEM, edPEM := keyPEM(t, dkim.RSAKey), keyPEM(t, dkim.Ed25519Key)
	both := map[string][]byte{dkim.RSAKey: rsaPEM, dkim.Ed25519Key: edPEM}
	for name, data := range map[string]map[string][]byte{"RSA": {dkim.RSAKey: rsaPEM}, "Ed25519": {dkim.Ed25519Key: edPEM}, "both": both} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.hasKeys(data)
			outside, inside := r.signs("outside", "first.example", "Always"), r.signs("inside", "copier.test", "Never")
			eight := "one \xc3\xa9 \xff \r\n\r\n.\r\n\r\n"
			m := r.stored("A", "DKIM-Signature: v=1; d=old.example;\r\n b=x\r\n"+head, eight)
			m.EightBit = true
			for _, up := range []string{"outside", "inside", "outside"} {
				if o := r.attempt(up, m); o.Kind != upstream.Accepted {
					t.Fatalf("%s: %v", up, o)
				}
			}
			notice := r.stored("B", "From: <relay@elsewhere.example>\r\nTo: it@corp.example\r\n\r\n", body)
			notice.DSNOf = "A"
			r.attempt("inside", notice)
			for f, domain := range map[*fake]string{outside: "first.example", inside: "copier.test"} {
				for _, got := range f.all() {
					if got, want := signatures(t, data, got.data), slices.Repeat([]string{domain}, len(data)); !slices.Equal(got, want) {
						t.Errorf("signatures %q, want %q", got, want)
					}
					if !strings.HasPrefix(got.data, "DKIM-Signature: ") || strings.Contains(got.data, "old.example") {
						t.Errorf("the header is\n%s", got.data)
					}
					if got.Size != int64(len(got.data)) {
						t.Errorf("Size %d of %d octets", got.Size, len(got.data))
					}
				}
			}
			if got := inside.all(); len(got) != 2 || !strings.HasSuffix(got[0].data, "\r\n\r\n"+eight) || !strings.Contains(got[1].data, "From: <relay@elsewhere.example>") {
				t.Errorf("%d messages: %+v", len(got), got)
			}
		})
	}
}

// A provider that takes one signature gets that of the RSA key.
func TestOneSignature(t *testing.T) {
	rsaPEM, edPEM := keyPEM(t, dkim.RSAKey), keyPEM(t, dkim.Ed25519Key)
	for name, keys := range map[string]map[string][]byte{"both": {dkim.RSAKey: rsaPEM, dkim.Ed25519Key: edPEM}, "Ed25519": {dkim.Ed25519Key: edPEM}} {
		r := newRig(t)
		r.hasKeys(keys)
		f := r.signs("out", "first.example", "Always")
		r.upstreams["out"].plan.DKIM.Single = true
		if o := r.attempt("out", r.stored("A", head, body)); o.Kind != upstream.Accepted {
			t.Fatalf("%s: %v", name, o)
		}
		got := f.all()[0].data
		if n := strings.Count(got, "DKIM-Signature:"); n != 1 {
			t.Errorf("%s: %d signatures, want 1", name, n)
		}
		if rsa := strings.Contains(got, "a=rsa-sha256"); rsa != (name == "both") {
			t.Errorf("%s: signed with RSA: %t\n%s", name, rsa, got)
		}
	}
}

// Without a key that can be used mail waits at the upstream, with the reason.
// It never leaves unsigned, or signed with one of two keys.
func TestWithoutAKeyMailWaits(t *testing.T) {
	good := keyPEM(t, dkim.Ed25519Key)
	for name, tc := range map[string]struct {
		secrets secrets.Map
		want    string
	}{
		"no Secret":     {secrets.Map{}, `DKIM: Secret "key" of spec.dkim.secretRef: it is not found: create it, with a private key as rsa.pem or ed25519.pem`},
		"no key":        {secrets.Map{"key": {"tls.key": good}}, `DKIM: Secret "key" of spec.dkim.secretRef: neither key "rsa.pem" nor key "ed25519.pem" is there: add a private key in PEM`},
		"broken":        {secrets.Map{"key": {dkim.Ed25519Key: good[:60]}}, `DKIM: Secret "key" of spec.dkim.secretRef: key "ed25519.pem": it holds no PEM: put the whole file there that openssl genpkey wrote, with its BEGIN and END lines`},
		"one is broken": {secrets.Map{"key": {dkim.Ed25519Key: good, dkim.RSAKey: good}}, `DKIM: Secret "key" of spec.dkim.secretRef: key "rsa.pem": it is an Ed25519 key: name it ed25519.pem`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			f := r.signs("out", "copier.test", "OutsideDomain")
			m := r.stored("A", head, body)
			r.hasSecrets(tc.secrets)
			if o := r.attempt("out", m); o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream || o.Text != tc.want {
				t.Errorf("%+v\nwant %s", o, tc.want)
			}
			if len(f.all()) != 0 {
				t.Errorf("it left as\n%s", f.all()[0].data)
			}
			data := map[string][]byte{dkim.Ed25519Key: good}
			r.hasKeys(data)
			if o := r.attempt("out", m); o.Kind != upstream.Accepted {
				t.Fatalf("with a key: %v", o)
			}
			if got := signatures(t, data, f.all()[0].data); !slices.Equal(got, []string{"copier.test"}) {
				t.Errorf("with a key: %q", got)
			}
		})
	}
}

// A key that changes is used at the next attempt; what it needs in DNS is in the
// log, once, and nothing of the key.
func TestKeysRotate(t *testing.T) {
	r := newRig(t)
	f := r.signs("out", "copier.test", "OutsideDomain")
	m := r.stored("A", head, body)
	first, second := keyPEM(t, dkim.RSAKey), keyPEM(t, dkim.RSAKey)
	for i, key := range [][]byte{first, first, second, second} {
		data := map[string][]byte{dkim.RSAKey: key}
		r.hasKeys(data)
		r.attempt("out", m)
		if got := signatures(t, data, f.all()[i].data); !slices.Equal(got, []string{"copier.test"}) {
			t.Errorf("attempt %d: %q", i, got)
		}
	}
	log := r.log.String()
	for _, want := range []string{`msg="DKIM key in use" upstream=out secret=key key="rsa key" record=s1._domainkey.copier.test txt="v=DKIM1; k=rsa; p=`, "the RSA key has 1024 bits: make one of 2048"} {
		if strings.Count(log, want) != 2 {
			t.Errorf("not twice: %s\n%s", want, log)
		}
	}
	for line := range strings.FieldsSeq(string(first) + string(second)) {
		if len(line) == 64 && strings.Contains(log, line) {
			t.Errorf("the log shows the key:\n%s", log)
		}
	}
}

// While a Secret is half written the keys before sign; once it is gone nothing
// leaves.
func TestKeysHalfWritten(t *testing.T) {
	r := newRig(t)
	f := r.signs("out", "copier.test", "OutsideDomain")
	m := r.stored("A", head, body)
	good := map[string][]byte{dkim.RSAKey: keyPEM(t, dkim.RSAKey)}
	for i, data := range []map[string][]byte{good, {dkim.RSAKey: good[dkim.RSAKey][:60]}, {}} {
		r.hasKeys(data)
		if o := r.attempt("out", m); o.Kind != upstream.Accepted {
			t.Fatalf("attempt %d: %v", i, o)
		}
		if got := signatures(t, good, f.all()[i].data); !slices.Equal(got, []string{"copier.test"}) {
			t.Errorf("attempt %d: %q", i, got)
		}
	}
	r.hasSecrets(secrets.Map{})
	if o := r.attempt("out", m); o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream {
		t.Errorf("without the Secret: %v", o)
	}
}

func TestSigningStopsWithItsContext(t *testing.T) {
	r := newRig(t)
	f := r.signs("out", "copier.test", "OutsideDomain")
	r.hasKeys(map[string][]byte{dkim.Ed25519Key: keyPEM(t, dkim.Ed25519Key)})
	m := r.stored("A", head, body)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := r.Deliver(ctx, queue.Attempt{Upstream: "out", Message: m, Number: 1, Recipients: []envelope.Address{m.Recipients[0].Address}})[0]
	if o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream || len(f.all()) != 0 {
		t.Errorf("%+v", o)
	}
}

// discard is a Transport that keeps nothing.
type discard struct{ fake }

func (*discard) Deliver(_ context.Context, m *upstream.Message) []upstream.Outcome {
	r, err := m.Open()
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		r.Close()
	}
	if err != nil {
		return upstream.All(len(m.Recipients), upstream.Outcome{Kind: upstream.Deferred, Cause: err})
	}
	return upstream.All(len(m.Recipients), accepted)
}

// A signed scan is read twice and held never.
func TestMemoryOfASignedScan(t *testing.T) {
	r := newRig(t)
	r.signs("out", "copier.test", "OutsideDomain")
	r.upstreams["out"].transport = &discard{}
	r.hasKeys(map[string][]byte{dkim.RSAKey: keyPEM(t, dkim.RSAKey), dkim.Ed25519Key: keyPEM(t, dkim.Ed25519Key)})
	used := func(id string, lines int) uint64 {
		m := r.stored(id, head, strings.Repeat(strings.Repeat("A", 76)+"\r\n", lines)+strings.Repeat("\r\n", lines)+"end\r\n")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if o := r.attempt("out", m); o.Kind != upstream.Accepted {
			t.Fatal(o)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	used("warm", 1)
	small, large := used("small", 10), used("large", 400_000) // 32 MB
	if large > small+1<<20 {
		t.Errorf("%d KiB for a small one, %d KiB for 32 MB", small>>10, large>>10)
	}
}
