package mx

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/printerrelay/printer-relay/relay/upstream/mx/resolver"
	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/rig"
)

func sts(mode, mx string, maxAge int) policy {
	return policy{body: fmt.Sprintf("version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: %d\r\n", mode, mx, maxAge)}
}

// policyCase is a domain below plain.test with a policy, and what becomes of
// mail for it where `security` itself asks for nothing.
type policyCase struct {
	name, host string
	policy     policy
	want       string
	counted    string // all results
}

const unproven = "Deferred/Recipient 4.7.5"

func policyCases() []policyCase {
	const day = 86400
	ok := sts("enforce", "mx-trusted.plain.test", day)
	redirect, html, wrongName, large := ok, ok, ok, ok
	redirect.status, html.kind, wrongName.expired = http.StatusFound, "text/html", true
	large.body += strings.Repeat("x: y\r\n", 20_000)
	return []policyCase{
		{"sts", "mx-trusted", ok, "Accepted", "sts success"},
		{"sts-wildcard", "mx-trusted", sts("enforce", "*.plain.test", day), "Accepted", "sts success"},
		{"sts-other", "mx-trusted", sts("enforce", "mx.other.example", day), unproven, "sts validation-failure"},
		{"sts-untrusted", "mx-private", sts("enforce", "*.plain.test", day), unproven, "sts certificate-not-trusted"},
		{"sts-clear", "mx-clear", sts("enforce", "*.plain.test", day), unproven, "sts starttls-not-supported"},
		{"sts-testing", "mx-trusted", sts("testing", "mx.other.example", day), "Accepted", "sts validation-failure"},
		{"sts-testing-clear", "mx-clear", sts("testing", "*.plain.test", day), "Accepted", "sts starttls-not-supported"},
		{"sts-none", "mx-clear", sts("none", "*.plain.test", day), "Accepted", "no-policy-found starttls-not-supported"},
		{"sts-redirect", "mx-clear", redirect, "Accepted", "sts sts-policy-fetch-error, no-policy-found starttls-not-supported"},
		{"sts-html", "mx-clear", html, "Accepted", "sts sts-policy-fetch-error, no-policy-found starttls-not-supported"},
		{"sts-name", "mx-clear", wrongName, "Accepted", "sts sts-webpki-invalid, no-policy-found starttls-not-supported"},
		{"sts-large", "mx-clear", large, "Accepted", "sts sts-policy-invalid, no-policy-found starttls-not-supported"},
		{"sts-bad", "mx-clear", sts("strict", "*.plain.test", day), "Accepted", "sts sts-policy-invalid, no-policy-found starttls-not-supported"},
	}
}

// policyDomains are their records, and those of the tests below.
func policyDomains() string {
	records := withPolicy("kept", "mx-clear", "1") + withPolicy("changing", "mx-trusted", "1") + withPolicy("short", "mx-clear", "1")
	for _, c := range policyCases() {
		records += withPolicy(c.name, c.host, "20260101T000000")
	}
	return records
}

func policies(t *testing.T, w *world) {
	for _, c := range policyCases() {
		t.Run(c.name, func(t *testing.T) {
			w.publish(c.name+".plain.test", c.policy)
			o := open(t, opportunistic, t.TempDir())
			to := "it@" + c.name + ".plain.test"
			got, outcomes := o.send(t, to)
			if got[0] != c.want {
				t.Errorf("%s (%s), want %s", got[0], outcomes[0].Text, c.want)
			}
			if counted := strings.Join(o.counted(), ", "); counted != c.counted {
				t.Errorf("counted %s, want %s", counted, c.counted)
			}
			if n := w.mails(t, to); c.want != "Accepted" && n != 0 {
				t.Errorf("%d mails arrived", n)
			}
			o.send(t, to)
			if n := w.fetched(c.name + ".plain.test"); n > 1 {
				t.Errorf("the policy was fetched %d times, want once", n)
			}
		})
	}
	w.publish("both.signed.test", sts("enforce", "mx.other.example", 86400))
	if got, outcomes := open(t, verified, t.TempDir()).send(t, "it@both.signed.test"); got[0] != "Accepted" { // DANE goes before MTA-STS
		t.Errorf("%s (%s)", got[0], outcomes[0].Text)
	}
}

