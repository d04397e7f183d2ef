package sendgrid

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/apifake"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "SG.fake-key.of-the-tests"

// request is what POST /v3/mail/send takes, as far as it is used here; the names
// are those of SendGrid's OpenAPI document (test/vendorapi/sendgrid).
type request struct {
	Personalizations []personalization `json:"personalizations"`
	From             address           `json:"from"`
	ReplyToList      []address         `json:"reply_to_list"`
	Subject          string            `json:"subject"`
	Headers          map[string]string `json:"headers"`
	Content          []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"content"`
	Attachments []struct {
		Filename    string `json:"filename"`
		Type        string `json:"type"`
		Disposition string `json:"disposition"`
		ContentID   string `json:"content_id"`
		Content     string `json:"content"`
	} `json:"attachments"`
	TrackingSettings map[string]map[string]bool `json:"tracking_settings"`
	MailSettings     map[string]map[string]bool `json:"mail_settings"`
}

// parse reads a request as strictly as SendGrid is known to (its page "Errors" of
// the Mail Send API), and gives its complaint with the field.
func parse(body []byte) (r request, complaint, field string) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return r, "Bad Request: " + err.Error(), ""
	}
	if n := len(r.Personalizations); n == 0 || n > 1000 {
		return r, fmt.Sprintf("%d personalizations", n), "personalizations"
	}
	seen := map[string]bool{}
	for i, p := range r.Personalizations {
		if len(p.To) == 0 {
			return r, "The to array is required for all personalization objects, and must have at least one email object with a valid email address.", fmt.Sprintf("personalizations.%d.to", i)
		}
		for kind, list := range map[string][]address{"to": p.To, "cc": p.Cc, "bcc": p.Bcc} {
			for j, a := range list {
				at := fmt.Sprintf("personalizations.%d.%s.%d.email", i, kind, j)
				if a.Email == conformance.Refused || !strings.Contains(a.Email, "@") {
					return r, "Does not contain a valid address.", at
				}
				if low := strings.ToLower(a.Email); seen[low] {
					return r, "Each email address in the personalization block should be unique between to, cc, and bcc.", at
				} else if seen[low] = true; len(seen) > 1000 {
					return r, "There is a limit of 1000 total recipients (to + cc + bcc) per request.", ""
				}
			}
		}
	}
	if r.Subject == "" {
		return r, "The subject is required.", "subject"
	}
	for name := range r.Headers {
		if slices.Contains([]string{"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding", "to", "from", "subject", "reply-to", "cc", "bcc"}, strings.ToLower(name)) {
			return r, "The header " + name + " is reserved.", "headers"
		}
	}
	for i, c := range r.Content {
		if c.Value == "" {
			return r, "The content value must be a string at least one character in length.", fmt.Sprintf("content.%d.value", i)
		}
		if i > 0 && c.Type == "text/plain" {
			return r, "If present, text/plain and text/html may only be provided once, and text/plain first.", "content"
		}
	}
	if len(r.Content) == 0 {
		return r, "Unless a valid template_id is provided, the content parameter is required.", "content"
	}
	for i, a := range r.Attachments {
		if _, err := base64.StdEncoding.Strict().DecodeString(a.Content); err != nil || a.Content == "" {
			return r, "The attachment content must be base64 encoded.", fmt.Sprintf("attachments.%d.content", i)
		}
		if a.Filename == "" || strings.ContainsAny(a.Type, ";\r\n") || a.Type == "" {
			return r, "The filename of the attachment is a required field.", fmt.Sprintf("attachments.%d", i)
		}
	}
	return r, "", ""
}

// said is what a request says, as a digest compares it.
func (r request) said() apifake.Said {
	s := apifake.Said{Subject: r.Subject, From: r.From.Email}
	if s.Subject == noSubject {
		s.Subject = ""
	}
	for _, c := range r.Content {
		if c.Type == "text/html" {
			s.HTML = c.Value
		} else {
			s.Text = c.Value
		}
	}
	for _, a := range r.Attachments {
		content, _ := base64.StdEncoding.DecodeString(a.Content) // parse has looked
		s.Attachments = append(s.Attachments, apifake.Attachment{Name: a.Filename, Type: a.Type, Size: int64(len(content)), Sum: sha256.Sum256(content)})
	}
	return s
}

func (r request) recipients() (all []string) {
	for _, p := range r.Personalizations {
		for _, list := range [][]address{p.To, p.Cc, p.Bcc} {
			for _, a := range list {
				all = append(all, a.Email)
			}
		}
	}
	return all
}

func refuse(w http.ResponseWriter, status int, message, field string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]any{{"message": message, "field": field, "help": nil}}})
}

func provider(limitReset func() time.Time) apifake.Provider {
	accept := func(w http.ResponseWriter) {
		w.Header().Set("X-Message-Id", "14c5d75ce93.dfd.64b469")
		w.WriteHeader(http.StatusAccepted)
	}
	return apifake.Provider{
		Authorized: func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+key },
		Answer: func(_ *testing.T, w http.ResponseWriter, r *http.Request, body []byte) bool {
			if r.Method != http.MethodPost || r.URL.Path != "/v3/mail/send" || r.Header.Get("Content-Type") != "application/json" {
				refuse(w, http.StatusNotFound, "not found", "")
				return false
			}
			if _, complaint, field := parse(body); complaint != "" {
				refuse(w, http.StatusBadRequest, complaint, field)
				return false
			}
			accept(w)
			return true
		},
		Accept: accept,
		Received: func(t *testing.T, body []byte) conformance.Received {
			r, complaint, field := parse(body)
			if complaint != "" {
				t.Errorf("%s (%s)", complaint, field)
			}
			return conformance.Received{Sender: r.From.Email, Recipients: r.recipients(), Size: int64(len(body)), Sum: r.said().Digest()}
		},
		Unauthorized: func(w http.ResponseWriter) {
			refuse(w, http.StatusUnauthorized, "The provided authorization grant is invalid, expired, or revoked", "")
		},
		Throttled: func(w http.ResponseWriter) {
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(limitReset().Unix(), 10))
			refuse(w, http.StatusTooManyRequests, "too many requests", "")
		},
		RefusesMessage: func(w http.ResponseWriter) {
			refuse(w, http.StatusRequestEntityTooLarge, "content too large", "")
		},
	}
}

func inAnHour() time.Time { return time.Now().Add(time.Hour) }

// transport makes one to an endpoint, with the key apiKey.
func transport(t testing.TB, endpoint, apiKey string) *translated.Transport {
	t.Helper()
	tr, err := New(translated.Config{
		Endpoint: endpoint, Private: true, Secret: "sendgrid",
		Secrets: func() secrets.Source { return secrets.Map{"sendgrid": {"apiKey": []byte(apiKey)}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func TestConformance(t *testing.T) {
	h := apifake.Harness(provider(inAnHour), key, "SG.another", func(t testing.TB, endpoint, key string) upstream.Transport {
		return transport(t, endpoint, key)
	})
	h.RetryAfter = true
	conformance.Run(t, h)
}

func BenchmarkScan(b *testing.B) {
	s := apifake.Answer(b, func(w http.ResponseWriter, _ *http.Request) { provider(inAnHour).Accept(w) })
	conformance.BenchmarkLarge(b, transport(b, s.URL, key), 25<<20)
}
