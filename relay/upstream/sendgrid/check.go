package sendgrid

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

// needed are the scopes of a key that may send and nothing else; SendGrid adds
// all but the first to every key.
var needed = []string{"mail.send", "sender_verification_eligible", "sender_verification_legacy", "sender_verification_exempt", "2fa_required", "2fa_exempt"}

// check asks what the key may do: GET /v3/scopes. Nothing is sent.
func check(ctx context.Context, t *translated.Transport) upstream.Health {
	r, bad := t.Get(ctx, "/v3/scopes")
	if bad != nil {
		return *bad
	}
	h := upstream.Health{Reachable: upstream.Good}
	var said struct {
		refusal
		Scopes []string `json:"scopes"`
	}
	err := json.Unmarshal(r.Body, &said)
	switch {
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden:
		h.Credentials, h.Text = upstream.Bad, reply.Line(fmt.Sprintf("SendGrid does not take the API key: %d %s", r.Status, said.text()), 512)
	case r.Status != http.StatusOK || err != nil:
		h.Text = reply.Line(fmt.Sprintf("SendGrid did not tell what the API key may do: %d %s", r.Status, said.text()), 512)
	case !slices.Contains(said.Scopes, "mail.send"):
		h.Credentials, h.Text = upstream.Bad, "the API key may not send: give it the permission Mail Send (mail.send)"
	default:
		h.Credentials, h.Text = upstream.Good, "the API key may send"
		h.Warnings = broader(said.Scopes)
	}
	return h
}

// broader warns of a key that may do more than it needs to.
func broader(scopes []string) []string {
	more := slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return slices.Contains(needed, s) })
	if len(more) == 0 {
		return nil
	}
	slices.Sort(more)
	examples := strings.Join(more[:min(3, len(more))], ", ")
	return []string{reply.Line(fmt.Sprintf("the API key may do more than send (%d other scopes, such as %s): make one of Restricted Access with Mail Send alone", len(more), examples), 512)}
}
