package senderdns

import (
	"net/url"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// way is what is known of a way out, by its vendor's public documentation
// (docs/dns.md names it).
type way struct {
	name        string
	inEnvelope  bool     // the sender domain is in the envelope, so SPF is asked of it
	spf         []string // mechanisms that stand for its servers
	egress      bool     // it sends, or hands on, from spec.dns.egressAddresses
	egressFirst bool     // ... and spf alone does not do
	dkim        []Need   // its keys; Name is the selector alone
	noDKIM      string   // what to say where it signs nothing
	hint        string   // where spf is not known: which field to fill in
	mxHint      string   // where bounces can go
	note        string   // of a way that has an envelope of its own
}

// postmarkBounces is what a return-path domain at Postmark points to.
const postmarkBounces = "pm.mtasv.net"

// inConsole ends the hint of a record that only the provider's console shows.
const inConsole = " of the provider's console into spec.dns.vendorRecords"

// isSESFeedback tells whether an MX is that of a custom MAIL FROM domain of SES.
func isSESFeedback(value string) bool {
	words := strings.Fields(value)
	return len(words) > 0 && strings.HasPrefix(bare(words[len(words)-1]), "feedback-smtp.") && strings.Contains(value, ".amazonses.com")
}

// wayOf tells which way an upstream goes. A provider that is spoken to by
// SMTP is known by the name of its server.
func wayOf(u *plan.Upstream) way {
	switch u.Type {
	case "SES":
		return ses()
	case "SendGrid":
		return sendGrid()
	case "Mailgun":
		return mailgun(u.Mailgun != nil && strings.Contains(u.Mailgun.Endpoint, "//api.eu.") || u.SMTP != nil && strings.Contains(u.SMTP.Host, ".eu."))
	case "Postmark":
		return postmark()
	case "Microsoft365":
		return microsoft(cloudOf(u))
	case "MX":
		return way{
			name: "MX", inEnvelope: true, egress: true, egressFirst: true,
			hint:   "fill in spec.dns.egressAddresses: the addresses that mail leaves the cluster from, as the Internet sees them",
			noDKIM: "nothing signs what leaves here, so that DMARC stands on SPF alone, which forwarding breaks: set spec.dkim",
		}
	}
	if u.SMTP == nil {
		return way{name: u.Type}
	}
	return ofHost(strings.ToLower(strings.TrimSuffix(u.SMTP.Host, ".")))
}

func ofHost(host string) way {
	switch {
	case strings.HasPrefix(host, "email-smtp") && within(host, "amazonaws.com"):
		return ses()
	case within(host, "sendgrid.net"):
		return sendGrid()
	case within(host, "mailgun.org"):
		return mailgun(strings.Contains(host, ".eu."))
	case within(host, "postmarkapp.com"):
		return postmark()
	case host == "smtp-hve.office365.com":
		w := microsoft(host)
		w.dkim, w.noDKIM = nil, "High Volume Email goes to the tenant's own mailboxes: no DKIM record is asked for"
		return w
	case strings.Contains(host, ".mail.protection."): // a connector: mail goes on from Exchange Online
		return way{
			name: host, inEnvelope: true, spf: microsoft(host).spf, egress: true, egressFirst: true,
			hint:   "fill in spec.dns.egressAddresses: the addresses that mail leaves the cluster from, as the Internet sees them",
			noDKIM: "Exchange Online signs what its connector takes from an accepted domain only: set spec.dkim",
		}
	case host == "smtp.office365.com", within(host, "office365.us"), within(host, "partner.outlook.cn"):
		return microsoft(host)
	case host == "smtp.azurecomm.net":
		return azure()
	case host == "smtp-relay.gmail.com", host == "smtp.gmail.com":
		return google()
	case within(host, "smtp2go.com"):
		return smtp2go()
	}
	return way{
		name: host, inEnvelope: true, egress: true, egressFirst: true,
		hint:   "fill in spec.dns.egressAddresses with the addresses that " + host + " sends from, or put the SPF record that its provider asks for into spec.dns.vendorRecords",
		noDKIM: "whether " + host + " signs is not known: set spec.dkim, or put its DKIM records into spec.dns.vendorRecords",
	}
}

func ses() way {
	return way{
		name: "SES",
		note: "SES puts a domain of its own into the envelope, which passes SPF and agrees with nobody's DMARC: DKIM has to. For a custom MAIL FROM domain put its MX (10 feedback-smtp.REGION.amazonses.com) into spec.dns.vendorRecords",
		dkim: []Need{{Name: selectorUnknown, Type: "CNAME", Hint: "put the CNAMEs of Easy DKIM" + inConsole}},
	}
}

func sendGrid() way {
	hint := "put the CNAMEs of Domain Authentication" + inConsole
	return way{
		name: "SendGrid",
		note: "SendGrid puts a name below the domain into the envelope (em1234, a CNAME of Domain Authentication): put it into spec.dns.vendorRecords to have it checked",
		dkim: []Need{
			{Name: "s1", Type: "CNAME", Hint: hint, targets: []string{"sendgrid.net"}},
			{Name: "s2", Type: "CNAME", Hint: hint, targets: []string{"sendgrid.net"}},
		},
	}
}

func mailgun(eu bool) way {
	w := way{
		name: "Mailgun", inEnvelope: true, spf: []string{"include:mailgun.org"}, mxHint: "; Mailgun's are 10 mxa.mailgun.org and 10 mxb.mailgun.org",
		dkim: []Need{{Name: selectorUnknown, Type: "TXT", Hint: "put the DKIM record" + inConsole}},
	}
	if eu {
		w.mxHint = "; Mailgun's are 10 mxa.eu.mailgun.org and 10 mxb.eu.mailgun.org"
	}
	return w
}

func postmark() way {
	return way{
		name: "Postmark",
		note: "Postmark needs no SPF record at the domain: its return path is a CNAME below it",
		dkim: []Need{{Name: selectorUnknown, Type: "TXT", Hint: "put the DKIM record" + inConsole}},
	}
}

// microsoft is Exchange Online in the cloud that a host name belongs to.
func microsoft(host string) way {
	include := "include:spf.protection.outlook.com"
	switch {
	case strings.HasSuffix(host, ".us"):
		include = "include:spf.protection.office365.us"
	case strings.HasSuffix(host, ".cn"):
		include = "include:spf.protection.partner.outlook.cn"
	}
	hint := "put the CNAMEs that the Defender portal shows for DKIM into spec.dns.vendorRecords, and turn signing on there"
	targets := []string{"onmicrosoft.com", "onmicrosoft.us", "partner.onmschina.cn", "dkim.mail.microsoft"}
	return way{
		name: "Microsoft 365", inEnvelope: true, spf: []string{include},
		dkim: []Need{
			{Name: "selector1", Type: "CNAME", Hint: hint, targets: targets},
			{Name: "selector2", Type: "CNAME", Hint: hint, targets: targets},
		},
	}
}

// cloudOf is the host that Microsoft's tokens come from.
func cloudOf(u *plan.Upstream) string {
	token := ""
	switch {
	case u.Graph != nil:
		token = u.Graph.OAuth.TokenURL
	case u.SMTP != nil && u.SMTP.Auth != nil && u.SMTP.Auth.OAuth != nil:
		token = u.SMTP.Auth.OAuth.TokenURL
	}
	at, err := url.Parse(token)
	if err != nil {
		return ""
	}
	return strings.ToLower(at.Hostname())
}

// azure is Azure Communication Services, whose keys have the same names for all.
func azure() way {
	w := way{name: "Azure Communication Services", inEnvelope: true, spf: []string{"include:spf.protection.outlook.com"}}
	for _, s := range []string{"selector1-azurecomm-prod-net", "selector2-azurecomm-prod-net"} {
		w.dkim = append(w.dkim, Need{Name: s, Type: "CNAME", Value: s + "._domainkey.azurecomm.net"})
	}
	return w
}

func google() way {
	return way{
		name: "Google Workspace", inEnvelope: true, spf: []string{"include:_spf.google.com"},
		dkim: []Need{{Name: "google", Type: "TXT", anyKey: true, Hint: "make the key in the Admin console (Gmail, Authenticate email); with another selector than google, put the record into spec.dns.vendorRecords"}},
	}
}

func smtp2go() way {
	return way{
		name: "SMTP2GO",
		note: "SMTP2GO puts a name below the domain into the envelope, a CNAME of the sender domain's: put it into spec.dns.vendorRecords to have it checked",
		dkim: []Need{{Name: selectorUnknown, Type: "CNAME", Hint: "put the CNAMEs of the sender domain" + inConsole}},
	}
}
