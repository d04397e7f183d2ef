package judges

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/pki"
	"github.com/printerrelay/printer-relay/test/rig"
)

// oldDialog is what a device says inside TLS, without waiting for replies.
const oldDialog = "EHLO copier\r\nMAIL FROM:<mfp@copier.example>\r\nRCPT TO:<it@corp.example>\r\nDATA\r\nFrom: mfp@copier.example\r\nSubject: Scan\r\n\r\none page\r\n.\r\nQUIT\r\n"

// openssl is OpenSSL's client at its lowest security level, without SNI.
func openssl(version, suites string, more ...string) []string {
	return append([]string{"openssl", "s_client", "-starttls", "smtp", "-noservername", "-quiet", "-" + version, "-cipher", suites + ":@SECLEVEL=0"}, more...)
}

// gnutls is that of GnuTLS: Debian's OpenSSL is built without 3DES.
func gnutls(priority string) []string {
	return []string{"gnutls-cli", "--starttls-proto=smtp", "--insecure", "--disable-sni", "--priority", "NONE:+COMP-NULL:+SIGN-ALL:+SIGN-RSA-SHA1:+GROUP-ALL:" + priority + ":%COMPAT:%VERIFY_ALLOW_BROKEN"}
}

// oldDevices are the devices of facts in terms of two other TLS libraries, what they
// come to terms on, and which profiles take them.
var oldDevices = []struct {
	name                 string
	client               []string
	using                string // in Received:
	legacy, intermediate bool
}{
	{"TLS 1.0, RSA key exchange, CBC", openssl("tls1", "AES128-SHA"), "TLSv1.0 with cipher TLS_RSA_WITH_AES_128_CBC_SHA", true, false},
	{"TLS 1.0, RSA key exchange, CBC with 256 bits", openssl("tls1", "AES256-SHA"), "TLSv1.0 with cipher TLS_RSA_WITH_AES_256_CBC_SHA", true, false},
	{"TLS 1.0, ECDHE", openssl("tls1", "ECDHE-RSA-AES128-SHA"), "TLSv1.0 with cipher TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", true, false},
	{"TLS 1.0, 3DES", gnutls("+VERS-TLS1.0:+RSA:+3DES-CBC:+SHA1"), "TLSv1.0 with cipher TLS_RSA_WITH_3DES_EDE_CBC_SHA", true, false},
	{"TLS 1.1, RSA key exchange, CBC", openssl("tls1_1", "AES128-SHA"), "TLSv1.1 with cipher TLS_RSA_WITH_AES_128_CBC_SHA", true, false},
	{"TLS 1.1, ECDHE and 3DES", gnutls("+VERS-TLS1.1:+ECDHE-RSA:+3DES-CBC:+SHA1"), "TLSv1.1 with cipher TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", true, false},
	{"TLS 1.2, RSA key exchange only", openssl("tls1_2", "AES128-SHA:AES256-SHA"), "TLSv1.2 with cipher TLS_RSA_WITH_AES_128_CBC_SHA", true, false},
	{"TLS 1.2, RSA key exchange, GCM", openssl("tls1_2", "AES256-GCM-SHA384"), "TLSv1.2 with cipher TLS_RSA_WITH_AES_256_GCM_SHA384", true, false},
	{"TLS 1.2, RSA key exchange, CBC with SHA-256", openssl("tls1_2", "AES128-SHA256"), "TLSv1.2 with cipher TLS_RSA_WITH_AES_128_CBC_SHA256", true, false},
	{"TLS 1.2, 3DES", gnutls("+VERS-TLS1.2:+RSA:+3DES-CBC:+SHA1"), "TLSv1.2 with cipher TLS_RSA_WITH_3DES_EDE_CBC_SHA", true, false},
	{"TLS 1.2, no hash but SHA-1", openssl("tls1_2", "ECDHE-RSA-AES128-SHA:AES128-SHA", "-sigalgs", "RSA+SHA1"), "TLSv1.2 with cipher TLS_RSA_WITH_AES_128_CBC_SHA", true, false},
	{"TLS 1.2, forward secrecy", openssl("tls1_2", "ECDHE-RSA-AES128-GCM-SHA256"), "TLSv1.2 with cipher TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", true, true},
	{"TLS 1.3", openssl("tls1_3", "ALL"), "TLSv1.3 with cipher TLS_", true, true},
	// Where crypto/tls ends, or we do (docs/compatibility.md).
	{"DHE only", openssl("tls1_2", "DHE-RSA-AES128-SHA:DHE-RSA-AES256-GCM-SHA384"), "", false, false},
	{"Camellia only", openssl("tls1_2", "CAMELLIA128-SHA"), "", false, false},
	{"AES-CCM only", openssl("tls1_2", "AES128-CCM"), "", false, false},
	{"AES-256-CBC with SHA-256 only", openssl("tls1_2", "AES256-SHA256"), "", false, false},
	{"RC4 only", gnutls("+VERS-TLS1.0:+RSA:+ARCFOUR-128:+SHA1"), "", false, false},
	{"an elliptic curve certificate only", openssl("tls1_2", "ECDHE-ECDSA-AES128-SHA"), "", false, false},
}

