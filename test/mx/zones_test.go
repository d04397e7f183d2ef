package mx

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/test/env"
)

func sum256(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
func sum512(b []byte) string { s := sha512.Sum512(b); return hex.EncodeToString(s[:]) }

// signed are the records of signed.test.
func (w *world) signed(t *testing.T) string {
	t.Helper()
	chain := filepath.Join(w.dir, "other", "chain.crt")
	leaf, ca := certificate(t, chain, 0), certificate(t, chain, 1)
	trusted := certificate(t, filepath.Join(w.ca.Dir, "mx-trusted.plain.test.crt"), 0)
	wrong := strings.Repeat("00", 32)
	return `
ee       MX 10 mx-ee
mx-ee    A ` + privateMX + `
_25._tcp.mx-ee TLSA 3 1 1 ` + sum256(leaf.RawSubjectPublicKeyInfo) + `
ee512    MX 10 mx-ee512
mx-ee512 A ` + privateMX + `
_25._tcp.mx-ee512 TLSA 3 0 2 ` + sum512(leaf.Raw) + `
_25._tcp.mx-ee512 TLSA 3 0 1 ` + wrong + `
full     MX 10 mx-full
mx-full  A ` + privateMX + `
_25._tcp.mx-full TLSA 3 0 0 ` + hex.EncodeToString(leaf.Raw) + `
ta       MX 10 mx-private
mx-private A ` + privateMX + `
_25._tcp.mx-private TLSA 2 0 1 ` + sum256(ca.Raw) + `
taname   MX 10 mx-taname
mx-taname A ` + privateMX + `
_25._tcp.mx-taname TLSA 2 1 1 ` + sum256(ca.RawSubjectPublicKeyInfo) + `
wrong    MX 10 mx-wrong
mx-wrong A ` + trustedMX + `
_25._tcp.mx-wrong TLSA 3 1 1 ` + wrong + `
second   MX 10 mx-wrong
second   MX 20 mx-private
unusable MX 10 mx-unusable
mx-unusable A ` + trustedMX + `
_25._tcp.mx-unusable TLSA 1 1 1 ` + wrong + `
unclear  MX 10 mx-unclear
mx-unclear A ` + clearMX + `
_25._tcp.mx-unclear TLSA 1 1 1 ` + wrong + `
bogus    MX 10 mx-bogus
mx-bogus A ` + trustedMX + `
_tcp.mx-bogus NS ns
_tcp.mx-bogus DS 12345 13 2 ` + wrong + `
alias    MX 10 mx-alias
mx-alias CNAME mx-alias-end.signed.test.
mx-alias-end A ` + trustedMX + `
_25._tcp.mx-alias TLSA 3 1 1 ` + sum256(trusted.RawSubjectPublicKeyInfo) + `
_25._tcp.mx-alias-end TLSA 3 1 1 ` + wrong + `
both     MX 10 mx-ee
_mta-sts.both TXT "v=STSv1; id=1;"
mta-sts.both A ` + policyHost + `
`
}

// plain are the records of plain.test, which is not signed.
const plain = `
mx-trusted A ` + trustedMX + `
mx-clear   A ` + clearMX + `
mx-dead    A ` + deadMX + `
mx-private A ` + privateMX + `
webpki     MX 10 mx-trusted
untrusted  MX 10 mx-private
stripped   MX 10 mx-clear
insecure   MX 10 mx-wrong.signed.test.
null       MX 0 .
order      MX 20 mx-trusted
order      MX 10 mx-dead
six        MX 10 mx-six
mx-six     A ` + trustedMX + `
mx-six     AAAA 2001:db8::25
fallback   A ` + trustedMX + `
alias      MX 10 mx-alias
mx-alias   CNAME mx-trusted
xn--bcher-kva A ` + trustedMX + `
inside     MX 10 mx-inside
mx-inside  A ` + insideMX + `
nowhere    TXT "no address and no MX"
lost       MX 10 mx-lost
loop       MX 10 mx-loop
loop       MX 20 mx-trusted
mx-loop    A ` + relayAddress + `
before     MX 10 mx-trusted
before     MX 20 mx-loop
selfname   MX 10 relay.example.
dead       MX 10 mx-dead
dead2      MX 10 mx-dead
dead3      MX 10 mx-dead
`

// withPolicy are the records of a domain below plain.test that has a policy.
func withPolicy(name, host, id string) string {
	return fmt.Sprintf("%[1]s MX 10 %[2]s\n_mta-sts.%[1]s TXT \"v=STSv1; id=%[3]s;\"\nmta-sts.%[1]s A %[4]s\n", name, host, id, policyHost)
}

// republish has Knot read its zones again, and waits until a TXT record is as
// it should be.
func (w *world) republish(t *testing.T, name, txt string) {
	t.Helper()
	if err := w.knot.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, name+" is "+txt, w.knot.Output, func() bool {
		a, err := resolver.Default().Lookup(t.Context(), name, dnsmessage.TypeTXT)
		if err != nil {
			return false
		}
		got := ""
		for _, r := range a.Records {
			if x, ok := r.(*dnsmessage.TXTResource); ok {
				got += strings.Join(x.TXT, "")
			}
		}
		return got == txt
	})
}

func zoneFile(name string) string { return "zone-" + name }

// zone writes a zone file, with a serial of its own each time.
func (w *world) zone(t *testing.T, name, records string) {
	t.Helper()
	w.mu.Lock()
	w.serial++
	serial := w.serial
	w.mu.Unlock()
	env.WriteFile(t, filepath.Join(w.dir, zoneFile(name)), fmt.Sprintf(
		"$ORIGIN %s.\n$TTL 0\n@ SOA ns hostmaster %d 3600 600 86400 0\n@ NS ns\nns A %s\n%s", strings.Trim(name, "."), serial, nameServer, records))
}
