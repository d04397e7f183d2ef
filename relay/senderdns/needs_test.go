package senderdns

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
)

const domain = "copier.corp.example"

func sender() *plan.Sender { return &plan.Sender{Domain: domain, LocalPart: "scans"} }

func smtp(host string) *plan.SMTP { return &plan.SMTP{Host: host, Port: 587} }

func egress(all ...string) *plan.DNS {
	d := &plan.DNS{}
	for _, s := range all {
		d.Egress = append(d.Egress, netip.MustParsePrefix(s))
	}
	return d
}

func vendor(records ...string) *plan.DNS {
	d := &plan.DNS{}
	for _, r := range records {
		w := strings.SplitN(r, " ", 3)
		d.Records = append(d.Records, plan.DNSRecord{Name: w[0], Type: w[1], Value: w[2]})
	}
	return d
}

// line is a need in one line; a hint begins with "?".
func line(n Need) string {
	value := n.Value
	if value == "" {
		value = "? " + n.Hint
		if len(n.targets) > 0 {
			value = "..." + n.targets[0]
		}
	}
	return n.Purpose + ": " + n.Name + " " + n.Type + " " + value
}

const (
	mxHint    = "bounces: copier.corp.example MX ? publish the MX of a server that takes its bounces, or name it in spec.dns.vendorRecords: many receivers refuse mail from a domain that cannot be answered"
	dmarcNone = "DMARC: _dmarc.copier.corp.example TXT v=DMARC1; p=none"
	console   = " of the provider's console into spec.dns.vendorRecords"
	dkimAt    = "._domainkey.copier.corp.example "
)

