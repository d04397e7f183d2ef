package ses

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// giver gives away credentials, as AWS does around a Pod: STS ("AssumeRole",
// "AssumeRoleWithWebIdentity"), the EKS Pod Identity agent and the instance
// metadata service, each in the form of its public reference.
type giver struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	n     int    // of credentials given
	says  string // STS refuses, with these words
}

func startGiver(t *testing.T) *giver {
	t.Helper()
	g := &giver{}
	g.Server = httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(g.Close)
	// The environment of this machine must not count.
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"} {
		t.Setenv(v, "")
		os.Unsetenv(v) //nolint:errcheck // Setenv puts it back
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_ENDPOINT_URL_STS", g.URL)
	return g
}

func (g *giver) serve(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	key, tok := fmt.Sprintf("ASIAGIVEN%d", g.n), fmt.Sprintf("given-token-%d", g.n)
	switch {
	case g.says != "":
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`, g.says)
	case r.Method == http.MethodPost: // STS
		r.ParseForm() //nolint:errcheck // what is missing is seen
		action := r.Form.Get("Action")
		g.asked = append(g.asked, strings.Join(slices.DeleteFunc([]string{action, r.Form.Get("RoleArn"), r.Form.Get("RoleSessionName"), r.Form.Get("WebIdentityToken"), signer(r)}, func(s string) bool { return s == "" }), " "))
		fmt.Fprintf(w, `<%sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%sResult><Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>given-secret</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials></%sResult></%sResponse>`,
			action, action, key, tok, until, action, action)
	case r.URL.Path == "/v1/credentials": // Pod Identity
		g.asked = append(g.asked, "pod identity "+r.Header.Get("Authorization"))
		fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":"given-secret","Token":%q,"Expiration":%q,"AccountId":"123456789012"}`, key, tok, until)
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
		fmt.Fprint(w, "node-role")
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/node-role":
		g.asked = append(g.asked, "instance role "+r.Header.Get("X-Aws-Ec2-Metadata-Token"))
		fmt.Fprintf(w, `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":%q,"SecretAccessKey":"given-secret","Token":%q,"Expiration":%q,"LastUpdated":%q}`, key, tok, until, until)
	case r.URL.Path == "/latest/api/token":
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		fmt.Fprint(w, "imds-token")
	default:
		http.NotFound(w, r)
	}
}

// signer is the access key that a request is signed with, and for which region.
func signer(r *http.Request) string {
	_, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	if !ok {
		return ""
	}
	parts := strings.Split(rest, "/")
	return parts[0] + "/" + parts[2]
}

// takesPut makes PUT of the metadata service a GET of the same path.
func (g *giver) takesPut() {
	inner := g.Config.Handler
	g.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			r.Method = http.MethodGet
		}
		inner.ServeHTTP(w, r)
	})
}

// The ways to a credential that a Pod has around it. They are asked at addresses
// where no upstream may be: the rules of the endpoint are not theirs.
func TestAmbient(t *testing.T) {
	for name, tc := range map[string]struct {
		env   func(t *testing.T, g *giver)
		role  string
		asked []string
		token string
	}{
		"IRSA": {func(t *testing.T, _ *giver) {
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/scans")
			t.Setenv("AWS_ROLE_SESSION_NAME", "s")
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file(t, "jwt-of-the-pod"))
		}, "", []string{"AssumeRoleWithWebIdentity arn:aws:iam::123456789012:role/scans s jwt-of-the-pod"}, "given-token-1"},
		"IRSA, then a role": {func(t *testing.T, _ *giver) {
			t.Setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/scans")
			t.Setenv("AWS_ROLE_SESSION_NAME", "s")
			t.Setenv("AWS_WEB_IDENTITY_TOKEN_FILE", file(t, "jwt-of-the-pod"))
		}, "arn:aws:iam::210987654321:role/mail", []string{"AssumeRoleWithWebIdentity arn:aws:iam::123456789012:role/scans s jwt-of-the-pod", "AssumeRole arn:aws:iam::210987654321:role/mail printer-relay ASIAGIVEN1/eu-central-1"}, "given-token-2"},
		"Pod Identity": {func(t *testing.T, g *giver) {
			t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", g.URL+"/v1/credentials")
			t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file(t, "jwt-for-the-agent"))
		}, "", []string{"pod identity jwt-for-the-agent"}, "given-token-1"},
		"instance role": {func(t *testing.T, g *giver) {
			g.takesPut()
			t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
			t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", g.URL)
		}, "", []string{"instance role imds-token"}, "given-token-3"},
		"environment": {func(t *testing.T, _ *giver) {
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
		}, "", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, s := startGiver(t), startFake(t, conformance.None)
			tc.env(t, g)
			tr := s.transport(t, plan.SES{RoleARN: tc.role})
			tr.credentials.secret = nil // the fake's helper names one
			s.any = true
			for range 3 {
				if out := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test")); out[0].Kind != upstream.Accepted {
					t.Fatal(out[0])
				}
			}
			if !slices.Equal(g.asked, tc.asked) {
				t.Errorf("asked for %q, want %q", g.asked, tc.asked)
			}
			for _, got := range s.tokens {
				if got != tc.token {
					t.Errorf("sent with token %q, want %q", got, tc.token)
				}
			}
		})
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The rules for the endpoint are not those for who gives credentials: private
// addresses are not allowed here, and the credential comes from one.
func TestCredentialsFromNearEndpointFar(t *testing.T) {
	g, s := startGiver(t), startFake(t, conformance.None)
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", g.URL+"/v1/credentials")
	tr, err := New(Config{SES: plan.SES{Region: "eu-central-1", Endpoint: s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	o := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))[0]
	if len(g.asked) != 1 || !strings.Contains(o.Text, "allowPrivateHosts") || len(s.tokens) != 0 {
		t.Errorf("credential asked for %d times; SES %d times: %s", len(g.asked), len(s.tokens), o)
	}
}

func TestNoCredentialAnywhere(t *testing.T) {
	startGiver(t)
	s := startFake(t, conformance.None)
	tr := s.transport(t, plan.SES{})
	tr.credentials.secret = nil
	o := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))[0]
	if o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream || !strings.HasPrefix(o.Text, "no AWS credential: ") || len(s.tokens) != 0 {
		t.Errorf("%s/%s", o, o.Scope)
	}
}

