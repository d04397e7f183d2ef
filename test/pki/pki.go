// Package pki makes certificates for tests.
//
// Only tests import it; it imports the standard library alone.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"testing"
	"time"
)

// Options say what a certificate is like; what is not set is as most tests want it.
type Options struct {
	CA          bool          // it is an authority's
	From, Until time.Time     // zero: an hour ago, and a day from now
	Key         crypto.Signer // nil: a new one, which is quickly made
}

// Pair is a certificate with its key.
type Pair struct {
	*x509.Certificate
	Key crypto.Signer
	by  *Pair // nil: itself
}

// Self makes one that signs itself, for names: host names or addresses.
func Self(t testing.TB, o Options, names ...string) *Pair {
	t.Helper()
	return create(t, nil, o, names)
}

// Authority makes one that Issue may be asked of.
func Authority(t testing.TB) *Pair {
	t.Helper()
	return Self(t, Options{CA: true}, "authority.test")
}

// Issue makes one that p signs, for servers and clients of those names.
func (p *Pair) Issue(t testing.TB, o Options, names ...string) *Pair {
	t.Helper()
	return create(t, p, o, names)
}

func create(t testing.TB, by *Pair, o Options, names []string) *Pair {
	t.Helper()
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(mathrand.Int64()), Subject: pkix.Name{CommonName: names[0]}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, IsCA: o.CA,
	}
	if o.CA {
		tmpl.KeyUsage |= x509.KeyUsageCertSign
	}
	if !o.From.IsZero() {
		tmpl.NotBefore = o.From
	}
	if !o.Until.IsZero() {
		tmpl.NotAfter = o.Until
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, name)
		}
	}
	key := o.Key
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	parent, signer := tmpl, key
	if by != nil {
		parent, signer = by.Certificate, by.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Pair{c, key, by}
}

// Chain is the certificate and those above it, up to the one that signs itself.
func (p *Pair) Chain() []*x509.Certificate {
	if p.by == nil {
		return []*x509.Certificate{p.Certificate}
	}
	return append([]*x509.Certificate{p.Certificate}, p.by.Chain()...)
}

// Pool holds the certificate alone, as what somebody trusts.
func (p *Pair) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Certificate)
	return pool
}

// TLS is the chain with the key, as crypto/tls takes it.
func (p *Pair) TLS() tls.Certificate {
	c := tls.Certificate{PrivateKey: p.Key}
	for _, x := range p.Chain() {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c
}

// PEM is the certificate as a file has it.
func (p *Pair) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Raw}))
}

// KeyPEM is the key as a file has it, in PKCS #8.
func (p *Pair) KeyPEM() string {
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	if err != nil {
		panic(err) // a kind of key that no test has
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Secret is both, under the names of a Secret of the type kubernetes.io/tls.
func (p *Pair) Secret() map[string][]byte {
	return map[string][]byte{"tls.crt": []byte(p.PEM()), "tls.key": []byte(p.KeyPEM())}
}
