package ses

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

const content = "From: <mfp@copier.test>\r\nTo: <somebody@else.test>\r\nSubject: scan\r\n\r\nhello\r\n"

func numbered(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("user-%d@corp.test", i))
	}
	return out
}

// kinds are outcomes in short: "Accepted", "Failed/Message".
func kinds(out []upstream.Outcome) []string { return strings.Fields(conformance.Kinds(out)) }

// A call has 50 recipients at most, and each recipient the outcome of its call.
func TestBatches(t *testing.T) {
	s := startFake(t, conformance.None)
	out := s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, numbered(120)...))
	for i, o := range out {
		if want := fmt.Sprintf("0107018f-%04d-000000", i/50+1); o.Kind != upstream.Accepted || o.RemoteID != want || o.Code != 200 {
			t.Errorf("recipient %d: %s, ID %q, want %s", i, o, o.RemoteID, want)
		}
	}
	var asked []string
	for _, q := range s.asked {
		if n := len(q.Destination.ToAddresses); n > 50 {
			t.Errorf("%d recipients in a call", n)
		}
		asked = append(asked, q.Destination.ToAddresses...)
	}
	if !slices.Equal(asked, numbered(120)) {
		t.Errorf("asked for %q", asked)
	}
}

// What the account is refused for counts for the calls to come, which are not made.
func TestSecondBatchIsThrottled(t *testing.T) {
	s := startFake(t, conformance.None)
	s.refuse = func(request) *apiError {
		if len(s.asked) == 1 {
			return nil
		}
		return &apiError{http.StatusBadRequest, "LimitExceededException", "Daily message quota exceeded."}
	}
	out := s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, numbered(170)...))
	for i, o := range out {
		if i < 50 && o.Kind != upstream.Accepted || i >= 50 && (o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream || o.RetryIn != dailyPause) {
			t.Errorf("recipient %d: %s/%s, in %s", i, o, o.Scope, o.RetryIn)
		}
	}
	if len(s.asked) != 2 {
		t.Errorf("%d calls, want 2", len(s.asked))
	}
}

// SES takes a call for all of its recipients or for none. Those that it names
// are taken out, and the others have their mail.
func TestSomeRecipients(t *testing.T) {
	const sandbox = "Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: "
	for name, tc := range map[string]struct {
		code, message string
		calls         int
		want          []string
	}{
		"in the sandbox":            {"MessageRejected", sandbox + "B@corp.test, c@corp.test", 2, []string{"Accepted", "Deferred/Message", "Deferred/Message"}},
		"the sender":                {"MessageRejected", sandbox + "mfp@copier.test", 1, []string{"Failed/Upstream"}},
		"the sender and recipients": {"MessageRejected", sandbox + "mfp@copier.test, b@corp.test", 1, []string{"Failed/Upstream"}},
		"the sender's ARN":          {"MessageRejected", sandbox + "arn:aws:ses:eu-central-1:123456789012:identity/copier.test, b@corp.test", 1, []string{"Failed/Upstream"}},
		"nobody by name":            {"MessageRejected", "Email address is not verified.", 1, []string{"Failed/Upstream"}},
		"an address it dislikes":    {"BadRequestException", "Invalid recipient address <b@corp.test>.", 2, []string{"Accepted", "Failed/Recipient", "Accepted"}},
		"part of an address":        {"BadRequestException", "Invalid: xb@corp.test", 1, []string{"Failed/Message"}},
		"all of them": {
			"MessageRejected", sandbox + "a@corp.test, b@corp.test, c@corp.test", 1,
			[]string{"Deferred/Message"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startFake(t, conformance.None)
			s.refuse = func(q request) *apiError {
				if tc.calls == 2 && !slices.Contains(q.Destination.ToAddresses, "b@corp.test") {
					return nil
				}
				return &apiError{http.StatusBadRequest, tc.code, tc.message}
			}
			out := s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test", "b@corp.test", "c@corp.test"))
			want := tc.want
			if len(want) == 1 {
				want = slices.Repeat(want, 3)
			}
			if got := kinds(out); !slices.Equal(got, want) {
				t.Errorf("%q, want %q: %s", got, want, out[0])
			}
			if len(s.asked) != tc.calls {
				t.Errorf("%d calls, want %d", len(s.asked), tc.calls)
			}
			if !strings.Contains(out[1].Text, tc.message) {
				t.Errorf("SES's words are not in %q", out[1].Text)
			}
		})
	}
}

