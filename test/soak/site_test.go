//go:build soak

package soak

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/cluster"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/ledger"
	"github.com/printerrelay/printer-relay/test/netns"
)

// Where things are in the node's LAN.
const (
	namespace      = "soak"
	copierClient   = "2"
	upstreamClient = "3"
	upstreamIP     = "172.31.0.3"
	upstreamPort   = 587
)

// connections of one instance to the upstream. After a kill those transactions may
// be made again that ran, and those that had ended and whose end was not written
// down yet (docs/durability.md); of notifications, those that were being made too.
const connections = 3

var relayKill = room{scans: 2 * connections, notices: 2*connections + 4}

// The relays. office is what restarts are done to; steady goes through all that
// happens around it, and its process has to live and stay as it was from the first
// to the last scan.
const (
	office = "office"
	steady = "steady"
)

var relays = []string{office, steady}

const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: %[1]s}
spec:
  replicas: 1
  hostname: relay.test
  upstreamRef: {name: %[1]s}
  senderPolicyRefs: [{name: copiers}]
  listeners:
  - name: scans
    port: 25
    tls: {mode: StartTLS, profile: Legacy, certificateRefs: [{name: relay-tls}]}
    authentication: {mode: Optional, secretRef: {name: copier-logins}}
    limits: {messageSize: 24Mi}
  - name: modern
    port: 465
    tls: {mode: Implicit, profile: Modern, certificateRefs: [{name: relay-tls}]}
    authentication: {mode: Optional, secretRef: {name: copier-logins}}
  delivery:
    keepFailedSeconds: 0
    retry: {initialSeconds: 1, maximumSeconds: 5}
    bounce: {to: Postmaster, postmaster: it@example.test, maximumPerHour: 10000} # the account is by notification
  spool: {type: PersistentVolume, persistentVolume: {size: 5Gi, reclaimPolicy: Retain}}
  service: {type: LoadBalancer, externalTrafficPolicy: Local}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: %[1]s}
spec:
  type: SMTP
  smtp:
    host: ` + upstreamIP + `
    port: 587
    tls: {mode: StartTLS, serverName: upstream.test, caSecretRef: {name: upstream-ca}}
    authentication: {secretRef: {name: upstream-login}}
  limits: {connections: 3}
---
`

// Rule 1 is the one that a policy edit changes.
const policies = `apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: copiers}
spec:
  rules:
  - name: logins
    match: {users: [mfp1]}
    senders: {allowed: ["*@login.test"]}
  - name: network
    match: {clientNetworks: [172.31.0.0/24]}
    senders: {allowed: ["*@copier.test"]}
    recipients: {allowed: ["*@example.test"]}