// Old TLS works with other people's libraries, a whole scan through it, where the
// profile says so and nowhere else.
func TestOldTLS(t *testing.T) {
	for _, profile := range []string{"Legacy", "Intermediate"} {
		t.Run(profile, func(t *testing.T) {
			u := rig.StartUpstream(t, rig.Script{})
			r := office(t, u, "tls: {mode: StartTLS, profile: "+profile+"}, compatibility: {commandSyntax: Lenient}")
			came := 0
			for _, d := range oldDevices {
				want := d.legacy && profile == "Legacy" || d.intermediate && profile == "Intermediate"
				out, err := say(t, d.client, r.Port, oldDialog)
				if !want {
					if strings.Contains(out, "250 2.0.0 Queued") {
						t.Errorf("%s: a scan came through", d.name)
					}
					continue
				}
				if !strings.Contains(out, "250 2.0.0 Queued as ") {
					t.Errorf("%s: %v\n%s", d.name, err, out)
					continue
				}
				came++
				r.Eventually("the scan arrives", func() bool { return len(u.Messages()) == came })
				if m := u.Messages()[came-1].Data; !strings.Contains(m, "(using "+d.using) {
					t.Errorf("%s: want %s\n%s", d.name, d.using, m)
				}
			}
		})
	}
}

// say runs a client on a port and gives what it printed.
func say(t *testing.T, client []string, port int, text string) (string, error) {
	t.Helper()
	args := append([]string(nil), client[1:]...)
	if client[0] == "openssl" {
		args = append(args, "-connect", fmt.Sprintf("127.0.0.1:%d", port))
	} else {
		args = append(args, "--port", fmt.Sprint(port), "127.0.0.1")
	}
	return env.Run(t, text, client[0], args...)
}

// crypto/tls by itself does not serve them, not even with the oldest version
// allowed: the suites have to be named.
func TestCryptoTLSAloneDoesNotServeOldDevices(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := pki.Self(t, pki.Options{Key: rsaKey}, "relay.test").TLS()
	for name, tc := range map[string]struct {
		server *tls.Config
		client []string
		works  bool
	}{
		"default, TLS 1.0":            {&tls.Config{}, []string{"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"}, false},
		"default, TLS 1.2":            {&tls.Config{}, []string{"-tls1_2", "-cipher", "AES128-SHA:AES128-GCM-SHA256:@SECLEVEL=0"}, false},
		"MinVersion alone, TLS 1.0":   {&tls.Config{MinVersion: tls.VersionTLS10}, []string{"-tls1", "-cipher", "AES128-SHA:@SECLEVEL=0"}, false},
		"default, TLS 1.2 with ECDHE": {&tls.Config{}, []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			tc.server.Certificates = []tls.Certificate{cert}
			l, err := tls.Listen("tcp", "127.0.0.1:0", tc.server)
			if err != nil {
				t.Fatal(err)
			}
			shaken := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err == nil {
					conn.SetDeadline(time.Now().Add(rig.Wait)) //nolint:errcheck // the handshake says so
					err = conn.(*tls.Conn).HandshakeContext(t.Context())
					conn.Close()
				}
				shaken <- err
			}()
			defer l.Close()
			args := append([]string{"s_client", "-noservername", "-connect", l.Addr().String()}, tc.client...)
			cmd := exec.CommandContext(t.Context(), "openssl", args...)
			out, _ := cmd.CombinedOutput() //nolint:errcheck // the server's side decides
			if err := <-shaken; (err == nil) != tc.works {
				t.Errorf("works: %v, want %v: %v\n%s", err == nil, tc.works, err, out)
			}
		})
	}
}

