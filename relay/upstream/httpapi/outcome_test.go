package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

func TestRefusal(t *testing.T) {
	for status, want := range map[int]string{
		200: "Unknown/Upstream", 204: "Unknown/Upstream",
		301: "Deferred/Upstream", 302: "Deferred/Upstream", 307: "Deferred/Upstream", 308: "Deferred/Upstream",
		400: "Failed/Message", 413: "Failed/Message", 422: "Failed/Message",
		401: "Failed/Upstream", 402: "Failed/Upstream", 403: "Failed/Upstream", 404: "Failed/Upstream", 405: "Failed/Upstream", 417: "Failed/Upstream",
		408: "Deferred/Upstream", 429: "Deferred/Upstream",
		500: "Deferred/Upstream", 501: "Deferred/Upstream", 503: "Deferred/Upstream", 599: "Deferred/Upstream",
		502: "Unknown/Upstream", 504: "Unknown/Upstream",
	} {
		o := Refusal(&Response{Status: status, Remote: "api.test", Header: http.Header{"Retry-After": {"7"}}}, "")
		if got := fmt.Sprintf("%s/%s", o.Kind, o.Scope); got != want {
			t.Errorf("%d: %s, want %s", status, got, want)
		}
		if o.Code != status || o.Remote != "api.test" || o.Text == "" || o.RetryIn != 7*time.Second {
			t.Errorf("%d: %+v", status, o)
		}
	}
	for _, status := range []int{502, 504} { // what stands behind the proxy had not the whole
		if o := Refusal(&Response{Status: status, Early: true}, ""); o.Kind != upstream.Deferred {
			t.Errorf("%d before the body's end: %s", status, o)
		}
	}
	o := Refusal(&Response{Status: 400}, "two\r\nlines "+strings.Repeat("x", 1000))
	if strings.ContainsAny(o.Text, "\r\n") || len(o.Text) > 512 || !strings.HasPrefix(o.Text, "two") {
		t.Errorf("%q", o.Text)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"":                                  0,
		"0":                                 0,
		"-5":                                0,
		"soon":                              0,
		"1.5":                               0,
		"30":                                30 * time.Second,
		"99999999":                          24 * time.Hour,
		"99999999999999999999999":           0,
		"Wed, 25 Nov 2026 12:02:00 GMT":     2 * time.Minute,
		"Wednesday, 25-Nov-26 12:02:00 GMT": 2 * time.Minute,
		"Wed, 25 Nov 2026 11:00:00 GMT":     0,
		"Fri, 25 Nov 2033 12:00:00 GMT":     24 * time.Hour,
	} {
		if got := RetryAfter(http.Header{"Retry-After": {v}}, now); got != want {
			t.Errorf("%q: %s, want %s", v, got, want)
		}
	}
}

func TestLost(t *testing.T) {
	spoilt := errors.New("spoilt")
	for _, c := range []struct {
		err  error
		want string
	}{
		{&Error{words: "x", Remote: "api.test"}, "Deferred/Upstream"},
		{&Error{words: "x", Remote: "api.test", Sent: true}, "Unknown/Upstream"},
		{&Error{words: "x", Remote: "api.test", Source: spoilt}, "Deferred/Message"},
		{&Error{words: "x", Remote: "api.test", Source: spoilt, Sent: true}, "Deferred/Message"},
	} {
		o := Lost(c.err)
		if got := fmt.Sprintf("%s/%s", o.Kind, o.Scope); got != c.want || o.Remote != "api.test" || o.Text != "x" {
			t.Errorf("%+v: %s, %+v", c.err, got, o)
		}
		if c.want == "Deferred/Message" && !errors.Is(o.Cause, spoilt) {
			t.Errorf("cause %v", o.Cause)
		}
	}
	if o := Lost(errors.New("x")); o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream {
		t.Errorf("%+v", o)
	}
}

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		"bad key key-123456":                 "bad key ***",
		"Basic YXBpOmtleS0xMjM0NTY= refused": "Basic *** refused",
		"nothing":                            "nothing",
	} {
		if got := Scrub(in, "api", "key-123456"); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Scrub("a word", "api", "a"); got != "a word" {
		t.Errorf("%q", got)
	}
}