---
# Whom the operator takes for a reader of its metrics.
apiVersion: v1
kind: ServiceAccount
metadata: {name: metrics}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: soak-metrics}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: soak-metrics}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: soak-metrics}
subjects: [{kind: ServiceAccount, name: metrics, namespace: soak}]
`

// site is the relays, the upstream behind and the copiers in front of them.
type site struct {
	*cluster.Cluster
	copiers  *netns.Network
	upstream *ledger.Upstream
	ca       *env.CA
	found    bool              // the operator was installed before
	address  map[string]string // of each relay, without port

	mu        sync.Mutex
	passwords map[string]bool // that the upstream takes
	logins    map[string]int  // how often each was used
}

// findSite is the site before anything is installed.
func findSite(t *testing.T) *site {
	t.Helper()
	return &site{Cluster: cluster.Find(t), address: map[string]string{}, passwords: map[string]bool{"first": true}, logins: map[string]int{}}
}

// install brings the operator and the relays up, and waits until they are ready.
func (s *site) install(t *testing.T) {
	t.Helper()
	s.copiers = s.Network(t, copierClient)
	s.ca = env.NewCA(t, env.SharedDir(t))
	s.upstream = s.startUpstream(t)
	s.found = strings.Contains(s.Helm(t, "list", "--namespace", cluster.OperatorNamespace, "--short"), "printer-relay")
	s.Helm(t, append([]string{"upgrade", "--install", "printer-relay", "charts/printer-relay", "--namespace", cluster.OperatorNamespace, "--create-namespace"}, cluster.ChartImage("1")...)...)
	s.Run(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}\n", s.Script, "kubectl", "apply", "-f", "-")
	s.secret(t, "upstream-ca", map[string]string{"ca.crt": s.ca.PEM})
	s.secret(t, "upstream-login", map[string]string{"username": "relay", "password": "first"})
	s.secret(t, "copier-logins", map[string]string{"users": "mfp1:first\n"})
	s.certificate(t)
	s.Apply(t, namespace, fmt.Sprintf(manifests, office)+fmt.Sprintf(manifests, steady)+policies)
	s.operatorReady(t)
	for _, r := range relays {
		s.Ready(t, namespace, r)
		s.address[r] = s.Field(t, namespace, "printerrelay/"+r, "{.status.addresses[0].value}")
	}
}

// remove takes away what the soak made, so that it can be run again.
func (s *site) remove(t *testing.T) {
	if t.Failed() {
		t.Log(s.State(t, namespace))
	}
	for _, args := range [][]string{
		{"delete", "namespace", namespace, "--ignore-not-found", "--timeout", "3m"},
		{"delete", "clusterrole,clusterrolebinding", "soak-metrics", "--ignore-not-found"},
	} {
		if out, err := s.Try(t, "", s.Script, append([]string{"kubectl"}, args...)...); err != nil {
			t.Errorf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if !s.found {
		s.Helm(t, "uninstall", "printer-relay", "--namespace", cluster.OperatorNamespace, "--ignore-not-found", "--wait")
	}
}

func (s *site) startUpstream(t *testing.T) *ledger.Upstream {
	t.Helper()
	certFile, keyFile := s.ca.Issue(t, "upstream.test")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	network := s.Network(t, upstreamClient)
	u := ledger.StartUpstreamWith(t, ledger.Options{
		Relays: true, TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, LogIn: s.logIn,
		Listen: func() (l net.Listener, err error) {
			network.Do(func() {
				l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", fmt.Sprintf("%s:%d", upstreamIP, upstreamPort))
			})
			return l, err
		},
	})
	u.Slow(20 * time.Millisecond)
	return u
}

// logIn is the upstream's answer to a relay.
func (s *site) logIn(user, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logins[password]++
	return user == "relay" && s.passwords[password]
}

// secret writes a Secret.
func (s *site) secret(t *testing.T, name string, data map[string]string) {
	t.Helper()
	var b strings.Builder
	for k, v := range data {
		fmt.Fprintf(&b, "  %s: %s\n", k, base64.StdEncoding.EncodeToString([]byte(v)))
	}
	s.Apply(t, namespace, "apiVersion: v1\nkind: Secret\nmetadata: {name: "+name+"}\ndata:\n"+b.String())
}

// certificate gives the relays a new one.
func (s *site) certificate(t *testing.T) *x509.Certificate {
	t.Helper()
	certFile, keyFile := s.ca.Issue(t, "relay.test")
	data := map[string]string{}
	for key, file := range map[string]string{"tls.crt": certFile, "tls.key": keyFile} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		data[key] = string(b)
	}
	s.secret(t, "relay-tls", data)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// operatorReady waits until the operators run and are ready.
func (s *site) operatorReady(t *testing.T) {
	t.Helper()
	s.Eventually(t, namespace, "the operator is ready", func() bool {
		_, err := s.Try(t, "", s.Script, "kubectl", "rollout", "status", "-n", cluster.OperatorNamespace, "deployment/printer-relay-operator", "--timeout", "2s")
		return err == nil
	})
}

// session opens one to a relay as a copier does.
func (s *site) session(relay string, p profile) (*ledger.Session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), env.Wait)
	defer cancel()
	port := "25"
	if p.implicit {
		port = "465"
	}
	conn, err := s.copiers.Dial(ctx, net.JoinHostPort(s.address[relay], port))
	if err != nil {
		return nil, err
	}
	if p.implicit {
		conn = tls.Client(conn, s.clientTLS())
	}
	hello := "EHLO"
	if p.helo {
		hello = "HELO"
	}
	c, err := ledger.Open(conn, hello)
	if err == nil && p.startTLS {
		if err = c.StartTLS(s.clientTLS()); err != nil {
			c.Close()
		}
	}
	return c, err
}

// clientTLS is that of copiers which look at the certificate, at each rotation.
func (s *site) clientTLS() *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.ca.PEM))
	return &tls.Config{RootCAs: roots, ServerName: "relay.test", MinVersion: tls.VersionTLS12}
}
