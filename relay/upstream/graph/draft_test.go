package graph

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// octets that look like a file and repeat nowhere near.
func octets(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		s := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		b.Write(s[:])
	}
	return b.String()[:n]
}

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func wrapped(s string) string {
	b := base64.StdEncoding.EncodeToString([]byte(s))
	var out strings.Builder
	for len(b) > 76 {
		out.WriteString(b[:76] + "\r\n")
		b = b[76:]
	}
	return out.String() + b + "\r\n"
}

type mimePart struct{ header, content string }

func mixed(header string, parts ...mimePart) string {
	s := header + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n"
	for _, p := range parts {
		s += "--outer\r\n" + p.header + "\r\n\r\n" + p.content
	}
	return s + "--outer--\r\n"
}

const asPDF = "Content-Type: application/pdf; name=\"=?utf-8?q?Gr=C3=BCn=2Epdf?=\"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment"

// All that a draft carries, by all its ways: a file in one request, one in pieces.
func TestDraft(t *testing.T) {
	for _, secure := range []bool{false, true} {
		f := startFakeBy(t, conformance.None, secure)
		tr, small, big, picture := f.transport(), octets(1_000_000), octets(5_000_001), octets(500)
		if secure {
			tr, small, big = f.small(), octets(10_000), octets(100_001)
		}
		content := mixed(
			"Received: from x\r\nFrom: =?utf-8?q?Ger=C3=A4t?= <mfp@copier.test>\r\nTo: Ann <a@corp.test>, z@corp.test\r\nCc: c@corp.test\r\nReply-To: r@corp.test\r\n"+
				"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@relay.test>\r\nDate: Wed, 25 Nov 2026 22:00:00 +0000\r\nX-Priority: 1 (Highest)\r\nX-Device: 3\r\nUser-Agent: mfp\r\n",
			mimePart{"Content-Type: multipart/related; boundary=inner", "--inner\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<p>\"gr\xfcn\" <img src=\"cid:p1\">\r\n" +
				"--inner\r\nContent-Type: image/png; name=p.png\r\nContent-ID: <p1>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n" + wrapped(picture) + "--inner--\r\n"},
			mimePart{asPDF, wrapped(big)},
			mimePart{strings.ReplaceAll(asPDF, "=?utf-8?q?Gr=C3=BCn=2Epdf?=", "small.pdf"), wrapped(small)},
		)
		out := tr.Deliver(t.Context(), conformance.Mail(t, content, "c@corp.test", "x@corp.test", "a@corp.test"))
		if conformance.Kinds(out) != "Accepted Accepted Accepted" || out[0].RemoteID == "" || len(f.submitted()) != 1 || f.left() != 0 {
			t.Fatalf("%s, %d sent, %d drafts left: %+v", conformance.Kinds(out), len(f.submitted()), f.left(), out[0])
		}
		d := f.submitted()[0]
		if d.Subject != "Grüße" || d.MessageID != "<1@relay.test>" || d.Importance != "high" || fmt.Sprint(d.Headers) != "[{X-Device 3}]" {
			t.Errorf("%+v", d)
		}
		if d.From.EmailAddress.Name != "Gerät" || d.To[0].EmailAddress.Name != "Ann" || fmt.Sprint(addresses(d.To), addresses(d.Cc), addresses(d.Bcc), addresses(d.ReplyTo)) != "[a@corp.test] [c@corp.test] [x@corp.test] [r@corp.test]" {
			t.Errorf("%+v", d)
		}
		if d.Body.ContentType != "html" || strings.TrimSpace(d.Body.Content) != `<p>"grün" <img src="cid:p1">` {
			t.Errorf("body %+v", d.Body)
		}
		var got []string
		for _, a := range d.files {
			got = append(got, fmt.Sprint(a.Name, " ", a.Type, " ", a.Inline, " ", a.ContentID, " ", a.Size, " ", a.Sum))
		}
		want := []string{
			"p.png image/png true p1 500 " + sum(picture),
			fmt.Sprint("Grün.pdf application/pdf false  ", len(big), " ", sum(big)),
			fmt.Sprint("small.pdf application/pdf false  ", len(small), " ", sum(small)),
		}
		if !slices.Equal(got, want) {
			t.Errorf("files %q, want %q", got, want)
		}
	}
}

