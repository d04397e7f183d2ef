package plan

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Cloud is one of Microsoft's clouds: where its Exchange Online and its Graph are.
type Cloud struct {
	SMTPHost string
	Scope    string // of a token for SMTP
	Graph    string // URL
}

var (
	worldwide = &Cloud{"smtp.office365.com", "https://outlook.office365.com/.default", "https://graph.microsoft.com"}
	usGov     = &Cloud{"smtp.office365.us", "https://outlook.office365.us/.default", "https://graph.microsoft.us"}
	china     = &Cloud{"smtp.partner.outlook.cn", "https://partner.outlook.cn/.default", "https://microsoftgraph.chinacloudapi.cn"}
)

// clouds by the host of their Microsoft Entra ID, under its present names and those
// of before.
var clouds = map[string]*Cloud{
	"login.microsoftonline.com": worldwide, "login.windows.net": worldwide, "login.microsoft.com": worldwide, "sts.windows.net": worldwide,
	"login.microsoftonline.us": usGov, "login.usgovcloudapi.net": usGov,
	"login.partner.microsoftonline.cn": china, "login.chinacloudapi.cn": china,
}

// scopes of mail servers that are not the ones of their cloud: the US Department of
// Defense has its own beside the other authorities'.
var scopes = map[string]string{"outlook-dod.office365.us": "https://outlook-dod.office365.us/.default"}

// CloudOf gives the cloud of an authority, by any URL of it; nil: it is none of
// Microsoft's.
func CloudOf(authority string) *Cloud {
	u, err := url.Parse(authority)
	if err != nil {
		return nil
	}
	return clouds[strings.ToLower(u.Hostname())]
}

const defaultAuthority = "https://login.microsoftonline.com"

func (c *compiler) microsoft365(a at, s *v1alpha1.Microsoft365Upstream, out *Upstream) {
	authority := strings.TrimRight(cmp.Or(string(s.AuthorityHost), defaultAuthority), "/")
	cloud := cmp.Or(CloudOf(authority), worldwide)
	inClear(a, "spec.microsoft365.authorityHost", "the credential travels", s.AuthorityHost)
	inClear(a, "spec.microsoft365.endpoint", scansInClear, s.Endpoint)
	secret := c.secret(s.Credentials.SecretRef)
	oauth := OAuth{
		TokenURL: authority + "/" + url.PathEscape(s.TenantID) + "/oauth2/v2.0/token", ClientID: s.ClientID, Secret: secret,
		Entra: true, AuthorityOfPod: secret == "" && s.AuthorityHost == "",
	}
	if s.Transport == v1alpha1.Microsoft365Graph {
		endpoint := strings.TrimRight(cmp.Or(string(s.Endpoint), cloud.Graph), "/")
		oauth.Scopes = []string{endpoint + "/.default"}
		out.Graph = &Graph{Endpoint: endpoint, Mailbox: string(s.Mailbox), OAuth: oauth}
		return
	}
	out.SMTP = c.provider(a, "spec.microsoft365.endpoint", s.Endpoint, "smtp://"+cloud.SMTPHost, SMTPAuth{Mechanism: "XOAUTH2", User: string(s.Mailbox), OAuth: &oauth})
	oauth.Scopes = []string{cmp.Or(scopes[strings.ToLower(out.SMTP.Host)], cloud.Scope)}
}

// asMailbox warns where scans may leave as somebody else than the mailbox, which
// Exchange Online refuses, one by one (SendAsDenied).
func asMailbox(a at, spec *v1alpha1.MailUpstreamSpec) {
	mailbox, err := envelope.ParseAddress(string(spec.Microsoft365.Mailbox))
	if err != nil {
		return // the kind's own rules say so
	}
	s := spec.Sender
	if s != nil && s.Rewrite == v1alpha1.RewriteAlways && (envelope.Address{Local: cmp.Or(s.LocalPart, "scans"), Domain: string(s.Domain)}).Key() == mailbox.Key() {
		return
	}
	a.warnf("spec.sender", "scans may leave as somebody else than %s, which Exchange Online refuses unless the mailbox has Send As for it: set domain: %s, localPart: %s, rewrite: Always",
		mailbox, mailbox.Domain, mailbox.Local)
}

// WorkloadIdentity tells whether an upstream logs in by the identity of its Pod at
// Microsoft Entra ID.
func (p *Plan) WorkloadIdentity() bool {
	for _, u := range p.Upstreams {
		if u.Graph != nil && u.Graph.OAuth.Secret == "" {
			return true
		}
		if u.SMTP != nil && u.SMTP.Auth != nil && u.SMTP.Auth.OAuth != nil && u.SMTP.Auth.OAuth.Secret == "" {
			return true
		}
	}
	return false
}
