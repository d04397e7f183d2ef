package graph

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/oauth"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

var _ upstream.Checker = (*Transport)(nil)

// What is found without a message: nothing is ever sent, and no draft is made.
func TestCheck(t *testing.T) {
	said := func(status int, code string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body) //nolint:errcheck // the client is there
			refuse(w, status, code, "as the reference says")
			return true
		}
	}
	for name, c := range map[string]struct {
		roles                  []string
		fault                  conformance.Fault
		answer                 func(http.ResponseWriter, *http.Request) bool
		reachable, credentials upstream.Verdict
		text, warning          string
	}{
		"granted in Entra":    {[]string{"Mail.Send"}, 0, nil, upstream.Good, upstream.Good, "Mail.Send", "every mailbox"},
		"granted in Exchange": {nil, 0, nil, upstream.Good, upstream.Untold, "let the request through", ""},
		"more than needed":    {[]string{"Mail.Send", "User.Read.All", "Directory.Read.All"}, 0, nil, upstream.Good, upstream.Good, "", "Directory.Read.All, User.Read.All"},
		"drafts too":          {[]string{"Mail.Send", "Mail.ReadWrite"}, 0, nil, upstream.Good, upstream.Good, "", "without scans over 3 MB"},
		"nothing granted":     {nil, 0, said(403, "ErrorAccessDenied"), upstream.Good, upstream.Bad, "Application Mail.Send for " + mailbox, ""},
		"another mailbox":     {[]string{"Mail.Send"}, 0, said(403, "ErrorAccessDenied"), upstream.Good, upstream.Bad, "ErrorAccessDenied", ""},
		"no such mailbox":     {nil, 0, said(404, "ErrorInvalidUser"), upstream.Good, upstream.Bad, "ErrorInvalidUser", ""},
		"throttled":           {nil, 0, said(429, "ApplicationThrottled"), upstream.Good, upstream.Untold, "ApplicationThrottled", ""},
		"their trouble":       {nil, 0, said(503, "ErrorServerBusy"), upstream.Good, upstream.Untold, "ErrorServerBusy", ""},
		"somebody else":       {nil, 0, func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(200); return true }, upstream.Good, upstream.Untold, "does not say", ""},
		"token refused":       {nil, conformance.WrongCredentials, nil, upstream.Good, upstream.Bad, "InvalidAuthenticationToken", ""},
		"no TLS":              {nil, conformance.Downgrades, nil, upstream.Bad, upstream.Untold, "TLS", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, c.fault)
			f.issue(c.roles...)
			f.answer = c.answer
			h := f.transport(func(cfg *Config) {
				if c.fault == conformance.Downgrades {
					cfg.RootCAs = nil
				}
			}).Check(t.Context())
			if h.Reachable != c.reachable || h.Credentials != c.credentials || !strings.Contains(h.Text, c.text) || h.Text == "" || strings.Contains(h.Text, tokenKey) {
				t.Errorf("%+v", h)
			}
			if all := strings.Join(h.Warnings, "; "); !strings.Contains(all, c.warning) || c.warning == "" && all != "" && len(c.roles) == 0 && c.fault == 0 {
				t.Errorf("warnings: %q", all)
			}
			if len(f.received(t)) != 0 || f.left() != 0 {
				t.Error("a message was made of it")
			}
		})
	}
}

// What Check submits can become no message, whatever the server makes of it.
func TestNothingIsNoMessage(t *testing.T) {
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(nothing); err == nil {
			t.Errorf("it is base64 of %q", b)
		}
	}
}

// inspected are tokens whose source tells of the credential.
type inspected struct {
	*source
	grant oauth.Grant
}

func (i inspected) Inspect(context.Context) (oauth.Grant, error) { return i.grant, nil }

func TestCheckTellsOfTheCredential(t *testing.T) {
	f := startFake(t, conformance.None)
	end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	h := f.transport(func(c *Config) {
		c.Tokens = inspected{&source{f: f}, oauth.Grant{CredentialExpires: end, Warning: "the Secret is half written"}}
	}).Check(t.Context())
	if !h.Expires.Equal(end) || !strings.Contains(strings.Join(h.Warnings, ";"), "half written") {
		t.Errorf("%+v", h)
	}
}

type passing struct{ error }

func (passing) Temporary() bool { return true }

// Who gives tokens may be away for a while, which says nothing of the credential.
func TestCheckWithoutToken(t *testing.T) {
	f := startFake(t, conformance.None)
	for _, c := range []struct {
		err  error
		want upstream.Verdict
	}{{errors.New("no token: AADSTS7000215: Invalid client secret provided"), upstream.Bad}, {passing{errors.New("no connection")}, upstream.Untold}} {
		h := f.transport(func(cfg *Config) { cfg.Tokens = brokenTokens{c.err} }).Check(t.Context())
		if h.Credentials != c.want || h.Reachable != upstream.Untold || h.Text != c.err.Error() {
			t.Errorf("%v: %+v", c.err, h)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if h := f.transport().Check(ctx); h.Credentials != upstream.Untold || h.Reachable != upstream.Untold {
		t.Errorf("stopped: %+v", h)
	}
}

// FuzzReplies: whatever Graph or somebody in its place answers, nothing but what is
// there is taken out of it.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(`{"@odata.etag":"W","id":"AAMk=","body":{"id":"no"}}`), int64(4))
	f.Add([]byte(`{"nextExpectedRanges":["4-"]}`), int64(4))
	f.Add([]byte(`{"body":{"id":"no"},"x":[1,{"id":"no"}],"id":3`), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, next int64) {
		if id := idOf(b); id != "" && !strings.Contains(string(b), `"id"`) && !strings.Contains(string(b), `\u`) {
			t.Fatalf("%q of %q", id, b)
		}
		if expects(b, next) && next < 0 {
			t.Fatalf("%q goes on at %d", b, next)
		}
	})
}

// The id is the draft's own, and is found where the reply is cut behind it.
func TestIDOf(t *testing.T) {
	for in, want := range map[string]string{
		`{"@odata.etag":"W","id":"AAMk=","body":{"content":"cut he`: "AAMk=",
		`{"body":{"id":"no"},"to":[{"id":"no"}],"id":"yes"}`:        "yes",
		`{"body":{"id":"no"}`: "",
		`{"id":3}`:            "",
		`["id","x"]`:          "",
		`id`:                  "",
		``:                    "",
	} {
		if got := idOf([]byte(in)); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestExpects(t *testing.T) {
	for in, want := range map[string]bool{
		`{"nextExpectedRanges":["4"]}`:      true,
		`{"nextExpectedRanges":["4-"]}`:     true,
		`{"NextExpectedRanges":["4-100"]}`:  true,
		`{"nextExpectedRanges":["40"]}`:     false,
		`{"nextExpectedRanges":["4","9-"]}`: false,
		`{"nextExpectedRanges":[]}`:         false,
		``:                                  false,
	} {
		if got := expects([]byte(in), 4); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}