// A policy that was seen holds until it expires: also after a restart, and where
// somebody keeps it from us.
func policyKept(t *testing.T, w *world) {
	w.publish("kept.plain.test", sts("enforce", "*.plain.test", 86400))
	w.publish("short.plain.test", sts("enforce", "*.plain.test", 1))
	state := t.TempDir()
	first := open(t, opportunistic, state)
	for _, to := range []string{"it@kept.plain.test", "it@short.plain.test"} {
		if got, outcomes := first.send(t, to); got[0] != unproven {
			t.Fatalf("%s: %s (%s)", to, got[0], outcomes[0].Text)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	w.publish("kept.plain.test", policy{status: http.StatusNotFound})
	w.publish("short.plain.test", policy{status: http.StatusNotFound})
	again := open(t, opportunistic, state)
	if got, outcomes := again.send(t, "it@kept.plain.test"); got[0] != unproven {
		t.Errorf("after a restart: %s (%s)", got[0], outcomes[0].Text)
	}
	w.zone(t, "plain.test", strings.ReplaceAll(plain+policyDomains(), "_mta-sts.", "gone."))
	w.republish(t, "_mta-sts.kept.plain.test", "")
	if got, outcomes := again.send(t, "it@kept.plain.test"); got[0] != unproven {
		t.Errorf("without its record: %s (%s)", got[0], outcomes[0].Text)
	}
	env.Eventually(t, "the policy that has expired counts no more", func() string { return fmt.Sprint(again.counted()) }, func() bool {
		got, _ := again.send(t, "it@short.plain.test")
		return got[0] == "Accepted"
	})
	if got, outcomes := open(t, opportunistic, t.TempDir()).send(t, "it@kept.plain.test"); got[0] != "Accepted" {
		t.Errorf("one that never saw it: %s (%s)", got[0], outcomes[0].Text)
	}
}

// A new id has the policy fetched at once; where that fails, the old one holds.
func policyChanges(t *testing.T, w *world) {
	next := func(id string) {
		t.Helper()
		w.zone(t, "plain.test", plain+strings.Replace(policyDomains(), withPolicy("changing", "mx-trusted", "1"), withPolicy("changing", "mx-trusted", id), 1))
		w.republish(t, "_mta-sts.changing.plain.test", "v=STSv1; id="+id+";")
	}
	next("1")
	w.publish("changing.plain.test", sts("enforce", "mx.other.example", 86400))
	o := open(t, verified, t.TempDir())
	if got, outcomes := o.send(t, "it@changing.plain.test"); got[0] != unproven {
		t.Fatalf("%s (%s)", got[0], outcomes[0].Text)
	}
	next("2")
	w.publish("changing.plain.test", sts("enforce", "mx-trusted.plain.test", 86400))
	if got, outcomes := o.send(t, "it@changing.plain.test"); got[0] != "Accepted" {
		t.Errorf("with the new policy: %s (%s)", got[0], outcomes[0].Text)
	}
	next("3")
	w.publish("changing.plain.test", policy{status: http.StatusInternalServerError})
	if got, outcomes := o.send(t, "it@changing.plain.test"); got[0] != "Accepted" {
		t.Errorf("with a policy that cannot be had: %s (%s)", got[0], outcomes[0].Text)
	}
	want := []string{"sts validation-failure", "sts success", "sts sts-policy-fetch-error"}
	if got := o.counted(); !slices.Equal(got, want) && !slices.Equal(got, append(want, "sts success")) { // the connection may be used again
		t.Errorf("counted %q, want %q", got, want)
	}
}

// AD counts from this machine, or where the administrator says so; a large answer
// comes by TCP.
func resolvers(t *testing.T) {
	for conf, secure := range map[string]bool{
		"nameserver 127.0.0.1\n":                                      true,
		"nameserver " + relayAddress + "\n":                           false,
		"nameserver " + relayAddress + "\noptions ndots:5 trust-ad\n": true,
	} {
		file := t.TempDir() + "/resolv.conf"
		env.WriteFile(t, file, conf)
		r := resolver.New(file)
		a, err := r.Lookup(t.Context(), "ee.signed.test", dnsmessage.TypeMX)
		if err != nil || len(a.Records) != 1 || a.Secure != secure {
			t.Errorf("%q: %+v, %v", conf, a, err)
		}
		if a, err := r.Lookup(t.Context(), "webpki.plain.test", dnsmessage.TypeMX); err != nil || len(a.Records) != 1 || a.Secure {
			t.Errorf("%q, not signed: %+v, %v", conf, a, err)
		}
		if a, err := r.Lookup(t.Context(), "none.signed.test", dnsmessage.TypeMX); err != nil || !a.NXDomain || a.Secure != secure {
			t.Errorf("%q, not there: %+v, %v", conf, a, err)
		}
		if a, err := r.Lookup(t.Context(), "mx-alias.signed.test", dnsmessage.TypeA); err != nil || a.Name != "mx-alias-end.signed.test" || len(a.Records) != 1 {
			t.Errorf("%q, an alias: %+v, %v", conf, a, err)
		}
		if a, err := r.Lookup(t.Context(), "bogus.test", dnsmessage.TypeMX); err == nil || !strings.Contains(err.Error(), "SERVFAIL") {
			t.Errorf("%q, bogus: %+v, %v", conf, a, err)
		}
	}
}

const relayManifests = `
apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.example
  upstreamRef: {name: direct}
  senderPolicyRefs: [{name: all}]
  listeners: [{name: smtp, port: {{PORT}}, tls: {mode: None}}]
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: all}
spec:
  rules: [{name: here, match: {clientNetworks: [127.0.0.0/8]}, recipients: {allowed: ["*@*.test"]}}]
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: direct}
spec:
  type: MX
  mx: {}
  sender: {domain: copier.example}
`

// From a manifest to the recipients' servers: what goes goes, what must not waits
// or fails by itself, and the circuit stays closed.
func throughARelay(t *testing.T, w *world) {
	r := rig.Start(t, relayManifests)
	to := []string{"relayed@ee.signed.test", "relayed@wrong.signed.test", "relayed@webpki.plain.test", "relayed@null.plain.test"}
	id := rig.QueueID(t, r.Dial().Send("mfp@copier.example", to, rig.Scan("mfp@copier.example", "it@corp.test")))
	w.stranger.MailFor(t, to[0])
	w.trusted.MailFor(t, to[2])
	metrics := ""
	r.Eventually("all is counted", func() bool {
		_, metrics = r.Get("/metrics")
		for _, line := range []string{
			`printer_relay_mx_tls_results_total{policy="tlsa",relay="default/office",result="success",upstream="direct"} 1`,
			`printer_relay_mx_tls_results_total{policy="tlsa",relay="default/office",result="validation-failure",upstream="direct"} 1`,
			`printer_relay_attempted_recipients_total{outcome="Failed",relay="default/office",scope="Recipient",upstream="direct"} 1`,
			`printer_relay_upstream_circuit_state{relay="default/office",state="closed",upstream="direct"} 1`,
		} {
			if !strings.Contains(metrics, line+"\n") {
				return false
			}
		}
		return true
	})
	if !strings.Contains(r.Log.String(), id) || w.mails(t, to[1]) != 0 {
		t.Errorf("the mail for %s\n%s", to[1], r.Log)
	}
}
