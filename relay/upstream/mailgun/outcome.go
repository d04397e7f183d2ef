package mailgun

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// answer is what Mailgun says: {"id","message"}; some refusals are plain text.
type answer struct {
	ID      string `json:"id"`
	Message string `json:"message"`
}

func read(r *httpapi.Response, key string) answer {
	var a answer
	if err := json.Unmarshal(r.Body, &a); err != nil {
		a = answer{}
		if text := string(r.Body); !strings.HasPrefix(strings.TrimSpace(text), "<") { // a proxy's page says nothing in a line
			a.Message = text
		}
	}
	a.Message = reply.Line(httpapi.Scrub(a.Message, user, key), 512)
	return a
}

// limits are the words of a refusal that speaks of how much was sent, which
// Mailgun gives with several statuses.
var limits = []string{"limit exceeded", "limit reached", "too many requests", "try again after"}

// account are the words of a refusal that speaks of the account or the domain,
// where the status alone would have it speak of the message.
var account = []string{"is not allowed to send", "account is disabled", "domain is disabled", "activate"}

// unauthorized are the words of a refusal of recipients that an account for trials
// may not send to. Another upstream may, and this one once the account is upgraded,
// so they wait; the account's own recipients have their mail.
var unauthorized = []string{"sandbox subdomains", "free accounts", "test purposes"}

// result is the outcome of an answer, as for one recipient; some: it is about one
// or some of those in "to", and does not say which.
func result(r *httpapi.Response, key string) (o upstream.Outcome, some bool) {
	a := read(r, key)
	if r.Status == http.StatusOK && a.ID != "" {
		text := a.Message
		if text == "" {
			text = "queued"
		}
		return upstream.Outcome{Kind: upstream.Accepted, Code: r.Status, Text: text, Remote: r.Remote, RemoteID: strings.Trim(reply.Line(a.ID, 256), "<>")}, false
	}
	o = httpapi.Refusal(r, a.Message)
	low := strings.ToLower(a.Message)
	switch {
	case r.Status/100 != 4 || r.Status == http.StatusRequestEntityTooLarge:
	case r.Status == statusEnhanceYourCalm, has(low, limits):
		o.Kind, o.Scope = upstream.Deferred, upstream.ScopeUpstream
	case has(low, unauthorized):
		o.Kind, o.Scope, some = upstream.Deferred, upstream.ScopeMessage, true
	case has(low, account):
		o.Scope = upstream.ScopeUpstream
	case r.Status == http.StatusBadRequest && strings.Contains(low, "'to' parameter"):
		some = true
	case r.Status == http.StatusUnauthorized:
		o.Text += ": check the API key in the Secret; a key of the EU region works at https://api.eu.mailgun.net only, and the others not there"
	case r.Status == http.StatusNotFound:
		o.Text += ": check mailgun.domain, and whether it is in the region of mailgun.endpoint"
	}
	return o, some
}

// statusEnhanceYourCalm is Mailgun's old status of a limit.
const statusEnhanceYourCalm = 420

func has(text string, words []string) bool {
	for _, w := range words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}