// A device without SNI that needs an RSA key gets the RSA certificate, wherever it
// stands in the list.
func TestTheCertificateFitsTheDevice(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := func(name string, key crypto.Signer) string {
		p := pki.Self(t, pki.Options{Key: key}, "relay.test")
		return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {tls.crt: %q, tls.key: %q}\n", name, p.PEM(), p.KeyPEM())
	}
	secrets := secret("rsa", rsaKey) + secret("ec", nil)
	const warning = "devices that need profile Legacy need an RSA key too"
	for _, refs := range []string{"[{name: ec}, {name: rsa}]", "[{name: rsa}, {name: ec}]", "[{name: ec}]"} {
		u := rig.StartUpstream(t, rig.Script{})
		r := rig.Start(t, officeYAML("tls: {mode: StartTLS, profile: Legacy, certificateRefs: "+refs+"}, compatibility: {commandSyntax: Lenient}")+u.YAML("out", "")+secrets)
		for _, client := range [][]string{openssl("tls1", "AES128-SHA"), openssl("tls1_2", "AES128-SHA"), openssl("tls1_2", "ECDHE-ECDSA-AES128-GCM-SHA256"), openssl("tls1_2", "ECDHE-RSA-AES128-GCM-SHA256")} {
			want := strings.Contains(refs, "rsa") || strings.Contains(fmt.Sprint(client), "ECDSA")
			if out, err := say(t, client, r.Port, oldDialog); strings.Contains(out, "250 2.0.0 Queued as ") != want {
				t.Errorf("%s, %v: %v\n%s", refs, client, err, out)
			}
		}
		if warned := strings.Contains(r.Log.String(), warning); warned == strings.Contains(refs, "rsa") {
			t.Errorf("%s: warned: %v", refs, warned)
		}
	}
}

// What is left of a handshake that failed is TLS's own alert: nothing goes on in
// clear, and no error of ours is told.
func TestAHandshakeThatFailsSaysNothing(t *testing.T) {
	u := rig.StartUpstream(t, rig.Script{})
	for _, mode := range []string{"StartTLS", "Implicit"} {
		r := office(t, u, "tls: {mode: "+mode+"}")
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port), rig.Wait)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(rig.Wait)); err != nil {
			t.Fatal(err)
		}
		if mode == "StartTLS" {
			readUntil(t, conn, "ESMTP Printer Relay\r\n")
			conn.Write([]byte("EHLO x\r\n")) //nolint:errcheck // the replies tell
			readUntil(t, conn, "250 STARTTLS\r\n")
			conn.Write([]byte("STARTTLS\r\n")) //nolint:errcheck // likewise
			readUntil(t, conn, "220 2.0.0 Ready to start TLS\r\n")
		}
		conn.Write([]byte("MAIL FROM:<mfp@copier.example>\r\nRCPT TO:<it@corp.example>\r\n")) //nolint:errcheck // likewise
		rest, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open behind a failed handshake", mode)
		}
		const alert = 21 // content type (RFC 5246 6.2.1)
		if len(rest) > 0 && (rest[0] != alert || len(rest) > 7) {
			t.Errorf("%s: behind a failed handshake came %q", mode, rest)
		}
	}
}

func readUntil(t *testing.T, conn net.Conn, end string) {
	t.Helper()
	var got []byte
	b := make([]byte, 1)
	for !strings.HasSuffix(string(got), end) {
		if _, err := conn.Read(b); err != nil {
			t.Fatalf("%v; so far %q", err, got)
		}
		got = append(got, b[0])
	}
}
