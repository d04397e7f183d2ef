package graph

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/oauth"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// nothing is what Check submits: no base64, so no message can come of it.
const nothing = "!"

// Check implements upstream.Checker: a token is got, its roles are read, and
// sendMail is asked with content that is none. What may not send is refused before
// the content is looked at; that the content is refused says that the mailbox is
// there and that we were let through. Whether Exchange lets the From of a message
// pass is known when one is sent.
func (t *Transport) Check(ctx context.Context) upstream.Health {
	r, err := t.do(ctx, &httpapi.Request{
		Path: t.path("/sendMail"), To: t.target("/sendMail"), Header: http.Header{"Content-Type": {"text/plain"}}, Length: int64(len(nothing)),
		Body: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(nothing)), nil },
	})
	h := t.grant(ctx)
	if err != nil {
		return t.unanswered(ctx, h, err)
	}
	h.Reachable = upstream.Good
	a := t.refused(r)
	switch {
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden, r.Status == http.StatusNotFound:
		h.Credentials, h.Text = upstream.Bad, a.Text
		if r.Status == http.StatusForbidden && !slices.Contains(t.known.held(), "Mail.Send") {
			h.Text += "; the application needs Application Mail.Send for " + t.c.Graph.Mailbox + " (Exchange RBAC for Applications; it takes up to two hours to count)"
		}
	case r.Status != http.StatusBadRequest:
		h.Text = "Graph answers, and does not say whether it would take a message: " + a.Text
	case slices.Contains(t.known.held(), "Mail.Send"):
		h.Credentials, h.Text = upstream.Good, "the token may send mail (Mail.Send)"
	default:
		h.Text = "Graph let the request through; the token does not name Mail.Send, so the permission is Exchange's own (RBAC for Applications) or shows when a message is sent"
	}
	return h
}

// grant is what is known of the credential and of what its token may do beyond what
// is needed.
func (t *Transport) grant(ctx context.Context) (h upstream.Health) {
	h.Warnings = t.known.warnings()
	s, ok := t.c.Tokens.(interface {
		Inspect(ctx context.Context) (oauth.Grant, error)
	})
	if !ok {
		return h
	}
	if g, err := s.Inspect(ctx); err == nil {
		h.Expires = g.CredentialExpires
		if g.Warning != "" {
			h.Warnings = append(h.Warnings, g.Warning)
		}
	}
	return h
}

// unanswered is the health where there was no answer, or no token to ask with.
func (t *Transport) unanswered(ctx context.Context, h upstream.Health, err error) upstream.Health {
	h.Text = err.Error()
	var none tokenError
	var temporary interface{ Temporary() bool }
	switch {
	case ctx.Err() != nil: // nothing is known
	case errors.As(err, &none) && errors.As(err, &temporary) && temporary.Temporary(): // of who gives tokens
	case errors.As(err, &none):
		h.Credentials = upstream.Bad
	default:
		h.Reachable = upstream.Bad
	}
	return h
}

// warnings are about what the token may do beyond what is needed.
func (k *knowledge) warnings() (out []string) {
	var more []string
	for _, r := range k.held() {
		switch r {
		case "Mail.Send":
			out = append(out, "Mail.Send in the token is for every mailbox of the tenant: grant Application Mail.Send by Exchange RBAC for Applications, scoped to the mailbox, and remove it from the app registration")
		case "Mail.ReadWrite":
			out = append(out, "Mail.ReadWrite in the token is for every mailbox of the tenant: grant Application Mail.ReadWrite by Exchange RBAC for Applications, scoped to the mailbox; without scans over 3 MB it is not needed")
		default:
			more = append(more, r)
		}
	}
	if len(more) > 0 {
		slices.Sort(more)
		out = append(out, "the token may do more than is needed: "+strings.Join(more[:min(len(more), 10)], ", "))
	}
	return out
}