// A file between the two ways: the one that the size seems to ask for is refused.
func TestFileOnTheBorder(t *testing.T) {
	f := startFake(t, conformance.None)
	f.minSession = 40_000
	file := octets(30_000)
	out := f.small().Deliver(t.Context(), conformance.Mail(t, mixed(head, mimePart{asPDF, wrapped(file)}), "a@corp.test"))
	if conformance.Kinds(out) != "Accepted" || len(f.submitted()[0].files) != 1 || f.submitted()[0].files[0].Sum != sum(file) {
		t.Errorf("%+v", out[0])
	}
}

func large(n int) string {
	return mixed(head, mimePart{"Content-Type: text/plain", "the scan\r\n"}, mimePart{asPDF, wrapped(octets(n))})
}

// Nothing is sent where a step fails, no draft is left, and nothing is unknown
// before the last step.
func TestDraftFails(t *testing.T) {
	fail := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); io.WriteString(w, body) } //nolint:errcheck // the client is there
	}
	for name, c := range map[string]struct {
		at, want string // at: a request's method and how its path ends
		answer   func(http.ResponseWriter)
		left     int
	}{
		"create: their trouble":     {"POST /messages", "Deferred/Upstream", fail(500, ""), 0},
		"create: a gateway":         {"POST /messages", "Deferred/Upstream", fail(504, ""), 0},
		"create: no id":             {"POST /messages", "Deferred/Upstream", fail(201, `{"subject":"x"}`), 0},
		"create: 200":               {"POST /messages", "Deferred/Upstream", fail(200, `{"id":"x"}`), 0},
		"create: sender":            {"POST /messages", "Failed/Message", fail(403, `{"error":{"code":"ErrorSendAsDenied","message":"x"}}`), 0},
		"session: throttled":        {"POST /createUploadSession", "Deferred/Upstream", fail(429, `{"error":{"code":"ApplicationThrottled","message":"x"}}`), 0},
		"session: too large":        {"POST /createUploadSession", "Failed/Message", fail(400, `{"error":{"code":"ErrorMessageSizeExceeded","message":"x"}}`), 0},
		"session: nowhere":          {"POST /createUploadSession", "Deferred/Upstream", fail(201, `{}`), 0},
		"session: in clear":         {"POST /createUploadSession", "Deferred/Upstream", fail(201, `{"uploadUrl":"ftp://outlook.test/"}`), 0},
		"session: cloud's metadata": {"POST /createUploadSession", "Deferred/Upstream", fail(201, `{"uploadUrl":"http://169.254.169.254/x"}`), 0},
		"piece: session has ended":  {"PUT bytes 40960", "Deferred/Upstream", fail(404, `{"error":{"code":"ErrorItemNotFound","message":"x"}}`), 0},
		"piece: somewhere else":     {"PUT bytes 0", "Deferred/Upstream", fail(200, `{"nextExpectedRanges":["7"]}`), 0},
		"piece: a gateway":          {"PUT bytes 0", "Deferred/Upstream", fail(502, ""), 0},
		"last piece: not attached":  {"PUT bytes 81920", "Deferred/Upstream", fail(200, `{"nextExpectedRanges":["100000"]}`), 0},
		"send: sender":              {"POST /send", "Failed/Message", fail(403, `{"error":{"code":"ErrorSendAsDenied","message":"x"}}`), 0},
		"send: too large":           {"POST /send", "Failed/Message", fail(413, ""), 0},
		"send: a gateway":           {"POST /send", "Unknown/Upstream", fail(504, ""), 1},
		"send: 200":                 {"POST /send", "Failed/Message", fail(200, ""), 0},
		"and the draft stays there": {"POST /send DELETE /messages", "Deferred/Upstream", fail(500, ""), 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, conformance.None)
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				path := r.URL.Path
				if i := strings.LastIndex(path, "/"); i >= 0 && r.Method == http.MethodPost {
					path = path[i:]
				}
				is := r.Method + " " + path
				if r.Method == http.MethodPut {
					is = "PUT " + strings.Split(r.Header.Get("Content-Range"), "-")[0]
				}
				if r.Method == http.MethodDelete {
					is = "DELETE /messages"
				}
				if !strings.Contains(c.at, is) {
					return false
				}
				io.Copy(io.Discard, r.Body) //nolint:errcheck // the client is there
				c.answer(w)
				return true
			}
			out := f.small().Deliver(t.Context(), conformance.Mail(t, large(100_000), "a@corp.test", "b@corp.test"))
			if conformance.Kinds(out) != c.want+" "+c.want || out[0].Text == "" || out[0].Remote == "" || strings.Contains(fmt.Sprint(out), authToken) {
				t.Errorf("%s: %+v", conformance.Kinds(out), out[0])
			}
			if len(f.submitted()) != 0 || f.left() != c.left {
				t.Errorf("%d sent, %d drafts left", len(f.submitted()), f.left())
			}
		})
	}
}

