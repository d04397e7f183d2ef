package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// maxFields is how many header fields of our own a draft may have: "Maximum number
// of headers in one message should be less than or equal to 5".
const maxFields = 5

// rules are what a draft can carry (learn.microsoft.com/graph/api/resources/message).
// Exchange makes the header of what it sends; docs/upstreams/microsoft365-graph.md
// has the table.
var rules = translate.Rules{
	Service: "Graph",
	Request: maxRequest,
	Body:    1 << 20,
	Fields: []translate.Rule{
		{Name: "Message-ID", Fate: translate.Own, Why: "internetMessageId"},
		{Name: "Importance", Fate: translate.Own, Why: "importance"},
		{Name: "Priority", Fate: translate.Own, Why: "importance"},
		{Name: "X-Priority", Fate: translate.Own, Why: "importance"},
		{Name: "X-MSMail-Priority", Fate: translate.Dropped, Why: "says what Importance says"},
		{Name: "Sender", Fate: translate.Dropped, Why: "the mailbox"},
		{Name: "User-Agent", Fate: translate.Dropped, Why: "Exchange sends"},
		{Name: "X-Mailer", Fate: translate.Dropped, Why: "Exchange sends"},
		{Name: "X-MimeOLE", Fate: translate.Dropped, Why: "Exchange makes the MIME"},
		{Name: "In-Reply-To", Fate: translate.Dropped, Why: "Exchange makes threads itself"},
		{Name: "References", Fate: translate.Dropped, Why: "Exchange makes threads itself"},
		{Name: "Thread-*", Fate: translate.Dropped, Why: "Exchange makes threads itself"},
		{Name: "Resent-*", Fate: translate.Dropped, Why: "an earlier sending"},
	},
}

// draft is one draft that is being made.
type draft struct {
	s    *scan
	msg  *translate.Message
	why  string // sendMail does not take the message
	id   string
	path string // of the draft, below the mailbox
	raw  string // the same, escaped
}

// sendDraft carries what is larger than a request: a draft is made, its files are
// attached one by one, and then it is sent. Until the last step nothing has left.
func (s *scan) sendDraft(ctx context.Context, to []envelope.Address, why string) answer {
	if s.t.known.noDrafts(now()) {
		return s.noDrafts(why)
	}
	msg, err := translate.Read(ctx, s.m.Open, &rules)
	if err != nil {
		return s.unread(why, err)
	}
	d := &draft{s: s, msg: msg, why: why}
	doc, err := d.document(to)
	if err != nil {
		return s.unread(why, err)
	}
	a := d.create(ctx, doc)
	if noPermission(a) {
		s.t.known.draftRefused(now())
		return s.noDrafts(why)
	}
	if a.Kind == 0 {
		a = d.fill(ctx)
	}
	if a.Kind == 0 {
		a = d.submit(ctx)
	}
	if d.id != "" && a.Kind != upstream.Accepted && a.Kind != upstream.Unknown {
		d.remove(ctx)
	}
	return a
}

// noDrafts is the answer for a message that no way of ours takes; why says why
// sendMail does not.
func (s *scan) noDrafts(why string) answer {
	return s.refuse("5.3.4", "%s, and the application may not make drafts: grant it Mail.ReadWrite for the mailbox, or use transport: SMTP", why)
}

// unread is the answer for a message that cannot be translated, or not be read.
func (s *scan) unread(why string, err error) answer {
	var u *translate.UncarriedError
	if errors.As(err, &u) {
		return s.refuse("5.6.3", "%s, and a draft cannot carry it: %s", why, u.What)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return answer{Outcome: upstream.Outcome{
			Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Remote: s.t.api.Host(), Text: "stopped while it was under way", Cause: err,
		}}
	}
	return answer{Outcome: upstream.Outcome{
		Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Remote: s.t.api.Host(), Text: "the stored message cannot be read", Cause: err,
	}}
}

// noPermission tells a refusal to make a draft that is about our rights.
func noPermission(a answer) bool {
	switch a.code {
	case "ErrorAccessDenied", "AccessDenied", "Authorization_RequestDenied", "":
		return a.Kind == upstream.Failed && a.Code == http.StatusForbidden
	}
	return false
}

// document is the draft as JSON.
func (d *draft) document(pending []envelope.Address) (*translate.Document, error) {
	to, cc, bcc, err := d.msg.Recipients(pending)
	if err != nil {
		return nil, err
	}
	doc := d.msg.Document()
	doc.Put(`{"subject":`)
	doc.Value(d.msg.Subject)
	doc.Put(`,"from":`)
	doc.Value(people([]translate.Mailbox{d.msg.From})[0])
	for _, list := range []struct {
		name string
		of   []translate.Mailbox
	}{{"toRecipients", to}, {"ccRecipients", cc}, {"bccRecipients", bcc}, {"replyTo", d.msg.ReplyTo}} {
		doc.Put(`,"` + list.name + `":`)
		doc.Value(people(list.of))
	}
	if id := d.s.field("Message-ID"); id != "" {
		doc.Put(`,"internetMessageId":`)
		doc.Value(id)
	}
	doc.Put(`,"importance":`)
	doc.Value(d.s.importance())
	if err := d.fields(doc); err != nil {
		return nil, err
	}
	switch { // where there are both, Exchange makes the plain form of the other
	case d.msg.HTML != nil:
		doc.Put(`,"body":{"contentType":"html","content":`)
		doc.Part(d.msg.HTML)
	case d.msg.Text != nil:
		doc.Put(`,"body":{"contentType":"text","content":`)
		doc.Part(d.msg.Text)
	default:
		doc.Put(`,"body":{"contentType":"text","content":""`)
	}
	doc.Put(`}}`)
	return doc, doc.TooLarge()
}