// A sender that is not of the upstream's domain is the device's own: its message
// waits or goes elsewhere, and nobody else's.
func TestSenderOfADevice(t *testing.T) {
	s := startFake(t, conformance.None)
	s.refuse = func(request) *apiError {
		return &apiError{http.StatusBadRequest, "MessageRejected", "Email address is not verified. The following identities failed the check in region EU-CENTRAL-1: mfp@else.test"}
	}
	m := conformance.Mail(t, content, "a@corp.test", "b@corp.test")
	m.Sender.Domain = "else.test"
	if got := kinds(s.transport(t, plan.SES{}).Deliver(t.Context(), m)); !slices.Equal(got, []string{"Deferred/Message", "Deferred/Message"}) {
		t.Errorf("%q", got)
	}
}

// A policy that lets others' mail pass is kept from one message: that one waits, and
// the others go. Where none passes it is the account's trouble.
func TestOutsideOfThePolicy(t *testing.T) {
	s := startFake(t, conformance.None)
	s.refuse = func(q request) *apiError {
		if slices.Contains(q.Destination.ToAddresses, "out@else.test") {
			return &apiError{http.StatusForbidden, "AccessDeniedException", "User `arn' is not authorized to perform `ses:SendEmail' on resource `arn'"}
		}
		return nil
	}
	tr := s.transport(t, plan.SES{})
	send := func(to, want string) {
		t.Helper()
		if got := kinds(tr.Deliver(t.Context(), conformance.Mail(t, content, to))); got[0] != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
	send("out@else.test", "Failed/Upstream")
	send("a@corp.test", "Accepted")
	send("out@else.test", "Deferred/Message")
	tr.took.Store(time.Now().Add(-2 * recently).UnixNano())
	send("out@else.test", "Failed/Upstream")
}

// One that names a recipient in each refusal, and never ends, is not asked for ever.
func TestRefusesOneAfterTheOther(t *testing.T) {
	s := startFake(t, conformance.None)
	s.refuse = func(q request) *apiError {
		return &apiError{http.StatusBadRequest, "BadRequestException", "Invalid: " + q.Destination.ToAddresses[0]}
	}
	out := s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, numbered(40)...))
	if got := kinds(out); got[0] != "Failed/Recipient" || got[7] != "Failed/Recipient" || got[8] != "Deferred/Message" || len(s.asked) != 8 {
		t.Errorf("%d calls, %q", len(s.asked), got)
	}
}