// A role's credential is kept while it is good, and asked for anew when AWS does
// not take it any more.
func TestAssumeRoleFromSecret(t *testing.T) {
	g, s := startGiver(t), startFake(t, conformance.None)
	tr := s.transport(t, plan.SES{RoleARN: "arn:aws:iam::123456789012:role/scans"})
	s.valid = "ASIAGIVEN1"
	m := conformance.Mail(t, content, "a@corp.test")
	for range 2 {
		if out := tr.Deliver(t.Context(), m); out[0].Kind != upstream.Accepted {
			t.Fatal(out[0])
		}
	}
	s.mu.Lock()
	s.valid = "ASIAGIVEN2"
	s.mu.Unlock()
	if got := kinds(tr.Deliver(t.Context(), m)); got[0] != "Deferred/Upstream" {
		t.Errorf("a role's credential that is not taken any more: %s", got)
	}
	if got := kinds(tr.Deliver(t.Context(), m)); got[0] != "Accepted" {
		t.Errorf("the next one: %s", got)
	}
	want := "AssumeRole arn:aws:iam::123456789012:role/scans printer-relay " + keyID + "/eu-central-1"
	if !slices.Equal(g.asked, []string{want, want}) {
		t.Errorf("asked for %q, want twice %q", g.asked, want)
	}
}

// STS's words about a signature, too, may hold what was signed.
func TestSecretsStayHiddenFromSTS(t *testing.T) {
	g, s := startGiver(t), startFake(t, conformance.None)
	g.says = "The request signature we calculated does not match " + secret + ". The Canonical String for this request should have been x-amz-security-token:" + token
	tr := s.transport(t, plan.SES{RoleARN: "arn:aws:iam::123456789012:role/scans"})
	o := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))[0]
	h := tr.Check(t.Context())
	for _, text := range []string{o.Text, fmt.Sprint(o.Cause), h.Text} {
		if strings.Contains(text, secret) || strings.Contains(text, token) || strings.Contains(text, keyID) {
			t.Errorf("a secret in %q", text)
		}
	}
	if o.Kind != upstream.Deferred || o.Scope != upstream.ScopeUpstream || o.Text != "no AWS credential: STS AssumeRole: SignatureDoesNotMatch: The request signature we calculated does not match (hidden)." || h.Credentials != upstream.Bad {
		t.Errorf("%s/%s, %+v", o, o.Scope, h)
	}
}

// A new value of the Secret counts at the next message, without a restart; while
// there is only half of it, or nothing in it, the old one does. A Secret that is
// gone is of no use any more.
func TestRotation(t *testing.T) {
	s := startFake(t, conformance.None)
	tr := s.transport(t, plan.SES{})
	send := func(what, want string) {
		t.Helper()
		if got := kinds(tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))); got[0] != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	send("the first", "Accepted")
	s.secret = map[string][]byte{"accessKeyID": []byte("AKIANEW")}
	send("half of the next", "Accepted")
	s.secret = map[string][]byte{"accessKeyID": []byte("AKIANEW"), "secretAccessKey": nil}
	send("an empty key", "Accepted")
	s.secret = map[string][]byte{}
	send("nothing", "Accepted")
	s.secret = map[string][]byte{"accessKeyID": []byte("AKIANEW\n"), "secretAccessKey": []byte("new\n")}
	send("the next, which is not known yet", "Deferred/Upstream")
	s.valid = "AKIANEW"
	send("the next", "Accepted")
	if got := s.tokens[len(s.tokens)-1]; got != "" {
		t.Errorf("the old session token is still sent: %q", got)
	}
	s.secret = nil
	send("one that was taken away", "Deferred/Upstream")
	s.secret = map[string][]byte{"accessKeyID": []byte("AKIANEW")}
	send("half of one, after none", "Deferred/Upstream")
}

// What AWS writes about a signature holds the token that was signed.
func TestSecretsStayHidden(t *testing.T) {
	s := startFake(t, conformance.None)
	tr := s.transport(t, plan.SES{})
	s.refuse = func(request) *apiError {
		return &apiError{http.StatusForbidden, "InvalidSignatureException", "Credential " + keyID + " with " + secret + " and " + token + " does not match. The Canonical String for this request should have been " + url.QueryEscape(token)}
	}
	o := tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))[0]
	if want := "InvalidSignatureException: Credential (hidden) with (hidden) and (hidden) does not match."; o.Text != want {
		t.Errorf("%q, want %q", o.Text, want)
	}
}