// fields puts the header fields that a draft may have.
func (d *draft) fields(doc *translate.Document) error {
	type field struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	var out []field
	for _, f := range d.msg.Fields {
		if !strings.HasPrefix(strings.ToLower(f.Name), "x-") {
			return &translate.UncarriedError{What: f.Name + ", and Graph lets us set only header fields that begin with X-"}
		}
		out = append(out, field{f.Name, f.Value})
	}
	if len(out) > maxFields {
		return &translate.UncarriedError{What: fmt.Sprintf("%d header fields that begin with X-, of which Graph takes %d", len(out), maxFields)}
	}
	if len(out) > 0 {
		doc.Put(`,"internetMessageHeaders":`)
		doc.Value(out)
	}
	return nil
}

// recipientJSON is Graph's resource recipient.
type recipientJSON struct {
	EmailAddress struct {
		Name    string `json:"name,omitempty"`
		Address string `json:"address"`
	} `json:"emailAddress"`
}

func people(boxes []translate.Mailbox) []recipientJSON {
	out := make([]recipientJSON, len(boxes))
	for i, b := range boxes {
		out[i].EmailAddress.Name, out[i].EmailAddress.Address = b.Name, b.Address
	}
	return out
}

// create makes the draft.
func (d *draft) create(ctx context.Context, doc *translate.Document) answer {
	a, r := d.s.t.step(ctx, d.s.t.json("/messages", "/messages", doc), http.StatusCreated)
	if a.Kind != 0 {
		return a
	}
	if d.id = idOf(r.Body); d.id == "" {
		return d.s.t.odd(r, "Graph made a draft and did not say which")
	}
	d.path, d.raw = "/messages/"+d.id, "/messages/"+url.PathEscape(d.id)
	return answer{}
}

// idOf is the id of a resource in a reply, which may be cut: it holds the text too.
func idOf(b []byte) string {
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	for {
		key, err := dec.Token()
		if err != nil {
			return ""
		}
		var value any
		if dec.Decode(&value) != nil {
			return ""
		}
		if id, ok := value.(string); ok && key == "id" {
			return id
		}
	}
}

// fill attaches the files.
func (d *draft) fill(ctx context.Context) answer {
	for _, p := range d.msg.Attachments {
		if a := d.attach(ctx, p); a.Kind != 0 {
			return a
		}
	}
	return answer{}
}

// submit sends the draft. Now it leaves, or nobody knows.
func (d *draft) submit(ctx context.Context) answer {
	r, err := d.s.t.do(ctx, &httpapi.Request{
		Path: d.s.t.path(d.path + "/send"), To: d.s.t.target(d.raw + "/send"),
	})
	if err != nil {
		return d.s.t.lost(err)
	}
	return d.s.t.accepted(r)
}

// removeTime is how long a draft that is of no use is tried to be removed for.
const removeTime = 5 * time.Second

// remove deletes the draft, also where the attempt was stopped. Where that fails it
// stays in the mailbox, and is harmless.
func (d *draft) remove(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTime)
	defer cancel()
	a, _ := d.s.t.step(ctx, &httpapi.Request{Method: http.MethodDelete, Path: d.s.t.path(d.path), To: d.s.t.target(d.raw)}, http.StatusNoContent)
	if a.Kind != 0 && d.s.t.c.Log != nil {
		d.s.t.c.Log.Warn("a draft stays in the mailbox", "id", d.s.m.ID, "mailbox", d.s.t.c.Graph.Mailbox, "cause", a.Text)
	}
}

// field is the value of a header field, if there is exactly one.
func (s *scan) field(name string) string {
	all := s.parsed.All(name)
	if len(all) != 1 {
		return ""
	}
	return all[0].Value()
}

// importance is what the header says of it (RFC 2156 5.3.6, and X-Priority, which
// programs use in its place).
func (s *scan) importance() string {
	said := strings.ToLower(s.field("Importance") + " " + s.field("Priority") + " " + s.field("X-Priority"))
	for _, word := range strings.FieldsFunc(said, func(r rune) bool { return r == ' ' || r == '(' || r == ')' || r == '\t' }) {
		switch word {
		case "high", "urgent", "1", "2":
			return "high"
		case "low", "non-urgent", "4", "5":
			return "low"
		}
	}
	return "normal"
}
