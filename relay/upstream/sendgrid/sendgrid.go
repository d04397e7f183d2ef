// Package sendgrid hands messages to SendGrid by its API: POST /v3/mail/send,
// translated to JSON (docs/upstreams/sendgrid.md). The answer speaks of the whole
// request; addresses that it refuses are named in it.
//
// It may import relay/upstream, upstream/translated, upstream/httpapi,
// relay/message/translate and relay/reply.
package sendgrid

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

// Rules are what SendGrid's API carries.
var Rules = translate.Rules{
	Service: "SendGrid",
	Request: 30 << 20,
	Fields: []translate.Rule{
		{Name: "X-SMTPAPI", Fate: translate.Dropped, Why: "orders for SendGrid, which no device gives"},
		{Name: "X-SG-*", Fate: translate.Dropped, Why: "SendGrid's own"},
	},
}

// recipients of one request, which are as many personalizations at most.
const recipients = 1000

// New makes a transport; the error says what is wrong with the endpoint.
func New(c translated.Config) (*translated.Transport, error) {
	return translated.New(c, &translated.Service{
		Rules: &Rules, Instead: "use sendGrid.transport SMTP, which carries it as it is",
		Path: "/v3/mail/send", Batch: recipients, Hidden: recipients,
		Header:   func(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} },
		Document: document, Result: result, Check: check,
	})
}

type address struct {
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
}

// personalization is one mail of a request: who receives it, and what of that is
// shown.
type personalization struct {
	To  []address `json:"to"`
	Cc  []address `json:"cc,omitempty"`
	Bcc []address `json:"bcc,omitempty"`
}

func addresses(boxes []translate.Mailbox) []address {
	out := make([]address, len(boxes))
	for i, b := range boxes {
		out[i] = address{b.Address, b.Name}
	}
	return out
}

// personalizations are the mails of a request. SendGrid wants a To: where none is
// left, those of Cc are shown there. Where the header names nobody each recipient
// has a mail of their own, so that nobody sees another.
func personalizations(r translated.Recipients) []personalization {
	if len(r.To) == 0 {
		r.To, r.Cc = r.Cc, nil
	}
	if len(r.To) > 0 {
		return []personalization{{addresses(r.To), addresses(r.Cc), addresses(r.Bcc)}}
	}
	out := make([]personalization, len(r.Bcc))
	for i, b := range r.Bcc {
		out[i].To = []address{{b.Address, b.Name}}
	}
	return out
}

// What SendGrid wants something in.
const (
	noSubject = "(no subject)"
	noText    = " "
)

// settings keep SendGrid from changing the text: no links of its own, no picture
// that tells who has read it, no footer.
const settings = `,"tracking_settings":{"click_tracking":{"enable":false,"enable_text":false},"open_tracking":{"enable":false},` +
	`"subscription_tracking":{"enable":false},"ganalytics":{"enable":false}},"mail_settings":{"footer":{"enable":false},"sandbox_mode":{"enable":false}}}`

func document(m *translate.Message, to translated.Recipients) *translate.Document {
	d := m.Document()
	d.Put(`{"personalizations":`)
	d.Value(personalizations(to))
	d.Put(`,"from":`)
	d.Value(address{m.From.Address, m.From.Name})
	if len(m.ReplyTo) > 0 {
		d.Put(`,"reply_to_list":`)
		d.Value(addresses(m.ReplyTo))
	}
	subject := m.Subject
	if subject == "" {
		subject = noSubject
	}
	d.Put(`,"subject":`)
	d.Value(subject)
	if len(m.Fields) > 0 {
		fields := make(map[string]string, len(m.Fields))
		for _, f := range m.Fields {
			fields[f.Name] = f.Value
		}
		d.Put(`,"headers":`)
		d.Value(fields)
	}
	content(d, m)
	for i, p := range m.Attachments {
		if d.Put(`,`); i == 0 {
			d.Put(`"attachments":[`)
		}
		attachment(d, p)
	}
	if len(m.Attachments) > 0 {
		d.Put(`]`)
	}
	d.Put(settings)
	return d
}

