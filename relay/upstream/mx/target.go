package mx

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/dane"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/mtasts"
	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/relay/upstream/smtp"
)

// The policy types of RFC 8460 4.4 with the results of 4.3.
const (
	policyTLSA = "tlsa"
	policySTS  = "sts"
	policyNone = "no-policy-found"

	resultSuccess    = "success"
	resultNoStartTLS = "starttls-not-supported"
	resultName       = "certificate-host-mismatch"
	resultExpired    = "certificate-expired"
	resultUntrusted  = "certificate-not-trusted"
	resultFailure    = "validation-failure"
	resultTLSA       = "tlsa-invalid"
	resultDNSSEC     = "dnssec-invalid"
)

// Results are all values that Config.Result may get. dane-required is not among
// them: no setting asks for DANE where a domain has none.
var (
	Policies = []string{policyTLSA, policySTS, policyNone}
	Results  = []string{
		resultSuccess, resultNoStartTLS, resultName, resultExpired, resultUntrusted, resultFailure, resultTLSA, resultDNSSEC,
		mtasts.ResultFetch, mtasts.ResultInvalid, mtasts.ResultWebPKI,
	}
)

// proof is what a server has to show.
type proof struct {
	policy   string // which it comes from
	key      string // the same for proofs that judge alike
	name     string // asked for in the handshake (RFC 6066 3)
	required bool   // without it nothing is sent; else it is only counted
	note     error  // counted where all else is well
	check    func(chain []*x509.Certificate) error
}

// target is a server with the proof that it needs. An error says that no mail
// may go to it.
//
// DANE goes before MTA-STS, which must not weaken it (RFC 8461 2). Records that
// nobody can use still ask for TLS (RFC 7672 2.2).
func (t *Transport) target(ctx context.Context, s *servers, h *host) (*smtp.Target, error) {
	records, base, err := t.tlsa(ctx, s, h)
	if err != nil {
		t.c.Result(policyTLSA, resultDNSSEC)
		return nil, &tlsError{err}
	}
	p := t.webPKI(s, h)
	usable := dane.Usable(records)
	switch enforced := s.policy != nil && s.policy.Mode == mtasts.Enforce; {
	case len(usable) > 0:
		p = daneProof(usable, base, s)
	case enforced && !s.policy.Allows(h.name):
		t.c.Result(policySTS, resultFailure)
		return nil, &tlsError{errNotListed}
	case enforced:
		p.required = true
	}
	mode := plan.TLSStartTLS
	if len(records) > 0 && len(usable) == 0 {
		t.c.Result(policyTLSA, resultTLSA)
	} else if !p.required {
		mode = plan.TLSOpportunistic
	}
	to := &smtp.Target{
		Key: strings.Join([]string{h.name, string(mode), p.key}, " "), Host: h.name, TLS: mode,
		Dial: func(ctx context.Context) (net.Conn, error) { return t.dial(ctx, h.addrs, t.c.Port) },
	}
	t.secure(to, p)
	return to, nil
}

// secure makes p the judge of to's handshakes.
func (t *Transport) secure(to *smtp.Target, p proof) {
	var verdict error
	to.TLSConfig = func() (*tls.Config, error) {
		c := &tls.Config{
			ServerName: p.name, MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true, // as in smtp.Transport
			InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does, by the proof
			VerifyConnection: func(cs tls.ConnectionState) error {
				if verdict = p.check(cs.PeerCertificates); p.required {
					return verdict
				}
				return nil
			},
		}
		if !p.required {
			c.MinVersion = tls.VersionTLS10 // the alternative is clear text
		}
		return c, nil
	}
	to.Secured = func(err error) {
		t.c.Result(p.policy, resultOf(cmp.Or(err, verdict, p.note)))
	}
}

// webPKI is the proof by an authority that everybody trusts, for the host's name.
func (t *Transport) webPKI(s *servers, h *host) proof {
	p := proof{policy: policyNone, name: h.name, required: t.c.MX.Verified}
	if s.policy != nil && s.policy.Mode != mtasts.None {
		p.policy = policySTS
		if !s.policy.Allows(h.name) {
			p.note = errNotListed // mode testing
		}
	}
	enforced := s.policy != nil && s.policy.Mode == mtasts.Enforce
	p.key = fmt.Sprintf("webpki %t", p.required || enforced)
	p.check = func(chain []*x509.Certificate) error {
		if len(chain) == 0 {
			return errors.New("the server showed no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range chain[1:] {
			between.AddCert(c)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{DNSName: h.name, Roots: t.c.Roots, Intermediates: between})
		return err
	}
	return p
}

// daneProof is the proof by TLSA records. Under an authority the certificate may
// be for the server or the domain (RFC 7672 3.2.2).
func daneProof(usable []dane.Record, base string, s *servers) proof {
	names := []string{base}
	for _, n := range []string{s.d.domain, s.end} {
		if n != "" {
			names = append(names, n)
		}
	}
	return proof{
		policy: policyTLSA, name: base, required: true, key: "dane " + dane.Key(usable) + strings.Join(names, ","),
		check: func(chain []*x509.Certificate) error { return dane.Verify(usable, chain, names, time.Now()) },
	}
}

// tlsa looks up the TLSA records of a host, where DNSSEC vouches for all that
// leads there (RFC 7672 2.2), and gives the name that they are at.
func (t *Transport) tlsa(ctx context.Context, s *servers, h *host) ([]dane.Record, string, error) {
	if !s.secure {
		return nil, "", nil
	}
	var bases []string
	switch {
	case h.secure && h.end != h.name:
		bases = []string{h.end, h.name}
	case h.secure:
		bases = []string{h.name}
	case h.end != h.name: // an alias that is signed, of a name that is not (2.2.2)
		a, err := t.c.Resolver.Lookup(ctx, h.name, dnsmessage.TypeCNAME)
		if err != nil {
			return nil, "", err
		}
		if a.Secure && len(a.Records) > 0 {
			bases = []string{h.name}
		}
	}
	for _, base := range bases {
		a, err := t.c.Resolver.Lookup(ctx, fmt.Sprintf("_%d._tcp.%s", t.c.Port, base), resolver.TypeTLSA)
		if err != nil {
			return nil, "", err
		}
		if !a.Secure || len(a.Records) == 0 {
			continue
		}
		var out []dane.Record
		for _, b := range a.Records {
			if raw, ok := b.(*dnsmessage.UnknownResource); ok {
				r, _ := dane.Parse(raw.Data) // one that cannot be read is one that cannot be used
				out = append(out, r)
			}
		}
		return out, base, nil
	}
	return nil, "", nil
}

var errNotListed = errors.New("the domain's MTA-STS policy does not name it")

// tlsError is that a server cannot prove to be the right one.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// resultOf is the result type of how TLS began.
func resultOf(err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return resultSuccess
	case errors.Is(err, smtp.ErrNoSTARTTLS):
		return resultNoStartTLS
	case errors.As(err, &name):
		return resultName
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return resultExpired
	case errors.As(err, &unknown):
		return resultUntrusted
	}
	return resultFailure
}
