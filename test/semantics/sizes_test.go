package semantics

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/rig"
)

// big is a scan of at least n octets.
func big(n int, to string) string {
	return rig.Scan("mfp@copier.test", to) + "\r\n" + strings.TrimSuffix(strings.Repeat(strings.Repeat("A", 76)+"\r\n", n/78+1), "\r\n")
}

func offers(t *testing.T, r *rig.Relay) string {
	t.Helper()
	c := r.Dial()
	defer c.Close()
	return c.Cmd("EHLO mfp.test")
}

const limited = "  limits: {messageSize: %d}\n"

// A scan that the first upstream cannot carry goes to the next that can; the
// largest of them is what the listener takes.
func TestTooLargeForOneGoesToTheNextThatCan(t *testing.T) {
	small, large := rig.StartUpstream(t, rig.Script{}), rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("  fallbackUpstreamRefs: [{name: large}]\n", anyCorp,
		small.YAML("out", fmt.Sprintf(limited, 100_000)), large.YAML("large", fmt.Sprintf(limited, 300_000))))
	if ehlo := offers(t, r); !strings.Contains(ehlo, fmt.Sprint("SIZE ", 300_000-8<<10)) {
		t.Errorf("EHLO says\n%s", ehlo)
	}
	to := []string{"a@corp.example"}
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", to, big(200_000, to[0])))
	arrived(r, large, 1)
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", to, big(1_000, to[0])))
	arrived(r, small, 1)
	if got := r.Dial().Send("mfp@copier.test", to, big(300_000, to[0])); !strings.HasPrefix(got, "552 5.3.4 ") {
		t.Errorf("a scan that nobody carries: %s", got)
	}
	idle(r)
	if n := len(large.Messages()) + len(small.Messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

// Each way has its own limit. A scan that a recipient's way cannot carry is
// refused while its user stands at the device: at RCPT where its size is
// announced, else at the final dot.
func TestTooLargeForARecipientsWay(t *testing.T) {
	out, narrow := rig.StartUpstream(t, rig.Script{}), rig.StartUpstream(t, rig.Script{})
	r := rig.Start(t, manifests("  routes: [{name: narrow, recipientDomains: [narrow.corp.example], upstreamRef: {name: narrow}}]\n",
		`    recipients: {allowed: ["*@corp.example", "*@narrow.corp.example"]}`, out.YAML("out", fmt.Sprintf(limited, 300_000)), narrow.YAML("narrow", fmt.Sprintf(limited, 100_000))))
	c := r.Dial()
	c.Want("250", "EHLO mfp.test")
	c.Want("250", "MAIL FROM:<mfp@copier.test> SIZE=200000")
	c.Want("552 5.3.4 ", "RCPT TO:<a@narrow.corp.example>")
	c.Want("250", "RCPT TO:<a@corp.example>")
	c.Close()
	both := []string{"a@corp.example", "a@narrow.corp.example"}
	if got := r.Dial().Send("mfp@copier.test", both, big(200_000, both[0])); !strings.HasPrefix(got, "552 5.3.4 ") {
		t.Errorf("not announced: %s", got)
	}
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", both[:1], big(200_000, both[0])))
	rig.QueueID(t, r.Dial().Send("mfp@copier.test", both[1:], big(50_000, both[1])))
	arrived(r, out, 1)
	arrived(r, narrow, 1)
	idle(r)
	if n := len(out.Messages()) + len(narrow.Messages()); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	if !strings.Contains(r.Log.String(), "take messages of 100000 octets at most") {
		t.Error("no warning of the narrow way")
	}
}
