package postmark

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/apifake"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "9e5dcd3f-fake-of-the-tests"

// request is what POST /email takes, by Postmark's reference "Email API".
type request struct {
	From, To, Cc, Bcc, ReplyTo, Subject string
	TextBody, HtmlBody                  string //nolint:revive,staticcheck // Postmark's spelling
	MessageStream, Tag, TrackLinks      string
	TrackOpens                          bool
	Headers                             []header
	Attachments                         []struct{ Name, ContentType, Content, ContentID string }

	to, cc, bcc, all []string
}

// What Postmark takes in an address (its support article on error 300), in a
// Content-ID and in a type (its announcement of attachment validation).
var (
	mailbox     = regexp.MustCompile("(?i)^[a-z0-9.!#$%&'`*+\\-/=^_{|}~]+@(\\.?[a-z0-9-])+$")
	contentID   = regexp.MustCompile(`^cid:[!-~]+$`)
	contentType = regexp.MustCompile(`^[a-z0-9.+-]+/[a-z0-9.+-]+$`)
)

// parse reads a request as strictly as Postmark is known to, and gives its
// complaint.
func parse(body []byte) (r request, complaint string) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, "Invalid JSON: " + err.Error()
	}
	for _, f := range []struct {
		name, value string
		into        *[]string
	}{{"From", r.From, &[]string{}}, {"To", r.To, &r.to}, {"Cc", r.Cc, &r.cc}, {"Bcc", r.Bcc, &r.bcc}, {"ReplyTo", r.ReplyTo, &[]string{}}} {
		if f.value == "" {
			continue
		}
		list, err := mail.ParseAddressList(f.value)
		if err != nil {
			return r, "Error parsing '" + f.name + "': " + err.Error()
		}
		for _, a := range list {
			if !mailbox.MatchString(a.Address) {
				return r, "Error parsing '" + f.name + "': Illegal email address '" + a.Address + "'"
			}
			*f.into = append(*f.into, a.Address)
		}
	}
	r.all = slices.Concat(r.to, r.cc, r.bcc)
	switch {
	case r.From == "":
		return r, "Invalid 'From' value."
	case len(r.to) == 0:
		return r, "Zero recipients specified"
	case len(r.all) > 50:
		return r, "Too many recipients"
	case strings.TrimSpace(r.TextBody) == "" && strings.TrimSpace(r.HtmlBody) == "":
		return r, "Provide either email TextBody or HtmlBody or both."
	case len(r.TextBody) > 5<<20 || len(r.HtmlBody) > 5<<20 || len(body) > 10<<20:
		return r, "Message too large"
	case slices.Compact(slices.Sorted(slices.Values(r.all)))[0] == "" || len(slices.Compact(slices.Sorted(slices.Values(r.all)))) != len(r.all):
		return r, "a recipient is there twice"
	}
	for _, h := range r.Headers {
		if h.Name == "" || h.Value == "" || strings.ContainsAny(h.Name+h.Value, "\r\n") {
			return r, "Invalid header " + h.Name
		}
	}
	for _, a := range r.Attachments {
		_, err := base64.StdEncoding.Strict().DecodeString(a.Content)
		switch {
		case err != nil || a.Content == "" || a.Name == "":
			return r, "Invalid attachment " + a.Name
		case !contentType.MatchString(a.ContentType), a.ContentID != "" && !contentID.MatchString(a.ContentID):
			return r, "Invalid attachment type or ID: " + a.ContentType + " " + a.ContentID
		}
	}
	return r, ""
}

// said is what a request says, as a digest compares it.
func (r request) said() apifake.Said {
	s := apifake.Said{Subject: r.Subject, Text: r.TextBody, HTML: r.HtmlBody}
	if a, err := mail.ParseAddress(r.From); err == nil {
		s.From = a.Address
	}
	if s.Text == noText {
		s.Text = ""
	}
	for _, a := range r.Attachments {
		content, _ := base64.StdEncoding.DecodeString(a.Content) // parse has looked
		s.Attachments = append(s.Attachments, apifake.Attachment{Name: a.Name, Type: a.ContentType, Size: int64(len(content)), Sum: sha256.Sum256(content)})
	}
	return s
}

