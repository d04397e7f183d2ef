package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is made of it (RFC 7515 4.1.7)
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// credential is how the client proves itself: exactly one of secret, key and
// federated.
type credential struct {
	id        string // fingerprint
	secret    string
	key       crypto.Signer
	chain     [][]byte // DER; the leaf first
	expires   time.Time
	federated bool
}

// halfError is a Secret that is there and cannot be used as it is: somebody may be
// in the middle of writing it.
type halfError struct{ words string }

func (e *halfError) Error() string { return e.words }

// read gives the credential as it is now.
func (s *Source) read() (*credential, error) {
	name := s.c.OAuth.Secret
	if name == "" {
		return &credential{id: "federated", federated: true}, nil
	}
	data, err := s.c.Secrets().Get(name)
	if err != nil {
		return nil, err
	}
	crt, key := data["tls.crt"], data["tls.key"]
	secret := strings.TrimRight(string(data["clientSecret"]), "\r\n")
	switch {
	case len(crt) > 0 && len(key) > 0:
		return certificate(name, crt, key)
	case strings.TrimSpace(secret) != "":
		return &credential{id: fingerprint("secret", []byte(secret)), secret: secret}, nil
	case len(crt) > 0 || len(key) > 0:
		return nil, &halfError{fmt.Sprintf("secret %q has only one of tls.crt and tls.key: write both", name)}
	}
	return nil, &halfError{fmt.Sprintf("secret %q has neither clientSecret nor tls.crt and tls.key: write one of them", name)}
}

func certificate(name string, crt, key []byte) (*credential, error) {
	pair, err := tls.X509KeyPair(crt, key)
	if err != nil { // its words may hold parts of the key
		return nil, &halfError{fmt.Sprintf("secret %q: tls.crt and tls.key are no pair of certificate and key in PEM form", name)}
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || algorithm(signer, false) == "" {
		return nil, &halfError{fmt.Sprintf("secret %q: tls.key is neither an RSA nor a P-256 key: make one of RSA, 2048 bits or more", name)}
	}
	return &credential{
		id: fingerprint("certificate", crt, key), key: signer, chain: pair.Certificate, expires: pair.Leaf.NotAfter,
	}, nil
}

// fingerprint tells credentials apart and shows nothing of them.
func fingerprint(kind string, parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		sum := sha256.Sum256(p)
		h.Write(sum[:])
	}
	return kind + " " + hex.EncodeToString(h.Sum(nil)[:8])
}

// algorithm of an assertion: Entra ID wants PS256; RS256 is what every other server
// has (RFC 7518 3.1).
func algorithm(key crypto.Signer, entra bool) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if entra {
			return jose.PS256
		}
		return jose.RS256
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256
		}
	}
	return ""
}

// Times of an assertion: its server's clock may be behind ours.
const (
	assertionLife = 5 * time.Minute
	clockSkew     = time.Minute
)

// assertion is the JWT by which the client proves that it has the key (RFC 7523 3).
// The thumbprints in its header say which certificate (RFC 7515 4.1.7, 4.1.8).
func (c *credential) assertion(clientID, audience string, entra bool, now time.Time) (string, error) {
	sum256, sum1 := sha256.Sum256(c.chain[0]), sha1.Sum(c.chain[0]) //nolint:gosec // a name, not a proof
	options := (&jose.SignerOptions{}).WithType("JWT").
		WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(sum256[:])).
		WithHeader("x5t", base64.RawURLEncoding.EncodeToString(sum1[:]))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm(c.key, entra), Key: c.key}, options)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: clientID, Subject: clientID, Audience: jwt.Audience{audience}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now.Add(-clockSkew)), Expiry: jwt.NewNumericDate(now.Add(assertionLife)),
	}).Serialize()
}

// outdated says that a certificate's time is over, before a server says it in other
// words.
func (c *credential) outdated(name string, now time.Time) error {
	if c.expires.IsZero() || now.Before(c.expires) {
		return nil
	}
	return &Error{words: fmt.Sprintf("secret %q: the certificate in tls.crt expired on %s: make a new one, and upload it to the application", name, c.expires.UTC().Format(time.DateOnly))}
}

// What the webhook of Azure Workload Identity sets in a Pod.
const (
	envTokenFile = "AZURE_FEDERATED_TOKEN_FILE"
	envAuthority = "AZURE_AUTHORITY_HOST"
)

const maxTokenFile = 64 << 10

// projected reads the token of the Pod's ServiceAccount, which the kubelet writes
// anew before it expires.
func (s *Source) projected() (string, error) {
	file := s.c.Getenv(envTokenFile)
	if file == "" {
		return "", &Error{words: "there is no " + envTokenFile + ": the Pod got no token to exchange; install the webhook of Azure Workload Identity, or use credentials.type Secret"}
	}
	f, err := os.Open(file) //nolint:gosec // the Pod's own environment names it
	if err != nil {
		return "", &Error{words: "the Pod's token (" + envTokenFile + ") cannot be read: " + unpath(err).Error(), cause: err}
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", &Error{words: "the Pod's token (" + envTokenFile + ") cannot be read: " + unpath(err).Error(), cause: err}
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", &Error{words: "the Pod's token (" + envTokenFile + ") is empty: the kubelet has not written it yet"}
	}
	return token, nil
}

func unpath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
