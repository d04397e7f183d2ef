package graph

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/oauth"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

const head = "From: <mfp@copier.test>\r\nTo: Ann <a@corp.test>, b@corp.test\r\nCc: c@corp.test\r\nSubject: scan\r\n"

// Content that fits a request is taken and arrives octet for octet.
func TestBodyOctetForOctet(t *testing.T) {
	f := startFake(t, conformance.None)
	tr := f.transport()
	for i, body := range []string{"", "\r\n", ".\r\n", "gr\xfcn\r\n", strings.Repeat("x", 998) + "\r\n", "no end", strings.Repeat("0123456789\r\n", 200_000), strings.Repeat("y", encodeAtOnce*3)} {
		content := head + "X-N: " + fmt.Sprint(i) + "\r\n\r\n" + body
		if out := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test")); conformance.Kinds(out) != "Accepted" || out[0].RemoteID == "" || out[0].Code != 202 {
			t.Fatalf("%d: %+v", i, out[0])
		}
		want, err := digest(strings.NewReader(content))
		got := f.received(t)
		if err != nil || len(got) != i+1 || got[i].Sum != want {
			t.Errorf("%d: %d messages, or another content", i, len(got))
		}
	}
	if got := f.requests(); slices.ContainsFunc(got, func(s string) bool { return s != "POST /sendMail" }) {
		t.Errorf("requests: %q", got)
	}
}

// The header that Graph gets names who is pending, and shows who was shown.
func TestHeaderIsTheEnvelope(t *testing.T) {
	for _, c := range []struct{ envelope, to, cc, bcc string }{
		{"a@corp.test b@corp.test c@corp.test", "a@corp.test b@corp.test", "c@corp.test", ""},
		{"c@corp.test", "", "c@corp.test", ""},
		{"x@corp.test a@corp.test", "a@corp.test", "", "x@corp.test"},
		{"x@büro.test", "", "", "x@xn--bro-hoa.test"},
	} {
		f := startFake(t, conformance.None)
		if out := f.transport().Deliver(t.Context(), conformance.Mail(t, head+"\r\nhello\r\n", strings.Fields(c.envelope)...)); out[0].Kind != upstream.Accepted {
			t.Fatalf("%s: %s", c.envelope, conformance.Kinds(out))
		}
		want := strings.Fields(c.to + " " + c.cc + " " + c.bcc)
		if got := f.received(t)[0].Recipients; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", c.envelope, got, want)
		}
	}
}

// What no header carries for certain does not go this way; the others do.
func TestRecipientsThatCannotGo(t *testing.T) {
	f := startFake(t, conformance.None)
	out := f.transport().Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test", `"x@evil.test, y"@corp.test`, "=?utf-8?q?v=40evil.test=3E?=@corp.test", "b@corp.test"))
	if conformance.Kinds(out) != "Accepted Failed/Message Failed/Message Accepted" {
		t.Error(conformance.Kinds(out))
	}
	if got := f.received(t); len(got) != 1 || !slices.Equal(got[0].Recipients, []string{"a@corp.test", "b@corp.test"}) {
		t.Errorf("%+v", got)
	}
}

// Graph says that one of many is wrong, and not which: the others get the message,
// each once.
func TestOneOfManyIsRefused(t *testing.T) {
	f := startFake(t, conformance.None)
	out := f.transport().Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test", "b@corp.test", conformance.Refused, "c@corp.test", "d@corp.test"))
	if conformance.Kinds(out) != "Accepted Accepted Failed/Recipient Accepted Accepted" {
		t.Error(conformance.Kinds(out))
	}
	var got []string
	for _, m := range f.received(t) {
		got = append(got, m.Recipients...)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"a@corp.test", "b@corp.test", "c@corp.test", "d@corp.test"}) {
		t.Errorf("%q", got)
	}
}

