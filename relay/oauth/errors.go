package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Error is why there is no token: the server's code and words on one line, without
// secrets. What they mean and what to do says relay/remedy.
type Error struct {
	Code    string        // "AADSTS7000222", or the error code of RFC 6749 5.2; empty: none came
	Status  int           // HTTP; 0: no reply
	RetryIn time.Duration // the server asks to wait so long; 0: it does not
	words   string
	cause   error
}

// Error implements error.
func (e *Error) Error() string { return e.words }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Wait is RetryIn, for who does not import this package.
func (e *Error) Wait() time.Duration { return e.RetryIn }

// Temporary tells whether it says nothing of the credential: the server was not
// reached, is busy, or has trouble of its own.
func (e *Error) Temporary() bool {
	var lost *httpapi.Error
	return e.Status == http.StatusTooManyRequests || e.Status >= 500 || e.Status == 0 && errors.As(e.cause, &lost)
}

// explain puts what came of a request into words. hidden is what no word may show.
func explain(err error, hidden string) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var lost *httpapi.Error
	if errors.As(err, &lost) {
		return &Error{words: "no token: " + lost.Error(), cause: lost}
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return &Error{words: "no token: " + shown(strings.TrimPrefix(err.Error(), "oauth2: "), hidden, maxSaid)}
	}
	e := &Error{
		Code: shown(refused.ErrorCode, hidden, maxCode), Status: refused.Response.StatusCode,
		RetryIn: httpapi.RetryAfter(refused.Response.Header, time.Now()),
	}
	said := shown(refused.ErrorDescription, hidden, maxSaid)
	if m := entraCode.FindString(refused.ErrorDescription); m != "" {
		e.Code = m
	}
	e.words = "no token: " + e.tell(said)
	return e
}

// Bounds of what a server said, in octets.
const (
	maxCode = 64
	maxSaid = 256
)

var entraCode = regexp.MustCompile(`AADSTS[0-9]{1,12}`)

// firstLine is a description without the identifiers of a trace, which are others
// each time.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s, _, _ = strings.Cut(s, "Trace ID:")
	return s
}

// shown is what may be shown of a server's words: one line of at most so many octets.
// What is hidden is taken out first: of what is cut in two only a part would be found.
func shown(text, hidden string, most int) string {
	if len(hidden) < 4 { // less cannot be told from other words
		return ""
	}
	for _, form := range []string{hidden, url.QueryEscape(hidden), url.PathEscape(hidden)} {
		text = strings.ReplaceAll(text, form, "***")
	}
	return reply.Line(firstLine(text), most)
}

// tell gives the code and what the server said, or words of our own where its would
// say nothing.
func (e *Error) tell(said string) string {
	what := said
	if e.Code != "" && !strings.HasPrefix(said, e.Code) {
		what = strings.TrimSuffix(e.Code+": "+said, ": ")
	}
	switch {
	case e.Status/100 == 3:
		return "the authorization server answered with a redirect, which is not followed"
	case e.Status == http.StatusTooManyRequests:
		return "the authorization server was asked too often: it is asked again later"
	case e.Status/100 == 5:
		return fmt.Sprintf("the authorization server has trouble of its own (HTTP %d): it is asked again later", e.Status)
	case what == "" && e.Status == http.StatusNotFound:
		return "the authorization server knows no such URL (HTTP 404)"
	case what == "":
		return fmt.Sprintf("the authorization server refused with HTTP %d and did not say why", e.Status)
	}
	return what
}
