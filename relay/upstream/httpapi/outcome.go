package httpapi

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Lost is the outcome of a request without a reply: Unknown if the server may
// have had all of it.
func Lost(err error) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: err.Error(), Cause: err}
	var e *Error
	if errors.As(err, &e) {
		o.Remote = e.Remote
		switch {
		case e.Source != nil:
			o.Scope, o.Cause = upstream.ScopeMessage, e.Source
		case e.Sent:
			o.Kind = upstream.Unknown
		}
	}
	return o
}

// Refusal puts a reply that is no success into an outcome, by its status alone;
// text is what the provider said. A provider's own codes say more, and its
// package changes what this gives.
//
// What speaks of the account, the endpoint or the service is the upstream's, so
// that nothing bounces for it; 400, 413 and 422 are the message's.
func Refusal(r *Response, text string) upstream.Outcome {
	if text = reply.Line(text, 512); text == "" {
		text = strings.TrimSpace("HTTP status " + strconv.Itoa(r.Status) + " " + http.StatusText(r.Status))
	}
	o := upstream.Outcome{
		Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Code: r.Status, Remote: r.Remote,
		Text: text, RetryIn: RetryAfter(r.Header, time.Now()),
	}
	switch {
	case r.Status/100 == 2:
		o.Kind = upstream.Unknown // not the success that was expected; who knows what it did
	case r.Status/100 == 3:
		o.Text = "the API answered with a redirect, which is not followed: correct the upstream's endpoint"
	case r.Status == http.StatusBadRequest, r.Status == http.StatusRequestEntityTooLarge, r.Status == http.StatusUnprocessableEntity:
		o.Kind, o.Scope = upstream.Failed, upstream.ScopeMessage
	case (r.Status == http.StatusBadGateway || r.Status == http.StatusGatewayTimeout) && !r.Early:
		o.Kind = upstream.Unknown // a proxy speaks; what stands behind it had the request
	case r.Status/100 == 4 && r.Status != http.StatusTooManyRequests && r.Status != http.StatusRequestTimeout:
		o.Kind = upstream.Failed
	}
	return o
}

// Scrub takes secrets, and what Basic authentication (RFC 7617) makes of them, out
// of what a server says.
func Scrub(text string, user, secret string) string {
	for _, s := range []string{base64.StdEncoding.EncodeToString([]byte(user + ":" + secret)), secret} {
		if len(s) >= 4 { // less cannot be told from other words
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	return text
}

// RetryAfter reads the Retry-After field (RFC 9110 10.2.3); 0: there is none that
// makes sense.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n > 0 {
		return time.Duration(min(n, int(24*time.Hour/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return min(t.Sub(now), 24*time.Hour)
	}
	return 0
}
