package dkim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/printerrelay/printer-relay/relay/message"
)

var now = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

// keyPEM is a private key in PEM; pkcs1 takes the old form for RSA.
func keyPEM(tb testing.TB, key any, pkcs1 bool) []byte {
	tb.Helper()
	if pkcs1 {
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))})
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

func newRSA(tb testing.TB, bits int) *rsa.PrivateKey {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func newEd25519(tb testing.TB) ed25519.PrivateKey {
	tb.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// signer has both keys.
func signer(tb testing.TB) *Signer {
	tb.Helper()
	keys, err := Keys(map[string][]byte{RSAKey: keyPEM(tb, newRSA(tb, 2048), false), Ed25519Key: keyPEM(tb, newEd25519(tb), false)})
	if err != nil {
		tb.Fatal(err)
	}
	return &Signer{Domain: "copier.example", Selector: "scans1", Keys: keys}
}

// verify asks go-msgauth about every signature of a message.
func (s *Signer) verify(tb testing.TB, signed string) []*msgauth.Verification {
	tb.Helper()
	records := map[string][]string{}
	for _, k := range s.Keys {
		name, value := k.Record(s.Selector, s.Domain)
		records[name] = []string{value}
	}
	v, err := msgauth.VerifyWithOptions(strings.NewReader(signed), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if r, ok := records[name]; ok {
			return r, nil
		}
		return nil, fmt.Errorf("no record %s", name)
	}})
	if err != nil {
		tb.Fatalf("%v\n%.3000s", err, signed)
	}
	return v
}

// bad is the first signature that does not verify.
func bad(vs []*msgauth.Verification) error {
	for _, v := range vs {
		if v.Err != nil {
			return v.Err
		}
	}
	return nil
}

func (s *Signer) signed(tb testing.TB, head, body string) string {
	tb.Helper()
	b, err := s.Sign(message.ParseHeader([]byte(head)), strings.NewReader(body), now)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b) + head + "\r\n" + body
}

const head = "Received: from mfp\r\n\tby relay\r\nFrom: \"Copier, 3rd floor\"\r\n <scans@copier.example>\r\nTo: a@corp.example,\r\n\tb@corp.example\r\nCc: c@corp.example\r\n" +
	"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n =?utf-8?q?_und_mehr?=\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@copier.example>\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n   charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nX-Device: mfp\r\n"

const body = "scanned  page \t \r\n\r\n\ttwo \xc3\xa9 \xff\r\n.dot\r\n\r\n \r\n\r\n"

func TestBothSignaturesVerify(t *testing.T) {
	s := signer(t)
	signed := s.signed(t, head, body)
	got := s.verify(t, signed)
	if len(got) != 2 || bad(got) != nil {
		t.Fatalf("%d signatures, %v\n%s", len(got), bad(got), signed)
	}
	want := "From From Subject Subject To To Cc Cc MIME-Version MIME-Version Content-Type Content-Type Content-Transfer-Encoding Content-Transfer-Encoding Date Date Message-ID Message-ID"
	for i, v := range got {
		if v.Domain != "copier.example" || strings.Join(v.HeaderKeys, " ") != want || !v.Time.Equal(now) {
			t.Errorf("signature %d: %+v", i, v)
		}
	}
	text, _, _ := strings.Cut(signed, "Received:")
	for _, want := range []string{"a=rsa-sha256; c=relaxed/relaxed;", "a=ed25519-sha256; c=relaxed/relaxed;", "s=scans1;", "s=scans1-ed25519;"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("not once: %s\n%s", want, text)
		}
	}
	for _, tag := range []string{" l=", "\tl=", " x=", "\tx="} {
		if strings.Contains(text, tag) {
			t.Errorf("%q in\n%s", tag, text)
		}
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if len(line) > 78 {
			t.Errorf("%d octets: %s", len(line), line)
		}
	}
}

