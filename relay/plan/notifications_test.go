package plan_test

import (
	"strings"
	"testing"
)

// Of notifications that a provider would refuse for their sender the plan warns:
// nobody would hear of failed scans, and of that neither.
func TestNotificationsThatNobodyWouldGet(t *testing.T) {
	const (
		ses   = "type: SES\n  ses: {region: eu-west-1}"
		m365  = "type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: Scans@corp.example, credentials: {type: WorkloadIdentity}"
		ours  = "\n  sender: {domain: copier.example}"
		begin = "PrinterRelay default/office: spec.delivery.bounce.from: notifications leave as "
	)
	for name, tc := range map[string]struct{ upstream, bounce, want string }{
		"a mail server":         {"type: SMTP\n  smtp: {host: mail.example}" + ours, "postmaster: it@corp.example", ""},
		"SES":                   {ses + ours, "postmaster: it@corp.example", `postmaster@relay.example, which MailUpstream "out" may not send as, so that nobody would hear of failed scans: set it to scans@copier.example`},
		"SES, the sender":       {ses + ours, "to: OriginalSender", `postmaster@relay.example, which MailUpstream "out" may not send as, so that nobody would hear of failed scans: set it to scans@copier.example`},
		"SES, in its domain":    {ses + ours, "postmaster: it@corp.example, from: it@Copier.example", ""},
		"SES, none of its own":  {ses, "postmaster: it@corp.example", `postmaster@relay.example, which MailUpstream "out" may not send as, so that nobody would hear of failed scans: set it to an address that it lets the account send as`},
		"SES, who knows":        {ses, "postmaster: it@corp.example, from: it@corp.example", ""},
		"SES, nobody is told":   {ses + ours, "to: None", ""},
		"SES, by another":       {ses + ours, "postmaster: it@corp.example, upstreamRef: {name: mx}", ""},
		"Exchange":              {m365 + "}", "postmaster: it@corp.example, from: it@corp.example", `it@corp.example, which MailUpstream "out" may not send as, so that nobody would hear of failed scans: set it to Scans@corp.example`},
		"Graph":                 {m365 + ", transport: Graph}", "postmaster: it@corp.example", `postmaster@relay.example, which MailUpstream "out" may not send as, so that nobody would hear of failed scans: set it to Scans@corp.example`},
		"Exchange, the mailbox": {m365 + "}", "postmaster: it@corp.example, from: scans@corp.example", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(small, "type: SMTP\n  smtp: {host: mail.example}", tc.upstream, 1)
			text = strings.Replace(text, "{bounce: {to: None}}", "{bounce: {"+tc.bounce+"}}", 1)
			text += "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: mx}\nspec:\n  type: MX\n  mx: {}" + ours + "\n"
			// A route by sender is not theirs: they have none.
			text = strings.Replace(text, "  listeners:", "  routes: [{name: r, senders: [\"*@relay.example\"], upstreamRef: {name: mx}}]\n  listeners:", 1)
			_, found := compileYAML(t, text)
			got := ""
			for _, d := range found {
				if strings.Contains(d.Error(), "bounce.from") {
					got += strings.TrimPrefix(d.Error(), begin)
				}
			}
			if got != tc.want || found.Failed() {
				t.Errorf("got  %s\nwant %s\n%v", got, tc.want, found)
			}
		})
	}
}
