package delivery

import (
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/dkim"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// The public records are those of the keys that the next mail is signed with.
func TestPublicKeys(t *testing.T) {
	r := newRig(t)
	r.signs("out", "copier.example", "Always")
	r.has("plain", nil)
	names := func(upstream string) (out []string) {
		for _, k := range r.PublicKeys(upstream) {
			out = append(out, k.Name)
			if !strings.Contains(k.Value, "; p=") || strings.Contains(k.Value, "PRIVATE") {
				t.Errorf("%s: %s", k.Name, k.Value)
			}
		}
		return out
	}
	r.hasKeys(map[string][]byte{dkim.RSAKey: keyPEM(t, dkim.RSAKey), dkim.Ed25519Key: keyPEM(t, dkim.Ed25519Key)})
	if got := names("out"); !slices.Equal(got, []string{"s1._domainkey.copier.example", "s1-ed25519._domainkey.copier.example"}) {
		t.Errorf("%q", got)
	}
	before := r.PublicKeys("out")
	r.hasKeys(map[string][]byte{dkim.RSAKey: keyPEM(t, dkim.RSAKey)})
	if after := r.PublicKeys("out"); len(after) != 1 || after[0].Value == before[0].Value {
		t.Errorf("another key: %v, before %v", after, before)
	}
	for _, none := range []string{"plain", "nosuch"} {
		if got := names(none); len(got) > 0 {
			t.Errorf("%s: %q", none, got)
		}
	}
	r.hasSecrets(secrets.Map{})
	if got := names("out"); len(got) > 0 {
		t.Errorf("without a Secret: %q", got)
	}
}
