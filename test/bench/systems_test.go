//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// system is what stands between smtp-source and smtp-sink.
type system struct {
	port   int
	groups []int // its process groups; none: nothing stands between
	stop   func()
	says   func() string
}

// starters, in the order in which every round runs them; keys: with all.
var starters = []struct {
	name  string
	start func(t *testing.T, sink int, k *keys) system
}{
	{"the tools alone", func(_ *testing.T, sink int, _ *keys) system {
		return system{port: sink, stop: func() {}, says: func() string { return "" }}
	}},
	{"Postfix", startPostfix},
	{"Printer Relay", startRelay},
}

// keys are what a load with all needs: certificate and key of localhost, their
// authority, and a DKIM key.
type keys struct {
	dir, ca, cert, key string
	dkim               string // a file with an RSA key of 2048 bits
}

func newKeys(t *testing.T) *keys {
	k := &keys{dir: env.SharedDir(t)}
	ca := env.NewCA(t, k.dir)
	k.ca = filepath.Join(k.dir, "ca.crt")
	k.cert, k.key = ca.Issue(t, "localhost", "127.0.0.1")
	k.dkim = filepath.Join(k.dir, "rsa.pem")
	env.MustRun(t, "", "openssl", "genrsa", "-traditional", "-out", k.dkim, "2048")
	return k
}

// startPostfix is Debian's Postfix as it comes, but that it neither looks up
// names nor slows down who sends faster than it delivers. With all it has TLS on
// both sides and rules for attachments, and OpenDKIM signs.
func startPostfix(t *testing.T, sink int, k *keys) system {
	extra := fmt.Sprintf(`
in_flow_delay = 0
default_destination_concurrency_limit = %d
initial_destination_concurrency = %d
`, upstreamConnections, upstreamConnections)
	stop, groups := func() {}, []int(nil)
	if k == nil {
		extra += "smtpd_tls_security_level = none\nsmtp_tls_security_level = none\n"
	} else {
		milter := startOpenDKIM(t, k)
		stop, groups = milter.Stop, []int{milter.Pid()}
		checks := filepath.Join(k.dir, "mime")
		env.WriteFile(t, checks, "/^Content-Type:.*name=.*\\.(exe|zip)/ REJECT not allowed\n")
		extra += fmt.Sprintf(`
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = %s
smtpd_tls_key_file = %s
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = localhost
smtp_tls_CAfile = %s
mime_header_checks = regexp:%s
smtpd_milters = unix:%s
`, k.cert, k.key, k.ca, checks, milterSocket(k))
	}
	p := postfix.Start(t, postfix.Options{RelayPort: sink, Extra: extra})
	return system{port: p.Port, groups: append(groups, p.Pid()), stop: func() { p.Stop(); stop() }, says: p.Log}
}

func milterSocket(k *keys) string { return filepath.Join(k.dir, "opendkim.sock") }

// startOpenDKIM is what signs for Postfix.
func startOpenDKIM(t *testing.T, k *keys) *env.Process {
	conf := filepath.Join(k.dir, "opendkim.conf")
	env.WriteFile(t, conf, fmt.Sprintf(`Domain example.test
Selector bench
KeyFile %s
Socket local:%s
Mode s
InternalHosts 127.0.0.1
RequireSafeKeys no
UMask 000
Canonicalization relaxed/relaxed
`, k.dkim, milterSocket(k)))
	p := env.Start(t, k.dir, "opendkim", "-f", "-x", conf)
	env.Eventually(t, "OpenDKIM answers", p.Output, func() bool { _, err := os.Stat(milterSocket(k)); return err == nil || !p.Running() })
	return p
}

// startRelay is the relay as it comes, with a policy, its log and metrics. Its
// spool lies on the same file system as Postfix's queue.
func startRelay(t *testing.T, sink int, k *keys) system {
	dir := env.SharedDir(t)
	secrets := ""
	if k != nil {
		secrets = secret(t, "tls", "kubernetes.io/tls", map[string]string{"tls.crt": k.cert, "tls.key": k.key}) +
			secret(t, "ca", "Opaque", map[string]string{"ca.crt": k.ca}) + secret(t, "dkim", "Opaque", map[string]string{"rsa.pem": k.dkim})
	}
	var said string
	for range 5 {
		port := env.FreePort(t)
		yaml := Manifests(port, sink, upstreamConnections, "")
		if k != nil {
			yaml = ManifestsWithAll(port, sink, upstreamConnections) + secrets
		}
		env.WriteFile(t, filepath.Join(dir, "manifests", "relay.yaml"), yaml)
		p := relayProcess(t, dir, "relay", "--manifests", filepath.Join(dir, "manifests"), "--state", filepath.Join(dir, "state"),
			"--bind", "127.0.0.1", "--admin", "")
		env.Eventually(t, "the relay greets", p.Output, func() bool { return !p.Running() || env.Greets(env.Loopback(port)) })
		if p.Running() {
			return system{port: port, groups: []int{p.Pid()}, stop: func() { p.Stop(); os.RemoveAll(dir) }, says: func() string { return p.Tail(2000) }} //nolint:errcheck // the test's end removes it
		}
		said = p.Output()
	}
	t.Fatalf("the relay does not start:\n%s", said)
	return system{}
}

// secret is the manifest of a Secret with the content of files.
func secret(t *testing.T, name, kind string, files map[string]string) string {
	out := fmt.Sprintf("---\napiVersion: v1\nkind: Secret\ntype: %s\nmetadata: {name: %s}\nstringData:\n", kind, name)
	for k, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf("  %s: %q\n", k, b)
	}
	return out
}
