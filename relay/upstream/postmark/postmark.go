// Package postmark hands messages to Postmark by its API: POST /email, translated
// to JSON (docs/upstreams/postmark.md). Recipients that Postmark has marked as
// inactive are named in its answer.
//
// It may import relay/upstream, upstream/translated, upstream/httpapi,
// relay/message/translate and relay/reply.
package postmark

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

// Rules are what Postmark's API carries.
var Rules = translate.Rules{
	Service: "Postmark",
	Request: 10 << 20,
	Body:    5 << 20,
	Repeats: true,
	Fields: []translate.Rule{
		{Name: "X-PM-*", Fate: translate.Dropped, Why: "orders for Postmark, which no device gives"},
		{Name: "Message-ID", Fate: translate.Carried, Why: "kept by X-PM-KeepID"},
	},
}

// recipients of one message: To, Cc and Bcc together.
const recipients = 50

// New makes a transport that sends in a message stream; empty: the server's own.
// The error says what is wrong with the endpoint.
func New(c translated.Config, stream string) (*translated.Transport, error) {
	return translated.New(c, &translated.Service{
		Rules: &Rules, Instead: "use postmark.transport SMTP, which carries it as it is",
		Path: "/email", Batch: recipients, Hidden: 1,
		Header: func(key string) http.Header {
			return http.Header{"X-Postmark-Server-Token": {key}, "Accept": {"application/json"}}
		},
		Document: func(m *translate.Message, to translated.Recipients) *translate.Document {
			return document(m, to, stream)
		},
		Result: result, Check: check,
	})
}

// noText is sent where a message has no text: Postmark wants one, and one that
// is not blank.
const noText = "(no text)"

// document is the message. Postmark wants a To: where none is left, those of Cc
// are shown there; where the header names nobody, each recipient has a request of
// their own, so that nobody sees another.
func document(m *translate.Message, r translated.Recipients, stream string) *translate.Document {
	if len(r.To) == 0 {
		r.To, r.Cc = r.Cc, nil
	}
	if len(r.To) == 0 {
		r.To, r.Bcc = r.Bcc, nil
	}
	d := m.Document()
	field := func(name, value string) {
		if value != "" {
			d.Put(`,"` + name + `":`)
			d.Value(value)
		}
	}
	d.Put(`{"From":`)
	d.Value(list([]translate.Mailbox{m.From}))
	field("To", list(r.To))
	field("Cc", list(r.Cc))
	field("Bcc", list(r.Bcc))
	field("ReplyTo", list(m.ReplyTo))
	field("Subject", m.Subject)
	field("MessageStream", stream)
	texts(d, m)
	headers(d, m)
	for i, p := range m.Attachments {
		if d.Put(`,`); i == 0 {
			d.Put(`"Attachments":[`)
		}
		attachment(d, p)
	}
	if len(m.Attachments) > 0 {
		d.Put(`]`)
	}
	// Postmark does not change the text: no links of its own, no picture that tells
	// who has read it.
	d.Put(`,"TrackOpens":false,"TrackLinks":"None"}`)
	return d
}

func texts(d *translate.Document, m *translate.Message) {
	html := m.HTML != nil && !m.HTML.Blank
	switch {
	case m.Text != nil && !m.Text.Blank:
		d.Put(`,"TextBody":`)
		d.Part(m.Text)
	case !html:
		d.Put(`,"TextBody":`)
		d.Value(noText)
	}
	if html {
		d.Put(`,"HtmlBody":`)
		d.Part(m.HTML)
	}
}

type header struct {
	Name  string
	Value string
}

func headers(d *translate.Document, m *translate.Message) {
	var all []header
	for _, f := range m.Fields {
		all = append(all, header(f))
		if strings.EqualFold(f.Name, "Message-ID") {
			all = append(all, header{"X-PM-KeepID", "true"})
		}
	}
	if len(all) > 0 {
		d.Put(`,"Headers":`)
		d.Value(all)
	}
}

func attachment(d *translate.Document, p *translate.Part) {
	d.Put(`{"Name":`)
	d.Value(p.Name)
	d.Put(`,"ContentType":`)
	d.Value(p.Type)
	if p.Inline { // what has one is shown inline
		d.Put(`,"ContentID":`)
		d.Value("cid:" + p.ContentID)
	}
	d.Put(`,"Content":`)
	d.Part(p)
	d.Put(`}`)
}

