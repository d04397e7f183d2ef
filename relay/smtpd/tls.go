package smtpd

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/printerrelay/printer-relay/relay/atomicfile"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// The suites of TLS 1.0 to 1.2 are named: what crypto/tls offers by itself changes
// with GODEBUG. It takes the best that a device has, in an order of its own.

// forwardSecrecy are those of Intermediate.
var forwardSecrecy = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
}

// legacySuites are all that crypto/tls has but RC4 (RFC 7465).
var legacySuites = slices.Concat(forwardSecrecy, []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
}, rsaKeyExchange)

// rsaKeyExchange are those of a device that knows neither elliptic curves nor, what
// comes to the same, how to check a signature of ours.
var rsaKeyExchange = []uint16{
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA, tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
}

// profile gives the crypto/tls settings of a TLS profile.
func profile(name string) *tls.Config {
	switch name {
	case "Modern":
		return &tls.Config{MinVersion: tls.VersionTLS13}
	case "Legacy":
		return &tls.Config{MinVersion: tls.VersionTLS10, CipherSuites: legacySuites} //nolint:gosec // the profile is for devices that know nothing better; off by default
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: forwardSecrecy}
}

// tlsConfig makes a listener's TLS: with the certificates of its Secrets, or
// with the self-signed one of the state folder. nil without an error: no TLS.
func tlsConfig(l *plan.Listener, hostname, state string, src secrets.Source) (*tls.Config, error) {
	if l.TLS.Mode == plan.TLSNone {
		return nil, nil
	}
	c := profile(l.TLS.Profile)
	c.GetConfigForClient = transcript.NoteOffer
	for _, name := range l.TLS.Certificates {
		cert, err := keyPair(src, name)
		if err != nil {
			return nil, err
		}
		c.Certificates = append(c.Certificates, cert)
	}
	if len(c.Certificates) == 0 {
		cert, err := selfSigned(filepath.Join(state, "tls"), hostname)
		if err != nil {
			return nil, fmt.Errorf("self-signed: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	if l.TLS.Profile == "Legacy" {
		withoutSHA2(c)
	}
	return c, nil
}

// withoutSHA2 serves devices that know TLS 1.2 and no hash but SHA-1 or MD5:
// crypto/tls no longer signs with those, and would choose ECDHE, which needs a
// signature, wherever a device has it. RSA key exchange needs none.
func withoutSHA2(c *tls.Config) {
	unsigned := c.Clone()
	unsigned.CipherSuites = rsaKeyExchange
	c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Max(append(h.SupportedVersions, 0)) == tls.VersionTLS12 && !slices.ContainsFunc(h.SignatureSchemes, isSHA2) {
			_, err := transcript.NoteOffer(h)
			return unsigned, err
		}
		return transcript.NoteOffer(h) // c
	}
}

// isSHA2 tells a signature that crypto/tls makes in TLS 1.2: by its hash, which is
// the first octet (RFC 5246 7.4.1.4.1), or by one of the pairs of RFC 8446 4.2.3.
func isSHA2(s tls.SignatureScheme) bool {
	const sha224, sha512, pairs = 3, 6, 8
	hash := s >> 8
	return hash > sha224 && hash <= sha512 || hash == pairs
}

func isRSA(c tls.Certificate) bool {
	_, ok := c.PrivateKey.(*rsa.PrivateKey)
	return ok
}

func keyPair(src secrets.Source, name string) (tls.Certificate, error) {
	crt, err := secrets.Key(src, name, "tls.crt")
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := secrets.Key(src, name, "tls.key")
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := tls.X509KeyPair([]byte(crt), []byte(key))
	if err != nil {
		return cert, fmt.Errorf("secret %q: tls.crt and tls.key are no key pair", name) // the cause could quote them
	}
	return cert, nil
}

// selfSigned reads the certificate that was made before, or makes one.
func selfSigned(dir, hostname string) (tls.Certificate, error) {
	file := filepath.Join(dir, "self-signed.pem")
	now := time.Now()
	if b, err := os.ReadFile(file); err == nil {
		cert, err := tls.X509KeyPair(b, b)
		if err == nil && cert.Leaf != nil && now.Before(cert.Leaf.NotAfter.AddDate(0, -1, 0)) && cert.Leaf.VerifyHostname(hostname) == nil {
			return cert, nil
		} // damaged, another name or nearly over: made anew
	} else if !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, err
	}
	pemFile, err := generate(hostname, now)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tls.Certificate{}, err
	}
	if err := atomicfile.Write(file, pemFile); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pemFile, pemFile)
}

// generate makes a certificate and its key in PEM. The key is RSA, since old
// copiers know nothing else; the certificate is good for long, since they have
// no clock to trust and no store to renew.
func generate(hostname string, now time.Time) ([]byte, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hostname}, DNSNames: []string{hostname},
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}