// Each error of the API reference: SendEmail, "Errors", and "Common errors".
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct {
		status        int
		code, message string
		want          string
	}{
		"too fast":                {429, "TooManyRequestsException", "Maximum sending rate exceeded.", "Deferred/Upstream 1s"},
		"too fast, older":         {400, "ThrottlingException", "Maximum sending rate exceeded.", "Deferred/Upstream 1s"},
		"the daily quota":         {400, "LimitExceededException", "Daily message quota exceeded.", "Deferred/Upstream 10m0s"},
		"throttled by words":      {454, "", "Throttling failure: Daily message quota exceeded", "Deferred/Upstream 10m0s"},
		"paused":                  {400, "SendingPausedException", "Sending is paused for the configuration set.", "Failed/Upstream 0s"},
		"suspended":               {400, "AccountSuspendedException", "Your account has been suspended.", "Failed/Upstream 0s"},
		"suspended, older":        {400, "MessageRejected", "Sending suspended for this account. For more information, please check the inbox of the email address associated with your AWS account.", "Failed/Upstream 0s"},
		"MAIL FROM":               {400, "MailFromDomainNotVerifiedException", "The Mail-From domain is not verified.", "Failed/Upstream 0s"},
		"no configuration set":    {404, "NotFoundException", "Configuration set <scans> does not exist.", "Failed/Upstream 0s"},
		"no configuration set, 2": {400, "BadRequestException", "Configuration set <scans> does not exist.", "Failed/Upstream 0s"},
		"not allowed":             {403, "AccessDeniedException", "User `arn:aws:iam::1:user/a' is not authorized to perform `ses:SendRawEmail' on resource `arn:aws:ses:eu-central-1:1:identity/copier.test'", "Failed/Upstream 0s"},
		"no such key":             {403, "UnrecognizedClientException", "The security token included in the request is invalid.", "Deferred/Upstream 0s"},
		"expired":                 {403, "ExpiredTokenException", "The security token included in the request is expired", "Deferred/Upstream 0s"},
		"wrong secret":            {403, "InvalidSignatureException", "The request signature we calculated does not match", "Failed/Upstream 0s"},
		"wrong clock":             {403, "RequestExpired", "The request reached the service more than 15 minutes after the date stamp", "Failed/Upstream 0s"},
		"not signed up":           {403, "OptInRequired", "The AWS Access Key Id needs a subscription for the service", "Failed/Upstream 0s"},
		"content":                 {400, "MessageRejected", "Message contains a virus", "Failed/Message 0s"},
		"too large":               {400, "BadRequestException", "Message length is more than 41943040 bytes long: '50000000'.", "Failed/Message 0s"},
		"too large for a proxy":   {413, "", "", "Failed/Message 0s"},
		"another's 403":           {403, "", "", "Failed/Upstream 0s"},
		"another's 404":           {404, "", "", "Failed/Upstream 0s"},
		"trouble of its own":      {500, "InternalFailure", "The request processing has failed", "Deferred/Upstream 0s"},
		"unavailable":             {503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.", "Deferred/Upstream 0s"},
		"a proxy's 502":           {502, "", "", "Unknown/Upstream 0s"},
		"a proxy's 504":           {504, "", "", "Unknown/Upstream 0s"},
		"a redirect":              {307, "", "", "Deferred/Upstream 0s"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startFake(t, conformance.None)
			s.refuse = func(request) *apiError { return &apiError{tc.status, tc.code, tc.message} }
			out := s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test", "b@corp.test"))
			for _, o := range out {
				if got := kinds(out)[0] + " " + o.RetryIn.String(); got != tc.want || o.Code != tc.status {
					t.Errorf("%s, want %s: %s", got, tc.want, o)
				}
				if !strings.Contains(o.Text, tc.message) || !strings.Contains(o.Text, tc.code) || o.Text == "" {
					t.Errorf("%q does not say %q", o.Text, tc.message)
				}
			}
			if len(s.asked) != 1 {
				t.Errorf("%d calls: the queue tries again, nobody else", len(s.asked))
			}
		})
	}
}

// A reply of success that names no message is not one of SES, or was cut.
func TestSuccessWithoutMessage(t *testing.T) {
	for _, body := range []string{"{}", "<html>welcome</html>", `{"MessageId":`} {
		web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body) //nolint:errcheck // a test's
			io.WriteString(w, body)     //nolint:errcheck // a test's
		}))
		s := &fake{Server: web, secret: startFake(t, conformance.None).secret}
		if got := kinds(s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))); got[0] != "Unknown/Upstream" {
			t.Errorf("%s: %s", body, got)
		}
		web.Close()
	}
}

