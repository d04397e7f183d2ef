package mx

import (
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
			return s.Upstream(toNamed(t, s))
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
	conformance.Benchmark(b, toNamed(b, startServer(b, conformance.None)))
}

// startServer starts one that has a certificate for mx.test.
func startServer(t testing.TB, f conformance.Fault) *smtpfake.Server {
	t.Helper()
	return smtpfake.Start(t, f, smtpfake.Options{})
}

func toNamed(t testing.TB, s *smtpfake.Server) *Transport {
	zone := &zone{}
	zone.host("mx.test", "127.0.0.1")
	return start(t, Config{
		MX: plan.MX{Verified: true, Hosts: []string{"mx.test"}, HeloName: "relay.test"}, Private: true,
		Port: s.Port, Roots: s.Authority.Pool(), Resolver: zone,
	})
}
