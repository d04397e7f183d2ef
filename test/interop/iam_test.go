package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

const scanningBySES = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.corp.example
  upstreamRef: {name: ses}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 25}]
  delivery: {bounce: {postmaster: it@corp.example, from: relay@copier.corp.example}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [10.0.0.0/8]}
    senders: {allowed: SENDERS}
    recipients: {allowed: ["*@corp.example", "tax@adviser.example"]}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: ses}
spec:
  type: SES
  ses: {region: eu-central-1, configurationSet: scans}
  sender: {domain: copier.corp.example, localPart: Floor3}
`

// The IAM policy that least-privilege writes lets pass what the relay sends, and
// nothing else, by the judgement of an evaluator of IAM policies that is not ours; it
// knows which keys and resources SES's actions have.
func TestIAMPolicy(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(env.Root(t), "test/interop/iam")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatalf("iam-simulate is not installed, and this test runs it: run `make test-deps`: %v", err)
	}
	const identity, set = "arn:aws:ses:eu-central-1:123456789012:identity/copier.corp.example", "arn:aws:ses:eu-central-1:123456789012:configuration-set/scans"
	type request struct {
		Action   string         `json:"action"`
		Resource string         `json:"resource"`
		Context  map[string]any `json:"context"`
		want     bool
	}
	send := func(want bool, resource, from, tls string, to ...string) request {
		return request{"ses:SendRawEmail", resource, map[string]any{"ses:FromAddress": from, "ses:Recipients": to, "aws:SecureTransport": tls}, want}
	}
	always := []request{
		send(true, identity, "Floor3@copier.corp.example", "true", "boss@corp.example"),
		send(true, set, "Floor3@copier.corp.example", "true", "boss@corp.example", "tax@adviser.example"),
		send(true, identity, "relay@copier.corp.example", "true", "it@corp.example"),
		send(false, identity, "Floor3@copier.corp.example", "false", "boss@corp.example"),
		send(false, identity, "Floor3@copier.corp.example", "true", "boss@corp.example", "someone@elsewhere.example"),
		send(false, identity, "Floor3@copier.corp.example", "true", "boss@sub.corp.example"),
		send(false, identity, "boss@corp.example", "true", "boss@corp.example"),
		send(false, strings.Replace(identity, "copier.", "", 1), "Floor3@copier.corp.example", "true", "boss@corp.example"),
		send(false, strings.Replace(set, "scans", "other", 1), "Floor3@copier.corp.example", "true", "boss@corp.example"),
		send(false, strings.Replace(identity, "eu-central-1", "us-east-1", 1), "Floor3@copier.corp.example", "true", "boss@corp.example"),
		{"ses:GetAccount", "*", map[string]any{}, true},
		{"ses:GetEmailIdentity", identity, map[string]any{}, true},
		{"ses:DeleteEmailIdentity", identity, map[string]any{}, false},
		{"ses:ListEmailIdentities", "*", map[string]any{}, false},
	}
	for senders, more := range map[string][]request{
		`["it@corp.example"]`: {
			send(true, identity, "floor3@copier.corp.example", "true", "boss@corp.example"),
			send(false, identity, "mfp-3@copier.corp.example", "true", "boss@corp.example"),
		},
		`["mfp-?-*@copier.corp.example", "it@corp.example"]`: { // ? is a letter of the address, not a wildcard
			send(true, identity, "mfp-?-3@copier.corp.example", "true", "boss@corp.example"),
			send(false, identity, "mfp-x-3@copier.corp.example", "true", "boss@corp.example"),
		},
	} {
		folder := t.TempDir()
		env.WriteFile(t, filepath.Join(folder, "m.yaml"), strings.Replace(scanningBySES, "SENDERS", senders, 1))
		var advice struct{ Document string }
		out := env.MustRun(t, "", binary, "least-privilege", "ses", "-f", folder, "-o", "json")
		if err := json.Unmarshal([]byte(out), &advice); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		requests := append(more, always...)
		input, err := json.Marshal(map[string]any{"policy": json.RawMessage(strings.ReplaceAll(advice.Document, "ACCOUNT_ID", "123456789012")), "requests": requests})
		if err != nil {
			t.Fatal(err)
		}
		var verdicts []string
		out = env.MustRun(t, string(input), "node", filepath.Join(dir, "evaluate.js"))
		if err := json.Unmarshal([]byte(out), &verdicts); err != nil || len(verdicts) != len(requests) {
			t.Fatalf("%v\n%s", err, out)
		}
		for i, r := range requests {
			want := "ImplicitlyDenied"
			if r.want {
				want = "Allowed"
			}
			if verdicts[i] != want {
				t.Errorf("senders %s: %s on %s %v: %s, want %s", senders, r.Action, r.Resource, r.Context, verdicts[i], want)
			}
		}
	}
}