// The answer to what sends is lost: nobody knows, and nothing is tidied away.
func TestSendOfDraftIsCutOff(t *testing.T) {
	f := startFake(t, conformance.CutsLate)
	out := f.small().Deliver(t.Context(), conformance.Mail(t, large(100_000), "a@corp.test"))
	if conformance.Kinds(out) != "Unknown/Upstream" || len(f.submitted()) != 1 || slices.ContainsFunc(f.requests(), func(s string) bool { return strings.HasPrefix(s, "DELETE") }) {
		t.Errorf("%s, %d sent, %q", conformance.Kinds(out), len(f.submitted()), f.requests())
	}
}

// An attempt that is stopped in the middle of an upload takes its draft away.
func TestStoppedWhileUploading(t *testing.T) {
	f := startFake(t, conformance.None)
	ctx, cancel := context.WithCancel(t.Context())
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			cancel()
			io.Copy(io.Discard, r.Body) //nolint:errcheck // it breaks off
			return true
		}
		return false
	}
	out := f.small().Deliver(ctx, conformance.Mail(t, large(100_000), "a@corp.test"))
	if conformance.Kinds(out) != "Deferred/Upstream" || f.left() != 0 || len(f.submitted()) != 0 {
		t.Errorf("%s, %d drafts left", conformance.Kinds(out), f.left())
	}
}

// ... and one that is stopped before its draft is there has nothing to take away.
func TestStoppedBeforeTheDraft(t *testing.T) {
	f := startFake(t, conformance.None)
	ctx, cancel := context.WithCancel(t.Context())
	m := conformance.Mail(t, large(100_000), "a@corp.test")
	open, opened := m.Open, 0
	m.Open = func() (io.ReadCloser, error) {
		if opened++; opened == 2 {
			cancel()
		}
		return open()
	}
	if out := f.small().Deliver(ctx, m); conformance.Kinds(out) != "Deferred/Upstream" || len(f.requests()) != 0 {
		t.Errorf("%+v, %q", out[0], f.requests())
	}
}

// A token that ends in the middle is replaced, and the file goes from its start.
func TestTokenEndsWhileUploading(t *testing.T) {
	f := startFake(t, conformance.None)
	once := true
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if once && strings.HasSuffix(r.URL.Path, "/attachments") {
			once = false
			io.Copy(io.Discard, r.Body) //nolint:errcheck // the client is there
			refuse(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
			return true
		}
		return false
	}
	big, small := octets(35_000), octets(20_000)
	content := mixed(head, mimePart{asPDF, wrapped(small)}, mimePart{asPDF, wrapped(big)})
	out := f.small().Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))
	if conformance.Kinds(out) != "Accepted" || len(f.rejectedTokens()) != 1 || len(f.submitted()[0].files) != 2 || f.submitted()[0].files[0].Sum != sum(small) || f.submitted()[0].files[1].Sum != sum(big) {
		t.Errorf("%+v", out[0])
	}
}

// Without the permission the next upstream is asked, and soon nobody tries any more.
func TestDraftsAreNotAllowed(t *testing.T) {
	f := startFake(t, conformance.None)
	f.noDrafts = true
	tr := f.small()
	if c := tr.Capabilities(); c.MaxSize != 0 || c.UTF8 {
		t.Errorf("before: %+v", c)
	}
	for range 2 {
		out := tr.Deliver(t.Context(), conformance.Mail(t, large(100_000), "a@corp.test"))
		if conformance.Kinds(out) != "Failed/Message" || out[0].Code != 552 || !strings.Contains(out[0].Text, "Mail.ReadWrite") {
			t.Errorf("%+v", out[0])
		}
	}
	if got := f.requests(); !slices.Equal(got, []string{"POST /messages"}) {
		t.Errorf("%q", got)
	}
	if c := tr.Capabilities(); c.MaxSize != tr.limits.sendMail {
		t.Errorf("after: %+v", c)
	}
	if out := tr.Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test")); conformance.Kinds(out) != "Accepted" {
		t.Errorf("a small one: %+v", out[0])
	}
	if later := time.Now().Add(noDraftFor + time.Second); tr.known.noDrafts(later) {
		t.Error("it is never tried again")
	}
	f.noDrafts = false
	tr.known.learn(tokenWith(50, "Mail.Send")) // what was granted does not show yet
	f.issue("Mail.Send", "Mail.ReadWrite")
	if out := tr.Deliver(t.Context(), conformance.Mail(t, head+"\r\n", "a@corp.test")); conformance.Kinds(out) != "Accepted" || tr.Capabilities().MaxSize != 0 {
		t.Errorf("a new role in the token makes no difference: %+v", out[0])
	}
}

