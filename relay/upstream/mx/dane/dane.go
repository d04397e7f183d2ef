// Package dane judges certificates by TLSA records, as RFC 7672 profiles
// RFC 6698 and RFC 7671 for SMTP. It is pure.
//
// It imports the standard library only.
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What a record's first octets say (RFC 7218).
const (
	UsageTA = 2 // DANE-TA: an authority above the certificate
	UsageEE = 3 // DANE-EE: the server's own

	selectCert = 0
	selectSPKI = 1

	matchFull   = 0
	matchSHA256 = 1
	matchSHA512 = 2
)

// Record is one TLSA record.
type Record struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// Parse reads the data of a record; false: it is no TLSA record.
func Parse(b []byte) (Record, bool) {
	if len(b) < 4 {
		return Record{}, false
	}
	return Record{Usage: b[0], Selector: b[1], Matching: b[2], Data: b[3:]}, true
}

// String is the record as in a zone file.
func (r Record) String() string {
	return fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.Matching, hex.EncodeToString(r.Data))
}

// usable tells whether SMTP can use it: PKIX-TA and PKIX-EE have no meaning
// here (RFC 7672 3.1.3), and what is malformed has none anywhere.
func (r Record) usable() bool {
	if r.Usage != UsageTA && r.Usage != UsageEE || r.Selector > selectSPKI {
		return false
	}
	switch r.Matching {
	case matchFull:
		if r.Selector == selectCert {
			_, err := x509.ParseCertificate(r.Data)
			return err == nil
		}
		_, err := x509.ParsePKIXPublicKey(r.Data)
		return err == nil
	case matchSHA256:
		return len(r.Data) == sha256.Size
	case matchSHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Usable gives the records that count. Where records of one usage and selector
// have both digests, only the stronger one does (RFC 7671 9).
func Usable(all []Record) []Record {
	strong := map[[2]uint8]bool{}
	for _, r := range all {
		if r.usable() && r.Matching == matchSHA512 {
			strong[[2]uint8{r.Usage, r.Selector}] = true
		}
	}
	var out []Record
	for _, r := range all {
		if r.usable() && (r.Matching != matchSHA256 || !strong[[2]uint8{r.Usage, r.Selector}]) {
			out = append(out, r)
		}
	}
	return out
}

// ErrMismatch says that no record fits what the server showed.
var ErrMismatch = errors.New("no TLSA record of the server fits its certificate")

// Verify judges the certificates that a server showed, its own first, by usable
// records. A DANE-EE record that fits is enough: neither name nor time count
// (RFC 7672 3.1.1). Below an authority that a DANE-TA record names, the
// certificate has to be valid now, and for one of the names (3.1.2).
func Verify(records []Record, chain []*x509.Certificate, names []string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("the server showed no certificate")
	}
	anchors := x509.NewCertPool()
	found := false
	for _, r := range records {
		if r.Usage == UsageEE && r.fits(chain[0]) {
			return nil
		}
		if r.Usage != UsageTA {
			continue
		}
		if r.Selector == selectCert && r.Matching == matchFull { // it need not be among those shown
			if c, err := x509.ParseCertificate(r.Data); err == nil {
				anchors.AddCert(c)
				found = true
			}
		}
		for _, c := range chain {
			if r.fits(c) {
				anchors.AddCert(c)
				found = true
			}
		}
	}
	if !found {
		return ErrMismatch
	}
	return below(anchors, chain, names, now)
}

// below tells whether the server's certificate is good under the anchors, for
// one of the names.
func below(anchors *x509.CertPool, chain []*x509.Certificate, names []string, now time.Time) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: anchors, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return err
	}
	err = errors.New("there is no name that the certificate could be for")
	for _, name := range names {
		if err = chain[0].VerifyHostname(name); err == nil {
			return nil
		}
	}
	return err
}

func (r Record) fits(c *x509.Certificate) bool {
	b := c.Raw
	if r.Selector == selectSPKI {
		b = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case matchSHA256:
		sum := sha256.Sum256(b)
		b = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(b)
		b = sum[:]
	}
	return bytes.Equal(b, r.Data)
}

// Key is the same for records that judge alike.
func Key(records []Record) string {
	var b strings.Builder
	for _, r := range records {
		b.WriteString(r.String() + ";")
	}
	return b.String()
}
