package smtpd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// canaryIn says how a canary is seen in what people are shown of a Store; empty: it
// is not.
func canaryIn(t *testing.T, kept witness) string {
	t.Helper()
	var text bytes.Buffer
	all := kept.Sessions(transcript.Filter{}, "")
	if err := transcript.WriteText(&text, all); err != nil {
		t.Fatal(err)
	}
	if err := transcript.WriteTable(&text, kept.Devices(transcript.Filter{}), time.Now()); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	text.Write(b)
	page, err := kept.copiers.List(inventory.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err = json.Marshal(page); err != nil {
		t.Fatal(err)
	}
	text.WriteString(strconv.QuoteToASCII(string(b))) // a sender may be UTF-8
	shown := text.String()
	for _, c := range []byte(shown) {
		if c != '\n' && (c < ' ' || c > 0x7e) {
			t.Fatalf("octet %#x is shown in\n%q", c, shown)
		}
	}
	forms := []string{strings.ToLower(canary)}
	for offset := range 3 {
		b := base64.RawStdEncoding.EncodeToString([]byte("xx"[:offset] + canary))
		forms = append(forms, strings.ToLower(b[(offset*8+5)/6:len(b)-1]))
	}
	for _, f := range forms {
		if i := strings.Index(strings.ToLower(shown), f); i >= 0 {
			return shown[max(0, i-200):min(len(shown), i+100)]
		}
	}
	return ""
}

// dialogues in which a password comes where it belongs, and where it does not.
var dialogues = []string{
	"\x11m\x08\x0c\x03\x08\x0fm\x12\x10it\x13\x14x\x15",
	"\x11m\x08\x0b\x05\x08\x02\x08\x0b\x02\x08\x02\x08",
	"\x11m\x08\x0b\x01\x08\x01\x08\x01\x08",
	"\x11m\x08AUTH LOGIN \x02\x08\x02\x08",
	"\x11m\x08AUTH \x01\x08AUTH \x01 \x01\x08AUTH\t\x0c\x03\x08auth login\x08\x05\x08\x02\x08",
	"\x11m\x08\x0e\x07\x08",
	"\x11m\x08\x0c\x08\x03\x08",
	"\x11m\x08\x02\x08\x01\x08PASS \x01\x08LOGIN \x01 \x01\x08",
	"\x11\x01\x08\x0f\x01\x12\x10\x01\x13\x14Subject: \x01\x08\x08\x01\x15",
	"\x0f\x01>\x08\x10\x01>\x08MAIL FROM:\x01\x08VRFY \x01\x08NOOP \x01\x08",
	"\x11m\x08\x0fm@copier.example> AUTH=\x01 \x01=1 SIZE=\x01\x08",
	"\x11m\x08\x0f\x06\x12\x10x@elsewhere.example>\x08",
	"\x11 \x02\x08\x0f\x02\x12\x10\x02\x13",
	"\x11m\x08\x0fm\x12\x10it\x13\x14From: \x01@x\x08\x08half of a message with \x01",
	"\x0c\x03", "\x16\x08\x01", "GET /?\x01 HTTP/1.1\x08\x08",
}

// refused makes a failure of a session that was none.
const refused = "\r\nRSET\r\nMAIL FROM:<x@elsewhere.example>\r\n"

// ways in which dialogues are held.
func ways() []way {
	knows := "EHLO x\r\nAUTH PLAIN " + plain("mfp1", canary) + "\r\n"
	wrong := "EHLO x\r\nAUTH LOGIN\r\n" + b64(canary) + "\r\n" + b64("x") + "\r\n"
	return []way{
		{tls: plan.TLSNone},
		{tls: plan.TLSNone, strict: true},
		{tls: plan.TLSStartTLS},
		{tls: plan.TLSImplicit},
		{tls: plan.TLSNone, hashed: true, before: knows},
		{tls: plan.TLSStartTLS, hashed: true, before: wrong},
		{tls: plan.TLSNone, noLogins: true},
	}
}

// A password that the relay holds, or that was once sent to log in, is in no
// transcript, wherever else it comes.
func TestNoPasswordInTranscripts(t *testing.T) {
	rig := newRig(t, canary)
	for _, w := range ways() {
		for _, d := range dialogues {
			kept := rig.play(t, w, expand([]byte(d))+refused)
			if len(kept.Devices(transcript.Filter{})) == 0 {
				t.Errorf("%+v, %q: nothing is kept", w, expand([]byte(d)))
			}
			if where := canaryIn(t, kept); where != "" {
				t.Errorf("%+v, %q: a password is shown:\n%s", w, expand([]byte(d)), where)
			}
		}
	}
}

// FuzzTranscripts: whatever is said, in whatever order, no transcript shows a
// password or an octet that is not printable.
func FuzzTranscripts(f *testing.F) {
	rig := newRig(f, canary)
	for i := range ways() {
		for _, d := range dialogues {
			f.Add([]byte(d), byte(i))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, n byte) {
		all := ways()
		w := all[int(n)%len(all)]
		kept := rig.play(t, w, expand(in)+refused)
		if where := canaryIn(t, kept); where != "" {
			t.Fatalf("%+v, %q: a password is shown:\n%s", w, expand(in), where)
		}
	})
}

// What is kept of whole sessions, in clear and within TLS.
func TestTranscripts(t *testing.T) {
	rig := newRig(t, canary)
	for name, tc := range map[string]struct {
		way      way
		dialogue string
		failure  transcript.Failure // empty: none
		why      string
		cause    string
		lines    []string
	}{
		"a scan":                 {way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12\x10it\x13\x14x\x15QUIT\x08", "", "", "", nil},
		"a probe of a recipient": {way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12\x10it\x13", "", "", "", nil},
		"nothing is said":        {way{tls: plan.TLSNone}, "", "", "", "", nil},
		"only EHLO":              {way{tls: plan.TLSStartTLS}, "\x11m\x08", "", "", "", nil},
		"TLS, then nothing":      {way{tls: plan.TLSImplicit}, "", "", "", "", nil},
		"a recipient": {
			way{tls: plan.TLSNone},
			"\x11m\x08\x0fm\x12\x10x@elsewhere.example>\x08QUIT\x08", transcript.Refused, "550 5.7.1 PR-032", "rule office/lan",
			[]string{"S 220 relay.test ESMTP Printer Relay", "C EHLO m", "S 250 relay.test, PIPELINING, SIZE 16384", "C MAIL FROM:<m@copier.example>", "S 250 2.1.0", "C RCPT TO:<x@elsewhere.example>", "S 550 5.7.1 PR-032", "# rule", "C QUIT", "S 221"},
		},
		"a wrong password": {
			way{tls: plan.TLSNone},
			"\x11m\x08AUTH LOGIN\x08\x05\x08" + b64("wrong") + "\x08", transcript.Refused, "535 5.7.8 PR-023", `user "mfp1": the password is not that of the Secret`,
			[]string{"S 220", "C EHLO m", "S 250", "C AUTH LOGIN", "S 334 VXNlcm5hbWU6", "C [login, not shown]", "S 334 UGFzc3dvcmQ6", "C [login, not shown]", "S 535", "# user", "# the device hung up"},
		},
		"an unknown user": {way{tls: plan.TLSNone, hashed: true}, "\x11m\x08\x0c" + plain("nobody", "x") + "\x08", transcript.Refused, "535 5.7.8 PR-023", "has no login of the name", nil},
		"a wrong password within TLS": {
			way{tls: plan.TLSStartTLS},
			"\x11m\x08AUTH PLAIN " + plain("mfp1", "wrong") + "\x08", transcript.Refused, "535", `user "mfp1"`,
			[]string{"S 220", "C EHLO first", "S 250", "C STARTTLS", "S 220 2.0.0", "# TLS 1.3, TLS_", "C EHLO m", "S 250", "C AUTH PLAIN [login, not shown]", "S 535", "# user", "# the device hung up"},
		},
		"within a message": {
			way{tls: plan.TLSNone},
			"\x11m\x08\x0fm\x12\x10it\x13\x14Subject: x\r\n\r\nhalf", transcript.BrokenOff, "", "the message broke off after",
			[]string{"S 220", "C EHLO", "S 250", "C MAIL", "S 250", "C RCPT", "S 250", "C DATA", "S 354", "# the message broke off after 18 octets: the device hung up"},
		},
		"within a login":                 {way{tls: plan.TLSNone}, "\x11m\x08AUTH LOGIN\x08\x05\x08", transcript.LoginLeft, "", "in the middle of the login", nil},
		"TLS where clear text is due":    {way{tls: plan.TLSNone}, "\x16", transcript.NotUnderstood, "", "the device begins with TLS", []string{"S 220", "C [a TLS ClientHello]", "# the device begins with TLS"}},
		"TLS with the octet of LF in it": {way{tls: plan.TLSNone, strict: true}, "\x16\n\x09", transcript.Refused, "501", "the device begins with TLS", nil},
		"a look at a port with TLS":      {way{tls: plan.TLSImplicit, clear: true, hangsUp: true}, "", "", "", "", nil},
		"clear text where TLS is due":    {way{tls: plan.TLSImplicit, clear: true}, "\x11m\x08", transcript.TLSFailed, "", "the device speaks clear text where TLS comes first", nil},
		"silence where TLS is due":       {way{tls: plan.TLSImplicit, clear: true}, "", transcript.TLSFailed, "", "it waits for a greeting", nil},
		"no TLS behind STARTTLS":         {way{tls: plan.TLSStartTLS, clear: true, hangsUp: true}, "\x11m\x08STARTTLS\x08", transcript.TLSFailed, "", "asked for TLS and hung up", nil},
		"HTTP":                           {way{tls: plan.TLSNone}, "GET / HTTP/1.1\r\n", transcript.Refused, "421 4.7.0 PR-012", "another protocol", nil},
		"after a scan": {
			way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12\x10it\x13\x14x\x15\x0fx@y.example>\x08", transcript.Refused, "550 5.7.1 PR-031", "", []string{"S 220", "C EHLO", "S 250", "C MAIL FROM:<x@y.example>", "S 550", "# rule", "# the device hung up"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			kept := rig.play(t, tc.way, expand([]byte(tc.dialogue)))
			all := kept.Sessions(transcript.Filter{}, "")
			if tc.failure == "" {
				if len(all) > 0 {
					t.Errorf("kept as a failure: %+v", all[0])
				}
				return
			}
			if len(all) != 1 {
				t.Fatalf("%d sessions are kept", len(all))
			}
			s := all[0]
			if d := kept.Devices(transcript.Filter{}); !d[0].Named {
				t.Error("a rule names the device")
			}
			if s.Failure != tc.failure || !strings.HasPrefix(s.Reply, tc.why) || !strings.Contains(s.Cause, tc.cause) || s.Listener != "smtp" || s.Client.String() != "10.0.0.7" {
				t.Errorf("got %+v", s)
			}
			compare(t, s.Lines, tc.lines)
		})
	}
}

// compare wants each line to begin as said: C, S or #, and text. nil: any.
func compare(t *testing.T, got []transcript.Line, want []string) {
	t.Helper()
	if want == nil {
		return
	}
	marks := map[string]string{transcript.Client: "C ", transcript.Server: "S ", transcript.Relay: "# "}
	ok := len(got) == len(want)
	var all []string
	for i, l := range got {
		all = append(all, marks[l.From]+l.Text)
		ok = ok && strings.HasPrefix(all[i], want[i])
	}
	if !ok {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(all, "\n"), strings.Join(want, "\n"))
	}
}

// A client that says nothing more is one that failed, unless it sent its mail.
func TestSilenceIsAFailure(t *testing.T) {
	rig := newRig(t, canary)
	quiet := rig.plan.Listeners[0].IdleTimeout
	defer func() { rig.plan.Listeners[0].IdleTimeout = quiet }()
	rig.plan.Listeners[0].IdleTimeout = 10 * time.Second
	for name, tc := range map[string]struct {
		way      way
		dialogue string
		cause    string // empty: none
	}{
		"from the beginning":   {way{tls: plan.TLSNone}, "", "sent nothing for 10s"},
		"within a login":       {way{tls: plan.TLSNone}, "\x11m\x08AUTH LOGIN\x08", "sent nothing for 10s"},
		"within a scan":        {way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12", "sent nothing for 10s"},
		"behind a ClientHello": {way{tls: plan.TLSNone}, "\x16", "begins with TLS"},
		"after a scan":         {way{tls: plan.TLSNone}, "\x11m\x08\x0fm\x12\x10it\x13\x14x\x15", ""},
	} {
		all := rig.play(t, tc.way, expand([]byte(tc.dialogue))).Sessions(transcript.Filter{}, "")
		if tc.cause == "" {
			if len(all) > 0 {
				t.Errorf("%s: %+v", name, all[0])
			}
			continue
		}
		if len(all) != 1 || all[0].Failure != transcript.TimedOut || !strings.Contains(all[0].Cause, tc.cause) {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// A device that is refused before the greeting is kept too, with the limit that
// it met.
func TestTurnedAwayIsKept(t *testing.T) {
	rig := newRig(t, canary)
	s := New(Config{Transcripts: transcript.NewStore()})
	s.plan.Store(rig.plan)
	l := &listener{}
	l.state.Store(&listenerState{plan: &rig.plan.Listeners[0]})
	for reason, want := range map[string]bool{"connections": true, "connections-per-client": true, "proxy-header": false, "early-talker": false} {
		before := len(s.Transcripts.Sessions(transcript.Filter{}, ""))
		s.turnedAway(l, reason, netip.MustParseAddr("10.0.0.7"))
		all := s.Transcripts.Sessions(transcript.Filter{}, "")
		if kept := len(all) > before; kept != want {
			t.Errorf("%s: kept %v", reason, kept)
		}
		for _, v := range all {
			if v.Reply != "421 4.7.0 PR-001 Too many connections, try again later" || !strings.Contains(v.Cause, "limits.connectionsPerClient") {
				t.Errorf("%+v", v)
			}
		}
	}
}
