package graph

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, fault conformance.Fault) *conformance.Upstream {
			f := startFake(t, fault)
			tr := f.transport(func(c *Config) {
				if fault == conformance.Downgrades {
					c.RootCAs = nil // the fake's certificate is nobody's
				}
			})
			return &conformance.Upstream{Transport: tr, Received: f.received, Reached: f.reached}
		},
		// RefusesSome is not there: Graph takes a message for all recipients or for none.
		// What it does where it dislikes one is in TestOneOfManyIsRefused.
		Faults: []conformance.Fault{
			conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate, conformance.Stalls, conformance.WrongCredentials,
			conformance.Throttles, conformance.ExpiresToken, conformance.Downgrades,
		},
		Secrets:        []string{tokenKey, tokenWith(999, "Mail.Send")},
		Digest:         digest,
		HeaderSender:   true,
		PlainAddresses: true,
		RetryAfter:     true,
		Attached:       true,
	})
}
