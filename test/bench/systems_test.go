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
	port int
	root int // its process and group ID; 0: nothing stands between
	stop func()
	says func() string
}

// starters, in the order in which every round runs them.
var starters = []struct {
	name  string
	start func(t *testing.T, sink int) system
}{
	{"the tools alone", func(_ *testing.T, sink int) system {
		return system{port: sink, stop: func() {}, says: func() string { return "" }}
	}},
	{"Postfix", startPostfix},
	{"Printer Relay", startRelay},
}

// startPostfix is Debian's Postfix as it comes, but that it neither looks up
// names nor slows down who sends faster than it delivers.
func startPostfix(t *testing.T, sink int) system {
	p := postfix.Start(t, postfix.Options{RelayPort: sink, Extra: fmt.Sprintf(`
smtpd_tls_security_level = none
smtp_tls_security_level = none
in_flow_delay = 0
default_destination_concurrency_limit = %d
initial_destination_concurrency = %d
`, upstreamConnections, upstreamConnections)})
	return system{port: p.Port, root: p.Pid(), stop: p.Stop, says: p.Log}
}

const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: bench}
spec:
  hostname: relay.example.test
  upstreamRef: {name: sink}
  senderPolicyRefs: [{name: lan}]
  listeners: [{name: smtp, port: %d, tls: {mode: None}, limits: {connectionsPerClient: 500}}]
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: sink}
spec:
  type: SMTP
  smtp: {host: 127.0.0.1, port: %d, tls: {mode: None}}
  limits: {connections: %d}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: lan}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@example.test"]}
`

// startRelay is the relay as it comes, with a policy, its log and metrics. Its
// spool lies on the same file system as Postfix's queue.
func startRelay(t *testing.T, sink int) system {
	dir := env.SharedDir(t)
	for range 5 {
		port := env.FreePort(t)
		env.WriteFile(t, filepath.Join(dir, "manifests", "relay.yaml"), fmt.Sprintf(manifests, port, sink, upstreamConnections))
		p := env.Start(t, dir, *binary, "relay", "--manifests", filepath.Join(dir, "manifests"), "--state", filepath.Join(dir, "state"),
			"--bind", "127.0.0.1", "--admin", "")
		env.Eventually(t, "the relay greets", p.Output, func() bool { return !p.Running() || env.Greets(env.Loopback(port)) })
		if p.Running() {
			return system{port: port, root: p.Pid(), stop: func() { p.Stop(); os.RemoveAll(dir) }, says: func() string { return p.Tail(2000) }} //nolint:errcheck // the test's end removes it
		}
	}
	t.Fatal("the relay does not start")
	return system{}
}
