package smtp

import (
	"testing"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/smtpfake"
)

// The common suite, by STARTTLS and AUTH, against a server that is not ours.
func TestConformance(t *testing.T) {
	conformance.Run(t, conformance.Harness{
		Start: func(t *testing.T, f conformance.Fault) *conformance.Upstream {
			s := startServer(t, f)
			return s.Upstream(toServer(t, s))
		},
		// ExpiresToken is in TestConformanceByToken: a password does not expire.
		Faults: []conformance.Fault{
			conformance.RefusesSome, conformance.RefusesMessage, conformance.CutsEarly, conformance.CutsLate,
			conformance.Stalls, conformance.WrongCredentials, conformance.Throttles, conformance.Downgrades,
		},
		UTF8:    true,
		Secrets: []string{"hunter2", b64("hunter2"), b64("\x00relay\x00hunter2")},
	})
}

func BenchmarkDeliver(b *testing.B) {
	s := startServer(b, conformance.None)
	conformance.Benchmark(b, toServer(b, s))
}

// startServer starts one that a password is needed for.
func startServer(t testing.TB, f conformance.Fault) *smtpfake.Server {
	t.Helper()
	return smtpfake.Start(t, f, smtpfake.Options{Login: &smtpfake.Login{Mechanism: sasl.Plain, Server: func(_ int, granted func(bool)) sasl.Server {
		return sasl.NewPlainServer(func(_, user, password string) error {
			ok := user == "relay" && password == "hunter2" && f != conformance.WrongCredentials
			if granted(ok); !ok {
				return &gosmtp.SMTPError{Code: 535, EnhancedCode: gosmtp.EnhancedCode{5, 7, 8}, Message: "wrong: " + password}
			}
			return nil
		})
	}}})
}

// toServer is a transport to s, with the password that startServer wants.
func toServer(t testing.TB, s *smtpfake.Server, change ...func(*Config)) *Transport {
	all := secrets.Map{"ca": {"ca.crt": []byte(s.Authority.PEM())}, "login": {"username": []byte("relay\n"), "password": []byte("hunter2\n")}}
	c := Config{Name: "out", Private: true, Secrets: func() secrets.Source { return all }, SMTP: plan.SMTP{
		Host: "127.0.0.1", Port: s.Port, TLS: plan.TLSStartTLS, ServerName: "mx.test", CASecret: "ca", Auth: &plan.SMTPAuth{Secret: "login"}, HeloName: "relay.test",
	}}
	for _, do := range change {
		do(&c)
	}
	tr := New(c)
	t.Cleanup(func() { tr.Close() })
	return tr
}
