package plan_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

const smtpUpstream = "  type: SMTP\n  smtp: {host: mail.example}"

// provided compiles small with another upstream.
func provided(t *testing.T, upstream string) *plan.Upstream {
	t.Helper()
	p, found := compileYAML(t, strings.Replace(small, smtpUpstream, upstream, 1))
	if found.Failed() {
		t.Fatal(found)
	}
	return p.Upstreams["out"]
}

// The providers' SMTP services, with the login that each wants, and never in clear.
func TestProviderSMTP(t *testing.T) {
	for name, c := range map[string]struct {
		yaml   string
		want   plan.SMTP
		header []string
	}{
		"SendGrid": {
			"  type: SendGrid\n  sendGrid: {secretRef: {name: x}}",
			plan.SMTP{Host: "smtp.sendgrid.net", Port: 587, TLS: plan.TLSStartTLS, Auth: &plan.SMTPAuth{Secret: "x", User: "apikey", PasswordKey: "apiKey"}},
			[]string{"X-SMTPAPI"},
		},
		"SendGrid in the EU": {
			"  type: SendGrid\n  sendGrid: {endpoint: \"smtps://smtp.eu.sendgrid.net\", secretRef: {name: x}}",
			plan.SMTP{Host: "smtp.eu.sendgrid.net", Port: 465, TLS: plan.TLSImplicit, Auth: &plan.SMTPAuth{Secret: "x", User: "apikey", PasswordKey: "apiKey"}},
			[]string{"X-SMTPAPI"},
		},
		"Mailgun": {
			"  type: Mailgun\n  mailgun: {transport: SMTP, domain: mg.example, secretRef: {name: x}}",
			plan.SMTP{Host: "smtp.mailgun.org", Port: 587, TLS: plan.TLSStartTLS, Auth: &plan.SMTPAuth{Secret: "x"}},
			[]string{"X-Mailgun-Track"},
		},
		"Mailgun in the EU": {
			"  type: Mailgun\n  mailgun: {transport: SMTP, endpoint: \"smtp://smtp.eu.mailgun.org:2525\", domain: mg.example, requireTLS: true, secretRef: {name: x}}",
			plan.SMTP{Host: "smtp.eu.mailgun.org", Port: 2525, TLS: plan.TLSStartTLS, Auth: &plan.SMTPAuth{Secret: "x"}},
			[]string{"X-Mailgun-Track", "X-Mailgun-Require-TLS", "X-Mailgun-Skip-Verification"},
		},
		"Postmark": {
			"  type: Postmark\n  postmark: {messageStream: scans, secretRef: {name: x}}",
			plan.SMTP{Host: "smtp.postmarkapp.com", Port: 587, TLS: plan.TLSStartTLS, Auth: &plan.SMTPAuth{Secret: "x", UserKey: "apiKey", PasswordKey: "apiKey"}},
			[]string{"X-PM-Message-Stream"},
		},
		"Postmark at an IPv6 address": {
			"  type: Postmark\n  postmark: {endpoint: \"smtp://[fd00::25]/\", secretRef: {name: x}}",
			plan.SMTP{Host: "fd00::25", Port: 587, TLS: plan.TLSStartTLS, Auth: &plan.SMTPAuth{Secret: "x", UserKey: "apiKey", PasswordKey: "apiKey"}},
			nil,
		},
	} {
		u := provided(t, c.yaml)
		c.want.HeloName = "relay.example"
		if u.SMTP == nil || !reflect.DeepEqual(*u.SMTP, c.want) {
			t.Errorf("%s: %+v", name, u.SMTP)
		}
		var header []string
		for _, f := range u.Header {
			header = append(header, f.Name)
			if !slices.ContainsFunc(u.Reserved, func(r string) bool { return strings.HasPrefix(f.Name, r) }) {
				t.Errorf("%s: %s is put there, and a device could add its own", name, f.Name)
			}
		}
		if !slices.Equal(header, c.header) || u.Private {
			t.Errorf("%s: header %q, private %v", name, header, u.Private)
		}
	}
}

func TestMailgunAPI(t *testing.T) {
	got := provided(t, "  type: Mailgun\n  mailgun: {endpoint: \"https://api.eu.mailgun.net/\", domain: mg.bücher.example, requireTLS: true, secretRef: {name: x}}").Mailgun
	if want := (plan.Mailgun{Endpoint: "https://api.eu.mailgun.net", Domain: "mg.xn--bcher-kva.example", RequireTLS: true, Secret: "x"}); got == nil || *got != want {
		t.Errorf("%+v", got)
	}
}

// Where nobody has asked the kinds' rules, an endpoint that is no mail server is no
// plan all the same.
func TestEndpointIsNoMailServer(t *testing.T) {
	for _, endpoint := range []v1alpha1.ProviderEndpoint{"https://api.example", "smtp://", "smtp://mail.example:0", "smtp://mail.example:99999", "mail.example"} {
		in := plan.Input{
			Relay:     &v1alpha1.PrinterRelay{Spec: v1alpha1.PrinterRelaySpec{UpstreamRef: v1alpha1.LocalReference{Name: "out"}}},
			Upstreams: map[string]*v1alpha1.MailUpstream{"out": {Spec: v1alpha1.MailUpstreamSpec{Type: v1alpha1.UpstreamPostmark, Postmark: &v1alpha1.PostmarkUpstream{Endpoint: endpoint}}}},
		}
		_, found := plan.Compile(in)
		if !slices.ContainsFunc(found, func(d plan.Diagnostic) bool { return strings.Contains(d.Error(), "spec.postmark.endpoint: ") }) {
			t.Errorf("%q: %v", endpoint, found)
		}
	}
}

// By a provider's server a device gives no orders either where the upstream is of
// type SMTP; any other server gets the message as it is.
func TestOrdersByHost(t *testing.T) {
	for host, want := range map[string]string{
		"smtp.sendgrid.net": "X-SMTPAPI", "SMTP.EU.Mailgun.org": "X-Mailgun-", "smtp-broadcasts.postmarkapp.com": "X-PM-",
		"email-smtp.eu-central-1.amazonaws.com": "X-SES-", "smtp.mandrillapp.com": "X-MC-", "smtp.eu.sparkpostmail.com": "X-MSYS-API",
		"relay.platform.svc": "", "smtp.notsendgrid.net": "",
	} {
		p, found := compileYAML(t, strings.Replace(small, "host: mail.example", "host: "+host, 1))
		if got := strings.Join(p.Upstreams["out"].Reserved, " "); got != want || found.Failed() {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
}
