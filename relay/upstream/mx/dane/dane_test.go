package dane

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/pki"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// until is a certificate that ends then; it began an hour before now, and may be an
// authority's.
func until(end time.Time, ca bool) pki.Options {
	return pki.Options{From: now.Add(-time.Hour), Until: end, CA: ca}
}

func record(usage, selector, matching uint8, c *pki.Pair) Record {
	data := c.Raw
	if selector == selectSPKI {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case matchSHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case matchSHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return Record{usage, selector, matching, data}
}

func TestVerify(t *testing.T) {
	future, past := now.Add(time.Hour), now.Add(-time.Minute)
	root := pki.Self(t, until(future, true), "root")
	between := root.Issue(t, until(future, true), "between")
	leaf := between.Issue(t, until(future, false), "mx.corp.test")
	expired := between.Issue(t, until(past, false), "mx.corp.test")
	self := pki.Self(t, until(past, false), "whatever.test")
	stranger := pki.Self(t, until(future, true), "stranger")
	full := []*pki.Pair{leaf, between, root}
	for name, c := range map[string]struct {
		records []Record
		chain   []*pki.Pair
		names   []string
		ok      bool
	}{
		"EE, key":                           {[]Record{record(3, 1, 1, leaf)}, full, nil, true},
		"EE, certificate, SHA-512":          {[]Record{record(3, 0, 2, leaf)}, full, nil, true},
		"EE, certificate itself":            {[]Record{record(3, 0, 0, leaf)}, full, nil, true},
		"EE, key itself":                    {[]Record{record(3, 1, 0, leaf)}, full, nil, true},
		"EE, expired, of another name":      {[]Record{record(3, 1, 1, self)}, []*pki.Pair{self}, []string{"mx.corp.test"}, true},
		"EE, one of two":                    {[]Record{record(3, 1, 1, stranger), record(3, 1, 1, leaf)}, full, nil, true},
		"EE, of the authority":              {[]Record{record(3, 1, 1, root)}, full, []string{"mx.corp.test"}, false},
		"EE, of another":                    {[]Record{record(3, 1, 1, stranger)}, full, []string{"mx.corp.test"}, false},
		"TA, root":                          {[]Record{record(2, 0, 1, root)}, full, []string{"mx.corp.test"}, true},
		"TA, key of what is between":        {[]Record{record(2, 1, 2, between)}, full, []string{"mx.corp.test"}, true},
		"TA, the domain's name":             {[]Record{record(2, 0, 1, root)}, full, []string{"other.test", "mx.corp.test"}, true},
		"TA, another name":                  {[]Record{record(2, 0, 1, root)}, full, []string{"other.test"}, false},
		"TA, no name":                       {[]Record{record(2, 0, 1, root)}, full, nil, false},
		"TA, expired":                       {[]Record{record(2, 0, 1, root)}, []*pki.Pair{expired, between, root}, []string{"mx.corp.test"}, false},
		"TA, not shown":                     {[]Record{record(2, 0, 1, root)}, []*pki.Pair{leaf, between}, []string{"mx.corp.test"}, false},
		"TA, not shown, but in the record":  {[]Record{record(2, 0, 0, root)}, []*pki.Pair{leaf, between}, []string{"mx.corp.test"}, true},
		"TA, shown, but it signed nothing":  {[]Record{record(2, 0, 1, stranger)}, []*pki.Pair{leaf, between, stranger}, []string{"mx.corp.test"}, false},
		"TA, shown, without what's between": {[]Record{record(2, 0, 1, root)}, []*pki.Pair{leaf, root}, []string{"mx.corp.test"}, false},
		"no certificate":                    {[]Record{record(3, 1, 1, leaf)}, nil, nil, false},
	} {
		var chain []*x509.Certificate
		for _, m := range c.chain {
			chain = append(chain, m.Certificate)
		}
		usable := Usable(c.records)
		if len(usable) != len(c.records) {
			t.Errorf("%s: %d of %d records can be used", name, len(usable), len(c.records))
		}
		if err := Verify(usable, chain, c.names, now); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Verify([]Record{record(3, 1, 1, stranger)}, []*x509.Certificate{leaf.Certificate}, nil, now); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
}

func TestUsable(t *testing.T) {
	c := pki.Self(t, until(now.Add(time.Hour), true), "mx.corp.test")
	for name, test := range map[string]struct {
		records []Record
		want    int
	}{
		"PKIX-TA and PKIX-EE":                {[]Record{{0, 1, 1, make([]byte, 32)}, {1, 1, 1, make([]byte, 32)}}, 0},
		"usage unknown":                      {[]Record{{4, 1, 1, make([]byte, 32)}, {255, 0, 0, c.Raw}}, 0},
		"selector unknown":                   {[]Record{{3, 2, 1, make([]byte, 32)}}, 0},
		"matching unknown":                   {[]Record{{3, 1, 3, make([]byte, 32)}}, 0},
		"digests of a wrong length":          {[]Record{{3, 1, 1, make([]byte, 31)}, {3, 1, 1, make([]byte, 64)}, {3, 1, 2, make([]byte, 32)}, {3, 1, 1, nil}}, 0},
		"full, but no certificate and key":   {[]Record{{3, 0, 0, []byte("x")}, {2, 1, 0, []byte("x")}}, 0},
		"the stronger digest":                {[]Record{record(3, 1, 1, c), record(3, 1, 2, c), record(3, 1, 0, c)}, 2},
		"... not one that is malformed":      {[]Record{record(3, 1, 1, c), {3, 1, 2, make([]byte, 3)}}, 1},
		"... of the same usage and selector": {[]Record{record(3, 1, 1, c), record(3, 0, 2, c), record(2, 1, 2, c)}, 3},
	} {
		if got := Usable(test.records); len(got) != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whatever a zone says, and a server shows, nothing panics, and what does not
// fit does not pass.
func FuzzVerify(f *testing.F) {
	c := pki.Self(f, until(now.Add(time.Hour), true), "mx.corp.test")
	f.Add(append([]byte{3, 0, 0}, c.Raw...))
	f.Add(append([]byte{2, 1, 0}, c.RawSubjectPublicKeyInfo...))
	f.Add([]byte{3, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := Parse(b)
		if !ok {
			return
		}
		for _, r := range Usable([]Record{r, {}}) {
			err := Verify([]Record{r}, []*x509.Certificate{c.Certificate}, []string{"mx.corp.test"}, now)
			if err == nil && !r.fits(c.Certificate) {
				t.Errorf("%s passes", r)
			}
		}
	})
}
