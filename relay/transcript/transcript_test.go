package transcript

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/test/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session records steps: "C: " a command, "A: " a line of an AUTH exchange, "S: "
// a reply, "B: " the cause of the next one.
func session(r *Recorder, steps ...string) *Recorder {
	for _, s := range steps {
		text := s[3:]
		switch s[:3] {
		case "C: ":
			r.Command([]byte(text))
		case "A: ":
			r.Response(text)
		case "B: ":
			r.Because(text, true)
		case "S: ":
			r.Reply(text, true)
			if strings.HasPrefix(text, "250 2.0.0 Queued") {
				r.MailAccepted()
			}
		default:
			panic(s)
		}
	}
	return r
}

// lines are what a transcript shows.
func lines(s Session) []string {
	var out []string
	for _, l := range s.decode().Lines {
		out = append(out, strings.TrimSpace(marks[l.From])+" "+l.Text)
	}
	return out
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const denied = "S: 550 5.7.1 PR-032 Recipient x@y.example not allowed"

// What is shown of a client is what is listed; a password may be anything else.
func TestShown(t *testing.T) {
	for name, tc := range map[string]struct {
		steps []string
		want  []string // of the client
	}{
		"a transaction": {
			[]string{"C: EHLO copier", "C: MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME", "C: rcpt to:<c@d.example> NOTIFY=NEVER", "C: DATA"},
			[]string{"EHLO copier", "MAIL FROM:<a@b.example> SIZE=10 BODY=8BITMIME", "RCPT to:<c@d.example> NOTIFY=NEVER", "DATA"},
		},
		"what devices write in place of a path": {
			[]string{`C: MAIL FROM: "Scan" < a@b >`, "C: MAIL FROM:a@b.example SIZE=1", "C:  mail from : <x>", "C: MAIL FROM <a@b>"},
			[]string{`MAIL FROM: "Scan" < a@b >`, "MAIL FROM:a@b.example SIZE=1", "MAIL from : <x>", "MAIL FROM <a@b>"},
		},
		"no path": {[]string{"C: MAIL canary", "C: RCPT canary", "C: MAIL", "C: RCPT FROM:<a@b>"}, []string{"MAIL [not shown]", "RCPT [not shown]", "MAIL", "RCPT [not shown]"}},
		"parameters": {
			[]string{"C: MAIL FROM:<a@b> AUTH=canary canary=1 CANARY SIZE=canary BODY=canary RET=hdrs"},
			[]string{"MAIL FROM:<a@b> AUTH=[not shown] [another parameter] [another parameter] SIZE=[not shown] BODY=[not shown] RET=hdrs"},
		},
		"behind an address":        {[]string{"C: RCPT TO:a@b canary canary"}, []string{"RCPT TO:a@b [another parameter] [another parameter]"}},
		"behind a name":            {[]string{"C: HELO mfp canary"}, []string{"HELO mfp [not shown]"}},
		"no command":               {[]string{"C: canary", "C: pass canary", "C: " + b64("canary"), "C: \x00\xff", "C: AUTHPLAINcanary"}, []string{noCommand, noCommand, noCommand, noCommand, noCommand}},
		"arguments that mean none": {[]string{"C: NOOP canary", "C: QUIT canary", "C: DATA canary", "C: VRFY canary", "C: STARTTLS canary"}, []string{"NOOP [not shown]", "QUIT [not shown]", "DATA [not shown]", "VRFY [not shown]", "STARTTLS [not shown]"}},
		"AUTH PLAIN":               {[]string{"C: AUTH PLAIN " + b64("\x00mfp\x00canary")}, []string{"AUTH PLAIN [login, not shown]"}},
		"AUTH in odd spelling":     {[]string{"C: auth\tlogin\tcanary!", "C:  aUtH  plain  canary! canary!", "C: AUTH canary!", "C: AUTH canary! canary!", "C: AUTH"}, []string{"AUTH LOGIN [login, not shown; it is not base64]", "AUTH PLAIN [login, not shown; it is not base64]", "AUTH [not shown]", "AUTH [not shown] [login, not shown; it is not base64]", "AUTH"}},
		"an exchange":              {[]string{"C: AUTH LOGIN", "A: " + b64("mfp"), "A: " + b64("canary"), "A: canary!", "A: ", "A: *", "A: ="}, []string{"AUTH LOGIN", "[login, not shown]", "[login, not shown]", "[login, not shown; it is not base64]", "[an empty response]", "*", "="}},
		"not ASCII":                {[]string{"C: EHLO m\xfcller", "C: MAIL FROM:<j\u00fcrgen@b\x1b[31m\\>"}, []string{`EHLO m\xfcller`, `MAIL FROM:<j\xc3\xbcrgen@b\x1b[31m\\>`}},
		"too long":                 {[]string{"C: EHLO " + strings.Repeat("x", maxArgument+1)}, []string{"EHLO [too long to be shown]"}},
		"another protocol":         {[]string{"C: GET /?password=canary HTTP/1.1", "C: PROXY TCP4 1 2 3 4"}, []string{"GET [not shown]", "PROXY [not shown]"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := session(New(time.Now()), append(tc.steps, denied)...)
			var got []string
			for _, l := range r.Finish(About{}).decode().Lines {
				if l.From == Client {
					got = append(got, l.Text)
				}
			}
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

const noCommand = "[a line that is no command]"

// What was sent to log in, and what the relay knows as a password, is seen
// nowhere else either.
func TestPasswordsAtTheWrongPrompt(t *testing.T) {
	const canary = "Canary 7Qx2!"
	mfp := func(name string) bool { return name == "mfp" }
	for name, tc := range map[string]struct {
		steps   []string
		secrets []string
	}{
		"at the prompt for the user, then as sender":      {[]string{"C: AUTH LOGIN " + b64(canary), "S: 535 x", "C: MAIL FROM:<" + canary + "@b.example>", "S: 501 5.1.7 PR-044 Sender " + canary + " needs a domain"}, nil},
		"in clear at the prompt, then as name":            {[]string{"C: AUTH LOGIN", "A: " + canary, "S: 501 x", "C: EHLO x" + strings.ReplaceAll(canary, " ", "")}, nil},
		"as name before it is known":                      {[]string{"C: EHLO Canary7Qx2!", "C: AUTH PLAIN " + b64("\x00mfp\x00"+canary)}, nil},
		"the password of the Secret":                      {[]string{"C: EHLO Canary7Qx2!", "C: RCPT TO:<canary7qx2!@x>", "B: recipient " + canary, "S: 550 5.7.1 PR-032 Recipient <" + canary + "> not allowed"}, []string{canary}},
		"in base64":                                       {[]string{"C: EHLO " + b64("x"+canary), "C: RCPT TO:<" + b64(canary) + "@x>", "C: MAIL FROM:<" + b64("mfp:"+canary) + "@x>"}, []string{canary}},
		"quoted":                                          {[]string{`C: MAIL FROM:<"Can\ary 7\Qx2!"@x>`}, []string{canary}},
		"in CRAM-MD5's place for the user":                {[]string{"A: " + b64(canary+" 0123456789abcdef0123456789abcdef"), "C: HELO Canary7Qx2!"}, nil},
		"as mechanism":                                    {[]string{"C: AUTH Canary7Qx2!", "B: mechanism Canary7Qx2! is not offered", "S: 504 x", "C: HELO Canary7Qx2!"}, nil},
		"after more than is remembered":                   {[]string{"C: AUTH PLAIN " + b64(strings.Repeat("x", maxSecrets)), "A: " + b64(canary), "C: HELO Canary7Qx2!", "S: 501 5.1.7 PR-044 Sender " + canary + " needs a domain"}, nil},
		"a short one, as a word":                          {[]string{"C: MAIL FROM:<7Qx@b.example>"}, []string{"7Qx"}},
		"in the reply alone, from before it was repaired": {[]string{"B: x", "S: 501 " + canary}, []string{canary}},
	} {
		t.Run(name, func(t *testing.T) {
			r := session(New(time.Now()), append(tc.steps, denied)...)
			s := r.Finish(About{Secrets: []*Secrets{NewSecrets(tc.secrets)}, Login: mfp})
			all := strings.ToLower(strings.Join(lines(s), "\n") + s.HELO + s.Reply + s.Cause)
			for _, bad := range []string{"7qx", strings.ToLower(b64(canary)[:8])} {
				if strings.Contains(all, bad) {
					t.Errorf("%q is in\n%s", bad, all)
				}
			}
		})
	}
	// The control: a name that is a login's, and what is not secret, is shown.
	r := session(New(time.Now()), "C: EHLO mfp", "C: AUTH PLAIN "+b64("\x00mfp\x00"+canary), "C: MAIL FROM:<mfp@b.example>", denied)
	s := r.Finish(About{Login: mfp})
	if got := lines(s); s.HELO != "mfp" || got[2] != "C: MAIL FROM:<mfp@b.example>" || !strings.HasPrefix(got[3], "S: 550 5.7.1 PR-032 Recipient x@y.example") {
		t.Errorf("%q, %q", s.HELO, got)
	}
}

func TestWhatIsAFailure(t *testing.T) {
	for name, tc := range map[string]struct {
		steps []string
		want  string // the refusal; empty: none
		cause string
	}{
		"a scan":            {[]string{"C: MAIL FROM:<a@b>", "S: 250 x", "C: DATA", "S: 354 x", "S: 250 2.0.0 Queued as X"}, "", ""},
		"a probe":           {[]string{"C: MAIL FROM:<a@b>", "S: 250 x", "C: QUIT", "S: 221 x"}, "", ""},
		"the last refusal":  {[]string{"C: STARTTLS", "S: 502 x", "C: RCPT TO:<x@y>", "B: rule a/b", "S: 550 y"}, "550 y", "rule a/b"},
		"not what follows":  {[]string{"B: rule a/b", "S: 550 5.7.1 PR-032 y", "C: DATA", "B: none", "S: 554 5.5.1 PR-043 No valid recipients", "S: 421 4.7.0 PR-004 Too many"}, "550 5.7.1 PR-032 y", "rule a/b"},
		"a refusal, a scan": {[]string{"S: 550 y", "C: MAIL FROM:<a@b>", "S: 250 2.0.0 Queued as X"}, "550 y", ""},
	} {
		r := session(New(time.Now()), tc.steps...)
		if r.Failed() != (tc.want != "") || r.reply != tc.want || r.cause != tc.cause {
			t.Errorf("%s: %v, %q, %q", name, r.Failed(), r.reply, r.cause)
		}
	}
}

// What was accepted goes; what was refused beside it stays.
func TestAcceptedMailIsCountedNotKept(t *testing.T) {
	r := session(New(time.Now()), "C: EHLO mfp", "S: 250 relay")
	for range 100 {
		session(r, "C: MAIL FROM:<a@b>", "S: 250 OK", "C: RCPT TO:<c@d>", "S: 250 OK", "C: DATA", "S: 354 go", "S: 250 2.0.0 Queued as X")
	}
	session(r, "C: MAIL FROM:<a@b>", "S: 250 OK", "C: RCPT TO:<x@y.example>", denied, "C: RCPT TO:<c@d>", "S: 250 OK", "C: DATA", "S: 354 go", "S: 250 2.0.0 Queued as Y")
	s := r.Finish(About{})
	want := []string{"C: EHLO mfp", "S: 250 relay", "C: MAIL FROM:<a@b>", "S: 250 OK", "C: RCPT TO:<x@y.example>", denied, "C: RCPT TO:<c@d>", "S: 250 OK", "C: DATA", "S: 354 go", "S: 250 2.0.0 Queued as Y"}
	if got := lines(s); fmt.Sprint(got) != fmt.Sprint(want) || s.Accepted != 101 {
		t.Errorf("%d accepted, got\n%s\nwant\n%s", s.Accepted, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// However long a session is, its beginning and its end are kept, and whole
// lines between are not.
func TestRecordingIsBounded(t *testing.T) {
	r := session(New(time.Now()), "C: EHLO first")
	for i := range 10_000 {
		session(r, fmt.Sprintf("C: RCPT TO:<%d-%s@y.example>", i, strings.Repeat("x", i%200)), denied)
		if cap(r.buf) > 2*maxRecorded || len(r.buf) > maxRecorded {
			t.Fatalf("%d octets, room for %d", len(r.buf), cap(r.buf))
		}
	}
	got := r.Finish(About{}).decode().Lines
	if first, last := got[0].Text, got[len(got)-2].Text; first != "EHLO first" || !strings.HasPrefix(last, "RCPT TO:<9999-") {
		t.Errorf("the first line is %q, the last but one %q", first, last)
	}
	seen := 0
	for _, l := range got {
		if l.From == Relay && strings.Contains(l.Text, "lines are left out") {
			seen++
		}
		if l.From != Relay && l.Text == "" {
			t.Error("an empty line")
		}
	}
	if seen != 1 {
		t.Errorf("%d lines say that some are left out", seen)
	}
}

// An accepted message costs nothing that stays, and no allocation.
func TestHotPathDoesNotAllocate(t *testing.T) {
	r := session(New(time.Now()), "C: EHLO mfp", "S: 250 relay")
	mail, rcpt, data := []byte("MAIL FROM:<a@b.example> SIZE=12345"), []byte("RCPT TO:<c@d.example>"), []byte("DATA")
	one := func() {
		r.Command(mail)
		r.Reply("250 2.1.0 Sender OK", true)
		r.Command(rcpt)
		r.Reply("250 2.1.5 Recipient OK", true)
		r.Command(data)
		r.Reply("354 go", true)
		r.Message(4096)
		r.Reply("250 2.0.0 Queued as 20261126010203ABCDEF", true)
		r.MailAccepted()
	}
	one()
	if n := testing.AllocsPerRun(100, one); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
	if len(r.buf) > 64 {
		t.Errorf("%d octets stay", len(r.buf))
	}
}

// A session that said EHLO and waits holds its first buffer and nothing else.
func TestIdleSessionIsSmall(t *testing.T) {
	r := session(New(time.Now()), "S: 220 relay.corp.example ESMTP Printer Relay", "C: EHLO NPIF65E56.corp.example",
		"S: 250 relay.corp.example, PIPELINING, SIZE 41943040, 8BITMIME, ENHANCEDSTATUSCODES, AUTH LOGIN PLAIN, STARTTLS")
	if cap(r.buf) > firstBuffer {
		t.Errorf("%d octets, want %d", cap(r.buf), firstBuffer)
	}
}

func BenchmarkMessage(b *testing.B) {
	r := session(New(time.Now()), "C: EHLO mfp", "S: 250 relay")
	mail, rcpt, data := []byte("MAIL FROM:<a@b.example> SIZE=12345"), []byte("RCPT TO:<c@d.example>"), []byte("DATA")
	b.ReportAllocs()
	for b.Loop() {
		r.Command(mail)
		r.Reply("250 2.1.0 Sender OK", true)
		r.Command(rcpt)
		r.Reply("250 2.1.5 Recipient OK", true)
		r.Command(data)
		r.Reply("354 go", true)
		r.Message(4096)
		r.Reply("250 2.0.0 Queued as 20261126010203ABCDEF", true)
		r.MailAccepted()
	}
}

// What a transcript says of a handshake that failed, from what clients really
// send.
func TestWhyNoHandshake(t *testing.T) {
	cert := pki.Self(t, pki.Options{From: time.Unix(0, 0), Until: time.Unix(1<<33, 0)}, "relay.test").TLS()
	suites := func(ids ...uint16) []uint16 { return ids }
	for name, tc := range map[string]struct {
		server *tls.Config
		client *tls.Config // nil: raw is sent
		raw    string
		hangUp bool
		want   string
		lines  string
	}{
		"TLS 1.0 to Modern":        {&tls.Config{MinVersion: tls.VersionTLS13}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: suites(tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)}, "", false, "the newest that the device knows is TLS 1.0, and the listener takes TLS 1.3 and newer: tls.profile Legacy takes it", "the device offers TLS 1.0|its ciphers: RSA key exchange with AES-128-CBC, 3DES"},
		"TLS 1.2 to Modern":        {&tls.Config{MinVersion: tls.VersionTLS13}, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, "", false, "tls.profile Intermediate takes it", "ECDHE-RSA with "},
		"RSA key exchange only":    {&tls.Config{MinVersion: tls.VersionTLS12}, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: suites(tls.TLS_RSA_WITH_AES_128_GCM_SHA256)}, "", false, "none of the device's ciphers: tls.profile Legacy takes some", "RSA key exchange with AES-128-GCM"},
		"RC4 only":                 {&tls.Config{MinVersion: tls.VersionTLS12}, &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12, CipherSuites: suites(tls.TLS_RSA_WITH_RC4_128_SHA)}, "", false, "no profile takes any; only clear text", "RC4"},
		"a certificate it refuses": {&tls.Config{MinVersion: tls.VersionTLS12}, &tls.Config{ServerName: "other.test", MaxVersion: tls.VersionTLS12}, "", false, "does not accept the relay's certificate", "TLS 1.2"},
		"clear text":               {&tls.Config{}, nil, "EHLO copier.test\r\n", false, "speaks clear text where TLS comes first", ""},
		"SSL 2.0":                  {&tls.Config{}, nil, "\x80\x2e\x01\x03\x00\x00\x15\x00\x00\x00\x10", false, "SSL 2.0 hello", ""},
		"SSL 3.0":                  {&tls.Config{}, nil, ssl3, false, "no profile takes it; only clear text", "its ciphers: RSA key exchange with RC4; export grade with DES"},
		"noise":                    {&tls.Config{}, nil, "\x00\x01\x02\x03\x04\x05", false, "no TLS", ""},
		"silence":                  {&tls.Config{}, nil, "", false, "waits for a greeting", ""},
		"hung up":                  {&tls.Config{}, nil, "", true, "hung up", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := tc.server.Clone()
				server.Certificates, server.GetConfigForClient = []tls.Certificate{cert}, NoteOffer
				near, far := net.Pipe()
				defer near.Close()
				go func() {
					if tc.client != nil {
						c := tc.client.Clone()
						c.InsecureSkipVerify = c.ServerName == ""
						tls.Client(near, c).Handshake() //nolint:errcheck // it fails
					} else {
						io.WriteString(near, tc.raw) //nolint:errcheck // what is read shows it
					}
					if tc.hangUp {
						near.Close()
					}
					io.Copy(io.Discard, near) //nolint:errcheck // until the other side closes
				}()
				far.SetDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // a pipe takes it
				var o Offer
				err := tls.Server(far, server).HandshakeContext(WithOffer(t.Context(), &o))
				far.Close()
				if err == nil {
					t.Fatal("they came to terms")
				}
				minimum := server.MinVersion
				if got := o.Why(err, minimum); !strings.Contains(got, tc.want) {
					t.Errorf("%v: got %q, want %q", err, got, tc.want)
				}
				if got := strings.Join(o.Lines(), "|"); !strings.Contains(got, tc.lines) {
					t.Errorf("got %q, want %q", got, tc.lines)
				}
				if o.Probe(err) != tc.hangUp {
					t.Errorf("a probe: %v", o.Probe(err))
				}
			})
		})
	}
}

// ssl3 is a ClientHello of SSL 3.0 with RC4 and an export suite (RFC 6101).
const ssl3 = "\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" + "0123456789abcdef0123456789abcdef" + "\x00\x00\x04\x00\x05\x00\x08\x01\x00"

func client(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(100 + i>>24), byte(i >> 16), byte(i >> 8), byte(i)})
}
