package mx

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/smtpfake"
)

// The common suite, to a named host with a certificate for its name.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s := startServer(t, f)
			return &conformance.Upstream{Transport: s.transport(t), Received: s.Received, Reached: s.Reached}
		},
		// No credentials and no token: nobody is logged in to.
		Faults: []conformance.Fault{
			conformance.RefusesSome, conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate,
			conformance.Stalls, conformance.Throttles, conformance.Downgrades,
		},
		UTF8: true,
	})
}

func BenchmarkDeliver(b *testing.B) {
	conformance.Benchmark(b, startServer(b, conformance.None).transport(b))
}

// server is a fake, with its certificate.
type server struct {
	*smtpfake.Server
	pki *pki
}

func startServer(t testing.TB, f conformance.Fault) *server {
	t.Helper()
	return startServerAt(t, f, "")
}

func startServerAt(t testing.TB, f conformance.Fault, address string) *server {
	t.Helper()
	p := newPKI(t, "mx.test")
	return &server{smtpfake.Start(t, f, smtpfake.Options{Address: address, TLS: &tls.Config{Certificates: []tls.Certificate{p.cert}, MinVersion: tls.VersionTLS12}}), p}
}

func (s *server) transport(t testing.TB) *Transport {
	zone := &zone{}
	zone.host("mx.test", "127.0.0.1")
	return start(t, Config{
		MX: plan.MX{Verified: true, Hosts: []string{"mx.test"}, HeloName: "relay.test"}, Private: true,
		Port: s.Port, Roots: s.pki.roots, Resolver: zone,
	})
}

func (s *server) address() netip.Addr { return netip.MustParseAddr("127.0.0.1") }