func TestNeeds(t *testing.T) {
	microsoft := []string{
		mxHint,
		"DKIM: selector1" + dkimAt + "CNAME ...onmicrosoft.com", "DKIM: selector2" + dkimAt + "CNAME ...onmicrosoft.com", dmarcNone,
	}
	token := func(host string) *plan.SMTP {
		return &plan.SMTP{Host: "smtp.office365.com", Auth: &plan.SMTPAuth{User: "scans@copier.corp.example", OAuth: &plan.OAuth{TokenURL: "https://" + host + "/t/oauth2/v2.0/token"}}}
	}
	signed := &plan.DKIM{Domain: domain, Selector: "Scans1", Secret: "dkim"}
	tests := map[string]struct {
		up   plan.Upstream
		keys []Key
		want []string
		note string // words of one
	}{
		"SES": {
			up:   plan.Upstream{Type: "SES", SES: &plan.SES{Region: "eu-central-1"}},
			want: []string{"DKIM: SELECTOR" + dkimAt + "CNAME ? put the CNAMEs of Easy DKIM" + console, dmarcNone},
			note: "SES puts a domain of its own into the envelope",
		},
		"SES, custom MAIL FROM": {
			up: plan.Upstream{Type: "SES", SES: &plan.SES{}, DNS: vendor("bounce.copier.corp.example MX 10 feedback-smtp.eu-central-1.amazonses.com", "abc._domainkey CNAME ABC.dkim.amazonses.com.")},
			want: []string{
				"SPF: bounce.copier.corp.example TXT v=spf1 include:amazonses.com ~all",
				"bounces: bounce.copier.corp.example MX 10 feedback-smtp.eu-central-1.amazonses.com",
				"DKIM: abc" + dkimAt + "CNAME abc.dkim.amazonses.com", dmarcNone,
			},
		},
		"SES, signed here": {
			up: plan.Upstream{Type: "SES", SES: &plan.SES{}, DKIM: signed}, keys: []Key{{"scans1._domainkey." + domain, "v=DKIM1; k=rsa; p=AA"}, {"other._domainkey." + domain, "v=DKIM1; p=BB"}},
			want: []string{"DKIM: scans1" + dkimAt + "TXT v=DKIM1; k=rsa; p=AA", dmarcNone},
		},
		"SES by SMTP": {
			up:   plan.Upstream{Type: "SMTP", SMTP: smtp("email-smtp.eu-central-1.amazonaws.com")},
			want: []string{"DKIM: SELECTOR" + dkimAt + "CNAME ? put the CNAMEs of Easy DKIM" + console, dmarcNone},
		},
		"SendGrid": {
			up:   plan.Upstream{Type: "SendGrid", SMTP: smtp("smtp.sendgrid.net")},
			want: []string{"DKIM: s1" + dkimAt + "CNAME ...sendgrid.net", "DKIM: s2" + dkimAt + "CNAME ...sendgrid.net", dmarcNone},
			note: "em1234",
		},
		"SendGrid, told": {
			up: plan.Upstream{Type: "SendGrid", SendGrid: &plan.SendGrid{}, DNS: vendor("em1.copier.corp.example CNAME u1.wl.sendgrid.net", "s1._domainkey.copier.corp.example CNAME s1.domainkey.u1.wl.sendgrid.net")},
			want: []string{
				"DKIM: s1" + dkimAt + "CNAME s1.domainkey.u1.wl.sendgrid.net", dmarcNone,
				"provider: em1.copier.corp.example CNAME u1.wl.sendgrid.net",
			},
		},
		"Mailgun": {
			up: plan.Upstream{Type: "Mailgun", Mailgun: &plan.Mailgun{Endpoint: "https://api.eu.mailgun.net", Domain: domain}, DNS: &plan.DNS{ReturnPath: domain}},
			want: []string{
				"SPF: copier.corp.example TXT v=spf1 include:mailgun.org ~all",
				mxHint + "; Mailgun's are 10 mxa.eu.mailgun.org and 10 mxb.eu.mailgun.org",
				"DKIM: SELECTOR" + dkimAt + "TXT ? put the DKIM record" + console, dmarcNone,
			},
		},
		"Postmark": {
			up: plan.Upstream{Type: "Postmark", Postmark: &plan.Postmark{}},
			want: []string{
				"bounces: pm-bounces.copier.corp.example CNAME pm.mtasv.net",
				"DKIM: SELECTOR" + dkimAt + "TXT ? put the DKIM record" + console, dmarcNone,
			},
			note: "needs no SPF record",
		},
		"Postmark, told": {
			up: plan.Upstream{Type: "Postmark", SMTP: smtp("smtp.postmarkapp.com"), DNS: vendor("rp CNAME pm.mtasv.net", "2026pm._domainkey TXT k=rsa; p=AA")},
			want: []string{
				"bounces: rp.copier.corp.example CNAME pm.mtasv.net",
				"DKIM: 2026pm" + dkimAt + "TXT k=rsa; p=AA", dmarcNone,
			},
		},
		"Microsoft 365": {
			up:   plan.Upstream{Type: "Microsoft365", SMTP: token("login.microsoftonline.com")},
			want: append([]string{"SPF: copier.corp.example TXT v=spf1 include:spf.protection.outlook.com ~all"}, microsoft...),
		},
		"Microsoft 365, US": {
			up:   plan.Upstream{Type: "Microsoft365", SMTP: token("login.microsoftonline.us")},
			want: append([]string{"SPF: copier.corp.example TXT v=spf1 include:spf.protection.office365.us ~all"}, microsoft...),
		},
		"Microsoft 365, Graph, China": {
			up:   plan.Upstream{Type: "Microsoft365", Graph: &plan.Graph{OAuth: plan.OAuth{TokenURL: "https://login.chinacloudapi.cn/t/oauth2/v2.0/token"}}},
			want: append([]string{"SPF: copier.corp.example TXT v=spf1 include:spf.protection.partner.outlook.cn ~all"}, microsoft...),
		},
		"High Volume Email": {
			up:   plan.Upstream{Type: "SMTP", SMTP: smtp("smtp-hve.office365.com")},
			want: []string{"SPF: copier.corp.example TXT v=spf1 include:spf.protection.outlook.com ~all", mxHint, dmarcNone},
			note: "High Volume Email",
		},
		"Azure": {
			up: plan.Upstream{Type: "SMTP", SMTP: smtp("smtp.azurecomm.net")},
			want: []string{
				"SPF: copier.corp.example TXT v=spf1 include:spf.protection.outlook.com ~all", mxHint,
				"DKIM: selector1-azurecomm-prod-net" + dkimAt + "CNAME selector1-azurecomm-prod-net._domainkey.azurecomm.net",
				"DKIM: selector2-azurecomm-prod-net" + dkimAt + "CNAME selector2-azurecomm-prod-net._domainkey.azurecomm.net", dmarcNone,
			},
		},
		"Google": {
			up: plan.Upstream{Type: "SMTP", SMTP: smtp("SMTP-Relay.Gmail.com")},
			want: []string{
				"SPF: copier.corp.example TXT v=spf1 include:_spf.google.com ~all", mxHint,
				"DKIM: google" + dkimAt + "TXT ? make the key in the Admin console (Gmail, Authenticate email); with another selector than google, put the record into spec.dns.vendorRecords", dmarcNone,
			},
		},
		"MX": {
			up: plan.Upstream{Type: "MX", MX: &plan.MX{}, DKIM: signed, DNS: egress("192.0.2.25/32", "2001:db8::/48")},
			want: []string{
				"SPF: copier.corp.example TXT v=spf1 ip4:192.0.2.25 ip6:2001:db8::/48 ~all", mxHint,
				`DKIM: scans1` + dkimAt + `TXT ? the key is in Secret "dkim" of spec.dkim.secretRef: a relay that uses the upstream tells its public part, and so does printer-relay dns --secrets`, dmarcNone,
			},
		},
		"MX, nobody knows from where": {
			up: plan.Upstream{Type: "MX", MX: &plan.MX{}, DNS: vendor("copier.corp.example MX 10 mx.corp.example")},
			want: []string{
				"SPF: copier.corp.example TXT ? fill in spec.dns.egressAddresses: the addresses that mail leaves the cluster from, as the Internet sees them",
				"bounces: copier.corp.example MX 10 mx.corp.example", dmarcNone,
			},
			note: "set spec.dkim",
		},
		"a connector": {
			up: plan.Upstream{Type: "SMTP", SMTP: smtp("corp-example.mail.protection.outlook.com"), DNS: egress("192.0.2.25/32")},
			want: []string{
				"SPF: copier.corp.example TXT v=spf1 include:spf.protection.outlook.com ip4:192.0.2.25 ~all", mxHint, dmarcNone,
			},
		},
		"a connector, nobody knows from where": {
			up: plan.Upstream{Type: "SMTP", SMTP: smtp("corp-example.mail.protection.outlook.com")},
			want: []string{
				"SPF: copier.corp.example TXT ? fill in spec.dns.egressAddresses: the addresses that mail leaves the cluster from, as the Internet sees them", mxHint, dmarcNone,
			},
		},
		"any server": {
			up: plan.Upstream{Type: "SMTP", SMTP: smtp("mail.provider.example")},
			want: []string{
				"SPF: copier.corp.example TXT ? fill in spec.dns.egressAddresses with the addresses that mail.provider.example sends from, or put the SPF record that its provider asks for into spec.dns.vendorRecords", mxHint, dmarcNone,
			},
			note: "whether mail.provider.example signs is not known",
		},
		"any server, told": {
			up: plan.Upstream{Type: "SMTP", SMTP: smtp("mail.provider.example"), DNS: vendor("@ TXT v=spf1 a mx include:spf.provider.example -all", "_dmarc TXT v=DMARC1; p=reject", "x.copier.corp.example A 192.0.2.1", "copier TXT provider-verification=1")},
			want: []string{
				"SPF: copier.corp.example TXT v=spf1 a mx include:spf.provider.example ~all", mxHint,
				"DMARC: _dmarc.copier.corp.example TXT v=DMARC1; p=reject",
				"provider: copier.copier.corp.example TXT provider-verification=1", "provider: x.copier.corp.example A 192.0.2.1",
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.up.Sender = sender()
			n := Of(&tc.up, tc.keys)
			var got []string
			for _, x := range n.Records {
				got = append(got, line(x))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
			if tc.note != "" && !strings.Contains(strings.Join(n.Notes, "\n"), tc.note) {
				t.Errorf("no %q in the notes %q", tc.note, n.Notes)
			}
		})
	}
}

// Without a sender the domain is the provider's to tell, or nobody's.
func TestDomainWithoutASender(t *testing.T) {
	for name, tc := range map[string]struct {
		up           plan.Upstream
		domain, why  string
		needsNothing bool
	}{
		"Maildir": {up: plan.Upstream{Type: "Maildir", Maildir: &plan.Maildir{}}, why: "Maildir writes mail to a folder: it needs no record", needsNothing: true},
		"SMTP":    {up: plan.Upstream{Type: "SMTP", SMTP: smtp("a.example")}, why: "spec.sender.domain is not set: mail leaves as whoever the copier says, so no record can be named; set it"},
		"Mailgun": {up: plan.Upstream{Type: "Mailgun", SMTP: smtp("smtp.mailgun.org"), DNS: &plan.DNS{ReturnPath: "mg.corp.example"}}, domain: "mg.corp.example"},
		"Graph":   {up: plan.Upstream{Type: "Microsoft365", Graph: &plan.Graph{Mailbox: "scans@Corp.example"}}, domain: "corp.example"},
		"XOAUTH2": {up: plan.Upstream{Type: "Microsoft365", SMTP: &plan.SMTP{Auth: &plan.SMTPAuth{User: "scans@corp.example"}}}, domain: "corp.example"},
	} {
		t.Run(name, func(t *testing.T) {
			n := Of(&tc.up, nil)
			if n.Domain != tc.domain || n.Why != tc.why || n.NotSent != tc.needsNothing {
				t.Errorf("%+v", n)
			}
			if (len(n.Records) > 0) != (tc.domain != "") {
				t.Errorf("records %+v", n.Records)
			}
		})
	}
}

// Egress addresses of a provider that has its own are not passed over in silence.
func TestEgressOfAProvider(t *testing.T) {
	up := plan.Upstream{Type: "SendGrid", SendGrid: &plan.SendGrid{}, Sender: sender(), DNS: egress("192.0.2.1/32")}
	if n := Of(&up, nil); !slices.Contains(n.Notes, "spec.dns.egressAddresses is not used: SendGrid sends from its own addresses") {
		t.Errorf("%q", n.Notes)
	}
}
