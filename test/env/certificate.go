package env

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/printerrelay/printer-relay/test/pki"
)

// CA is a certificate authority that lives as long as a test, for programs that read
// files.
type CA struct {
	Dir string // holds ca.crt, and NAME.crt and NAME.key of each Issue
	PEM string // its certificate

	pair *pki.Pair
}

// NewCA makes an authority and writes its certificate to dir/ca.crt.
func NewCA(t testing.TB, dir string) *CA {
	t.Helper()
	p := pki.Authority(t)
	WriteFile(t, filepath.Join(dir, "ca.crt"), p.PEM())
	return &CA{Dir: dir, PEM: p.PEM(), pair: p}
}

// Issue makes a certificate for names (host names or addresses) and returns the files
// that hold it and its key, both PEM.
func (ca *CA) Issue(t testing.TB, names ...string) (certFile, keyFile string) {
	t.Helper()
	p := ca.pair.Issue(t, pki.Options{}, names...)
	certFile, keyFile = filepath.Join(ca.Dir, names[0]+".crt"), filepath.Join(ca.Dir, names[0]+".key")
	WriteFile(t, certFile, p.PEM())
	if err := os.WriteFile(keyFile, []byte(p.KeyPEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}
