package dkim

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/message"
)

// stored is a key of testdata: what is fuzzed must be the same in every process.
func stored(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// FuzzKeys: whatever a Secret holds, there is a key of the kind that its name
// says, or an error that shows nothing of it.
func FuzzKeys(f *testing.F) {
	// No whole RSA key: its check throws dice, in which the fuzzer sees news for ever.
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n"), stored(f, "ed25519.pem"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"), []byte{})
	f.Fuzz(func(t *testing.T, rsa, ed []byte) {
		keys, err := Keys(map[string][]byte{RSAKey: rsa, Ed25519Key: ed})
		if err != nil {
			for _, secret := range [][]byte{rsa, ed} {
				for _, word := range bytes.Fields(secret) {
					if len(word) > 40 && strings.Contains(err.Error(), string(word)) {
						t.Fatalf("%q shows %q", err, word)
					}
				}
			}
			return
		}
		for i, k := range keys {
			if want := []string{"rsa", "ed25519"}[i]; k.kind != want {
				t.Fatalf("key %d is %s", i, k)
			}
			if _, record := k.Record("s", "d.example"); !strings.HasPrefix(record, "v=DKIM1; k="+k.kind+"; p=") {
				t.Fatal(record)
			}
		}
	})
}

// FuzzNames: each name in h= is of the list and stands there once more than the
// header has the field; From is among them.
func FuzzNames(f *testing.F) {
	f.Add([]byte(head), false)
	f.Add([]byte("from: a\r\nDate: x\r\nTo: b\r\nto:c\r\nX-From: d\r\nSubject:\r\n"), true)
	f.Fuzz(func(t *testing.T, in []byte, reissued bool) {
		h := message.ParseHeader(in)
		names, err := (&Signer{Reissued: reissued}).names(h)
		if err != nil {
			if h.Has("From") {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		count := map[string]int{}
		for _, n := range names {
			count[n]++
		}
		for n, c := range count {
			if !slices.Contains(fields, n) || c != len(h.All(n))+1 {
				t.Fatalf("%q: %s is named %d times", in, n, c)
			}
			if reissued && (n == "Date" || n == "Message-ID") {
				t.Fatalf("%q: %s is signed", in, n)
			}
		}
		if count["From"] == 0 {
			t.Fatalf("%q: From is not signed", in)
		}
		if got := bytes.Count(canonical(h, names), []byte("\r\n")); got != len(names)-len(count) {
			t.Fatalf("%q: %d fields are signed, %v are named", in, got, count)
		}
	})
}

// FuzzSignaturesVerify: what intake makes of a device's octets is signed so that
// go-msgauth, which is not our code, verifies it.
func FuzzSignaturesVerify(f *testing.F) {
	f.Add([]byte(head+"\r\n"+body), true)
	f.Add([]byte("Subject: \xfc\n x\nTo:a\n\n  a \t\n\n\n"), false)
	f.Add([]byte("From:\r\n\t<a@copier.example>\r\nSubject:\r\n \r\n x\r\nno field\r\n"), false)
	f.Add([]byte("From: a@b.example\r\nTo: a\r\nTo: b\r\nSubject: 1\r\nsubject : 2\r\n\r\nx"), false)
	keys, err := Keys(map[string][]byte{Ed25519Key: stored(f, "ed25519.pem")})
	if err != nil {
		f.Fatal(err)
	}
	s := &Signer{Domain: "copier.example", Selector: "scans1", Keys: keys}
	f.Fuzz(func(t *testing.T, in []byte, utf8 bool) {
		var b bytes.Buffer
		facts, err := message.Intake(&b, bytes.NewReader(in), message.IntakeOptions{UTF8: utf8, Hostname: "relay.example", ID: "1", Now: now})
		if err != nil {
			return
		}
		all := b.Bytes()
		h := message.ParseHeader(bytes.TrimSuffix(all[:facts.HeaderSize], []byte("\r\n")))
		h.Remove("DKIM-Signature")
		sig, err := s.Sign(h, bytes.NewReader(all[facts.HeaderSize:]), now)
		if err != nil {
			t.Fatalf("%q: %v", all, err)
		}
		rest, err := io.ReadAll(message.Render(h, bytes.NewReader(all[facts.HeaderSize:])))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.verify(t, string(sig)+string(rest)); len(got) != 1 || bad(got) != nil {
			t.Fatalf("%d signatures, %v:\n%q", len(got), bad(got), string(sig)+string(rest))
		}
	})
}