// content puts the texts, the plain one first. SendGrid wants one that is not
// empty.
func content(d *translate.Document, m *translate.Message) {
	d.Put(`,"content":[`)
	html := m.HTML != nil && m.HTML.Size > 0
	switch {
	case m.Text != nil && m.Text.Size > 0:
		d.Put(`{"type":"text/plain","value":`)
		d.Part(m.Text)
		d.Put(`}`)
		if html {
			d.Put(`,`)
		}
	case !html:
		d.Put(`{"type":"text/plain","value":`)
		d.Value(noText)
		d.Put(`}`)
	}
	if html {
		d.Put(`{"type":"text/html","value":`)
		d.Part(m.HTML)
		d.Put(`}`)
	}
	d.Put(`]`)
}

func attachment(d *translate.Document, p *translate.Part) {
	d.Put(`{"filename":`)
	d.Value(p.Name)
	d.Put(`,"type":`)
	d.Value(p.Type)
	disposition := "attachment"
	if p.Inline {
		disposition = "inline"
	}
	d.Put(`,"disposition":"` + disposition + `"`)
	if p.ContentID != "" {
		d.Put(`,"content_id":`)
		d.Value(p.ContentID)
	}
	d.Put(`,"content":`)
	d.Part(p)
	d.Put(`}`)
}

// refusal is the body of an answer that is no success.
type refusal struct {
	Errors []struct {
		Message string `json:"message"`
		Field   string `json:"field"`
	} `json:"errors"`
}

// text is the refusal in one line.
func (r refusal) text() string {
	var all []string
	for _, e := range r.Errors {
		s := e.Message
		if e.Field != "" && e.Field != "null" {
			s += " (" + e.Field + ")"
		}
		all = append(all, s)
	}
	return strings.Join(all, "; ")
}

func result(r *httpapi.Response, to translated.Recipients) translated.Result {
	if r.Status == http.StatusAccepted {
		id := r.Header.Get("X-Message-Id")
		return translated.Result{All: upstream.Outcome{
			Kind: upstream.Accepted, Code: r.Status, Remote: r.Remote, RemoteID: id, Text: strings.TrimSpace("accepted by SendGrid " + id),
		}}
	}
	var said refusal
	json.Unmarshal(r.Body, &said) //nolint:errcheck // a proxy's answer is none of SendGrid's: its status counts
	o := httpapi.Refusal(r, said.text())
	switch r.Status {
	case http.StatusBadRequest:
		if some := refusedAddresses(said, to, o); len(some) > 0 {
			return translated.Result{All: o, Some: some, Again: true}
		}
	case http.StatusForbidden:
		return translated.Result{All: o, Sender: len(said.Errors) == 1 && said.Errors[0].Field == "from"}
	case http.StatusUnauthorized:
		if strings.Contains(strings.ToLower(o.Text), "credits exceeded") { // it is the quota, not the key
			o.Kind = upstream.Deferred
		}
	case http.StatusTooManyRequests:
		if o.RetryIn == 0 {
			o.RetryIn = resetIn(r.Header.Get("X-RateLimit-Reset"), time.Now())
		}
	}
	return translated.Result{All: o}
}

// resetIn reads X-RateLimit-Reset, the second since 1970 at which the limit is
// lifted; 0: it is not there, or makes no sense.
func resetIn(v string, now time.Time) time.Duration {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0
	}
	return min(max(time.Unix(n, 0).Sub(now), 0), 24*time.Hour)
}

var recipientField = regexp.MustCompile(`^personalizations\.(\d+)\.(to|cc|bcc)\.(\d+)(\.email)?$`)

// refusedAddresses are the recipients that a refusal is about, where it is about
// nothing else: each error names the field of one. SendGrid has taken the message
// for nobody then.
func refusedAddresses(said refusal, to translated.Recipients, o upstream.Outcome) map[string]upstream.Outcome {
	some := map[string]upstream.Outcome{}
	sent := personalizations(to)
	for _, e := range said.Errors {
		m := recipientField.FindStringSubmatch(e.Field)
		if m == nil {
			return nil
		}
		i, _ := strconv.Atoi(m[1]) //nolint:errcheck // digits; too many are no index either
		j, _ := strconv.Atoi(m[3]) //nolint:errcheck // the same
		if i >= len(sent) {
			return nil
		}
		list := map[string][]address{"to": sent[i].To, "cc": sent[i].Cc, "bcc": sent[i].Bcc}[m[2]]
		if j >= len(list) {
			return nil
		}
		o.Scope, o.Text = upstream.ScopeRecipient, e.Message+" ("+list[j].Email+")"
		some[to.Key(list[j].Email)] = o
	}
	return some
}
