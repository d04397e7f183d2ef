package ses

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

func accountOf(production, sending bool, enforcement string, limit, used float64) map[string]any {
	return map[string]any{
		"ProductionAccessEnabled": production, "SendingEnabled": sending, "EnforcementStatus": enforcement,
		"SendQuota": map[string]any{"Max24HourSend": limit, "MaxSendRate": 14.0, "SentLast24Hours": used},
	}
}

const verified = `{"IdentityType":"DOMAIN","VerifiedForSendingStatus":true,"VerificationStatus":"SUCCESS","DkimAttributes":{"SigningEnabled":true,"Status":"SUCCESS"}}`

func TestCheck(t *testing.T) {
	well := accountOf(true, true, "HEALTHY", 50000, 123)
	denied := &apiError{http.StatusForbidden, "AccessDeniedException", "User: arn:aws:iam::1:user/a is not authorized to perform: ses:GetAccount"}
	for name, tc := range map[string]struct {
		account    any
		identities map[string]string
		arn        string
		want       upstream.Health // Text and Warnings: what is in them
	}{
		"well": {well, map[string]string{"copier.test": verified}, "", upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Text: "123 of 50000 recipients in the last 24 hours, 14 a second"}},
		"in the sandbox": {
			accountOf(false, true, "HEALTHY", 200, 0),
			map[string]string{"copier.test": verified},
			"",
			upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Warnings: []string{"sandbox in eu-central-1"}},
		},
		"without a limit": {accountOf(true, true, "HEALTHY", -1, 123), map[string]string{"copier.test": verified}, "", upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good}},
		"quota nearly used up": {
			accountOf(true, true, "HEALTHY", 50000, 45000),
			map[string]string{"copier.test": verified},
			"",
			upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Warnings: []string{"nearly used up: 45000 of 50000"}},
		},
		"on probation": {
			accountOf(true, true, "PROBATION", 50000, 0),
			map[string]string{"copier.test": verified},
			"",
			upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Warnings: []string{"under review"}},
		},
		"switched off": {
			accountOf(true, false, "HEALTHY", 50000, 0),
			map[string]string{"copier.test": verified},
			"",
			upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "sending is switched off for the account in eu-central-1 (HEALTHY)"},
		},
		"shut down": {
			accountOf(true, true, "SHUTDOWN", 50000, 0),
			map[string]string{"copier.test": verified},
			"",
			upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "stopped the account's sending"},
		},
		"may only send":   {denied, nil, "", upstream.Health{Reachable: upstream.Good, Text: "the credential may not ses:GetAccount. Allow it"}},
		"no such key":     {&apiError{http.StatusForbidden, "UnrecognizedClientException", "The security token included in the request is invalid."}, nil, "", upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "UnrecognizedClientException: The security token included in the request is invalid."}},
		"wrong secret":    {&apiError{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided."}, nil, "", upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "SignatureDoesNotMatch"}},
		"asked too often": {&apiError{http.StatusTooManyRequests, "TooManyRequestsException", "Rate exceeded"}, nil, "", upstream.Health{Reachable: upstream.Good, Text: "Rate exceeded"}},
		"the domain above is verified": {well, map[string]string{"test": verified}, "", upstream.Health{
			Reachable: upstream.Good, Credentials: upstream.Good,
			Warnings: []string{"has no identity for copier.test"},
		}}, // a top-level domain is nobody's
		"not verified": {
			well,
			map[string]string{"copier.test": `{"IdentityType":"DOMAIN","VerifiedForSendingStatus":false,"VerificationStatus":"PENDING"}`},
			"",
			upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "the identity copier.test is not verified in eu-central-1 (PENDING)"},
		},
		"without DKIM": {
			well,
			map[string]string{"copier.test": `{"IdentityType":"DOMAIN","VerifiedForSendingStatus":true,"VerificationStatus":"SUCCESS","DkimAttributes":{"SigningEnabled":true,"Status":"FAILED"}}`},
			"",
			upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Warnings: []string{"Easy DKIM: FAILED"}},
		},
		"another account's identity": {well, nil, "arn:aws:ses:eu-central-1:1:identity/copier.test", upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startFake(t, conformance.None)
			s.account, s.identities = tc.account, tc.identities
			h := s.transport(t, plan.SES{FromIdentityARN: tc.arn}).Check(t.Context())
			if h.Reachable != tc.want.Reachable || h.Credentials != tc.want.Credentials || !strings.Contains(h.Text, tc.want.Text) || h.Text == "" {
				t.Errorf("%+v, want %+v", h, tc.want)
			}
			if len(h.Warnings) != len(tc.want.Warnings) || len(h.Warnings) > 0 && !strings.Contains(h.Warnings[0], tc.want.Warnings[0]) {
				t.Errorf("warnings %q, want %q", h.Warnings, tc.want.Warnings)
			}
			if len(s.asked) != 0 {
				t.Error("mail was sent")
			}
		})
	}
}