// What is signed cannot be changed, what is not can.
func TestTampering(t *testing.T) {
	s := signer(t)
	signed := s.signed(t, head, body)
	for name, tc := range map[string]struct {
		old, new string
		ok       bool
	}{
		"as it is":                {"", "", true},
		"body":                    {"scanned  page", "scanned  pages", false},
		"body, an octet":          {"\xff", "\xfe", false},
		"body, a line more":       {".dot\r\n", ".dot\r\nmore\r\n", false},
		"body, a space more":      {"scanned  page", "scanned   page", true}, // relaxed
		"body, empty lines more":  {".dot\r\n", ".dot\r\n\r\n\r\n", true},    // likewise
		"From":                    {"<scans@", "<md@", false},
		"a second From":           {"X-Device", "From: md@corp.example\r\nX-Device", false},
		"a second From on top":    {"Received", "From: md@corp.example\r\nReceived", false},
		"Subject":                 {"mehr", "Meer", false},
		"a second Subject on top": {"Received", "Subject: Hello\r\nReceived", false},
		"To":                      {"b@corp", "d@corp", false},
		"Cc":                      {"c@corp", "d@corp", false},
		"Date":                    {"10:00:00", "10:00:01", false},
		"Message-ID":              {"<1@", "<2@", false},
		"Content-Type":            {"text/plain", "text/html", false},
		"folds":                   {"a@corp.example,\r\n\tb", "a@corp.example, b", true},
		"another Received":        {"Received", "Received: x\r\nReceived", true},
		"a field of no interest":  {"X-Device: mfp", "X-Device: other", true},
		"the domain":              {"d=copier.example", "d=corp.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.verify(t, strings.ReplaceAll(signed, tc.old, tc.new))
			for i, v := range got {
				if (v.Err == nil) != tc.ok {
					t.Errorf("signature %d: %v", i, v.Err)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	s := &Signer{}
	for name, tc := range map[string]struct {
		head, want string
		reissued   bool
	}{
		"least":              {"From: a\r\n", "From From", false},
		"all":                {"Message-ID: m\r\nDATE: d\r\nReferences: r\r\nIn-Reply-To: i\r\nReply-To: r\r\nSender: s\r\nfrom: a\r\nReceived: x\r\nDKIM-Signature: y\r\nReturn-Path: z\r\nComments: c\r\n", "From From Sender Sender Reply-To Reply-To In-Reply-To In-Reply-To References References Date Date Message-ID Message-ID", false},
		"reissued":           {"From: a\r\nDate: d\r\nMessage-ID: m\r\nSubject: s\r\n", "From From Subject Subject", true},
		"two of one":         {"From: a\r\nTo: a\r\nTo: b\r\n", "From From To To To", false},
		"far too many":       {"From: a\r\n" + strings.Repeat("To: a\r\n", 1000), "From From", false},
		"space before colon": {"From : a\r\n", "From From", false},
	} {
		t.Run(name, func(t *testing.T) {
			s.Reissued = tc.reissued
			got, err := s.names(message.ParseHeader([]byte(tc.head)))
			if err != nil || strings.Join(got, " ") != tc.want {
				t.Errorf("%v, %v, want %s", got, err, tc.want)
			}
		})
	}
	if _, err := s.Sign(message.ParseHeader([]byte("To: a\r\n")), strings.NewReader(""), now); !errors.Is(err, errNoFrom) {
		t.Errorf("without From: %v", err)
	}
}

// A body that cannot be read is not signed: the caller must know.
func TestAnUnreadableBodyIsAnError(t *testing.T) {
	s, broken := signer(t), errors.New("checksum")
	if b, err := s.Sign(message.ParseHeader([]byte(head)), io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), now); !errors.Is(err, broken) || b != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestKeys(t *testing.T) {
	rsa2048, ed := newRSA(t, 2048), newEd25519(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, pkcs1, edPEM := keyPEM(t, rsa2048, false), keyPEM(t, rsa2048, true), keyPEM(t, ed, false)
	public, err := x509.MarshalPKIXPublicKey(rsa2048.Public())
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	type data = map[string][]byte
	for name, tc := range map[string]struct {
		data data
		want string // keys, or what the error says
	}{
		"RSA, PKCS#8":          {data{RSAKey: pkcs8}, "[rsa key]"},
		"RSA, PKCS#1":          {data{RSAKey: pkcs1}, "[rsa key]"},
		"Ed25519":              {data{Ed25519Key: edPEM}, "[ed25519 key]"},
		"both":                 {data{Ed25519Key: edPEM, RSAKey: pkcs8, "other": nil}, "[rsa key ed25519 key]"},
		"text around":          {data{RSAKey: []byte("my key\n" + string(pkcs8) + "\n\n")}, "[rsa key]"},
		"1024 bits":            {data{RSAKey: keyPEM(t, newRSA(t, 1024), false)}, "[rsa key]"},
		"none":                 {data{"tls.key": pkcs8}, `neither key "rsa.pem" nor key "ed25519.pem" is there: add`},
		"empty":                {data{RSAKey: nil}, `key "rsa.pem": it holds no PEM`},
		"no PEM":               {data{RSAKey: []byte("MIIEvQ")}, `key "rsa.pem": it holds no PEM`},
		"cut off":              {data{RSAKey: pkcs8[:len(pkcs8)/2]}, `key "rsa.pem": it holds no PEM`},
		"changed":              {data{RSAKey: block("PRIVATE KEY", []byte("x"))}, `key "rsa.pem": its private key cannot be read`},
		"changed, PKCS#1":      {data{RSAKey: block("RSA PRIVATE KEY", []byte("x"))}, `key "rsa.pem": its private key cannot be read`},
		"one of two is broken": {data{RSAKey: pkcs8, Ed25519Key: nil}, `key "ed25519.pem": it holds no PEM`},
		"public":               {data{RSAKey: block("PUBLIC KEY", public)}, `key "rsa.pem": it is no private key`},
		"passphrase":           {data{RSAKey: block("ENCRYPTED PRIVATE KEY", []byte("x"))}, "it has a passphrase"},
		"old passphrase":       {data{RSAKey: []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")}, "it has a passphrase"},
		"ECDSA":                {data{RSAKey: keyPEM(t, ec, false)}, "neither an RSA nor an Ed25519 key"},
		"ECDSA, SEC 1":         {data{RSAKey: append(block("EC PARAMETERS", []byte("x")), block("EC PRIVATE KEY", []byte("x"))...)}, "neither an RSA nor an Ed25519 key"},
		"Ed25519 as RSA":       {data{RSAKey: edPEM}, "it is an Ed25519 key: name it ed25519.pem"},
		"RSA as Ed25519":       {data{Ed25519Key: pkcs8}, "it is an RSA key: name it rsa.pem"},
		"512 bits":             {data{RSAKey: stored(t, "rsa512.pem")}, `key "rsa.pem": it has 512 bits`},
		"5120 bits":            {data{RSAKey: keyPEM(t, large(t), true)}, "it has 5120 bits, and verifiers need to take no more than 4096"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := Keys(tc.data)
			got := fmt.Sprintf("%v", keys)
			if err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tc.want) && (err == nil || !strings.Contains(got, tc.want)) {
				t.Errorf("%s, want %s", got, tc.want)
			}
			for _, line := range strings.Fields(string(bytes.Join([][]byte{pkcs8, pkcs1, edPEM}, nil))) {
				if len(line) > 20 && strings.Contains(fmt.Sprintf("%s %#v", got, keys), line) {
					t.Errorf("it shows the key: %s", got)
				}
			}
		})
	}
}

// large is the smallest thing that looks like a key too large; to find one takes
// too long.
func large(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateMultiPrimeKey(rand.Reader, 5, 5120) //nolint:staticcheck // quick to find, which is all that is asked here
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRecordsAndWeakKeys(t *testing.T) {
	keys, err := Keys(map[string][]byte{RSAKey: keyPEM(t, newRSA(t, 1024), false), Ed25519Key: keyPEM(t, newEd25519(t), false)})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ name, value, weak string }{
		{"s1._domainkey.copier.example", "v=DKIM1; k=rsa; p=MIGf", "the RSA key has 1024 bits: make one of 2048"},
		{"s1-ed25519._domainkey.copier.example", "v=DKIM1; k=ed25519; p=", ""},
	} {
		name, value := keys[i].Record("s1", "copier.example")
		if name != want.name || !strings.HasPrefix(value, want.value) || keys[i].Weak() != want.weak {
			t.Errorf("%s %s, weak: %q", name, value, keys[i].Weak())
		}
	}
	if k := signer(t).Keys[0]; k.Weak() != "" {
		t.Errorf("2048 bits: %s", k.Weak())
	}
}

// A scan of any size and shape costs the same: a run of empty lines is counted,
// not kept.
func TestMemoryDoesNotGrowWithTheBody(t *testing.T) {
	s, h := signer(t), message.ParseHeader([]byte(head))
	used := func(unit string, size int64) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := s.Sign(h, io.LimitReader(&repeat{unit: unit}, size), now); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	for name, unit := range map[string]string{"base64": strings.Repeat("A", 76) + "\r\n", "empty lines": "\r\n", "spaces": " ", "words": "a b\tc \r\n", "one line": "A"} {
		if got := used(unit, 16<<20); got > 1<<20 {
			t.Errorf("%s: %d KiB for 16 MiB", name, got>>10)
		}
	}
}

// repeat reads as unit for ever.
type repeat struct {
	unit string
	at   int
}

func (r *repeat) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = r.unit[r.at]
		r.at = (r.at + 1) % len(r.unit)
	}
	return len(b), nil
}
