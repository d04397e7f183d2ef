package status

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

func TestUpstreamConditions(t *testing.T) {
	tests := map[string]struct {
		change func(in *Upstream)
		want   want
	}{
		"all well":       {func(*Upstream) {}, want{"Ready": "True/Ready: mail is handed over", "Accepted": "True/Accepted", "ResolvedRefs": "True/Resolved", "Stalled": "", "Reconciling": ""}},
		"nobody uses it": {func(in *Upstream) { in.UsedBy, in.Reports = nil, nil }, want{"Ready": "True/Ready: no PrinterRelay names it", "ResolvedRefs": "Unknown/Pending"}},
		"not told yet":   {func(in *Upstream) { in.Reports = nil }, want{"Ready": "Unknown/Pending", "ResolvedRefs": "Unknown/Pending", "Stalled": ""}},
		"others' reports": {
			func(in *Upstream) { in.Reports = []UpstreamReport{{Name: "postmark", Down: true}} },
			want{"Ready": "Unknown/Pending"},
		},
		"one instance cannot": {
			func(in *Upstream) {
				in.Reports = []UpstreamReport{{Name: "ses"}, {Name: "ses", Down: true, LastError: "454 4.7.0 try later"}}
			},
			want{"Ready": "False/Unreachable: 1 of 2 instances cannot hand mail over, which waits: 454 4.7.0 try later", "Accepted": "True/Accepted", "Stalled": ""},
		},
		"suspended": {func(in *Upstream) { in.Object.Spec.Suspend = true }, want{"Ready": "False/Suspended: spec.suspend is true", "Accepted": "True/Accepted", "Stalled": ""}},
		"Secret missing": {
			func(in *Upstream) { in.MissingSecrets = []string{"other", "provider"} },
			want{"Ready": "False/SecretNotFound", "ResolvedRefs": `False/SecretNotFound: MailUpstream mail/ses: spec.smtp.authentication.secretRef: Secret "provider" is not in namespace "mail"`, "Stalled": ""},
		},
		"others' Secret missing": {func(in *Upstream) { in.MissingSecrets = []string{"other"} }, want{"Ready": "True/Ready", "ResolvedRefs": "True/Resolved"}},
		"invalid": {
			func(in *Upstream) { in.Object.Spec.Limits.MessageSize = &resource.Quantity{} },
			want{"Ready": "False/Invalid: spec.limits.messageSize", "Accepted": "False/Invalid: spec.limits.messageSize", "Stalled": "True/Invalid: spec.limits.messageSize"},
		},
		"a warning": {func(in *Upstream) { in.Object.Spec.SMTP.TLS.Mode = "None" }, want{"Ready": "True/Ready", "Accepted": "True/Accepted: warning: spec.smtp.tls.mode: None: scans may pass in clear"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := Upstream{Object: healthy().Upstreams["ses"], Now: now, UsedBy: []string{"office"}, Reports: []UpstreamReport{{Name: "ses"}}}
			tt.change(&in)
			// What several relays find alike is said once.
			in.Diagnostics = slices.Concat(in.Diagnostics, CheckUpstream(in.Object), CheckUpstream(in.Object))
			got := OfUpstream(in)
			check(t, got.Conditions, 1, tt.want)
			if strings.Count(got.Conditions[1].Message, "spec.") > 1 {
				t.Errorf("said twice: %q", got.Conditions[1].Message)
			}
		})
	}
}

func TestPolicyConditions(t *testing.T) {
	tests := map[string]struct {
		change func(in *Policy)
		want   want
	}{
		"all well":       {func(*Policy) {}, want{"Ready": "True/Ready: it decides", "Accepted": "True/Accepted", "Stalled": "", "Reconciling": ""}},
		"nobody uses it": {func(in *Policy) { in.UsedBy = nil }, want{"Ready": "True/Ready: no PrinterRelay names it"}},
		"dry run":        {func(in *Policy) { in.Object.Spec.Enforcement = v1alpha1.EnforcementDryRun }, want{"Ready": "True/Ready: spec.enforcement: DryRun"}},
		"invalid": {
			func(in *Policy) { in.Object.Spec.Rules[0].Recipients.Allowed = nil },
			want{"Ready": "False/Invalid: spec.rules[0].recipients.allowed", "Accepted": "False/Invalid: is required where match.users is empty", "Stalled": "True/Invalid"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := Policy{Object: healthy().Policies["office"], Now: now, UsedBy: []string{"office"}}
			tt.change(&in)
			in.Diagnostics = CheckPolicy(in.Object)
			check(t, OfPolicy(in).Conditions, 1, tt.want)
		})
	}
}

