// Package dkim signs messages (RFC 6376, RFC 8463, RFC 8301): it reads the keys
// of a Secret, chooses the header fields, hashes a body as it streams by and
// makes the DKIM-Signature fields to put on top. It never holds a body.
//
// It may import relay/message; no file, no socket, no clock.
package dkim

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// The keys of a Secret, and what stands behind the selector for Ed25519: two
// records cannot share a name (RFC 6376 3.6.2.2), and a key's name must not
// depend on which other keys are there.
const (
	RSAKey     = "rsa.pem"
	Ed25519Key = "ed25519.pem"

	ed25519Suffix = "-ed25519"
)

// Sizes of RSA keys in bits: what verifiers must be able to read (RFC 8301
// 3.2), and what a new key should have.
const (
	minimumBits = 1024
	maximumBits = 4096
	advisedBits = 2048
)

// Key is one private key to sign with.
type Key struct {
	signer    crypto.Signer
	algorithm string // a= of the signature
	kind      string // k= of the record
	suffix    string // of the selector
	bits      int    // of an RSA key; 0: it is none
}

// Keys reads the keys of a Secret, RSA first. One that is there and cannot be
// used is an error, also where the other could: nothing leaves half signed. No
// error shows anything of a key.
func Keys(data map[string][]byte) ([]Key, error) {
	var keys []Key
	for _, name := range []string{RSAKey, Ed25519Key} {
		text, ok := data[name]
		if !ok {
			continue
		}
		k, err := parse(name, text)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", name, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("neither key %q nor key %q is there: add a private key in PEM", RSAKey, Ed25519Key)
	}
	return keys, nil
}

func parse(name string, text []byte) (Key, error) {
	signer, err := private(text)
	if err != nil {
		return Key{}, err
	}
	switch k := signer.(type) {
	case *rsa.PrivateKey:
		bits := k.N.BitLen()
		switch {
		case name != RSAKey:
			return Key{}, fmt.Errorf("it is an RSA key: name it %s", RSAKey)
		case bits < minimumBits:
			return Key{}, fmt.Errorf("it has %d bits, and verifiers take no less than %d: make one of %d", bits, minimumBits, advisedBits)
		case bits > maximumBits:
			return Key{}, fmt.Errorf("it has %d bits, and verifiers need to take no more than %d: make one of %d", bits, maximumBits, advisedBits)
		}
		return Key{signer: k, algorithm: "rsa-sha256", kind: "rsa", bits: bits}, nil
	case ed25519.PrivateKey:
		if name != Ed25519Key {
			return Key{}, fmt.Errorf("it is an Ed25519 key: name it %s", Ed25519Key)
		}
		return Key{signer: k, algorithm: "ed25519-sha256", kind: "ed25519", suffix: ed25519Suffix}, nil
	}
	return Key{}, errors.New("it is neither an RSA nor an Ed25519 key: DKIM knows no other")
}

// private reads the first private key of a PEM text: PKCS#8, or PKCS#1 for RSA.
func private(text []byte) (any, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it holds no PEM: put the whole file there that openssl genpkey wrote, with its BEGIN and END lines")
	}
	for block != nil && block.Type == "EC PARAMETERS" { // openssl ecparam writes them before the key
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil, block.Type == "EC PRIVATE KEY":
		return nil, errors.New("it is neither an RSA nor an Ed25519 key: DKIM knows no other")
	case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["Proc-Type"] != "":
		return nil, errors.New("it has a passphrase, which nobody could enter: remove it with openssl pkey -in FILE")
	case block.Type == "RSA PRIVATE KEY":
		k, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errBroken
		}
		return k, nil
	case block.Type == "PRIVATE KEY":
		k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errBroken
		}
		return k, nil
	}
	return nil, errors.New(`it is no private key: put the PEM there that begins with "BEGIN PRIVATE KEY" or "BEGIN RSA PRIVATE KEY"`)
}

// errBroken hides the parser's words: they are about octets of the key.
var errBroken = errors.New("its private key cannot be read: it is cut off or changed, or has less than 1024 bits; make a new one with openssl genpkey")

// Selector is under which selector the key is published, where the MailUpstream
// has selector.
func (k Key) Selector(selector string) string { return selector + k.suffix }

// Weak says what is wrong with a key that works; "" if nothing is.
func (k Key) Weak() string {
	if k.bits == 0 || k.bits >= advisedBits {
		return ""
	}
	return fmt.Sprintf("the RSA key has %d bits: make one of %d", k.bits, advisedBits)
}

// Record is the DNS record of the key: the name and the TXT value to publish.
func (k Key) Record(selector, domain string) (name, value string) {
	var public []byte
	switch p := k.signer.Public().(type) {
	case ed25519.PublicKey:
		public = p // bare (RFC 8463 4)
	default:
		var err error
		if public, err = x509.MarshalPKIXPublicKey(p); err != nil {
			panic(err) // it knows RSA keys
		}
	}
	return k.Selector(selector) + "._domainkey." + domain, "v=DKIM1; k=" + k.kind + "; p=" + base64.StdEncoding.EncodeToString(public)
}

// String keeps the key out of what it is formatted into.
func (k Key) String() string { return k.kind + " key" }

// GoString implements fmt.GoStringer.
func (k Key) GoString() string { return k.String() }
