package interop

import (
	"regexp"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// What a client's user sees when the relay says no, and that nothing of it
// reaches Postfix.
func TestRefusals(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	login := way{port: "STARTTLS", auth: "PLAIN"}
	for _, c := range []struct {
		name string
		way  way
		to   string
		args []string // they override the way's
		want string   // of swaks's transcript
	}{
		{"wrong password", login, "it@corp.example", []string{"--auth-password", "wrong"}, `(?m)^<~\* 535 5\.7\.8 `},
		{"unknown user", login, "it@corp.example", []string{"--auth-user", "nobody"}, `(?m)^<~\* 535 5\.7\.8 `},
		{"no login where one is required", way{port: "STARTTLS"}, "it@corp.example", nil, `(?m)^<~\* 530 5\.7\.0 `},
		{"no TLS where a login is required", login, "it@corp.example", []string{"--no-tls"}, `Auth not attempted, requested type not available|not advertise`},
		{"recipient that no rule names", clearText, "it@elsewhere.example", nil, `(?m)^<\*\* 550 5\.7\.1 `},
		{"recipient that needs a login", clearText, "it@corp.example", nil, `(?m)^<\*\* 550 5\.7\.1 `},
		{"sender that no rule names", clearText, "it@clear.corp.example", []string{"--from", "md@corp.example"}, `(?m)^<\*\* 550 5\.7\.1 `},
		{"managing director in From:", clearText, "it@clear.corp.example", []string{"--h-From", "MD <md@corp.example>"}, `(?m)^<\*\* 550 5\.7\.1 `},
	} {
		out, err := env.Run(t, "", "swaks", append(swaksArgs(o, c.way, c.to), c.args...)...)
		if err == nil || !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("%s: %v, want %s\n%s", c.name, err, c.want, out)
		}
	}
	// What is queued would be delivered before this one is.
	sendSwaks(t, o, clearText, "last@clear.corp.example")
	o.mx.MailFor(t, "last@clear.corp.example")
	if all := o.mx.Mail(t); len(all) != 1 {
		t.Errorf("%d mails arrived, want only the one that is allowed", len(all))
	}
}

// The 250 carries the queue ID, and the log and Received: name it.
func TestQueueIDGoesFromReplyToUpstream(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	out := env.MustRun(t, "", "swaks", swaksArgs(o, clearText, "it@clear.corp.example")...)
	m := regexp.MustCompile(`(?m)^<-  250 2\.\d\.\d .*[Qq]ueued as (\S+)$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no queue ID in\n%s", out)
	}
	if !received(o.mx.MailFor(t, "it@clear.corp.example"), "with ESMTP id "+m[1]) {
		t.Errorf("Received: does not name %s", m[1])
	}
	env.Eventually(t, "the log tells the outcome", o.Output, func() bool {
		for line := range strings.Lines(o.Output()) {
			if strings.Contains(line, m[1]) && strings.Contains(line, "outcome=Accepted") {
				return true
			}
		}
		return false
	})
}
