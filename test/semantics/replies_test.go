package semantics

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/rig"
)

// wireLine is a refusal as it may leave: one short line of printable ASCII, whose
// text begins with a code.
var wireLine = regexp.MustCompile(`^([45]\d\d [45]\.\d{1,3}\.\d{1,3}) (PR-\d{3}) [ -~]+$`)

// inside are words of what only the log may tell.
var inside = []string{"go-smtp", "smtp:", "sasl", "goroutine", "panic", ".go:", "secret-canary", "/tmp", "spool", "tls:", "base64 data", "upstream.test", "127.0.0.1:"}

// documented gives the codes and status of docs/replies.md by PR code.
func documented(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../../docs/replies.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| (PR-\d{3}) \| (\d{3} \d\.\d\.\d) \|`).FindAllStringSubmatch(string(b), -1) {
		out[row[1]] = row[2]
	}
	return out
}

// elsewhere are the refusals that no client can bring about at will, with the tests
// that show them.
var elsewhere = map[string]string{
	"PR-002": "../../relay/smtpd/wire/gaps_test.go TestGap17CloseEndsIdleConnectionsAfterADrainTimedOut",
	"PR-003": "../../relay/smtpd/wire/silence_test.go TestSilenceIs421",
	"PR-011": "../../relay/smtpd/wire/silence_test.go TestWhoTalksFirstIsRefused",
	"PR-013": "../../relay/smtpd/wire/gaps_test.go TestPanicIs421AndIsLogged",
	"PR-016": "revoke_test.go TestAStricterListenerEndsOpenSessions",
	"PR-017": "revoke_test.go TestCommandsWithoutAMessageEnd",
	"PR-028": "../../relay/smtpd/auth_test.go TestPasswordsThatCannotBeCheckedInTimeAre454",
	"PR-039": "cluster_hides_test.go TestAClientThatTheClusterHidesIsInNoNetwork",
	"PR-061": "../../relay/smtpd/auth_test.go TestWhatCannotBeStoredIs451",
	"PR-064": "../disk/faults_test.go TestADiskThatFails",
	"PR-065": "limits_test.go TestOneClientFillsNoSpool",
	"PR-066": "../../relay/smtpd/wire/limits_test.go TestDecline",
}

// Every refusal that leaves a listener is the catalogue's, whoever found the fault:
// the rules, the wire, go-smtp or crypto/tls. What a client sends here is meant to
// reach every place that can say no.
func TestEveryRefusalOnTheWire(t *testing.T) {
	docs := documented(t)
	seen := map[string]bool{}
	judge := func(t *testing.T, reply string) {
		if reply == "" || reply[0] != '4' && reply[0] != '5' {
			return
		}
		m := wireLine.FindStringSubmatch(reply)
		if m == nil || len(reply) >= 80 {
			t.Errorf("not one line of the catalogue, below 80 octets: %q (%d)", reply, len(reply))
			return
		}
		if want := docs[m[2]]; want == "" || want != m[1] && m[2] != "PR-063" {
			t.Errorf("docs/replies.md says of %s %q, the wire %q", m[2], want, reply)
		}
		for _, w := range inside {
			if strings.Contains(reply, w) {
				t.Errorf("%q tells of the inside: %q", reply, w)
			}
		}
		seen[m[2]] = true
	}
	for _, tc := range wireCases(t) {
		t.Run(tc.name, func(t *testing.T) {
			r := rig.Start(t, tc.manifests)
			for _, session := range tc.sessions {
				c := r.Dial()
				for _, step := range session {
					switch step {
					case "TLS 1.2":
						c.StartTLSUpTo(tls.VersionTLS12)
						continue
					case "CONNECT":
						judge(t, greeting(t, r.Port))
						continue
					}
					c.TryWrite(step)
					judge(t, c.Reply())
				}
				c.TryWrite("QUIT\r\n")
				for got := c.Reply(); got != ""; got = c.Reply() {
					judge(t, got)
				}
				c.Close()
			}
		})
	}
	for _, pr := range slices.Sorted(maps.Keys(docs)) {
		file, name, _ := strings.Cut(elsewhere[pr], " ")
		switch b, err := os.ReadFile(file); {
		case seen[pr]:
		case name == "":
			t.Errorf("%s did not come", pr)
		case err != nil || !strings.Contains(string(b), "\nfunc "+name+"(") || !strings.Contains(string(b), pr):
			t.Errorf("%s did not come, and %s of %s does not show it: %v", pr, name, file, err)
		}
	}
}

type wireCase struct {
	name, manifests string
	sessions        [][]string
}

// wireCases are relays, and what clients say to each: a step is written and one reply
// read, and in the end QUIT.
func wireCases(t *testing.T) []wireCase {
	u := rig.StartUpstream(t, rig.Script{Rcpt: rig.Refuse(rig.Reply(550, "5.7.708", "Access denied, "+strings.Repeat("traffic not accepted from this address ", 5)), "gone@corp.example")})
	listener := func(yaml, relay, rule string) string {
		m := strings.Replace(manifests(relay, rule, u.YAML("out", "")), "tls: {mode: None}", yaml, 1)
		return m + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: logins}\nstringData: {mfp: secret-canary}\n"
	}
	const auth = "authentication: {mode: Optional, plaintext: Allow, mechanisms: [Plain, Login], secretRef: {name: logins}}"
	const rules = `    senders: {allowed: ["*@copier.test", "*@*.copier.test"]}
    recipients: {allowed: ["*@corp.example"], maximum: 2}
    content: {messageSize: 20Ki, attachmentTypes: [application/pdf]}
    rateLimit: {messagesPerMinute: 1, per: Client, exceeded: Refuse}`
	ehlo, mail, rcpt := "EHLO copier.test\r\n", "MAIL FROM:<mfp@copier.test>\r\n", "RCPT TO:<a@corp.example>\r\n"
	begin := []string{ehlo, mail, rcpt, "DATA\r\n"}
	send := func(message string) []string { return append(slices.Clone(begin), message+"\r\n.\r\n") }
	const from = "From: mfp@copier.test\r\n"
	long := strings.Repeat("department.", 20) + "example"
	with := func(before []string, more ...string) []string { return append(slices.Clone(before), more...) }
	none := "tls: {mode: None}, " + auth
	refuseAll := wireCase{"rules", listener("tls: {mode: None}", "", rules), [][]string{
		{ehlo, "MAIL FROM:<md@corp.example>\r\n", "MAIL FROM:<md@" + long + ">\r\n", "MAIL FROM:<\xfcber@copier.test>\r\n", "MAIL FROM:<\xc3\xbc@copier.test> SMTPUTF8\r\n"},
		{ehlo, "MAIL FROM:<mfp@copier.test> SIZE=3000000\r\n", "MAIL FROM:<mfp@copier.test> SIZE=99999999999999999999\r\n"},
		with(begin[:2], "RCPT TO:<x@else.example>\r\n", "RCPT TO:<\x1b[2J@corp.example>\r\n", "RCPT TO:<x@"+long+">\r\n", rcpt, "RCPT TO:<b@corp.example>\r\n", "RCPT TO:<c@corp.example>\r\n", mail),
		send(from + "From: md@corp.example\r\n\r\nx"), send("From: md@" + long + "\r\n\r\nx"), send("From: a <b> c\r\n\r\nx"),
		send(from + "\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 400)),
		send(strings.Repeat("X-Field: x\r\n", 1200) + "\r\nx"),
		send(strings.Repeat("Received: from x by relay.test (Printer Relay)\r\n", 4) + from + "\r\nx"),
		send(from + "MIME-Version: 1.0\r\nContent-Type: application/x-msdownload; name=\"" + strings.Repeat("setup", 40) + ".exe\"\r\n\r\nMZ"),
		send(from + "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Type: application/pdf\r\n\r\nx"),
		send(from + "\r\nx"), send(from + "\r\nx"), send(from + "\r\nx"), // a minute may begin meanwhile
	}}
	syntax := wireCase{"syntax", listener(none, "", anyCorp), [][]string{
		{"FOO\r\n", "\r\n", "\x00\r\n", "HELP\r\n", "EXPN staff\r\n", "HELO\r\n", "EHLO a b\r\n", "EHLO -\r\n", mail, rcpt, "DATA\r\n", "AUTH PLAIN\r\n", "STARTTLS\r\n", "VRFY\r\n", "DATA now\r\n", strings.Repeat("x", 5000) + "\r\n"},
		{ehlo, "MAIL\r\n", "MAIL FROM\r\n", "MAIL FROM:\r\n", "MAIL FROM:<\r\n", "MAIL FROM:<a@b@c>\r\n", "MAIL FROM:<scanner>\r\n", "MAIL FROM:<" + strings.Repeat("s", 70) + ">\r\n", "MAIL FROM:<a@copier.test> RET=FULL\r\n", "MAIL FROM:<a@copier.test> SIZE=x\r\n", "MAIL FROM:<a@copier.test> BODY=BINARYMIME\r\n", "MAIL FROM:<a@copier.test> AUTH=<>\r\n"},
		{ehlo, mail, "RCPT\r\n", "RCPT TO:<>\r\n", "RCPT TO:<it>\r\n", "RCPT TO:<@a.example:b@corp.example>\r\n", "RCPT TO:<a@corp.example> NOTIFY=NEVER\r\n", "DATA\r\n", "AUTH PLAIN AHgAeQ==\r\n", "BDAT 5 LAST\r\nhello"},
		{ehlo, "AUTH\r\n", "AUTH FOO\r\n", "AUTH PLAIN !\r\n", "AUTH PLAIN AHgAeQ==\r\n", "AUTH CRAM-MD5\r\n", "AUTH PLAIN\r\n", "*\r\n", "AUTH LOGIN\r\n", "!\r\n", "AUTH PLAIN\r\n", strings.Repeat("A", 20000) + "\r\n", "AUTH PLAIN " + b64("\x00mfp\x00wrong") + "\r\n", "AUTH PLAIN AHgAeQ==\r\n"},
		{ehlo, "AUTH PLAIN " + b64("\x00mfp\x00secret-canary") + "\r\n", "AUTH PLAIN AHgAeQ==\r\n"},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		slices.Repeat([]string{"FOO\r\n"}, 20),
		{ehlo, strings.Repeat("x", 300_000) + "\r\n"},
		{ehlo, mail, rcpt, "DATA\r\nSubject: x\r\n"},
	}}
	more := "---\napiVersion: printerrelay.dev/v1alpha1\nkind: SenderPolicy\nmetadata: {name: no}\nspec: {rules: [{name: " + strings.Repeat("nobody-from-here-", 3) + "x, match: {clientNetworks: [127.0.0.0/8]}, action: Reject}]}\n"
	none = "tls: {mode: None}"
	return []wireCase{
		refuseAll, syntax,
		{"TLS and login", listener("tls: {mode: StartTLS}, authentication: {mode: Required, secretRef: {name: logins}}", "", anyCorp+"\n    connection: {minimumTLSVersion: \"1.3\"}"), [][]string{
			{ehlo, mail, "AUTH PLAIN AHgAeQ==\r\n", "STARTTLS now\r\n"}, {"TLS 1.2", ehlo, mail, "STARTTLS\r\n"},
		}},
		{"TLS too old", listener("tls: {mode: StartTLS}", "", anyCorp+"\n    connection: {tls: Required, minimumTLSVersion: \"1.3\"}"), [][]string{{ehlo, mail}, {"TLS 1.2", ehlo, mail}}},
		{"no certificate", listener("tls: {mode: StartTLS, certificateRefs: [{name: gone}]}", "", anyCorp), [][]string{{ehlo, "STARTTLS\r\n"}}},
		{"bare LF", listener(none+", compatibility: {lineEndings: Reject}", "", anyCorp), [][]string{{"EHLO copier.test\n"}, send(from + "\r\na\nb")}},
		{"little room", listener(none, "  spool: {type: PersistentVolume, persistentVolume: {size: 300Ki}}\n", anyCorp), [][]string{{ehlo, "MAIL FROM:<mfp@copier.test> SIZE=400000\r\n"}}},
		{"closed", listener(none, "  intake: Refuse\n", anyCorp), [][]string{{ehlo, mail}}},
		{"nobody", strings.Replace(listener(none, "", anyCorp), "127.0.0.0/8", "10.0.0.0/8", 1), [][]string{{ehlo, mail}}},
		{"a rule that rejects", strings.Replace(listener(none, "", anyCorp), "senderPolicyRefs: [{name: office}]", "senderPolicyRefs: [{name: no}]", 1) + more, [][]string{{ehlo, mail}}},
		{"another domain", strings.Replace(listener(none, "", anyCorp), "  smtp: {", "  sender: {domain: scans.corp.example, localPart: scans, rewrite: Never}\n  smtp: {", 1), [][]string{{ehlo, mail}}},
		{"refused behind the relay", listener(none, relayed, anyCorp), [][]string{{ehlo, mail, "RCPT TO:<gone@corp.example>\r\n", "DATA\r\n", from + "\r\nx\r\n.\r\n"}}},
		{"one connection", listener(none+", limits: {connectionsPerClient: 1}", "", anyCorp), [][]string{{"CONNECT"}}},
		{"ephemeral", strings.Replace(listener(none, relayed+"  spool: {type: Ephemeral}\n", anyCorp), fmt.Sprintf("port: %d", u.Port), fmt.Sprintf("port: %d", closedPort(t)), 1), [][]string{send(from + "\r\nx")}},
	}
}

// closedPort is one on which nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// greeting is what another connection hears first.
func greeting(t *testing.T, port int) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), rig.Wait)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(rig.Wait)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(line, "\r\n")
}