// A redirect would carry the scan, and the credential, to whom it names.
func TestRedirect(t *testing.T) {
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer web.Close()
	s := &fake{Server: web, secret: startFake(t, conformance.None).secret}
	out := s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))
	if elsewhere != 0 || kinds(out)[0] != "Deferred/Upstream" || !strings.Contains(out[0].Text, "redirect") {
		t.Errorf("%d requests elsewhere, %s", elsewhere, out[0])
	}
}

// What is asked besides the content.
func TestRequest(t *testing.T) {
	s := startFake(t, conformance.None)
	tr := s.transport(t, plan.SES{ConfigurationSet: "scans", FromIdentityARN: "arn:aws:ses:eu-central-1:123456789012:identity/copier.test", Tags: map[string]string{"floor": "3", "device": "mfp-1"}})
	m := conformance.Mail(t, content, "a@bücher.test", "b@corp.test")
	m.Sender = envelope.Address{Local: "MFP", Domain: "Copier.TEST"}
	if out := tr.Deliver(t.Context(), m); kinds(out)[0] != "Accepted" {
		t.Fatal(out[0])
	}
	q := s.asked[0]
	if got := fmt.Sprint(q.FromEmailAddress, " ", q.ConfigurationSetName, " ", q.FromEmailAddressIdentityArn, " ", q.EmailTags); got !=
		"MFP@copier.test scans arn:aws:ses:eu-central-1:123456789012:identity/copier.test [{device mfp-1} {floor 3}]" {
		t.Errorf("asked for %s", got)
	}
	if d := q.Destination; !slices.Equal(d.ToAddresses, []string{"a@xn--bcher-kva.test", "b@corp.test"}) || len(d.CcAddresses)+len(d.BccAddresses) != 0 {
		t.Errorf("to %+v", d)
	}
}

// What SES cannot take is refused before anything is sent, with both figures.
func TestFit(t *testing.T) {
	twice := strings.Replace(content, "Subject:", "X-Long: "+strings.Repeat("x", 900)+"\r\n "+strings.Repeat("From: y ", 100)+"\r\nfrom : <boss@corp.test>\r\nSubject:", 1)
	for name, tc := range map[string]struct {
		change  func(*upstream.Message)
		content string
		want    string
	}{
		"as large as can be":   {func(m *upstream.Message) { m.Size = 40 << 20 }, content, ""},
		"too large":            {func(m *upstream.Message) { m.Size = 40<<20 + 1 }, content, "Failed: 552 5.3.4 the message has 41943041 octets, SES takes 41943040"},
		"a long line":          {nil, content + strings.Repeat("x", 999) + "\r\n", "Failed: 554 5.6.0 the message has a line of 999 octets, SES takes 998"},
		"SMTPUTF8":             {func(m *upstream.Message) { m.UTF8 = true }, content, "Failed: 553 5.6.7 an address or a header needs SMTPUTF8, which SES does not have"},
		"From twice":           {nil, twice, "Failed: 554 5.6.0 the header has more than one from field, SES takes one"},
		"two signatures":       {nil, "DKIM-Signature: a\r\nDKIM-Signature: b\r\n" + content, "Failed: 554 5.6.0 the header has more than one DKIM-Signature field, SES takes one"},
		"Received twice":       {nil, "Received: a\r\nReceived: b\r\n" + content, ""},
		"in the body":          {nil, content + "Subject: a\r\nSubject: b\r\n", ""},
		"folded, not repeated": {nil, "Subject: a\r\n Subject: b\r\nFrom: <mfp@copier.test>\r\n\r\n", ""},
		"no body":              {nil, "Subject: a\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := startFake(t, conformance.None)
			m := conformance.Mail(t, tc.content, "a@corp.test")
			if tc.change != nil {
				tc.change(m)
			}
			o := s.transport(t, plan.SES{}).Deliver(t.Context(), m)[0]
			if tc.want == "" && o.Kind != upstream.Accepted || tc.want != "" && (o.String() != tc.want || o.Scope != upstream.ScopeMessage) {
				t.Errorf("%s, want %s", o, tc.want)
			}
			if tc.want != "" && len(s.asked) != 0 {
				t.Error("it was sent all the same")
			}
			if can := errors.Is(o.Cause, upstream.ErrUnencoded); can != (name == "a long line") {
				t.Errorf("says that it could be taken encoded: %v", can)
			}
		})
	}
}

