package privilege

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
)

func (a *Advice) sendGrid(u *plan.Upstream) {
	endpoint := "https://api.sendgrid.com"
	switch {
	case u.SendGrid != nil:
		endpoint = u.SendGrid.Endpoint
	case strings.Contains(u.SMTP.Host, ".eu."):
		endpoint = "https://api.eu.sendgrid.com"
	}
	a.What, a.Language = "SendGrid API key with the scope mail.send alone", "sh"
	a.Document = fmt.Sprintf("curl -X POST %s -H \"Authorization: Bearer $ADMIN_KEY\" -H 'Content-Type: application/json' -d %s\n",
		quote(endpoint+"/v3/api_keys"), quote(compactJSON("name", a.name(), "scopes", []string{"mail.send"})))
	a.note("the answer's api_key is what belongs in the Secret as apiKey; SendGrid shows it once")
	a.note("SendGrid cannot hold a key to senders or recipients; what holds it to %s is that no other domain or sender is authenticated there: a subuser of its own for the copiers does that", strings.Join(a.Need.Senders, ", "))
}

func (a *Advice) mailgun(u *plan.Upstream) {
	if u.Mailgun == nil {
		endpoint := "https://api.mailgun.net"
		if strings.Contains(u.SMTP.Host, ".eu.") {
			endpoint = "https://api.eu.mailgun.net"
		}
		a.What, a.Language = "Mailgun SMTP credential of the domain", "sh"
		a.Document = fmt.Sprintf("curl -X POST %s --user \"api:$ADMIN_KEY\" -F login=%s -F password=\"$PASSWORD\"\n", quote(endpoint+"/v3/domains/DOMAIN/credentials"), quote("printer-relay"))
		a.note("DOMAIN is mailgun.domain; username in the Secret is printer-relay@DOMAIN")
	} else {
		d := u.Mailgun.Domain
		a.What, a.Language = "Mailgun domain sending key", "sh"
		a.Document = fmt.Sprintf("curl -X POST %s --user \"api:$ADMIN_KEY\" -F role=sending -F kind=domain -F domain_name=%s -F description=%s\n", quote(u.Mailgun.Endpoint+"/v1/keys"), quote(d), quote(a.name()))
		a.note("the answer's key.secret is what belongs in the Secret as apiKey; Mailgun shows it once")
	}
	a.note("it can send by that domain, and nothing else. Mailgun cannot hold it to senders or recipients: a domain of its own for the copiers (%s) is what can be shut off", strings.Join(domains(a.Need.senders), ", "))
}

func (a *Advice) postmark(u *plan.Upstream) {
	stream := ""
	if u.Postmark != nil {
		stream = u.Postmark.Stream
	}
	for _, h := range u.Header {
		if h.Name == "X-PM-Message-Stream" {
			stream = h.Value
		}
	}
	a.What, a.Language = "Postmark server of its own, with one stream", "sh"
	a.Document = fmt.Sprintf("curl -X POST 'https://api.postmarkapp.com/servers' -H \"X-Postmark-Account-Token: $ACCOUNT_TOKEN\" -H 'Accept: application/json' -H 'Content-Type: application/json' -d %s\n",
		quote(compactJSON("Name", a.name(), "DeliveryType", "Live", "SmtpApiActivated", u.SMTP != nil, "TrackOpens", false, "TrackLinks", "None")))
	if stream != "" && stream != "outbound" {
		a.Document += fmt.Sprintf("curl -X POST 'https://api.postmarkapp.com/message-streams' -H \"X-Postmark-Server-Token: $SERVER_TOKEN\" -H 'Accept: application/json' -H 'Content-Type: application/json' -d %s\n",
			quote(compactJSON("ID", stream, "Name", stream, "MessageStreamType", "Transactional")))
	}
	a.note("the answer's ApiTokens has the server token, which belongs in the Secret as apiKey")
	a.note("a server token can also read that server's messages and settings: Postmark has no narrower one. With a server for the copiers alone it reaches nothing else")
	if u.SMTP != nil && stream != "" {
		a.note("narrower still by SMTP: an SMTP token of the stream, as username and password of an upstream of type SMTP at %s", u.SMTP.Host)
	}
}

func (a *Advice) maildir(u *plan.Upstream) {
	a.What, a.Language = "folder", "text"
	a.Document = fmt.Sprintf("The relay's user needs to write below %s, and nobody else needs to: mode 0700.\n", u.Maildir.Path)
}

// smtp is what to ask the server's administrator for.
func (a *Advice) smtp(u *plan.Upstream) {
	a.What, a.Language = "what to ask the administrator of "+u.SMTP.Addr()+" for", "text"
	var b strings.Builder
	login := "no login: by the relay's addresses alone"
	if u.SMTP.Auth != nil {
		login = "an account of its own, for this relay alone, not allowed to log in anywhere else (no mailbox, no IMAP)"
		if u.SMTP.Auth.OAuth != nil {
			login = "an OAuth client of its own, with the right to send and no other"
		}
	} else if u.SMTP.CertSecret != "" {
		login = "a client certificate of its own"
	}
	tls := "required"
	if u.SMTP.TLS == plan.TLSNone || u.SMTP.TLS == plan.TLSOpportunistic {
		tls = "offered; the upstream has " + string(u.SMTP.TLS) + ", so scans may pass in clear"
	}
	recipients := "any"
	if len(a.Need.Recipients) > 0 {
		recipients = strings.Join(a.Need.Recipients, ", ")
	}
	for _, line := range [][2]string{
		{"login", login},
		{"TLS", tls},
		{"from", "the relay's addresses only"},
		{"MAIL FROM, From", strings.Join(a.Need.Senders, ", ") + ", and <> for notifications"},
		{"RCPT TO", recipients},
	} {
		fmt.Fprintf(&b, "%-16s %s\n", line[0]+":", line[1])
	}
	if u.MessageSize > 0 {
		fmt.Fprintf(&b, "%-16s %d octets\n", "size:", u.MessageSize)
	}
	if u.PerMinute > 0 {
		fmt.Fprintf(&b, "%-16s %d messages a minute\n", "rate:", u.PerMinute*max(1, u.Sharers))
	}
	a.Document = b.String()
}

// compactJSON is an object of keys and values, in their order, in a line.
func compactJSON(pairs ...any) string {
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, one(pairs[i])+":"+one(pairs[i+1]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func one(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error() // no such value is made here
	}
	return strings.TrimSpace(b.String())
}
