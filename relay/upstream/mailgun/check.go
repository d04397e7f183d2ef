package mailgun

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Check implements upstream.Checker. A domain sending key may do nothing but
// send, so there is nothing to ask with it. It is tried with a request to send that
// names no recipient and holds no message: with a key that is good Mailgun complains
// of what is missing (400), else of the key. Then the domain is asked for: a key
// that is told of it can do more than send.
func (t *Transport) Check(ctx context.Context) upstream.Health {
	key, err := t.key()
	if err != nil {
		return upstream.Health{Credentials: upstream.Bad, Text: err.Error()}
	}
	header := login(key)
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	r, err := t.client.Do(ctx, &httpapi.Request{Path: t.path(), Header: header, Body: nothing, Length: int64(len(testMode))})
	if err != nil {
		return upstream.Health{Reachable: upstream.Bad, Text: err.Error()}
	}
	h := upstream.Health{Reachable: upstream.Good}
	o, _ := result(r, key)
	switch {
	case r.Status == http.StatusBadRequest && o.Scope == upstream.ScopeMessage:
		h.Credentials, h.Text = upstream.Good, fmt.Sprintf("the key may send by domain %s", t.c.Mailgun.Domain)
	case o.Kind == upstream.Failed && o.Scope == upstream.ScopeUpstream:
		h.Credentials, h.Text = upstream.Bad, fmt.Sprintf("Mailgun: %d %s", r.Status, o.Text)
		return h
	default: // a limit, its own trouble, an answer that is not known
		h.Text = fmt.Sprintf("Mailgun did not tell whether the key is good: %d %s", r.Status, o.Text)
		return h
	}
	if d := strings.ToLower(t.c.Mailgun.Domain); strings.HasPrefix(d, "sandbox") && strings.HasSuffix(d, ".mailgun.org") {
		h.Warnings = append(h.Warnings, "a sandbox domain sends to the recipients alone that are authorized in Mailgun's console: set up a domain of your own")
	}
	t.more(ctx, key, &h)
	return h
}

// testMode has Mailgun send nothing, whatever else it may think of the request.
const testMode = "o%3Atestmode=yes"

func nothing() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(testMode)), nil }

// more adds what a key that may do more than send is told of the domain.
func (t *Transport) more(ctx context.Context, key string, h *upstream.Health) {
	r, err := t.client.Do(ctx, &httpapi.Request{Method: http.MethodGet, Path: "/v3/domains/" + t.c.Mailgun.Domain, Header: login(key)})
	if err != nil || r.Status != http.StatusOK {
		return
	}
	var said struct {
		Domain struct {
			State    string `json:"state"`
			Disabled bool   `json:"is_disabled"`
		} `json:"domain"`
	}
	if json.Unmarshal(r.Body, &said) != nil || said.Domain.State == "" {
		return
	}
	h.Warnings = append(h.Warnings, "the API key can read the account, so it may do more than send: use a sending key of the domain (Mailgun: Domain settings, Sending keys)")
	switch state := said.Domain.State; {
	case said.Domain.Disabled, state == "disabled":
		h.Credentials, h.Text = upstream.Bad, fmt.Sprintf("domain %s is disabled at Mailgun: ask its support", t.c.Mailgun.Domain)
	case state != "active":
		h.Warnings = append(h.Warnings, reply.Line(fmt.Sprintf("domain %s is %s at Mailgun: publish the DNS records that its console names", t.c.Mailgun.Domain, state), 256))
	}
}