// What Graph says, and what follows. Codes and texts: graph/errors, user-sendmail,
// graph/throttling, and what its users report.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		want   string
		retry  time.Duration
	}{
		"send as":       {403, nil, `{"error":{"code":"ErrorSendAsDenied","message":"no right"}}`, "Failed/Message", 0},
		"no access":     {403, nil, `{"error":{"code":"ErrorAccessDenied","message":"Access is denied."}}`, "Failed/Upstream", 0},
		"no mailbox":    {404, nil, `{"error":{"code":"MailboxNotEnabledForRESTAPI","message":"inactive, soft-deleted, or on-premise"}}`, "Failed/Upstream", 0},
		"no user":       {404, nil, `{"error":{"code":"ErrorInvalidUser","message":"The requested user is invalid."}}`, "Failed/Upstream", 0},
		"bad mime":      {400, nil, `{"error":{"code":"ErrorMimeContentInvalidBase64String","message":"Invalid base64 string for MIME content."}}`, "Failed/Message", 0},
		"unknown code":  {400, nil, `{"error":{"code":"ErrorSomethingNew","message":"?"}}`, "Failed/Message", 0},
		"bad recipient": {400, nil, `{"error":{"code":"ErrorInvalidRecipients","message":"At least one recipient is not valid."}}`, "Failed/Recipient", 0},
		"throttled":     {429, map[string]string{"Retry-After": "7"}, `{"error":{"code":"ApplicationThrottled","message":"MailboxConcurrency"}}`, "Deferred/Upstream", 7 * time.Second},
		"unavailable":   {503, map[string]string{"Retry-After": "9"}, `{"error":{"code":"serviceNotAvailable"}}`, "Deferred/Upstream", 9 * time.Second},
		"daily limit":   {400, nil, `{"error":{"code":"ErrorExceededMessageLimit","message":"limit"}}`, "Deferred/Upstream", 0},
		"mailbox full":  {507, nil, `{"error":{"code":"ErrorQuotaExceeded","message":"full"}}`, "Deferred/Upstream", 0},
		"their trouble": {500, nil, `{"error":{"code":"ErrorInternalServerError","message":"?"}}`, "Deferred/Upstream", 0},
		"gateway":       {504, nil, `{"error":{"code":"UnknownError","message":""}}`, "Unknown/Upstream", 0},
		"redirect":      {302, map[string]string{"Location": "https://evil.test/"}, ``, "Deferred/Upstream", 0},
		"no JSON":       {400, nil, `<html>`, "Failed/Message", 0},
		"not accepted":  {200, nil, ``, "Failed/Message", 0},
		"somebody else": {200, map[string]string{"request-id": ""}, `<html>log in</html>`, "Deferred/Upstream", 0},
		"two lines":     {400, nil, `{"error":{"code":"ErrorX","message":"a\r\nb\u0000"}}`, "Failed/Message", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, conformance.None)
			f.noDrafts = true
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/messages") {
					return false
				}
				io.Copy(io.Discard, r.Body) //nolint:errcheck // the client is there
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body) //nolint:errcheck // the client is there
				return true
			}
			out := f.transport().Deliver(t.Context(), conformance.Mail(t, head+"\r\nhello\r\n", "a@corp.test"))
			if conformance.Kinds(out) != c.want || out[0].RetryIn != c.retry || out[0].Remote == "" || out[0].Text == "" || strings.ContainsAny(out[0].Text, "\r\n\x00") {
				t.Errorf("%s, %+v", conformance.Kinds(out), out[0])
			}
		})
	}
}

// A 401 makes one new token; a second one is the upstream's trouble.
func TestTokenIsRefused(t *testing.T) {
	f := startFake(t, conformance.WrongCredentials)
	out := f.transport().Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test"))
	if conformance.Kinds(out) != "Failed/Upstream" || !strings.Contains(out[0].Text, "InvalidAuthenticationToken") {
		t.Errorf("%+v", out[0])
	}
	if got := f.rejectedTokens(); len(got) != 1 || len(f.requests()) != 2 {
		t.Errorf("rejected %d times, %q", len(got), f.requests())
	}
}

type brokenTokens struct{ err error }

func (b brokenTokens) Token(context.Context) (string, error) { return "", b.err }
func (brokenTokens) Reject(string)                           {}
func (brokenTokens) Close() error                            { return nil }