// A relay's findings are about several objects; each object's status tells its own.
func TestFindingsAreSortedByObject(t *testing.T) {
	in := healthy()
	in.Upstreams["ses"].Spec.Limits.MessageSize = &resource.Quantity{}
	in.Policies["office"].Spec.Rules[0].Recipients.Allowed = nil
	in.recompile()
	u := OfUpstream(Upstream{Object: in.Upstreams["ses"], Now: now, Diagnostics: in.Diagnostics})
	p := OfPolicy(Policy{Object: in.Policies["office"], Now: now, Diagnostics: in.Diagnostics})
	if m := u.Conditions[1].Message; !strings.Contains(m, "spec.limits") || strings.Contains(m, "spec.rules") {
		t.Errorf("upstream: %q", m)
	}
	if m := p.Conditions[1].Message; !strings.Contains(m, "spec.rules[0]") || strings.Contains(m, "spec.limits") {
		t.Errorf("policy: %q", m)
	}
}

func TestUsedBy(t *testing.T) {
	var many []string
	for i := range 150 {
		many = append(many, fmt.Sprintf("relay-%03d", 149-i), "relay-000")
	}
	st := OfPolicy(Policy{Object: healthy().Policies["office"], Now: now, UsedBy: many})
	if len(st.UsedBy) != 100 || st.UsedBy[0] != (v1alpha1.UsedBy{Kind: "PrinterRelay", Name: "relay-000"}) || st.UsedBy[99].Name != "relay-099" {
		t.Errorf("%d: %v", len(st.UsedBy), st.UsedBy)
	}
}

// What others tell of an upstream is kept.
func TestUpstreamKeepsWhatIsNotSeenHere(t *testing.T) {
	u := healthy().Upstreams["ses"]
	u.Status.DNS = []v1alpha1.DNSRecordStatus{{Name: "copier.example", Type: "TXT", State: "OK"}}
	u.Status.Quota = &v1alpha1.UpstreamQuota{DailyLimit: 5}
	st := OfUpstream(Upstream{Object: u, Now: now})
	if len(st.DNS) != 1 || st.Quota == nil {
		t.Errorf("%s", mustJSON(t, st))
	}
}

func TestChanged(t *testing.T) {
	one := int64(1)
	base := func() v1alpha1.PrinterRelayStatus {
		in := healthy()
		in.Instances[0].Report.Queue = QueueReport{Waiting: 2}
		return Of(in)
	}
	tests := map[string]struct {
		change func(s *v1alpha1.PrinterRelayStatus)
		atOnce bool
	}{
		"queue":               {func(s *v1alpha1.PrinterRelayStatus) { s.Queue.Messages++ }, false},
		"an instance's queue": {func(s *v1alpha1.PrinterRelayStatus) { s.Instances[0].Queue.Messages++ }, false},
		"an instance's words": {func(s *v1alpha1.PrinterRelayStatus) { s.Instances[0].Message = "x" }, false},
		"a listener's words":  {func(s *v1alpha1.PrinterRelayStatus) { s.Listeners[0].Message = "x" }, false},
		"copiers":             {func(s *v1alpha1.PrinterRelayStatus) { s.Copiers = []v1alpha1.CopierStatus{{Address: "10.0.0.1"}} }, false},
		"Ready's words":       {func(s *v1alpha1.PrinterRelayStatus) { s.Conditions[0].Message = "x" }, false},
		"Accepted's words":    {func(s *v1alpha1.PrinterRelayStatus) { s.Conditions[1].Message = "x" }, true},
		"a condition":         {func(s *v1alpha1.PrinterRelayStatus) { s.Conditions[0].Status = "False" }, true},
		"a reason":            {func(s *v1alpha1.PrinterRelayStatus) { s.Conditions[0].Reason = "Other" }, true},
		"a condition gone":    {func(s *v1alpha1.PrinterRelayStatus) { s.Conditions = s.Conditions[1:] }, true},
		"generation":          {func(s *v1alpha1.PrinterRelayStatus) { s.ObservedGeneration += one }, true},
		"addresses":           {func(s *v1alpha1.PrinterRelayStatus) { s.Addresses = nil }, true},
		"an instance":         {func(s *v1alpha1.PrinterRelayStatus) { s.Instances[0].Ready = false }, true},
		"a hash":              {func(s *v1alpha1.PrinterRelayStatus) { s.Instances[0].PlanHash = "x" }, true},
		"a listener":          {func(s *v1alpha1.PrinterRelayStatus) { s.Listeners[0].Ready = 0 }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			old, fresh := base(), base()
			tt.change(&fresh)
			before := mustJSON(t, old) + mustJSON(t, fresh)
			if got := Changed(old, fresh, false); got != tt.atOnce {
				t.Errorf("a second too early: %v, want %v", got, tt.atOnce)
			}
			if !Changed(old, fresh, true) {
				t.Error("is never written")
			}
			if Changed(old, old, true) || Changed(fresh, fresh, true) {
				t.Error("what did not change is written")
			}
			if mustJSON(t, old)+mustJSON(t, fresh) != before {
				t.Error("a status was changed by looking at it")
			}
		})
	}
}

