package status

import (
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

func good() Check { return Check{Done: true, Reachable: Good, Credentials: Good} }

func found(checks ...Check) []UpstreamReport {
	var out []UpstreamReport
	for _, c := range checks {
		out = append(out, UpstreamReport{Name: "ses", Check: c})
	}
	return out
}

func TestCredentialConditions(t *testing.T) {
	wrong := Check{Done: true, Reachable: Good, Credentials: Bad, Text: "535 5.7.8 no", Remedy: "it means so; what to do: that"}
	away := Check{Done: true, Reachable: Bad, Text: "connection refused"}
	silent := Check{Done: true, Reachable: Good, Credentials: "Unknown"}
	ends := func(at time.Time) Check { c := good(); c.Expires = at; return c }
	sandbox := good()
	sandbox.Warnings = []string{"the account is in the sandbox"}
	tests := map[string]struct {
		change func(in *Upstream)
		want   want
	}{
		"taken":    {func(in *Upstream) { in.Reports = found(good(), good()) }, want{"Ready": "True/Ready: mail is handed over", "CredentialsValid": "True/Valid: the provider takes the credential"}},
		"not told": {func(in *Upstream) { in.Reports = found(silent) }, want{"Ready": "True/Ready", "CredentialsValid": "Unknown/Unknown: without sending mail"}},
		"refused by one": {func(in *Upstream) { in.Reports = found(good(), wrong) }, want{
			"Ready":            "False/Rejected: the credential is refused (1 of 2 instances): 535 5.7.8 no; it means so; what to do: that",
			"CredentialsValid": "False/Rejected: the credential is refused (1 of 2 instances): 535 5.7.8 no; it means so; what to do: that",
		}},
		"refused, and its circuit is open": {func(in *Upstream) {
			in.Reports = found(wrong)
			in.Reports[0].Down, in.Reports[0].LastError = true, "535"
		}, want{"Ready": "False/Rejected: 535 5.7.8 no"}},
		"its circuit is open": {func(in *Upstream) {
			in.Reports = found(good())
			in.Reports[0].Down, in.Reports[0].LastError, in.Reports[0].Remedy = true, "550 5.7.64", "no connector; what to do: one"
		}, want{"Ready": "False/Unreachable: which waits: 550 5.7.64; no connector; what to do: one", "CredentialsValid": "True/Valid"}},
		"away":                  {func(in *Upstream) { in.Reports = found(away) }, want{"Ready": "False/Unreachable: it cannot be reached (1 of 1 instance): connection refused", "CredentialsValid": "Unknown/Unreachable: connection refused"}},
		"away, but known":       {func(in *Upstream) { was(in, good()); in.Reports = found(away) }, want{"Ready": "False/Unreachable", "CredentialsValid": "True/Valid"}},
		"not looked yet":        {func(in *Upstream) { in.Reports = found(Check{}) }, want{"CredentialsValid": "Unknown/Pending: no instance has looked"}},
		"restarted":             {func(in *Upstream) { was(in, good()); in.Reports = found(Check{}) }, want{"CredentialsValid": "True/Valid"}},
		"restarted while wrong": {func(in *Upstream) { was(in, wrong); in.Reports = nil }, want{"CredentialsValid": "False/Rejected: 535"}},
		"another spec":          {func(in *Upstream) { was(in, good()); in.Object.Generation++; in.Reports = nil }, want{"CredentialsValid": "Unknown/Pending: has told yet"}},
		"nobody uses it":        {func(in *Upstream) { in.UsedBy, in.Reports = nil, nil }, want{"Ready": "True/Ready", "CredentialsValid": "Unknown/Pending: no PrinterRelay names it"}},
		"suspended":             {func(in *Upstream) { in.Object.Spec.Suspend = true }, want{"CredentialsValid": "Unknown/Suspended"}},
		"resumed":               {func(in *Upstream) { suspended(in); in.Reports = found(Check{}) }, want{"CredentialsValid": "Unknown/Pending"}},
		"Secret missing":        {func(in *Upstream) { in.MissingSecrets = []string{"provider"} }, want{"Ready": "False/SecretNotFound", "CredentialsValid": "False/SecretNotFound"}},
		"no credential":         {func(in *Upstream) { in.Object.Spec.SMTP.Authentication = nil }, want{"CredentialsValid": "True/NotNeeded"}},
		"a warning":             {func(in *Upstream) { in.Reports = found(sandbox, sandbox) }, want{"Ready": "True/Ready: mail is handed over; warning: the account is in the sandbox", "CredentialsValid": "True/Valid: the provider takes the credential; warning: the account is in the sandbox"}},
		"ends soon":             {func(in *Upstream) { in.Reports = found(ends(now.Add(13 * 24 * time.Hour))) }, want{"CredentialsValid": "True/Valid: the credential expires on 2026-03-14"}},
		"ends":                  {func(in *Upstream) { in.Reports = found(ends(now.Add(15 * 24 * time.Hour))) }, want{"CredentialsValid": "True/Valid: takes the credential"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := Upstream{Object: healthy().Upstreams["ses"], Now: now, UsedBy: []string{"office"}, Reports: found(good())}
			tt.change(&in)
			in.Diagnostics = CheckUpstream(in.Object)
			st := OfUpstream(in)
			check(t, st.Conditions, in.Object.Generation, tt.want)
			for _, c := range st.Conditions {
				if name == "ends" && strings.Contains(c.Message, "expires") || strings.Count(c.Message, "sandbox") > 1 {
					t.Errorf("%s: %s", c.Type, c.Message)
				}
			}
			in.Object.Status = st
			in.Now = in.Now.Add(time.Minute)
			if again := OfUpstream(in); Changed(st, again, true) {
				t.Errorf("the same sight changes the status:\n%s\n%s", mustJSON(t, st), mustJSON(t, again))
			}
		})
	}
}

// was gives the object the status of a check.
func was(in *Upstream, c Check) {
	now := in.Reports
	in.Reports = found(c)
	in.Object.Status = OfUpstream(*in)
	in.Reports = now
}

func suspended(in *Upstream) {
	in.Object.Spec.Suspend = true
	was(in, good())
	in.Object.Spec.Suspend = false
}

func TestQuota(t *testing.T) {
	a, b := good(), good()
	a.PerSecond, a.DailyLimit, a.DailyUsed = 14, 50000, 7
	b.PerSecond, b.DailyLimit, b.DailyUsed = 14, 50000, 9
	in := Upstream{Object: healthy().Upstreams["ses"], Now: now, UsedBy: []string{"office"}, Reports: found(a, b)}
	st := OfUpstream(in)
	if q := st.Quota; q == nil || *q != (v1alpha1.UpstreamQuota{MessagesPerSecond: "14", DailyLimit: 50000, DailyUsed: 9}) {
		t.Fatalf("%+v", st.Quota)
	}
	in.Object.Status = st
	in.Reports = found(Check{})
	if q := OfUpstream(in).Quota; q == nil || q.DailyUsed != 9 {
		t.Errorf("before it is looked at again: %+v", q)
	}
	in.Reports = found(a)
	in.Reports[0].Check.DailyUsed = 20
	if now := OfUpstream(in); Changed(st, now, false) || !Changed(st, now, true) {
		t.Error("what is used of a quota is a figure")
	}
	in.Reports = found(good())
	if q := OfUpstream(in).Quota; q != nil {
		t.Errorf("of a provider that tells none: %+v", q)
	}
}

// What is refused and what cannot be reached is a figure in its words, not in its reason.
func TestRefusedIsAtOnceItsWordsAreNot(t *testing.T) {
	in := Upstream{Object: healthy().Upstreams["ses"], Now: now, UsedBy: []string{"office"}, Reports: found(good())}
	well := OfUpstream(in)
	in.Reports = found(Check{Done: true, Reachable: Good, Credentials: Bad, Text: "535 at 10:00"})
	bad := OfUpstream(in)
	if !Changed(well, bad, false) {
		t.Error("it is not written at once")
	}
	in.Reports[0].Check.Text = "535 at 10:01"
	if worse := OfUpstream(in); Changed(bad, worse, false) || !Changed(bad, worse, true) {
		t.Error("its words are no figure")
	}
}

// A relay names the upstreams that are unwell for any reason.
func TestRelayNamesUnwellUpstreams(t *testing.T) {
	for name, r := range map[string]UpstreamReport{
		"circuit": {Down: true, LastError: "x"}, "credential": {Check: Check{Credentials: Bad, Text: "x"}}, "network": {Check: Check{Reachable: Bad, Text: "x"}},
	} {
		in := healthy()
		r.Name = "ses"
		in.Instances[0].Report.Upstreams = []UpstreamReport{r}
		if m := Of(in).Conditions[0].Message; !strings.Contains(m, `MailUpstream "ses" waits`) || r.Why() != "x" {
			t.Errorf("%s: %q, %q", name, m, r.Why())
		}
	}
	if well := (&UpstreamReport{Check: good(), LastError: "once"}); well.Why() != "" {
		t.Errorf("%q", well.Why())
	}
}