// sendMail finds it too large although it should not: a draft is tried.
func TestSendMailFindsItTooLarge(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"413": func(w http.ResponseWriter) { w.WriteHeader(413) },
		"code": func(w http.ResponseWriter) {
			refuse(w, 400, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
		},
		"200": func(w http.ResponseWriter) { w.WriteHeader(200) },
	} {
		f := startFake(t, conformance.None)
		f.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/sendMail") {
				return false
			}
			io.Copy(io.Discard, r.Body) //nolint:errcheck // the client is there
			answer(w)
			return true
		}
		if out := f.small().Deliver(t.Context(), conformance.Mail(t, large(10_000), "a@corp.test")); conformance.Kinds(out) != "Accepted" || len(f.submitted()) != 1 {
			t.Errorf("%s: %+v", name, out[0])
		}
	}
}

// What a draft cannot say is refused with the reason, before anything is made.
func TestDraftCannotCarry(t *testing.T) {
	pdf := mimePart{asPDF, wrapped(octets(100_000))}
	for want, content := range map[string]string{
		"signature":      mixed(head, mimePart{"Content-Type: multipart/signed; boundary=inner; protocol=x", "--inner\r\nContent-Type: text/plain\r\n\r\nx\r\n--inner\r\nContent-Type: application/pkcs7-signature\r\n\r\nx\r\n--inner--\r\n"}, pdf),
		"X-Six":          mixed(head+"X-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\nX-Four: 4\r\nX-Five: 5\r\nX-Six: 6\r\n", pdf),
		"List-Id":        mixed(head+"List-Id: <x.y>\r\n", pdf),
		"a text of":      mixed(head, mimePart{"Content-Type: text/plain", strings.Repeat("a line of text\r\n", 100_000)}, pdf),
		"From":           mixed("From: a@copier.test, b@copier.test\r\n", pdf),
		"cannot be deco": mixed(head, mimePart{asPDF, "!!!!\r\n"}, pdf),
	} {
		f := startFake(t, conformance.None)
		out := f.small().Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))
		if want == "X-Six" {
			want = "6 header fields"
		}
		if conformance.Kinds(out) != "Failed/Message" || !strings.Contains(out[0].Text, want) || !strings.Contains(out[0].Text, "larger") || len(f.requests()) != 0 {
			t.Errorf("%s: %+v, %q", want, out[0], f.requests())
		}
	}
}

// One of many is refused while the draft is made.
func TestOneOfManyIsRefusedInDraft(t *testing.T) {
	f := startFake(t, conformance.None)
	out := f.small().Deliver(t.Context(), conformance.Mail(t, large(100_000), "a@corp.test", conformance.Refused))
	if conformance.Kinds(out) != "Accepted Failed/Recipient" || len(f.submitted()) != 1 || f.left() != 0 {
		t.Errorf("%s, %d sent", conformance.Kinds(out), len(f.submitted()))
	}
}

// A stored message that turns out to be spoilt between the two times that it is
// read is not sent.
func TestSpoiltInTheMiddleOfADraft(t *testing.T) {
	f := startFake(t, conformance.None)
	content := large(100_000)
	opened := 0
	m := conformance.Mail(t, content, "a@corp.test")
	spoilt := errors.New("checksum")
	m.Open = func() (io.ReadCloser, error) {
		if opened++; opened < 4 {
			return io.NopCloser(strings.NewReader(content)), nil
		}
		return io.NopCloser(io.MultiReader(strings.NewReader(content), failing{spoilt})), nil
	}
	out := f.small().Deliver(t.Context(), m)
	if out[0].Kind != upstream.Deferred || out[0].Scope != upstream.ScopeMessage || !errors.Is(out[0].Cause, spoilt) || len(f.submitted()) != 0 || f.left() != 0 {
		t.Errorf("opened %d times: %+v, %d sent, %d left", opened, out[0], len(f.submitted()), f.left())
	}
}
