package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/printerrelay/printer-relay/relay/message/translate"
	"github.com/printerrelay/printer-relay/relay/oauth"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// tokenError says that no token could be had: nothing was asked of Graph.
type tokenError struct{ error }

// Unwrap gives the cause.
func (e tokenError) Unwrap() error { return e.error }

// do makes a request with a token; where Graph does not take it, once more with a
// new one: it may have been revoked, or the clocks differ.
func (t *Transport) do(ctx context.Context, q *httpapi.Request) (*httpapi.Response, error) {
	for again := true; ; again = false {
		token, err := t.c.Tokens.Token(ctx)
		if err != nil {
			return nil, tokenError{err}
		}
		t.known.learn(token)
		if q.Header == nil {
			q.Header = http.Header{}
		}
		q.Header.Set("Authorization", "Bearer "+token)
		r, err := t.api.Do(ctx, q)
		if err != nil {
			return nil, err
		}
		r.Body = []byte(strings.ReplaceAll(string(r.Body), token, "***"))
		if r.Status != http.StatusUnauthorized || !again {
			return r, nil
		}
		t.c.Tokens.Reject(token)
	}
}

// lost is the answer where there is none.
func (t *Transport) lost(err error) answer {
	o := httpapi.Lost(err)
	if o.Remote == "" {
		o.Remote = t.api.Host()
	}
	var none *oauth.Error
	if errors.As(err, &none) {
		o.RetryIn = none.RetryIn
	}
	o.Text = reply.Line(o.Text, 512)
	return answer{Outcome: o}
}

// json is a request with a document for a resource of the mailbox.
func (t *Transport) json(path, raw string, doc *translate.Document) *httpapi.Request {
	return &httpapi.Request{
		Path: t.path(path), To: t.target(raw), Header: http.Header{"Content-Type": {"application/json"}}, Body: doc.Open, Length: doc.Length(),
	}
}

// step makes a request that submits nothing yet. The answer's Kind is 0 where it
// went well, which is where the status is as wanted.
func (t *Transport) step(ctx context.Context, q *httpapi.Request, want int) (answer, *httpapi.Response) {
	r, err := t.do(ctx, q)
	switch {
	case err != nil:
		return t.unsent(err), nil
	case r.Status == want:
		return answer{}, r
	case r.Status/100 == 2:
		return t.odd(r, fmt.Sprintf("Graph answered %d in place of %d", r.Status, want)), r
	}
	return notSent(t.refused(r)), r
}

// unsent is the answer where a step got none: the message has not left.
func (t *Transport) unsent(err error) answer { return notSent(t.lost(err)) }

// notSent makes sure that nothing is unknown before the message is submitted.
func notSent(a answer) answer {
	if a.Kind == upstream.Unknown {
		a.Kind, a.Scope = upstream.Deferred, upstream.ScopeUpstream
	}
	return a
}

// odd is the answer where a reply is not what the reference says.
func (t *Transport) odd(r *httpapi.Response, text string) answer {
	return answer{Outcome: upstream.Outcome{
		Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Code: r.Status, Remote: r.Remote, RemoteID: requestID(r), Text: text,
	}}
}

// requestID is what the vendor's support asks for.
func requestID(r *httpapi.Response) string { return reply.Line(r.Header.Get("request-id"), 128) }

// accepted is the answer to what submits a message: 202 and nothing else is success
// (learn.microsoft.com/graph/api/user-sendmail). Of MIME that was too large for it
// Graph is known to have said 200, and dropped it
// (github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/3079).
func (t *Transport) accepted(r *httpapi.Response) answer {
	id := requestID(r)
	switch {
	case r.Status == http.StatusAccepted:
		return answer{Outcome: upstream.Outcome{Kind: upstream.Accepted, Code: r.Status, Text: "accepted by Graph", Remote: r.Remote, RemoteID: id}}
	case r.Status/100 != 2:
		return t.refused(r)
	case id == "":
		return t.odd(r, "what answered is not Graph: correct the upstream's endpoint, or look for a proxy on the way")
	}
	return answer{code: codeNot202, Outcome: upstream.Outcome{
		Kind: upstream.Failed, Scope: upstream.ScopeMessage, Code: r.Status, Remote: r.Remote, RemoteID: id,
		Text: "Graph answered " + http.StatusText(r.Status) + " in place of Accepted: it did not take the message, which may be too large",
	}}
}

// graphError is an error of the API (learn.microsoft.com/graph/errors).
type graphError struct {
	Error struct {
		Code       string `json:"code"`
		Message    string `json:"message"`
		InnerError struct {
			RequestID string `json:"request-id"`
		} `json:"innerError"`
	} `json:"error"`
}

// refused is the answer that is no success.
func (t *Transport) refused(r *httpapi.Response) answer {
	var e graphError
	text := ""
	if json.Unmarshal(r.Body, &e) == nil && e.Error.Code != "" {
		text = e.Error.Code + ": " + e.Error.Message
	}
	a := answer{Outcome: httpapi.Refusal(r, text), code: e.Error.Code}
	if a.code == "" && r.Status == http.StatusRequestEntityTooLarge {
		a.code = "RequestEntityTooLarge"
	}
	a.RemoteID = requestID(r)
	if v, ok := verdicts[a.code]; ok && r.Status/100 != 3 {
		a.Kind, a.Scope = v.kind, v.scope
	}
	return a
}