func TestNoToken(t *testing.T) {
	f := startFake(t, conformance.None)
	cause := errors.New("no token: AADSTS7000222: The provided client secret keys are expired")
	tr := f.transport(func(c *Config) { c.Tokens = brokenTokens{cause} })
	out := tr.Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test", "b@corp.test"))
	if conformance.Kinds(out) != "Deferred/Upstream Deferred/Upstream" || out[0].Text != cause.Error() || !errors.Is(out[0].Cause, cause) || len(f.requests()) != 0 {
		t.Errorf("%+v", out[0])
	}
}

// Who gives tokens may ask to wait.
func TestNoTokenForAWhile(t *testing.T) {
	f := startFake(t, conformance.None)
	tr := f.transport(func(c *Config) {
		c.Tokens = brokenTokens{fmt.Errorf("busy: %w", &oauth.Error{RetryIn: 9 * time.Second})}
	})
	if out := tr.Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test")); conformance.Kinds(out) != "Deferred/Upstream" || out[0].RetryIn != 9*time.Second {
		t.Errorf("%+v", out[0])
	}
}

// Exchange takes four requests at once for a mailbox.
func TestAtMostFourAtOnce(t *testing.T) {
	f := startFake(t, conformance.None)
	arrived, release := make(chan struct{}, 12), make(chan struct{})
	var mu sync.Mutex
	now, most := 0, 0
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		mu.Lock()
		now--
		mu.Unlock()
		return false
	}
	tr := f.transport()
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if out := tr.Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test")); conformance.Kinds(out) != "Accepted" {
				t.Error(out[0])
			}
		})
	}
	for range maxAtOnce {
		<-arrived
	}
	close(release)
	wg.Wait()
	if most != maxAtOnce {
		t.Errorf("%d at once, want %d", most, maxAtOnce)
	}
}

// A header that needs SMTPUTF8 is for an upstream that has it.
func TestUTF8Header(t *testing.T) {
	f := startFake(t, conformance.None)
	out := f.transport().Deliver(t.Context(), conformance.Mail(t, "From: <mfp@copier.test>\r\nSubject: grün\r\n\r\n", "a@corp.test"))
	if conformance.Kinds(out) != "Failed/Message" || len(f.requests()) != 0 {
		t.Errorf("%+v", out[0])
	}
}

// A mailbox is one segment of the path, whatever it holds.
func TestMailboxInPath(t *testing.T) {
	f := startFake(t, conformance.None)
	var got string
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		got = r.URL.EscapedPath()
		w.WriteHeader(202)
		return true
	}
	f.mailbox = "a/b%2f..?#@copier.test"
	tr := f.transport(func(c *Config) { c.Graph.Mailbox = f.mailbox })
	if out := tr.Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test")); conformance.Kinds(out) != "Accepted" || got != "/v1.0/users/a%2Fb%252f..%3F%23@copier.test/sendMail" {
		t.Errorf("%s, %q", conformance.Kinds(out), got)
	}
}

// The end of what is encoded comes when the source has ended well.
func TestEncoder(t *testing.T) {
	bad := errors.New("checksum")
	for _, size := range []int{0, 1, 2, 3, 4, encodeAtOnce - 1, encodeAtOnce, encodeAtOnce + 1, encodeAtOnce*2 + 5} {
		data := strings.Repeat("abcdefg", size/7+1)[:size]
		b, err := io.ReadAll(encoded(strings.NewReader(data), io.NopCloser(nil), int64(size)))
		want := base64.StdEncoding.EncodeToString([]byte(data))
		if err != nil || string(b) != want {
			t.Errorf("%d: %d octets, %v", size, len(b), err)
		}
		for name, r := range map[string]io.Reader{
			"spoilt": io.MultiReader(strings.NewReader(data), failing{bad}),
			"longer": strings.NewReader(data + "x"),
			"short":  strings.NewReader(data[:max(0, size-1)]),
		} {
			if name == "short" && size == 0 {
				continue
			}
			b, err := io.ReadAll(encoded(r, io.NopCloser(nil), int64(size)))
			if err == nil || len(want) > 0 && len(b) >= len(want) || name == "spoilt" && !errors.Is(err, bad) {
				t.Errorf("%s %d: %d octets of %d, %v", name, size, len(b), len(want), err)
			}
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
