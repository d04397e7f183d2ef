package interop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// localSES is npm's aws-ses-v2-local, behind a proxy that keeps what passes: the
// program shows what it made of a mail, and not how it was asked.
type localSES struct {
	*env.Process
	URL   string // of the program itself
	proxy *httptest.Server

	mu       sync.Mutex
	requests []sesRequest
}

// sesRequest is a SendEmail as it came.
type sesRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	body    []byte
	asked   sesSendEmail
	status  int
	answer  string
}

// sesSendEmail is the request syntax of SendEmail, as far as it is used.
type sesSendEmail struct {
	FromEmailAddress, ConfigurationSetName string
	Destination                            struct{ ToAddresses, CcAddresses, BccAddresses []string }
	EmailTags                              []struct{ Name, Value string }
	Content                                struct{ Raw struct{ Data []byte } }
}

// sesMail is a mail in the program's store.
type sesMail struct {
	MessageID   string `json:"messageId"`
	From        string `json:"from"`
	Subject     string `json:"subject"`
	Attachments []struct {
		Filename string `json:"filename"`
		Content  []byte `json:"content"`
	} `json:"attachments"`
}

const sesAccount = `{"DedicatedIpAutoWarmupEnabled":true,"Details":{"AdditionalContactEmailAddresses":[],"ContactLanguage":"EN","MailType":"TRANSACTIONAL",
"ReviewDetails":{"CaseId":"1","Status":"GRANTED"},"UseCaseDescription":"scans","WebsiteURL":"https://example.com"},"EnforcementStatus":"HEALTHY","ProductionAccessEnabled":true,
"SendingEnabled":true,"SendQuota":{"Max24HourSend":50000,"MaxSendRate":500,"SentLast24Hours":1},"SuppressionAttributes":{"SuppressedReasons":[]}}`

func startSES(t *testing.T) *localSES {
	t.Helper()
	s := &localSES{}
	port := env.FreePort(t)
	s.URL = fmt.Sprintf("http://127.0.0.1:%d", port)
	s.Process = env.Start(t, t.TempDir(), "env", "AWS_SES_ACCOUNT="+sesAccount, "node",
		filepath.Join(env.Root(t), "test/interop/ses/node_modules/aws-ses-v2-local/dist/cli.js"), "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	env.Eventually(t, "aws-ses-v2-local listens", s.Output, func() bool { return env.Listening(env.Loopback(port)) })
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(to)
	s.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			forward.ServeHTTP(w, r)
			return
		}
		s.keep(t, w, r, forward)
	}))
	t.Cleanup(s.proxy.Close)
	return s
}

func newSESRequest(r *http.Request) sesRequest {
	q := sesRequest{Method: r.Method, URL: "http://" + r.Host + r.RequestURI, Headers: map[string]string{"host": r.Host, "content-length": fmt.Sprint(r.ContentLength)}}
	for name, values := range r.Header {
		q.Headers[name] = strings.Join(values, ",")
	}
	return q
}

func (s *localSES) keep(t *testing.T, w http.ResponseWriter, r *http.Request, forward http.Handler) {
	q := newSESRequest(r)
	var err error
	if q.body, err = io.ReadAll(r.Body); err != nil {
		t.Errorf("the request breaks off: %v", err)
		return
	}
	if err := json.Unmarshal(q.body, &q.asked); err != nil {
		t.Errorf("the request is no JSON: %v", err)
	}
	r.Body = io.NopCloser(bytes.NewReader(q.body))
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r)
	q.status, q.answer = answer.Code, answer.Body.String()
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes()) //nolint:errcheck // the relay sees it
	s.mu.Lock()
	s.requests = append(s.requests, q)
	s.mu.Unlock()
}