func TestChangedUpstreamAndPolicy(t *testing.T) {
	u := Upstream{Object: healthy().Upstreams["ses"], Now: now, UsedBy: []string{"office"}, Reports: []UpstreamReport{{Name: "ses", Down: true, LastError: "one"}}}
	old := OfUpstream(u)
	u.Reports[0].LastError = "two"
	if Changed(old, OfUpstream(u), false) || !Changed(old, OfUpstream(u), true) {
		t.Error("an upstream's words are a figure")
	}
	u.UsedBy = append(u.UsedBy, "other")
	if !Changed(old, OfUpstream(u), false) {
		t.Error("usedBy is not written")
	}
	p := Policy{Object: healthy().Policies["office"], Now: now}
	before := OfPolicy(p)
	p.UsedBy = []string{"office"}
	if Changed(before, before, true) || !Changed(before, OfPolicy(p), false) {
		t.Error("a policy's usedBy")
	}
}

func TestLastWrite(t *testing.T) {
	o := healthy().Object
	at := metav1.NewTime(now)
	o.ManagedFields = []metav1.ManagedFieldsEntry{
		{Manager: "other", Subresource: "status", Time: &metav1.Time{Time: now.Add(1)}},
		{Manager: "printer-relay", Time: &metav1.Time{Time: now.Add(2)}},
		{Manager: "printer-relay", Subresource: "status", Time: &at},
	}
	if got := LastWrite(o, "printer-relay"); !got.Equal(now) {
		t.Errorf("got %v", got)
	}
	if got := LastWrite(o, "nobody"); !got.IsZero() {
		t.Errorf("got %v", got)
	}
}

// What is applied is the status, all of it, and nothing else of the object.
func TestConfigurations(t *testing.T) {
	in := healthy()
	in.Instances[0].Report.Queue = QueueReport{Waiting: 2}
	st := Of(in)
	relay := ForRelay(in.Object, st)
	upstream := OfUpstream(Upstream{Object: in.Upstreams["ses"], Now: now, UsedBy: []string{"office"}})
	policy := OfPolicy(Policy{Object: in.Policies["office"], Now: now, UsedBy: []string{"office"}})
	for kind, c := range map[string]struct{ got, status any }{
		"PrinterRelay office": {relay, st},
		"MailUpstream ses":    {ForUpstream(in.Upstreams["ses"], upstream), upstream},
		"SenderPolicy office": {ForPolicy(in.Policies["office"], policy), policy},
	} {
		kind, name, _ := strings.Cut(kind, " ")
		want := fmt.Sprintf(`{"kind":%q,"apiVersion":"printerrelay.dev/v1alpha1","metadata":{"name":%q,"namespace":"mail"},"status":%s}`, kind, name, mustJSON(t, c.status))
		if got := mustJSON(t, c.got); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}
