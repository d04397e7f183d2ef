package mx

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/netns"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// The addresses of the world outside, and of the relay in it.
const (
	relayAddress = "203.0.113.1"
	worldAddress = "203.0.113.2"
	trustedMX    = "192.0.2.25" // its certificate is from the system's authority
	clearMX      = "192.0.2.26" // no STARTTLS
	deadMX       = "192.0.2.27" // nothing listens
	privateMX    = "192.0.2.28" // its certificate is from an authority that nobody knows
	policyHost   = "192.0.2.43"
	nameServer   = "192.0.2.53"
	insideMX     = "10.1.1.1" // no public address

	silentServer = "192.0.2.99" // a name server that never answers
)

// world is all that is not the relay.
type world struct {
	dir                      string
	network                  *netns.Network
	ca                       *env.CA // the system's
	trusted, clear, stranger *postfix.Server
	knot, unbound            *env.Process

	mu       sync.Mutex
	serial   int
	policies map[string]policy // by domain
	fetches  map[string]int    // of policies
}

// policy is what a policy host answers.
type policy struct {
	status  int
	kind    string
	body    string
	expired bool // its certificate
}

// newWorld makes the two networks and starts everything. It ends with the test.
func newWorld(t *testing.T) *world {
	t.Helper()
	env.NeedRoot(t)
	for _, name := range []string{"ip", "knotd", "keymgr", "unbound", "postfix"} {
		env.FindOrFail(t, name)
	}
	resolvConf(t)
	w := &world{dir: env.SharedDir(t), policies: map[string]policy{}, fetches: map[string]int{}}
	w.wire(t)
	w.ca = env.NewCA(t, filepath.Join(w.dir, "ca"))
	env.WriteFile(t, os.Getenv("SSL_CERT_FILE"), w.ca.PEM)
	w.mailServers(t)
	w.nameServers(t)
	w.policyServer(t)
	return w
}

// wire lays a cable between the relay's network and the world's.
func (w *world) wire(t *testing.T) {
	t.Helper()
	holder := env.Start(t, w.dir, "unshare", "--net", "sleep", "infinity")
	file := fmt.Sprintf("/proc/%d/ns/net", holder.Pid())
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the world has a network", holder.Output, func() bool {
		other, err := os.Readlink(file)
		return err == nil && other != own
	})
	w.network = netns.Open(t, file)
	ip := func(args string) { env.MustRun(t, "", "ip", strings.Fields(args)...) }
	ip("link set lo up")
	ip(fmt.Sprintf("link add east type veth peer name west netns %d", holder.Pid()))
	ip("address add " + relayAddress + "/24 dev east")
	ip("link set east up")
	w.network.Do(func() {
		ip("link set lo up")
		ip("address add " + worldAddress + "/24 dev west")
		ip("link set west up")
		for _, a := range []string{trustedMX, clearMX, deadMX, privateMX, policyHost, nameServer, insideMX} {
			ip("address add " + a + "/32 dev lo")
		}
	})
	ip("route add default via " + worldAddress)
}

// mailServers starts three of Postfix.
func (w *world) mailServers(t *testing.T) {
	t.Helper()
	cert, key := w.ca.Issue(t, "mx-trusted.plain.test", "mx-alias.plain.test", "mx-wrong.signed.test", "mx-unusable.signed.test", "mx-bogus.signed.test",
		"mx-alias.signed.test", "mx-six.plain.test", "fallback.plain.test", "xn--bcher-kva.plain.test", trustedMX)
	w.trusted = postfix.Start(t, postfix.Options{
		Address: trustedMX, Port: 25, In: w.network.Do, Hostname: "mx-trusted.plain.test",
		Extra: "smtpd_tls_cert_file = " + cert + "\nsmtpd_tls_key_file = " + key,
	})
	w.clear = postfix.Start(t, postfix.Options{Address: clearMX, Port: 25, In: w.network.Do, Hostname: "mx-clear.plain.test", Extra: "smtpd_tls_security_level = none"})
	other := env.NewCA(t, filepath.Join(w.dir, "other"))
	cert, key = other.Issue(t, "mx-private.signed.test", "mx-private.plain.test")
	chain := filepath.Join(w.dir, "other", "chain.crt")
	leaf, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	env.WriteFile(t, chain, string(leaf)+other.PEM) // RFC 7672 3.1.2: the authority is shown too
	w.stranger = postfix.Start(t, postfix.Options{
		Address: privateMX, Port: 25, In: w.network.Do, Hostname: "mx-private.signed.test",
		Extra: "smtpd_tls_cert_file = " + chain + "\nsmtpd_tls_key_file = " + key,
	})
}