// Recipients that SES would refuse the others with are refused alone.
func TestPlainRecipients(t *testing.T) {
	s := startFake(t, conformance.None)
	out := s.transport(t, plan.SES{}).Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test", `"a b"@corp.test`, "a@[192.0.2.1]", "a@localhost", "a@my_host.test", "o'brien+tag@corp.test"))
	if got := kinds(out); !slices.Equal(got, []string{"Accepted", "Failed/Message", "Failed/Message", "Failed/Message", "Failed/Message", "Accepted"}) {
		t.Errorf("%q", got)
	}
	if out[3].Text != "a@localhost: SES takes addresses of the form name@domain.tld only" {
		t.Errorf("%q", out[3].Text)
	}
}

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct{ region, endpoint, host string }{
		{"eu-central-1", "", "email.eu-central-1.amazonaws.com"},
		{"us-gov-west-1", "", "email.us-gov-west-1.amazonaws.com"},
		{"cn-north-1", "", "email.cn-north-1.amazonaws.com.cn"},
		{"eu-central-1", "https://vpce-1.email.eu-central-1.vpce.amazonaws.com", "vpce-1.email.eu-central-1.vpce.amazonaws.com"},
	} {
		tr, err := New(Config{SES: plan.SES{Region: tc.region, Endpoint: tc.endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		if got := tr.http.Host(); got != tc.host {
			t.Errorf("%s %s: %s, want %s", tc.region, tc.endpoint, got, tc.host)
		}
	}
	if _, err := New(Config{SES: plan.SES{Region: "eu-central-1", Endpoint: "vpce"}}); err == nil || !strings.Contains(err.Error(), `ses.endpoint "vpce" is no URL`) {
		t.Errorf("an endpoint that is none: %v", err)
	}
}

// The endpoint is held to the upstream's rules: no private address unless it is
// allowed, and never the services that give away credentials.
func TestEgress(t *testing.T) {
	s := startFake(t, conformance.None)
	for endpoint, private := range map[string]bool{s.URL: false, "http://169.254.170.23": true, "http://169.254.169.254": true, "http://[fd00:ec2::23]": false} {
		tr, err := New(Config{SES: plan.SES{Region: "eu-central-1", Endpoint: endpoint, Secret: "aws"}, Private: private, Secrets: s.source})
		if err != nil {
			t.Fatal(err)
		}
		o := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))[0]
		if kinds([]upstream.Outcome{o})[0] != "Deferred/Upstream" || !strings.Contains(o.Text, "address") {
			t.Errorf("%s: %s", endpoint, o)
		}
	}
}

func TestNoSecret(t *testing.T) {
	s := startFake(t, conformance.None)
	s.secret = nil
	tr := s.transport(t, plan.SES{})
	for secret, want := range map[string]string{
		"":            `no AWS credential: secret "aws" has no key "accessKeyID": not found: it has to have accessKeyID and secretAccessKey, and sessionToken for a temporary one`,
		"accessKeyID": `no AWS credential: secret "aws" has no key "secretAccessKey": not found: it has to have accessKeyID and secretAccessKey, and sessionToken for a temporary one`,
	} {
		s.secret = map[string][]byte{}
		if secret != "" {
			s.secret[secret] = []byte("x")
		}
		o := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))[0]
		if o.Text != want || o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream || !errors.Is(o.Cause, secrets.ErrNotFound) {
			t.Errorf("%s/%s, want %s", o, o.Scope, want)
		}
	}
}
