package relay

import (
	"fmt"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/preflight"
	"github.com/printerrelay/printer-relay/relay/selfprobe"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// ExpiresSoon is how long before its end a credential is worth a person's time.
const ExpiresSoon = 14 * 24 * time.Hour

// because adds to a problem what to do about it, where that is known.
func because(problem, remedy string) string {
	if remedy == "" {
		return problem
	}
	return problem + "; " + remedy
}

// unwell is the problem that a check of an upstream found; empty: there is none.
func unwell(name string, r preflight.Result, now time.Time) string {
	switch {
	case r.Credentials == upstream.Bad:
		return because(fmt.Sprintf("upstream %s does not take the credential: %s", name, r.Text), r.Remedy)
	case r.Reachable == upstream.Bad:
		return because(fmt.Sprintf("upstream %s cannot be reached: %s", name, r.Text), r.Remedy)
	case !r.Expires.IsZero() && r.Expires.Sub(now) < ExpiresSoon:
		return fmt.Sprintf("the credential of upstream %s expires on %s: put a new one into its Secret", name, r.Expires.UTC().Format(time.DateOnly))
	}
	return ""
}

// exposed puts into a state what the self-probe found: a relay that would relay for
// anybody takes no mail, as far as whoever sends it there goes by its readiness.
func exposed(st *admin.RelayState, probe *selfprobe.Runner) {
	if open := probe.Open(); len(open) > 0 {
		st.Ready = false
		st.OpenRelay = open
		st.Problems = append(st.Problems, probe.Problems()...)
	}
}

// healthState is a result as the admin port gives it; nil: there is none.
func healthState(r preflight.Result) *admin.Health {
	if r.Checked.IsZero() {
		return nil
	}
	return &admin.Health{
		Reachable: r.Reachable.String(), Credentials: r.Credentials.String(), Text: r.Text, Remedy: r.Remedy, Warnings: r.Warnings,
		Expires: r.Expires, Quota: admin.Quota(r.Quota), Checked: r.Checked,
	}
}

// measure puts a result into the metrics of an upstream.
func measure(m *metrics.Upstream, r preflight.Result) {
	m.Checked, m.Reachable, m.Credentials, m.Expires = r.Checked, tristate(r.Reachable), tristate(r.Credentials), r.Expires
	m.SendRate, m.DailyLimit, m.DailyUsed = r.Quota.PerSecond, r.Quota.DailyLimit, r.Quota.DailyUsed
}

func tristate(v upstream.Verdict) metrics.Tristate {
	switch v {
	case upstream.Good:
		return metrics.True
	case upstream.Bad:
		return metrics.False
	case upstream.Untold:
	}
	return metrics.NotKnown
}
