package mx

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// systemCA is the only authority of the system, which a process reads once.
var systemCA *env.CA

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
	if systemCA == nil {
		systemCA = env.NewCA(t, filepath.Join(os.Getenv(inside), "ca"))
		env.WriteFile(t, os.Getenv("SSL_CERT_FILE"), systemCA.PEM)
	}
	w.ca = systemCA
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
	t.Cleanup(func() { env.MustRun(t, "", "ip", "link", "delete", "east") }) // now, not when the kernel is done with the world
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
