package mx

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/dane"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/mtasts"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
	"github.com/printerrelay/printer-relay/test/pki"
)

// Each way a certificate can be wrong has its own result type (RFC 8460 4.3).
func TestResults(t *testing.T) {
	ca := pki.Authority(t)
	good, expired := ca.Issue(t, pki.Options{}, "mx.test"), ca.Issue(t, pki.Options{Until: time.Now().Add(-time.Minute)}, "mx.test")
	stranger := pki.Authority(t).Issue(t, pki.Options{}, "mx.test")
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		host  string
		want  string
	}{
		"good":           {good.Chain(), "mx.test", resultSuccess},
		"another name":   {good.Chain(), "other.test", resultName},
		"expired":        {expired.Chain(), "mx.test", resultExpired},
		"stranger":       {stranger.Chain(), "mx.test", resultUntrusted},
		"no certificate": {nil, "mx.test", resultFailure},
	} {
		tr := start(t, Config{MX: plan.MX{Verified: true, HeloName: "relay.test"}, Roots: ca.Pool(), Resolver: &zone{}})
		p := tr.webPKI(&servers{d: &destination{}}, &host{name: c.host})
		if got := resultOf(p.check(c.chain)); got != c.want || !p.required {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for want, err := range map[string]error{
		resultNoStartTLS: fmt.Errorf("x: %w", smtp.ErrNoSTARTTLS), resultFailure: dane.ErrMismatch,
		resultUntrusted: &smtp.HandshakeError{Err: x509.UnknownAuthorityError{}},
	} {
		if got := resultOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// What is counted is one of the words that the metric's documentation lists.
func TestResultsAreBounded(t *testing.T) {
	for _, err := range []error{nil, smtp.ErrNoSTARTTLS, dane.ErrMismatch, errors.New("else"), x509.HostnameError{}, x509.UnknownAuthorityError{}, x509.CertificateInvalidError{Reason: x509.Expired}} {
		if r := resultOf(err); !slices.Contains(Results, r) {
			t.Errorf("%s is not in Results", r)
		}
	}
	for _, policy := range []*mtasts.Policy{nil, {Mode: mtasts.Enforce}, {Mode: mtasts.Testing}, {Mode: mtasts.None}} {
		tr := start(t, Config{MX: plan.MX{HeloName: "relay.test"}, Resolver: &zone{}})
		if p := tr.webPKI(&servers{d: &destination{}, policy: policy}, &host{name: "mx.test"}); !slices.Contains(Policies, p.policy) {
			t.Errorf("%s is not in Policies", p.policy)
		}
	}
}
