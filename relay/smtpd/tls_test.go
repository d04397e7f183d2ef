package smtpd

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What each profile takes, with the self-signed certificate that copiers get by
// default, whatever GODEBUG says. A device that knows static RSA and CBC only is what
// Legacy is for.
func TestProfiles(t *testing.T) {
	for _, debug := range []string{"", "tlsrsakex=0,tls10server=0,tls3des=0,tlssha1=0", "tlsrsakex=1,tls10server=1,tls3des=1,tlssha1=1"} {
		t.Run(debug, func(t *testing.T) {
			t.Setenv("GODEBUG", debug)
			testProfiles(t)
		})
	}
}

func testProfiles(t *testing.T) {
	state := t.TempDir()
	old := func(version uint16, suites ...uint16) *tls.Config {
		return &tls.Config{MinVersion: version, MaxVersion: version, CipherSuites: suites}
	}
	for name, tc := range map[string]struct {
		client                       *tls.Config
		legacy, intermediate, modern bool
	}{
		"TLS 1.0, static RSA with AES-CBC": {old(tls.VersionTLS10, tls.TLS_RSA_WITH_AES_128_CBC_SHA), true, false, false},
		"TLS 1.0, 3DES":                    {old(tls.VersionTLS10, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA), true, false, false},
		"TLS 1.0, ECDHE":                   {old(tls.VersionTLS10, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA), true, false, false},
		"TLS 1.1":                          {old(tls.VersionTLS11, tls.TLS_RSA_WITH_AES_256_CBC_SHA), true, false, false},
		"TLS 1.2, static RSA":              {old(tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_GCM_SHA256), true, false, false},
		"TLS 1.2, forward secrecy":         {old(tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), true, true, false},
		"TLS 1.3":                          {old(tls.VersionTLS13), true, true, true},
		"RC4":                              {old(tls.VersionTLS12, tls.TLS_RSA_WITH_RC4_128_SHA), false, false, false},
	} {
		for p, want := range map[string]bool{"Legacy": tc.legacy, "Intermediate": tc.intermediate, "Modern": tc.modern} {
			l := &plan.Listener{TLS: plan.ListenerTLS{Mode: plan.TLSImplicit, Profile: p}}
			c, err := tlsConfig(l, "relay.test", state, secrets.Map{})
			if err != nil {
				t.Fatal(err)
			}
			if got := shake(t, c, tc.client); got != want {
				t.Errorf("%s at profile %s: %v, want %v", name, p, got, want)
			}
		}
	}
}

// shake tells whether a server and a client come to terms.
func shake(t *testing.T, server, client *tls.Config) bool {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	for _, c := range []net.Conn{a, b} {
		c.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // a pipe takes it
	}
	client = client.Clone()
	client.InsecureSkipVerify = true
	done := make(chan error, 1)
	go func() {
		err := tls.Server(a, server).HandshakeContext(t.Context())
		if err != nil {
			a.Close()
		}
		done <- err
	}()
	c := tls.Client(b, client)
	err := c.HandshakeContext(t.Context())
	if err != nil {
		b.Close()
	}
	return <-done == nil && err == nil
}

// What a device offers is known under every profile: transcripts say why it got no
// further.
func TestTheOfferIsNoted(t *testing.T) {
	for _, profile := range []string{"Legacy", "Intermediate", "Modern"} {
		c, err := tlsConfig(&plan.Listener{TLS: plan.ListenerTLS{Mode: plan.TLSImplicit, Profile: profile}}, "relay.test", t.TempDir(), secrets.Map{})
		if err != nil {
			t.Fatal(err)
		}
		var offer transcript.Offer
		a, b := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			tls.Server(a, c).HandshakeContext(transcript.WithOffer(t.Context(), &offer)) //nolint:errcheck // it fails
			a.Close()
		}()
		rc4 := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}}
		if err := tls.Client(b, rc4).HandshakeContext(t.Context()); err == nil {
			t.Errorf("%s: RC4 was taken", profile)
		}
		b.Close()
		<-done
		if got := strings.Join(offer.Lines(), "\n"); !strings.Contains(got, "RC4") {
			t.Errorf("%s: of the offer is known %q", profile, got)
		}
	}
}