// answers writes what Postmark answers.
func answers(w http.ResponseWriter, status, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body := map[string]any{"ErrorCode": code, "Message": message}
	if code == 0 {
		body["MessageID"], body["SubmittedAt"] = "0a129aee-e1cd-480d-b08d-4f48548ff48d", "2026-11-25T10:00:00Z"
	}
	json.NewEncoder(w).Encode(body)
}

func accept(w http.ResponseWriter) { answers(w, http.StatusOK, 0, "OK") }

// judge answers a request: inactive recipients are named, and if there are no
// others the message is refused.
func judge(_ *testing.T, w http.ResponseWriter, r *http.Request, body []byte) bool {
	if r.Method != http.MethodPost || r.URL.Path != "/email" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Accept") != "application/json" {
		answers(w, http.StatusNotFound, 0, "no such endpoint")
		return false
	}
	said, complaint := parse(body)
	switch {
	case complaint != "":
		answers(w, http.StatusUnprocessableEntity, 300, complaint)
		return false
	case slices.Contains(said.all, conformance.Refused) && len(said.all) == 1:
		answers(w, http.StatusUnprocessableEntity, 406, "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: "+conformance.Refused+
			". Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression.")
		return false
	case slices.Contains(said.all, conformance.Refused):
		answers(w, http.StatusOK, 0, "Message OK, but will not deliver to these inactive addresses: "+conformance.Refused)
		return true
	}
	accept(w)
	return true
}

var provider = apifake.Provider{
	Authorized: func(r *http.Request) bool { return r.Header.Get("X-Postmark-Server-Token") == token },
	Answer:     judge,
	Accept:     accept,
	Received: func(t *testing.T, body []byte) conformance.Received {
		r, complaint := parse(body)
		if complaint != "" {
			t.Error(complaint)
		}
		from, err := mail.ParseAddress(r.From)
		if err != nil {
			t.Fatal(err)
		}
		all := slices.DeleteFunc(r.all, func(a string) bool { return a == conformance.Refused })
		return conformance.Received{Sender: from.Address, Recipients: all, Size: int64(len(body)), Sum: r.said().Digest()}
	},
	Unauthorized: func(w http.ResponseWriter) {
		answers(w, http.StatusUnauthorized, 10, "Request does not contain a valid Server token.")
	},
	Throttled: func(w http.ResponseWriter) { answers(w, http.StatusTooManyRequests, 429, "Rate limit exceeded") },
	RefusesMessage: func(w http.ResponseWriter) {
		answers(w, http.StatusUnprocessableEntity, 411, "Forbidden attachment type")
	},
}

// transport makes one to an endpoint, with a server token.
func transport(t testing.TB, endpoint, serverToken, stream string) *translated.Transport {
	t.Helper()
	tr, err := New(translated.Config{
		Endpoint: endpoint, Private: true, Secret: "postmark",
		Secrets: func() secrets.Source { return secrets.Map{"postmark": {"apiKey": []byte(serverToken)}} },
	}, stream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// scans is the size of a scan that fits Postmark's limit.
const scans = 9 << 20

func TestConformance(t *testing.T) {
	h := apifake.Harness(provider, token, "another-token", func(t testing.TB, endpoint, key string) upstream.Transport {
		return transport(t, endpoint, key, "")
	})
	h.Large, h.Separate = scans, true
	conformance.Run(t, h)
}

func BenchmarkScan(b *testing.B) {
	s := apifake.Answer(b, func(w http.ResponseWriter, _ *http.Request) { accept(w) })
	conformance.BenchmarkLarge(b, transport(b, s.URL, token, ""), scans)
}
