// Package bench measures the relay beside Postfix, with the same tools and on
// the same file system. Its configuration is what test/disk cuts the power of.
package bench

import (
	"fmt"
	"strings"
)

// Manifests is the configuration that is measured: a relay as it comes, that
// hands on to a server on loopback. spec is added to that of the PrinterRelay.
func Manifests(port, upstream, connections int, spec string) string {
	return strings.Replace(fmt.Sprintf(manifests, port, upstream, connections), "  listeners:", spec+"\n  listeners:", 1)
}

// ManifestsWithAll is a relay that does all there is to do: a policy with rules
// for content, TLS on both sides, DKIM. It wants the Secrets tls, ca and dkim.
func ManifestsWithAll(port, upstream, connections int) string {
	return fmt.Sprintf(manifestsWithAll, port, upstream, connections)
}

const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: bench}
spec:
  hostname: relay.example.test
  upstreamRef: {name: sink}
  senderPolicyRefs: [{name: lan}]
  listeners: [{name: smtp, port: %d, tls: {mode: None}, limits: {connections: 2000, connectionsPerClient: 1100}}]
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

const manifestsWithAll = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: bench}
spec:
  hostname: relay.example.test
  upstreamRef: {name: sink}
  senderPolicyRefs: [{name: lan}]
  listeners:
  - name: smtp
    port: %d
    tls: {mode: StartTLS, certificateRefs: [{name: tls}]}
    limits: {connections: 2000, connectionsPerClient: 1100}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: sink}
spec:
  type: SMTP
  smtp: {host: localhost, port: %d, tls: {mode: StartTLS, caSecretRef: {name: ca}}}
  sender: {domain: example.test}
  dkim: {selector: bench, secretRef: {name: dkim}}
  limits: {connections: %d}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: lan}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    connection: {tls: Required}
    senders: {allowed: ["copier@example.test"], check: EnvelopeAndHeader}
    recipients: {allowed: ["*@example.test"]}
    content: {messageSize: 35Mi, attachmentTypes: [application/pdf]}
    rateLimit: {messagesPerMinute: 100000, exceeded: Pace}
`