func (s *localSES) sent() []sesRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// store gives the mails that the program holds.
func (s *localSES) store(t *testing.T) []sesMail {
	t.Helper()
	resp, err := http.Get(s.URL + "/store")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Emails []sesMail `json:"emails"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out.Emails
}

const (
	sesKey    = "AKIAIOSFODNN7EXAMPLE"
	sesSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	sesToken  = "IQoJb3JpZ2luX2VjEXAMPLE//TOKEN=="
)

// verified has botocore recompute the signature.
func (q *sesRequest) verified(t *testing.T, secret string) string {
	t.Helper()
	dir := t.TempDir()
	record, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	env.WriteFile(t, filepath.Join(dir, "record.json"), string(record))
	env.WriteFile(t, filepath.Join(dir, "body"), string(q.body))
	out, err := env.Run(t, "", "/usr/bin/python3", "ses_verify.py", filepath.Join(dir, "record.json"), filepath.Join(dir, "body"), secret)
	if err != nil {
		return "wrong: " + out
	}
	return strings.TrimSpace(out)
}

// sesManifests are a relay with the sample's upstream, at the local server.
func sesManifests(t *testing.T, endpoint string) string {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(env.Root(t), "config/samples/upstreams/ses.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(env.Root(t), "docs/upstreams/ses.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), string(sample)) {
		t.Error("docs/upstreams/ses.md shows another sample than config/samples/upstreams/ses.yaml")
	}
	const region = "    region: eu-central-1\n"
	local := strings.Replace(string(sample), region, region+"    endpoint: "+endpoint+"\n    credentials: {type: Secret, secretRef: {name: aws}}\n", 1)
	local = strings.Replace(local, "spec:\n", "spec:\n  allowPrivateHosts: true\n", 1)
	if strings.Count(local, endpoint)+strings.Count(local, "allowPrivateHosts") != 2 {
		t.Fatalf("the sample has changed:\n%s", sample)
	}
	return head + "  upstreamRef: {name: ses}\n---\n" + local
}

func awsSecret(key, access, token string) string {
	pairs := []string{"accessKeyID", key, "secretAccessKey", access}
	if token != "" {
		pairs = append(pairs, "sessionToken", token)
	}
	return secret("aws", pairs...)
}

// A scan goes by SES as the sample says: to whom the envelope names, octet for
// octet, with a signature that botocore finds right.
func TestSES(t *testing.T) {
	t.Parallel()
	ses := startSES(t)
	r := startRelay(t, sesManifests(t, ses.proxy.URL)+awsSecret(sesKey, sesSecret, sesToken), "CLEAR")
	s := newScan(t, 10<<20)
	env.MustRun(t, "", "swaks", "--server", fmt.Sprintf("127.0.0.1:%d", r.ports["CLEAR"]), "--helo", "mfp", "--from", sender,
		"--to", "it@corp.example,boss@corp.example", "--header", "To: somebody@else.example", "--header", "Cc: it@corp.example", "--header", "Bcc: hidden@else.example", "--header", "Subject: Gescannt",
		"--suppress-data", "--attach-type", "application/pdf", "--attach-name", scanName, "--attach", "@"+s.file)
	env.Eventually(t, "the mail is sent", r.Output, func() bool { return len(ses.sent()) > 0 })

	q := ses.sent()[0]
	if q.status != http.StatusOK {
		t.Fatalf("aws-ses-v2-local says %d %s", q.status, q.answer)
	}
	if to := q.asked.Destination; fmt.Sprint(to.ToAddresses) != "[it@corp.example boss@corp.example]" || len(to.CcAddresses)+len(to.BccAddresses) != 0 {
		t.Errorf("to %+v, want who is in the envelope", to)
	}
	if got := fmt.Sprint(q.asked.FromEmailAddress, q.asked.ConfigurationSetName, q.asked.EmailTags); got != "scans@copier.example.comscans[{source copiers}]" {
		t.Errorf("asked for %s", got)
	}
	m, err := mail.ReadMessage(bytes.NewReader(q.asked.Content.Raw.Data))
	if err != nil {
		t.Fatal(err)
	}
	if from := m.Header.Get("From"); !strings.Contains(from, "scans@copier.example.com") || m.Header.Get("Bcc") != "" || m.Header.Get("To") != "somebody@else.example" {
		t.Errorf("header: %v", m.Header)
	}
	if got := attachmentSum(t, m); got != s.sum {
		t.Errorf("the scan is not what was sent")
	}
	if got, want := q.verified(t, sesSecret), fmt.Sprintf("ok %s eu-central-1 ses %d", sesKey, len(q.body)); got != want {
		t.Errorf("botocore says %s, want %s", got, want)
	}
	stored := ses.store(t)
	if len(stored) != 1 || stored[0].Subject != "Gescannt" || len(stored[0].Attachments) != 1 || sum(stored[0].Attachments[0].Content) != s.sum {
		t.Errorf("aws-ses-v2-local holds %d mails, not the one with the scan", len(stored))
	}
	env.Eventually(t, "the log names SES's message ID", r.Output, func() bool { return len(stored) == 1 && strings.Contains(r.Output(), stored[0].MessageID) })
	if out := r.Output() + r.queue(t, "list", "--json"); strings.Contains(out, sesSecret) || strings.Contains(out, sesToken) {
		t.Error("a secret is in the log or the queue")
	}
	if len(ses.sent()) != 1 {
		t.Errorf("sent %d times", len(ses.sent()))
	}
}

// A changed request is found out by the same means: the check can fail.
func TestSESSignatureIsOverEverything(t *testing.T) {
	t.Parallel()
	ses := startSES(t)
	r := startRelay(t, sesManifests(t, ses.proxy.URL)+awsSecret(sesKey, sesSecret, ""), "CLEAR")
	swaksTo(t, r, newScan(t, 1000), "it@corp.example")
	env.Eventually(t, "the mail is sent", r.Output, func() bool { return len(ses.sent()) > 0 })
	q := ses.sent()[0]
	if got := q.verified(t, sesSecret); !strings.HasPrefix(got, "ok") {
		t.Fatal(got)
	}
	if got := q.verified(t, "another"); !strings.HasPrefix(got, "wrong: the signature is another one") {
		t.Errorf("another key: %s", got)
	}
	for _, part := range []string{"it@corp.example", "scans", `"Data":"`} {
		bad := q
		bad.body = bytes.Replace(q.body, []byte(part), []byte(strings.ToUpper(part)), 1)
		if bytes.Equal(bad.body, q.body) {
			bad.body = bytes.Replace(q.body, []byte(part), []byte(part[:len(part)-1]+"\""), 1)
			bad.body[bytes.Index(bad.body, []byte(part))+len(part)+3]++
		}
		if got := bad.verified(t, sesSecret); !strings.HasPrefix(got, "wrong: the signature is another one") {
			t.Errorf("changed %s: %s", part, got)
		}
	}
}

