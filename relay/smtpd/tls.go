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
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// legacySuites are what TLS 1.0 to 1.2 copiers have, the best first. RSA key
// exchange and CBC have to be named: crypto/tls no longer offers them by itself.
var legacySuites = []uint16{
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
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
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// tlsConfig makes a listener's TLS: with the certificates of its Secrets, or
// with the self-signed one of the state folder. nil without an error: no TLS.
func tlsConfig(l *plan.Listener, hostname, state string, src secrets.Source) (*tls.Config, error) {
	if l.TLS.Mode == plan.TLSNone {
		return nil, nil
	}
	c := profile(l.TLS.Profile)
	for _, name := range l.TLS.Certificates {
		cert, err := keyPair(src, name)
		if err != nil {
			return nil, fmt.Errorf("listener %q: %w", l.Name, err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	if len(c.Certificates) == 0 {
		cert, err := selfSigned(filepath.Join(state, "tls"), hostname)
		if err != nil {
			return nil, fmt.Errorf("listener %q: self-signed certificate: %w", l.Name, err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
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

// selfSigned reads the certificate that was made before, or makes one. It has
// an RSA key, since old copiers know nothing else.
func selfSigned(dir, hostname string) (tls.Certificate, error) {
	crt, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	cert, err := tls.LoadX509KeyPair(crt, key)
	if err == nil && cert.Leaf != nil && time.Now().Before(cert.Leaf.NotAfter.AddDate(0, -1, 0)) && cert.Leaf.VerifyHostname(hostname) == nil {
		return cert, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cert, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cert, err
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return cert, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return cert, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hostname}, DNSNames: []string{hostname},
		NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(10, 0, 0), // copiers have no clock to trust and no store to renew
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: hostname}}, &private.PublicKey, private)
	if err != nil {
		return cert, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return cert, err
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return cert, err
	}
	if err := os.WriteFile(crt, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return cert, err
	}
	return tls.LoadX509KeyPair(crt, key)
}
