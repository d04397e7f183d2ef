// Package vendorapi holds the requests of the API upstreams against OpenAPI
// documents, by a validator that is not ours (README.md).
package vendorapi

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/postmark"
	"github.com/printerrelay/printer-relay/relay/upstream/sendgrid"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
	"github.com/printerrelay/printer-relay/test/env"
)

var listening = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)`)

// serve lets Prism serve a document, and gives its URL.
func serve(t *testing.T, document string) string {
	t.Helper()
	root := filepath.Join(env.Root(t), "test", "vendorapi")
	program := filepath.Join(root, "prism", "node_modules", "@stoplight", "prism-cli", "dist", "index.js")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v: run make test-deps", err)
	}
	p := env.Start(t, root, "node", program, "mock", "--host", "127.0.0.1", "--port", "0", "--errors", filepath.Join(root, document))
	env.Eventually(t, "Prism listens", p.Output, func() bool {
		if !p.Running() {
			t.Fatalf("Prism ended:\n%s", p.Output())
		}
		return listening.MatchString(p.Output())
	})
	return listening.FindStringSubmatch(p.Output())[1]
}

func config(endpoint string) translated.Config {
	return translated.Config{
		Endpoint: endpoint, Private: true, Secret: "s",
		Secrets: func() secrets.Source { return secrets.Map{"s": {"apiKey": []byte("a-key-of-the-tests")}} },
	}
}

const (
	from = "From: \"Copier, 3rd\" <mfp@copier.test>\n"
	pdf  = "--b\nContent-Type: application/pdf; name=\"=?utf-8?q?=C3=BCber.pdf?=\"\nContent-Transfer-Encoding: base64\n\nJVBERi0xLjc=\n"
)

// messages are of all forms that are translated.
var messages = map[string]string{
	"a text":       from + "To: a@corp.test\nSubject: x\n\nhello\n",
	"nothing":      from + "\n",
	"a scan":       from + "To: =?utf-8?q?J=C3=B6rg?= <a@corp.test>\nCc: b@corp.test\nReply-To: R <r@corp.test>, s@corp.test\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@copier.test>\nX-Priority: 1\nReferences: <0@copier.test>\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n\n" + pdf + "--b--\n",
	"html":         from + "To: a@corp.test\nContent-Type: text/html\n\n<p>\n",
	"alternatives": from + "Content-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b\nContent-Type: multipart/related; boundary=c\n\n--c\nContent-Type: text/html\n\n<img src=cid:x@y>\n--c\nContent-Type: image/png\nContent-ID: <x@y>\n\nPNG\n--c--\n--b--\n",
	"a report":     from + "Auto-Submitted: auto-replied\nContent-Type: multipart/report; boundary=b\n\n--b\n\nfailed\n--b\nContent-Type: message/delivery-status\n\nX: y\n--b\nContent-Type: text/rfc822-headers\n\nSubject: z\n--b--\n",
	"a mail in it": from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nfwd\n--b\nContent-Type: message/rfc822\n\nSubject: z\n\nx\n--b--\n",
}

// envelopes are sets of recipients, named by the header or not.
var envelopes = [][]string{{"a@corp.test"}, {"a@corp.test", "b@corp.test", "c@corp.test"}, {"b@corp.test"}, {"c@corp.test", "d@corp.test"}}

func deliverAll(t *testing.T, tr upstream.Transport) {
	t.Helper()
	for name, content := range messages {
		content = strings.ReplaceAll(content, "\n", "\r\n")
		for _, to := range envelopes {
			m := &upstream.Message{ID: "V1", Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(content)), nil
			}}
			for _, s := range to {
				a, err := envelope.ParseAddress(s)
				if err != nil {
					t.Fatal(err)
				}
				m.Recipients = append(m.Recipients, a)
			}
			for i, o := range tr.Deliver(t.Context(), m) {
				if o.Kind != upstream.Accepted {
					t.Errorf("%s to %s: %s", name, to[i], o)
				}
			}
		}
	}
}

// refuses makes sure that the validator validates.
func refuses(t *testing.T, url, header, value string, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json"}, header: {value}}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s: %d, want a refusal", body, resp.StatusCode)
		}
	}
}

func check(t *testing.T, tr upstream.Transport) upstream.Health {
	t.Helper()
	h := tr.(upstream.Checker).Check(t.Context())
	if h.Reachable != upstream.Good || h.Credentials != upstream.Good {
		t.Errorf("%+v", h)
	}
	return h
}

func TestSendGrid(t *testing.T) {
	t.Parallel()
	url := serve(t, "sendgrid/tsg_mail_v3.json")
	tr, err := sendgrid.New(config(url))
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	deliverAll(t, tr)
	refuses(t, url+"/v3/mail/send", "Authorization", "Bearer x", `{}`,
		`{"personalizations":[{}],"from":{"email":"a@b.test"},"subject":"x","content":[{"type":"text/plain","value":"x"}]}`,
		`{"personalizations":[{"to":[{"email":"a@b.test"}]}],"from":{"email":"a@b.test"},"subject":"x","content":[{"type":"text/plain","value":""}]}`)

	scopes, err := sendgrid.New(config(serve(t, "sendgrid/tsg_scopes_v3.json")))
	if err != nil {
		t.Fatal(err)
	}
	defer scopes.Close()
	if h := check(t, scopes); len(h.Warnings) != 1 || !strings.Contains(h.Warnings[0], "alerts.create") {
		t.Errorf("%+v", h) // the document's example
	}
}

func TestPostmark(t *testing.T) {
	t.Parallel()
	url := serve(t, "postmark/openapi.yaml")
	for _, stream := range []string{"", "scans"} {
		tr, err := postmark.New(config(url), stream)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		deliverAll(t, tr)
		if h := check(t, tr); h.Text != fmt.Sprintf("the token is of the server %q", "Scans") {
			t.Errorf("%+v", h)
		}
	}
	refuses(t, url+"/email", "X-Postmark-Server-Token", "x", `{}`, `{"From":"a@b.test","To":"a@b.test"}`, `{"From":"a@b.test","To":"a@b.test","TextBody":" "}`,
		`{"From":"a@b.test","To":"a@b.test","TextBody":"x","Sender":"y"}`)
}
