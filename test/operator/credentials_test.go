package operator

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/controllers/status"
)

// withLogin is the smarthost with a credential.
var withLogin = strings.Replace(smarthost, "port: 587", "port: 587, authentication: {secretRef: {name: provider}}", 1) +
	"\n---\n{apiVersion: v1, kind: Secret, metadata: {name: provider}, stringData: {username: a, password: b}}"

var (
	takes   = status.Check{Done: true, Reachable: status.Good, Credentials: status.Good}
	rejects = status.Check{
		Done: true, Reachable: status.Good, Credentials: status.Bad, Text: "535 5.7.139 Authentication unsuccessful",
		Remedy: "SMTP AUTH is switched off; what to do: switch it on",
	}
)

// TestCredentialRejected: what an instance found of its credential comes to be in the status
// though nothing in the cluster changes (how soon it is looked at: TestAgain of
// controllers); at rest nothing is written; an
// event tells of each turn, and of nothing else.
func TestCredentialRejected(t *testing.T) {
	r := newRig(t)
	op := r.run(func(o *controllers.Options) { o.FiguresEvery = time.Hour })
	say := func(c status.Check) { r.node.set("copiers-0", func(i *instance) { i.check = c }) }
	say(takes)
	r.kubectl(withLogin + "\n---\n" + office + "\n---\n" + copiers())
	r.ready("copiers")
	valid := func(want string, words ...string) {
		t.Helper()
		r.conditionOf("MailUpstream smarthost", want, r.upstream("smarthost"), words...)
	}
	valid("CredentialsValid=True/Valid")
	valid("Ready=True/Ready")

	r.rests(op, func() { r.nudge("copiers") }) // the events of its beginning are sent too
	comes := r.count("smarthost", "Normal Ready")
	say(rejects)
	valid("Ready=False/Rejected", "535 5.7.139", "what to do: switch it on")
	valid("CredentialsValid=False/Rejected", "535 5.7.139", "what to do: switch it on")
	r.happened("smarthost", "Warning Rejected: ", "535 5.7.139", "switch it on")
	r.happened("copiers", "Warning UpstreamDown: ", `MailUpstream "smarthost"`, "535 5.7.139")
	r.rests(op, func() {
		for n := range 3 {
			other := rejects
			other.Text = fmt.Sprintf("535 5.7.139 Authentication unsuccessful [server %d]", n) // words alone
			say(other)
			r.nudge("copiers")
		}
	})

	say(takes) // the Secret was mended
	valid("Ready=True/Ready")
	valid("CredentialsValid=True/Valid")
	r.happened("smarthost", "Normal Ready: ", "mail is handed over")
	r.happened("copiers", "Normal UpstreamUp: ", `MailUpstream "smarthost"`)
	for about, want := range map[string]map[string]int{
		"smarthost": {"Warning Rejected": 1, "Normal Ready": comes + 1},
		"copiers":   {"Warning UpstreamDown": 1, "Normal UpstreamUp": 1},
	} {
		for event, n := range want {
			r.eventually(fmt.Sprintf("%d events %q about %s", n, event, about), func() string {
				if r.count(about, event) != n {
					return strings.Join(r.events(about), "\n")
				}
				return ""
			})
		}
	}
}

// count is how many events about an object begin so.
func (r *rig) count(about, prefix string) (n int) {
	r.Helper()
	for _, e := range r.events(about) {
		if strings.HasPrefix(e, prefix+": ") {
			n++
		}
	}
	return n
}

// TestUpstreamFigures: quota and warnings are lifted; figures alone are written seldom.
func TestUpstreamFigures(t *testing.T) {
	r := newRig(t)
	op := r.run(func(o *controllers.Options) { o.FiguresEvery = time.Hour })
	c := takes
	c.PerSecond, c.DailyLimit, c.DailyUsed, c.Warnings = 1.5, 200, 7, []string{"the account is in the sandbox"}
	say := func(c status.Check) { r.node.set("copiers-0", func(i *instance) { i.check = c }) }
	say(c)
	r.kubectl(withLogin + "\n---\n" + office + "\n---\n" + copiers())
	r.ready("copiers")
	r.conditionOf("MailUpstream smarthost", "CredentialsValid=True/Valid", r.upstream("smarthost"), "warning: the account is in the sandbox")
	if q := must[v1alpha1.MailUpstream](r, "smarthost").Status.Quota; q == nil || *q != (v1alpha1.UpstreamQuota{MessagesPerSecond: "1.5", DailyLimit: 200, DailyUsed: 7}) {
		t.Errorf("quota %+v", q)
	}
	r.rests(op, func() {
		c.DailyUsed++
		say(c)
		r.nudge("copiers")
	})
	// A restart of the instance, or of the operator, takes nothing back.
	say(status.Check{})
	r.nudge("copiers")
	op.stop()
	second := r.run(func(o *controllers.Options) { o.FiguresEvery = time.Hour })
	r.quiet(second, func() { r.nudge("copiers"); r.nudge("copiers") })
	r.conditionOf("MailUpstream smarthost", "CredentialsValid=True/Valid", r.upstream("smarthost"))
}