func TestCheckQuota(t *testing.T) {
	s := startFake(t, conformance.None)
	tr := s.transport(t, plan.SES{})
	if got, want := tr.Check(t.Context()).Quota, (upstream.Quota{PerSecond: 14, DailyLimit: 50000, DailyUsed: 123}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := tr.Capabilities(); got.PerSecond != 14 || got.UTF8 || got.MaxSize != 40<<20 {
		t.Errorf("%+v", got)
	}
}

// A parent domain covers those below it.
func TestIdentityAbove(t *testing.T) {
	s := startFake(t, conformance.None)
	s.identities = map[string]string{"corp.test": verified}
	tr := s.transport(t, plan.SES{})
	tr.c.Domain = "copier.floor-3.corp.test"
	if h := tr.Check(t.Context()); h.Credentials != upstream.Good || len(h.Warnings) != 0 {
		t.Errorf("%+v", h)
	}
}

func TestCheckWithoutServerOrCredential(t *testing.T) {
	s := startFake(t, conformance.Downgrades)
	if h := s.transport(t, plan.SES{}).Check(t.Context()); h.Reachable != upstream.Bad || h.Credentials != upstream.Untold || !strings.Contains(h.Text, "TLS: ") {
		t.Errorf("no trust: %+v", h)
	}
	s = startFake(t, conformance.None)
	s.secret = map[string][]byte{}
	if h := s.transport(t, plan.SES{}).Check(t.Context()); h.Reachable != upstream.Untold || h.Credentials != upstream.Bad || !strings.Contains(h.Text, `secret "aws"`) {
		t.Errorf("no Secret: %+v", h)
	}
}

// The rate is asked for before the first message, then once an hour, and after
// SES said that it is too much.
func TestRate(t *testing.T) {
	s := startFake(t, conformance.None)
	tr := s.transport(t, plan.SES{})
	for range 5 {
		tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))
	}
	if s.accounts != 1 || tr.Capabilities().PerSecond != 14 {
		t.Errorf("asked %d times, %g a second", s.accounts, tr.Capabilities().PerSecond)
	}
	var a account
	start := time.Unix(1_000_000, 0)
	var asked []string
	for minute := range 200 {
		if minute == 70 {
			a.tooFast()
		}
		if a.due(start.Add(time.Duration(minute) * time.Minute)) {
			asked = append(asked, fmt.Sprint(minute))
			a.running = false
		}
	}
	if !slices.Equal(asked, []string{"0", "60", "70", "130", "190"}) {
		t.Errorf("asked at minutes %q", asked)
	}
	a = account{}
	if !a.due(start) || a.due(start.Add(2*time.Hour)) {
		t.Error("two ask at once")
	}
}

// A credential that may not read the account sends all the same, and does not ask
// before each message.
func TestRateIsNotTold(t *testing.T) {
	s := startFake(t, conformance.None)
	s.account = &apiError{http.StatusForbidden, "AccessDeniedException", "not authorized to perform: ses:GetAccount"}
	tr := s.transport(t, plan.SES{})
	for range 3 {
		if got := kinds(tr.Deliver(t.Context(), conformance.Mail(t, content, "a@corp.test"))); got[0] != "Accepted" {
			t.Errorf("%s", got)
		}
	}
	if s.accounts != 1 || tr.Capabilities().PerSecond != 0 {
		t.Errorf("asked %d times, %g a second", s.accounts, tr.Capabilities().PerSecond)
	}
}
