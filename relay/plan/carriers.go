package plan

import (
	"cmp"
	"crypto/tls"
	"maps"
	"regexp"
	"slices"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// typeDefaults are what is known of an upstream type without asking it; its limits
// in the manifest replace them.
type typeDefaults struct {
	connections int
	perMinute   int   // messages; 0: no limit
	messageSize int64 // octets; 0: no known limit
}

// defaultsOf gives the limits of an upstream that its manifest leaves out, as the
// vendors document them.
func defaultsOf(u *v1alpha1.MailUpstream) typeDefaults {
	switch u.Spec.Type {
	case v1alpha1.UpstreamSES:
		return typeDefaults{connections: 10, messageSize: 40 << 20} // SES API v2: 40 MB after base64, that of attachments
	case v1alpha1.UpstreamSendGrid:
		return typeDefaults{connections: 10, messageSize: 30 << 20}
	case v1alpha1.UpstreamMailgun:
		return typeDefaults{connections: 10, messageSize: 25 << 20}
	case v1alpha1.UpstreamPostmark:
		return typeDefaults{connections: 10, messageSize: 10 << 20}
	case v1alpha1.UpstreamMicrosoft365: // of one mailbox
		return typeDefaults{connections: 3, perMinute: 30}
	}
	return typeDefaults{connections: 10}
}

// way compiles what carries the mail of u into out.
func (c *compiler) way(a at, u *v1alpha1.MailUpstream, out *Upstream) {
	out.Reserved = reserved[u.Spec.Type]
	switch s := &u.Spec; {
	case s.Type == v1alpha1.UpstreamSMTP && s.SMTP != nil:
		out.SMTP = c.smtp(a, s.SMTP)
	case s.Type == v1alpha1.UpstreamMaildir && s.Maildir != nil:
		out.Maildir = &Maildir{Path: s.Maildir.Path}
	case s.Type == v1alpha1.UpstreamMX && s.MX != nil:
		out.MX = c.mx(a, &u.Spec)
	case s.Type == v1alpha1.UpstreamSES && s.SES != nil:
		out.SES = c.ses(a, s.SES)
	case s.Type == v1alpha1.UpstreamSendGrid && s.SendGrid != nil:
		c.sendGrid(a, s.SendGrid, out)
	case s.Type == v1alpha1.UpstreamMailgun && s.Mailgun != nil:
		c.mailgun(a, s.Mailgun, out)
	case s.Type == v1alpha1.UpstreamPostmark && s.Postmark != nil:
		c.postmark(a, s.Postmark, out)
	case s.Type == v1alpha1.UpstreamMicrosoft365 && s.Microsoft365 != nil:
		c.microsoft365(a, s.Microsoft365, out)
		asMailbox(a, s)
	default: // the kind's own rules say so first
		a.errorf("spec.type", "%s has no block of its own: fill in what belongs to the type", u.Spec.Type)
	}
}

// sesTag is what SES takes as name and as value of a message tag (SES API v2,
// MessageTag).
var sesTag = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// mx warns of what receivers of direct delivery look at, and providers do for one.
func (c *compiler) mx(a at, spec *v1alpha1.MailUpstreamSpec) *MX {
	s := spec.MX
	if s.Security == v1alpha1.MXOpportunistic {
		a.warnf("spec.mx.security", "%s: scans may pass in clear, or to a server that only claims to be the recipient's", s.Security)
	}
	if spec.Sender == nil {
		a.warnf("spec.sender.domain", "is not set: scans leave under the devices' own domains, each of which needs an SPF record that names this relay's addresses")
	}
	out := &MX{Verified: s.Security != v1alpha1.MXOpportunistic, HeloName: cmp.Or(string(s.HeloName), c.out.Hostname)}
	for _, h := range s.Hosts {
		out.Hosts = append(out.Hosts, string(h))
	}
	return out
}

func (c *compiler) ses(a at, s *v1alpha1.SESUpstream) *SES {
	for _, name := range slices.Sorted(maps.Keys(s.Tags)) {
		if !sesTag.MatchString(name) || !sesTag.MatchString(s.Tags[name]) {
			a.errorf("spec.ses.tags", "%q: %q: SES takes letters, digits, _ and - only, 1 to 256 of them on each side", name, s.Tags[name])
		}
	}
	inClear(a, "spec.ses.endpoint", scansInClear, s.Endpoint)
	return &SES{
		Region: s.Region, Endpoint: string(s.Endpoint), ConfigurationSet: s.ConfigurationSet, FromIdentityARN: s.FromIdentityARN,
		RoleARN: s.RoleARN, Tags: s.Tags, Secret: c.secret(s.Credentials.SecretRef),
	}
}

var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func (c *compiler) smtp(a at, s *v1alpha1.SMTPUpstream) *SMTP {
	out := &SMTP{
		Host: s.Host, Port: int(cmp.Or(s.Port, 587)),
		TLS:        TLSMode(cmp.Or(string(s.TLS.Mode), string(TLSStartTLS))),
		ServerName: s.TLS.ServerName,
		CASecret:   c.secret(s.TLS.CASecretRef),
		CertSecret: c.secret(s.TLS.ClientCertificateRef),
		MinimumTLS: tlsVersions[s.TLS.MinimumVersion],
		HeloName:   c.out.Hostname,
	}
	if out.TLS == TLSNone || out.TLS == TLSOpportunistic {
		a.warnf("spec.smtp.tls.mode", "%s: scans may pass in clear", out.TLS)
	}
	auth := s.Authentication
	if auth == nil {
		return out
	}
	out.Auth = &SMTPAuth{Secret: c.secret(&auth.SecretRef), Mechanism: saslNames[string(auth.Mechanism)]}
	if o := auth.OAuth2; o != nil {
		inClear(a, "spec.smtp.authentication.oauth2.tokenURL", "the credential travels", o.TokenURL)
		out.Auth.OAuth = &OAuth{
			TokenURL: string(o.TokenURL), ClientID: o.ClientID, Scopes: o.Scopes, Secret: out.Auth.Secret, CASecret: c.secret(o.CASecretRef), Entra: CloudOf(string(o.TokenURL)) != nil,
		}
	}
	return out
}

// saslNames are the mechanisms as SASL writes them.
var saslNames = map[string]string{
	"Plain": "PLAIN", "Login": "LOGIN", "CRAMMD5": "CRAM-MD5", "XOAuth2": "XOAUTH2", "OAuthBearer": "OAUTHBEARER",
}