// list writes mailboxes as in a header, with their names in UTF-8.
func list(boxes []translate.Mailbox) string {
	out := make([]string, len(boxes))
	for i, b := range boxes {
		if out[i] = b.Address; b.Name != "" {
			out[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(b.Name) + `" <` + b.Address + `>`
		}
	}
	return strings.Join(out, ",")
}

// answer is what Postmark says of a request.
type answer struct {
	ErrorCode int
	Message   string
	MessageID string
}

func result(r *httpapi.Response, to translated.Recipients) translated.Result {
	var said answer
	err := json.Unmarshal(r.Body, &said)
	if r.Status/100 == 2 && err == nil && said.ErrorCode == 0 && said.MessageID != "" {
		o := upstream.Outcome{
			Kind: upstream.Accepted, Code: r.Status, Remote: r.Remote, RemoteID: said.MessageID, Text: strings.TrimSpace("accepted by Postmark " + said.MessageID),
		}
		return translated.Result{All: o, Some: inactive(said, to, r)}
	}
	if r.Status/100 == 2 && (err != nil || said.ErrorCode == 0) { // it may have been taken
		return translated.Result{All: upstream.Outcome{
			Kind: upstream.Unknown, Scope: upstream.ScopeUpstream, Code: r.Status, Remote: r.Remote, Text: "the answer is none of Postmark's: correct the upstream's endpoint",
		}}
	}
	o := httpapi.Refusal(r, said.Message)
	if said.ErrorCode != 0 {
		o.Text = fmt.Sprintf("Postmark error %d: %s", said.ErrorCode, said.Message)
		if k, ok := codes[said.ErrorCode]; ok {
			o.Kind, o.Scope = k.kind, k.scope
		}
	}
	switch said.ErrorCode {
	case inactiveRecipient:
	case invalidRequest:
		some := badRecipient.MatchString(said.Message)
		if some {
			o.Scope = upstream.ScopeRecipient
		}
		return translated.Result{All: o, Again: some}
	case pending: // the recipients in its own domain may have it
		return translated.Result{All: o, Again: true}
	default:
		return translated.Result{All: o, Sender: said.ErrorCode == 400 || said.ErrorCode == 401}
	}
	// Nobody has received it: those who are inactive, or at least one of them.
	return translated.Result{All: o, Some: inactive(said, to, r), Again: true}
}

const (
	invalidRequest    = 300
	inactiveRecipient = 406
	pending           = 412
)

// codes are those of Postmark's errors that the status does not tell well enough.
// They are of the account or the server where another upstream may be able to.
var codes = map[int]struct {
	kind  upstream.Kind
	scope upstream.Scope
}{
	10:                {upstream.Failed, upstream.ScopeUpstream},   // bad or missing token
	100:               {upstream.Deferred, upstream.ScopeUpstream}, // maintenance
	invalidRequest:    {upstream.Failed, upstream.ScopeMessage},
	400:               {upstream.Failed, upstream.ScopeUpstream},   // sender signature not found
	401:               {upstream.Failed, upstream.ScopeUpstream},   // sender signature not confirmed
	402:               {upstream.Failed, upstream.ScopeMessage},    // invalid JSON
	403:               {upstream.Failed, upstream.ScopeMessage},    // incompatible JSON
	405:               {upstream.Deferred, upstream.ScopeUpstream}, // not allowed to send: out of credits
	inactiveRecipient: {upstream.Failed, upstream.ScopeRecipient},
	409:               {upstream.Failed, upstream.ScopeMessage},    // JSON required
	411:               {upstream.Failed, upstream.ScopeMessage},    // forbidden attachment type
	pending:           {upstream.Deferred, upstream.ScopeMessage},  // account is pending: to its own domain only
	413:               {upstream.Failed, upstream.ScopeUpstream},   // account may not send
	429:               {upstream.Deferred, upstream.ScopeUpstream}, // rate limit
	1235:              {upstream.Failed, upstream.ScopeUpstream},   // no such message stream
}

// badRecipient is how Postmark says that a request is invalid for an address in one
// of the fields that hold recipients: "Error parsing 'To': Illegal email address".
var badRecipient = regexp.MustCompile(`(?i)'(?:To|Cc|Bcc)'`)

// inactiveAddresses are the wordings in which Postmark has named inactive
// recipients, in errors and in answers that are a success for the others.
var inactiveAddresses = regexp.MustCompile(`(?is)(?:inactive addresses|recipients were inactive|inactive recipients)\s*:\s*(.+?)(?:\.\s*(?:Inactive recipients are|$)|\s*$)`)

// inactive are the recipients of the request that an answer names as inactive.
func inactive(said answer, to translated.Recipients, r *httpapi.Response) map[string]upstream.Outcome {
	m := inactiveAddresses.FindStringSubmatch(said.Message)
	if m == nil {
		return nil
	}
	some := map[string]upstream.Outcome{}
	for _, s := range strings.FieldsFunc(m[1], func(c rune) bool { return c == ',' || c == ';' || c <= ' ' }) {
		if key := to.Key(strings.Trim(s, "<>")); key != "" {
			some[key] = upstream.Outcome{
				Kind: upstream.Failed, Scope: upstream.ScopeRecipient, Code: r.Status, Remote: r.Remote, RemoteID: said.MessageID,
				Text: "Postmark has marked the recipient as inactive, after a bounce or a complaint: reactivate the address there",
			}
		}
	}
	return some
}
