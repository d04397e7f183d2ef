package plan

import (
	"cmp"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// Where the providers take mail by SMTP, as they document it.
const (
	sendGridSMTP = "smtp://smtp.sendgrid.net"
	mailgunSMTP  = "smtp://smtp.mailgun.org"
	postmarkSMTP = "smtp://smtp.postmarkapp.com"
)

// reserved are the header fields in which providers take orders: who receives
// beside the envelope (SendGrid's "to"), by which stream and settings, or that a
// message is dropped (X-Mailgun-Drop-Message). A copier must not give them. A name
// that ends in a hyphen stands for all that begin so.
var reserved = map[v1alpha1.UpstreamType][]string{
	v1alpha1.UpstreamSES:      {"X-SES-"},
	v1alpha1.UpstreamSendGrid: {"X-SMTPAPI"},
	v1alpha1.UpstreamMailgun:  {"X-Mailgun-"},
	v1alpha1.UpstreamPostmark: {"X-PM-"},
}

// noTracking keeps SendGrid from rewriting links and adding a picture and a
// footer, whatever the account's settings are.
const noTracking = `{"filters":{"clicktrack":{"settings":{"enable":0}},"opentrack":{"settings":{"enable":0}},"subscriptiontrack":{"settings":{"enable":0}}}}`

// provider is the SMTP service of a provider, at the endpoint or, without one, at
// the provider's own.
func (c *compiler) provider(a at, field string, endpoint v1alpha1.ProviderEndpoint, own string, auth SMTPAuth) *SMTP {
	host, port, mode, ok := smtpURL(cmp.Or(string(endpoint), own))
	if !ok { // the kind's own rules say so first
		a.errorf(field, "%q is no mail server: write smtp://HOST:PORT (STARTTLS) or smtps://HOST:PORT (TLS from the start)", string(endpoint))
	}
	return &SMTP{Host: host, Port: port, TLS: mode, Auth: &auth, HeloName: c.out.Hostname}
}

// smtpURL reads smtp://HOST:PORT, which is STARTTLS on 587 where the port is left
// out, and smtps://HOST:PORT, TLS from the start on 465 (RFC 8314 3.3). No form of
// it goes in clear.
func smtpURL(s string) (host string, port int, mode TLSMode, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return "", 0, "", false
	}
	switch u.Scheme {
	case "smtp":
		port, mode = 587, TLSStartTLS
	case "smtps":
		port, mode = 465, TLSImplicit
	default:
		return "", 0, "", false
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", 0, "", false
		}
		port = int(n)
	}
	return u.Hostname(), port, mode, true
}

// Addr is where the server is: "smtp.example.com:587".
func (s *SMTP) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// inClear warns of an address that is spoken to without TLS: for a proxy or a stand-in
// nearby, since no public address is connected to so.
func inClear[T ~string](a at, field, what string, address T) {
	if strings.HasPrefix(string(address), "http://") {
		a.warnf(field, "%s: %s in clear, and to private addresses only: use https", address, what)
	}
}

const scansInClear = "scans and the credential travel"

func (c *compiler) sendGrid(a at, s *v1alpha1.SendGridUpstream, out *Upstream) {
	secret := c.secret(&s.SecretRef)
	inClear(a, "spec.sendGrid.endpoint", scansInClear, s.Endpoint)
	if s.Transport == v1alpha1.TransportAPI {
		out.SendGrid = &SendGrid{Endpoint: cmp.Or(string(s.Endpoint), "https://api.sendgrid.com"), Secret: secret}
		return
	}
	out.SMTP = c.provider(a, "spec.sendGrid.endpoint", s.Endpoint, sendGridSMTP, SMTPAuth{Secret: secret, User: "apikey", PasswordKey: "apiKey"})
	out.Header = []HeaderField{{"X-SMTPAPI", noTracking}}
}

func (c *compiler) mailgun(a at, s *v1alpha1.MailgunUpstream, out *Upstream) {
	secret := c.secret(&s.SecretRef)
	inClear(a, "spec.mailgun.endpoint", scansInClear, s.Endpoint)
	if s.Transport == v1alpha1.TransportSMTP {
		out.SMTP = c.provider(a, "spec.mailgun.endpoint", s.Endpoint, mailgunSMTP, SMTPAuth{Secret: secret})
		out.Header = []HeaderField{{"X-Mailgun-Track", "no"}}
		if s.RequireTLS {
			out.Header = append(out.Header, HeaderField{"X-Mailgun-Require-TLS", "true"}, HeaderField{"X-Mailgun-Skip-Verification", "false"})
		}
		return
	}
	out.Mailgun = &Mailgun{
		Endpoint: cmp.Or(strings.TrimRight(string(s.Endpoint), "/"), "https://api.mailgun.net"),
		Domain:   c.domain(a, "spec.mailgun.domain", string(s.Domain)), RequireTLS: s.RequireTLS, Secret: secret,
	}
}

func (c *compiler) postmark(a at, s *v1alpha1.PostmarkUpstream, out *Upstream) {
	secret := c.secret(&s.SecretRef)
	inClear(a, "spec.postmark.endpoint", scansInClear, s.Endpoint)
	if s.Transport == v1alpha1.TransportAPI {
		out.Postmark = &Postmark{Endpoint: cmp.Or(string(s.Endpoint), "https://api.postmarkapp.com"), Stream: s.MessageStream, Secret: secret}
		return
	}
	out.SMTP = c.provider(a, "spec.postmark.endpoint", s.Endpoint, postmarkSMTP, SMTPAuth{Secret: secret, UserKey: "apiKey", PasswordKey: "apiKey"})
	if s.MessageStream != "" {
		out.Header = []HeaderField{{"X-PM-Message-Stream", s.MessageStream}}
	}
}
