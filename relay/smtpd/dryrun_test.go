package smtpd

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// TestWhatAPolicyInDryRunWouldChange: a rule in DryRun is asked at each step like the
// one in force, and only what it would change is told.
func TestWhatAPolicyInDryRunWouldChange(t *testing.T) {
	pattern := func(s string) []envelope.Pattern {
		p, err := envelope.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return []envelope.Pattern{p}
	}
	const (
		scan     = "\x11m\x08\x0fm\x12\x10it\x13\x14From: m@copier.example\r\n\r\nx\x15"
		sender   = "\x11m\x08\x0fm@other.example>\x08"
		stranger = "\x11m\x08\x0fm\x12\x10it@z.example>\x08"
		header   = "\x11m\x08\x0fm\x12\x10it\x13\x14From: m@other.example\r\n\r\nx\x15"
	)
	rig := newRig(t, canary)
	inForce := rig.plan.Policies[0]
	for name, tc := range map[string]struct {
		rule     func(*policy.Rule)
		dialogue string
		want     string // now > would, count, code of the reply; empty: nothing
	}{
		"the same":                {func(*policy.Rule) {}, scan, ""},
		"the same, refused":       {func(*policy.Rule) {}, sender, ""},
		"it matches nobody":       {func(r *policy.Rule) { r.Match.Networks = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")} }, scan, ""},
		"it rejects":              {func(r *policy.Rule) { r.Action = policy.Reject }, scan, "Accept > Refuse 1 PR-033"},
		"it wants TLS":            {func(r *policy.Rule) { r.Connection.TLSRequired = true }, scan, "Accept > Refuse 1 PR-020"},
		"another sender":          {func(r *policy.Rule) { r.Senders.Allowed = pattern("x@copier.example") }, scan, "Accept > Refuse 1 PR-031"},
		"another recipient":       {func(r *policy.Rule) { r.Recipients.Allowed = pattern("x@corp.example") }, scan, "Accept > Refuse 1 PR-032"},
		"another sender in From":  {func(r *policy.Rule) { r.Senders.Allowed = pattern("m@copier.example") }, strings.Replace(scan, "From: m", "From: n", 1), "Accept > Refuse 1 PR-034"},
		"fewer octets":            {func(r *policy.Rule) { r.MessageSize = 10 }, scan, "Accept > Refuse 1 PR-050"},
		"a sender more":           {func(r *policy.Rule) { r.Senders.Allowed = nil }, sender, "Refuse > Accept 1 PR-031"},
		"a recipient more":        {func(r *policy.Rule) { r.Recipients.Allowed = pattern("*@z.example") }, stranger, "Refuse > Accept 1 PR-032"},
		"a recipient more, twice": {func(r *policy.Rule) { r.Recipients.Allowed = pattern("*@z.example") }, stranger + "\x10a@z.example>\x08", "Refuse > Accept 1 PR-032"},
		"a sender in From more":   {func(r *policy.Rule) { r.Senders.EnvelopeOnly = true }, header, "Refuse > Accept 1 PR-034"},
		"a recipient, held":       {func(r *policy.Rule) { r.Recipients.Allowed, r.Action = nil, policy.Hold }, stranger, "Refuse > Hold 1 PR-032"},
		"the intake holds all":    {func(*policy.Rule) {}, scan, ""},
		"a hold keeps it":         {func(*policy.Rule) {}, scan, ""},
		"a hold would keep it":    {func(r *policy.Rule) { r.Recipients.Allowed = nil }, stranger, "Refuse > Hold 1 PR-032"},
		"it holds":                {func(r *policy.Rule) { r.Action = policy.Hold }, scan, "Accept > Hold 1 PR-"},
		"the second of a rate of one": {func(r *policy.Rule) {
			r.Rate = &policy.Rate{RecipientsPerDay: 1, Per: policy.PerClient, Exceeded: policy.Refuse}
		}, scan + scan, "Accept > Refuse 1 PR-036"},
	} {
		t.Run(name, func(t *testing.T) {
			dry := inForce
			dry.Name, dry.DryRun, dry.Rules = "trial", true, slices.Clone(inForce.Rules)
			dry.Rules[0].Policy = "trial"
			tc.rule(&dry.Rules[0])
			rig.plan.Policies = policy.Set{dry, inForce}
			rig.plan.Intake, rig.plan.Holds = plan.IntakeAccept, nil
			if strings.HasPrefix(name, "a hold ") {
				rig.plan.Holds = []plan.Hold{{Name: "stolen", Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.7/32")}}}
			}
			if name == "the intake holds all" {
				rig.plan.Intake = plan.IntakeHold
			}
			kept := rig.play(t, way{tls: plan.TLSNone}, expand([]byte(tc.dialogue)))
			c, err := kept.copiers.Get(lan)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, d := range c.DryRun {
				_, code, _ := strings.Cut(d.Reply, "PR-")
				got += fmt.Sprintf("%s > %s %d PR-%.3s", d.Now, d.Would, d.Count, code)
			}
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
