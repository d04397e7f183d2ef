package ses

import (
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s := startFake(t, f)
			return &conformance.Upstream{Transport: s.transport(t, plan.SES{}), Received: s.received, Reached: s.reached}
		},
		// RefusesSome is not there: SES takes a call for all recipients or for none. What
		// it does where it names some is in TestSomeRecipients.
		Faults: []conformance.Fault{
			conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate, conformance.Stalls,
			conformance.WrongCredentials, conformance.Throttles, conformance.ExpiresToken, conformance.Downgrades,
		},
		HeaderSender: true, PlainAddresses: true,
		Secrets: []string{keyID, secret, token},
	})
}

func BenchmarkDeliver(b *testing.B) {
	conformance.Benchmark(b, startFake(b, conformance.None).transport(b, plan.SES{}))
}