// 100 recipients are two calls; a new Secret counts without a restart.
func TestSESBatchesAndRotation(t *testing.T) {
	t.Parallel()
	ses := startSES(t)
	manifests := sesManifests(t, ses.proxy.URL)
	r := startRelay(t, manifests+awsSecret(sesKey, sesSecret, ""), "CLEAR")
	var to []string
	for i := range 100 {
		to = append(to, fmt.Sprintf("user-%d@corp.example", i))
	}
	env.MustRun(t, "", "swaks", "--server", fmt.Sprintf("127.0.0.1:%d", r.ports["CLEAR"]), "--helo", "mfp", "--from", sender,
		"--to", strings.Join(to, ","), "--header", "To: all@corp.example", "--suppress-data") // swaks writes them into one line, too long for SES
	env.Eventually(t, "two calls", r.Output, func() bool { return len(ses.sent()) >= 2 })
	var got []string
	for _, q := range ses.sent() {
		if n := len(q.asked.Destination.ToAddresses); n > 50 {
			t.Errorf("%d recipients in a call", n)
		}
		if v := q.verified(t, sesSecret); !strings.HasPrefix(v, "ok "+sesKey) {
			t.Errorf("botocore says %s", v)
		}
		got = append(got, q.asked.Destination.ToAddresses...)
	}
	if slices.Sort(got); len(slices.Compact(got)) != 100 || len(ses.sent()) != 2 {
		t.Errorf("%d recipients in %d calls", len(got), len(ses.sent()))
	}

	env.WriteFile(t, filepath.Join(r.dir, "manifests", "relay.yaml"), strings.ReplaceAll(manifests, "{{CLEAR}}", fmt.Sprint(r.ports["CLEAR"]))+awsSecret("AKIAI44QH8DHBEXAMPLE", "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY", ""))
	pid := r.Pid()
	env.Eventually(t, "the new key signs", r.Output, func() bool {
		swaksTo(t, r, newScan(t, 1000), "it@corp.example")
		all := ses.sent()
		return strings.Contains(all[len(all)-1].Headers["Authorization"], "AKIAI44QH8DHBEXAMPLE")
	})
	all := ses.sent()
	if v := all[len(all)-1].verified(t, "je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY"); !strings.HasPrefix(v, "ok AKIAI44QH8DHBEXAMPLE") {
		t.Errorf("botocore says %s", v)
	}
	if !r.Running() || r.Pid() != pid {
		t.Error("the relay was restarted")
	}
}

// The policies that the page shows are JSON, and as narrow as it says.
func TestSESPolicies(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(filepath.Join(env.Root(t), "docs/upstreams/ses.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(doc), "```json\n")[1:]
	if len(blocks) != 2 {
		t.Fatalf("%d policies, want 2", len(blocks))
	}
	for i, b := range blocks {
		b, _, _ = strings.Cut(b, "```")
		var policy map[string]any
		if err := json.Unmarshal([]byte(b), &policy); err != nil {
			t.Errorf("policy %d: %v", i, err)
		}
		if strings.Contains(b, "ses:*") || i == 0 && strings.Contains(b, `"*"`) {
			t.Errorf("policy %d allows everything of something", i)
		}
	}
	for _, key := range []string{"ses:FromAddress", "aws:SecureTransport", "configuration-set/scans", "identity/copier.example.com", "ses:SendRawEmail"} {
		if !strings.Contains(blocks[0], key) {
			t.Errorf("no %s in the policy", key)
		}
	}
}

// attachmentSum is the SHA-256 of a mail's attachment.
func attachmentSum(t *testing.T, m *mail.Message) string {
	t.Helper()
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatalf("no attachment: %v", err)
		}
		if p.FileName() != scanName {
			continue
		}
		b, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
		if err != nil {
			t.Fatal(err)
		}
		return sum(b)
	}
}