// certificate reads the n-th certificate of a file.
func certificate(t *testing.T, file string, n int) *x509.Certificate {
	t.Helper()
	rest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	for range n + 1 {
		if block, rest = pem.Decode(rest); block == nil {
			t.Fatalf("%s has no certificate %d", file, n)
		}
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sum256(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
func sum512(b []byte) string { s := sha512.Sum512(b); return hex.EncodeToString(s[:]) }

// signed are the records of signed.test.
func (w *world) signed(t *testing.T) string {
	t.Helper()
	chain := filepath.Join(w.dir, "other", "chain.crt")
	leaf, ca := certificate(t, chain, 0), certificate(t, chain, 1)
	trusted := certificate(t, filepath.Join(w.dir, "ca", "mx-trusted.plain.test.crt"), 0)
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

// nameServers starts Knot with the zones, and Unbound, which knows the key of
// signed.test, and another of bogus.test than it has.
func (w *world) nameServers(t *testing.T) {
	t.Helper()
	knot := filepath.Join(w.dir, "knot.conf")
	zones := []string{"signed.test", "bogus.test", "plain.test", "_tcp.mx-bogus.signed.test", "."}
	conf := "server:\n  rundir: " + w.dir + "\n  listen: " + nameServer + "@53\nlog:\n- target: stderr\n  any: info\ndatabase:\n  storage: " + w.dir + "/db\n" +
		"policy:\n- id: ours\n  manual: on\n  single-type-signing: on\n  algorithm: ecdsap256sha256\ntemplate:\n- id: default\n  storage: " + w.dir + "\n  zonefile-sync: -1\n  zonefile-load: whole\n  journal-content: none\nzone:\n"
	for i, z := range zones {
		conf += "- domain: " + z + "\n  file: " + zoneFile(z) + "\n"
		if i < 2 {
			conf += "  dnssec-signing: on\n  dnssec-policy: ours\n"
		}
	}
	env.WriteFile(t, knot, conf)
	if err := os.Mkdir(filepath.Join(w.dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.zone(t, "signed.test", w.signed(t))
	w.zone(t, "bogus.test", "@ MX 10 mx-trusted.plain.test.\n")
	records := plain + "big TXT"
	for i := range 20 {
		records += fmt.Sprintf(" \"%0200d\"", i)
	}
	w.zone(t, "plain.test", records+"\n"+policyDomains())
	w.zone(t, "_tcp.mx-bogus.signed.test", "_25 TLSA 3 1 1 "+strings.Repeat("00", 32)+"\n")
	w.zone(t, ".", "test NS ns\nsilent NS nowhere\nnowhere A "+silentServer+"\n")
	anchors := ""
	for _, z := range zones[:2] {
		env.MustRun(t, "", "keymgr", "-c", knot, z, "generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=yes")
		ds := ""
		for line := range strings.Lines(env.MustRun(t, "", "keymgr", "-c", knot, z, "ds")) {
			if f := strings.Fields(line); len(f) > 5 && f[4] == "2" { // SHA-256
				ds = strings.TrimSpace(line)
			}
		}
		if ds == "" {
			t.Fatalf("%s has no key", z)
		}
		if z == "bogus.test" {
			ds = ds[:len(ds)-8] + "00000000"
		}
		anchors += "  trust-anchor: \"" + ds + "\"\n"
	}
	w.network.Do(func() { w.knot = env.Start(t, w.dir, "knotd", "-c", knot) })
	env.Eventually(t, "Knot has its zones", w.knot.Output, func() bool {
		return strings.Contains(w.knot.Output(), "server started") && w.knot.Running()
	})
	env.WriteFile(t, filepath.Join(w.dir, "unbound.conf"), `server:
  interface: 127.0.0.1
  interface: `+relayAddress+`
  access-control: `+relayAddress+`/32 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "`+w.dir+`"
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  do-ip6: no
  local-zone: "test." nodefault
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  infra-host-ttl: 0
`+anchors+`stub-zone:
  name: "."
  stub-addr: `+nameServer+`
remote-control:
  control-enable: no
`)
	w.resolver(t)
}

// resolver starts Unbound, for the first time or again.
func (w *world) resolver(t *testing.T) {
	t.Helper()
	w.unbound = env.Start(t, w.dir, "unbound", "-d", "-c", filepath.Join(w.dir, "unbound.conf"))
	env.Eventually(t, "Unbound answers, and vouches", w.unbound.Output, func() bool {
		a, err := resolver.Default().Lookup(t.Context(), "ee.signed.test", dnsmessage.TypeMX)
		return err == nil && a.Secure && len(a.Records) == 1
	})
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

// publish says what a policy host answers from now on.
func (w *world) publish(domain string, p policy) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policies[domain] = p
}

// fetched is how often the policy of a domain was asked for.
func (w *world) fetched(domain string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetches[domain]
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

// policyServer answers for all policy hosts.
func (w *world) policyServer(t *testing.T) {
	t.Helper()
	var l net.Listener
	var err error
	w.network.Do(func() { l, err = net.Listen("tcp", policyHost+":443") })
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: w, ReadHeaderTimeout: env.Wait, TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name := strings.TrimPrefix(hello.ServerName, "mta-sts.")
			w.mu.Lock()
			bad := w.policies[name].expired
			w.mu.Unlock()
			if bad {
				name = "elsewhere.test"
			}
			c, err := tls.LoadX509KeyPair(w.ca.Issue(t, "mta-sts."+name))
			return &c, err
		},
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeTLS(l, "", "") //nolint:errcheck // ends with the listener
	}()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// ServeHTTP is the policy host of every domain.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	domain := strings.TrimPrefix(r.Host, "mta-sts.")
	p, ok := w.policies[domain]
	w.fetches[domain]++
	w.mu.Unlock()
	if !ok || r.URL.Path != "/.well-known/mta-sts.txt" {
		http.NotFound(rw, r)
		return
	}
	if p.kind == "" {
		p.kind = "text/plain; charset=utf-8"
	}
	rw.Header().Set("Content-Type", p.kind)
	if p.status != 0 {
		rw.Header().Set("Location", "https://mta-sts.sts.plain.test/.well-known/mta-sts.txt")
		rw.WriteHeader(p.status)
	}
	rw.Write([]byte(p.body)) //nolint:errcheck // the client may be gone
}

// mails are those that arrived anywhere for a recipient.
func (w *world) mails(t *testing.T, to string) int {
	t.Helper()
	n := 0
	for _, s := range []*postfix.Server{w.trusted, w.clear, w.stranger} {
		for _, m := range s.Mail(t) {
			if m.Recipient == to {
				n++
			}
		}
	}
	return n
}
