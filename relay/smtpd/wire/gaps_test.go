package wire

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The numbers are those of the table of go-smtp's gaps that this relay
// repairs; each test fails without its repair. Those that a session repairs
// are in package smtpd.

func TestGap01TimeoutInDataClosesAndRunsNoCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		r := startOn(t, p)
		c, _ := p.dial(t)
		c.want("220 ")
		c.begin()
		c.write("Subject: x\r\n\r\nhalf a message\r\n")
		time.Sleep(readTimeout + time.Second) // in the bubble
		c.write2("RSET\r\nMAIL FROM:<evil@b.example>\r\n")
		if got := c.reply(); got != "" {
			t.Errorf("an answer behind a broken message: %q", got)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.errs) != 1 || len(r.mails) != 0 {
			t.Errorf("errors %v, mails %v", r.errs, r.mails)
		}
	})
}

// write2 writes to a connection that may be closed.
func (c *client) write2(s string) { c.conn.Write([]byte(s)) } //nolint:errcheck // that is the point

func TestGap02SlowMessageLivesTrickleDies(t *testing.T) {
	for name, tc := range map[string]struct {
		piece string
		every time.Duration
		n     int
		lives bool
	}{
		"a slow scan":         {strings.Repeat("x", 254) + "\r\n" + strings.Repeat("y", 65536*2), 100 * time.Second, 40, true},
		"a trickle":           {"x", 10 * time.Second, 40, false},
		"for ever":            {strings.Repeat("y", 1<<20), 150 * time.Second, 60, false},
		"silence for minutes": {"x", readTimeout + time.Second, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				r := startOn(t, p, func(r *rig) { r.settings.Idle = 5 * time.Minute })
				c, _ := p.dial(t)
				c.want("220 ")
				c.begin()
				for range tc.n {
					c.write2(tc.piece)
					time.Sleep(tc.every)
				}
				c.write2("\r\n.\r\n")
				want := ""
				if tc.lives {
					want = "250 2.0.0"
				}
				c.want(want)
				if tc.lives != (len(r.got()) == 1) {
					t.Errorf("%d messages", len(r.got()))
				}
			})
		})
	}
}

func TestGap03ChunkingIsHiddenAndBdatCloses(t *testing.T) {
	for _, bdat := range []string{"BDAT 20 LAST", "BDAT 20 FOO", "BDAT", "BDAT -1", "bdat 99999999999", "BDAT 20\x00LAST", "BDAT\t20 LAST"} {
		r := start(t)
		c := r.greeted()
		if got := c.cmd("EHLO copier.test", "250-"); strings.Contains(got, "CHUNKING") || strings.Contains(got, "BINARYMIME") {
			t.Errorf("EHLO offers chunks: %q", got)
		}
		c.cmd("MAIL FROM:<a@b.example>", "250")
		c.cmd("RCPT TO:<c@d.example>", "250")
		c.write(bdat + "\r\nRSET\r\nMAIL FROM:<evil@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n")
		c.want("502 5.5.1 ")
		c.ended()
		if len(r.got()) != 0 {
			t.Errorf("%s: %v", bdat, r.got())
		}
	}
}

func TestGap05NothingIsLostBehindADot(t *testing.T) {
	for in, want := range map[string]string{
		"a\r\n.\rZ\r\n.\r\n":                 "a\r\n\rZ\r\n",
		"a\r\n.\r\r\n.\r\n":                  "a\r\n\r\r\n",
		"a\r\n..b\r\n.\r\n":                  "a\r\n.b\r\n",
		"..\r\n.\r\n":                        ".\r\n",
		".\r\n":                              "",
		"a.b\r\n.c.\r\n.\r\n":                "a.b\r\nc.\r\n",
		"a\r\n.\n.\r\n.\r\n":                 "a\r\n\n.\r\n", // a dot behind a bare LF is no line's beginning
		"\r\n.\x00\r\n.\r\n":                 "\r\n\x00\r\n",
		"a\r\r\n.\r\n":                       "a\r\r\n",
		"\r\n\r\n...\r\n..\r\n....\r\n.\r\n": "\r\n\r\n..\r\n.\r\n...\r\n",
	} {
		r := start(t)
		c := r.greeted()
		c.begin()
		c.write(in)
		c.want("250 2.0.0 Queued")
		if got := r.one().data; got != want {
			t.Errorf("%q: message %q, want %q", in, got, want)
		}
		c.cmd("NOOP", "250") // in step
	}
}

// lookAlikes are sequences that some server somewhere takes for the end of
// data (CVE-2023-51764, 51765, 51766). Only CRLF.CRLF is.
var lookAlikes = []string{
	"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n.\r", "\r\r\n.\r\r\n", "\r\n.\r\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n",
	"\x00\r\n.\n", "\r\n .\r\n", "\r\n. \r\n", "\r\n.\t\r\n", "\n\r.\n\r", "\r\n.\v\r\n", "\r\n..\r\n", "\u2028.\u2028", "\x85.\x85",
}

func TestSmuggling(t *testing.T) {
	for _, l := range lookAlikes {
		t.Run(fmt.Sprintf("%q", l), func(t *testing.T) {
			for _, mode := range []string{"Normalize", "Reject", "BareLF"} {
				r := start(t, func(r *rig) { r.settings.LineEndings = mode })
				c := r.greeted()
				c.begin()
				c.write("Subject: x\r\n\r\nhi" + l + "MAIL FROM:<evil@b.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\nevil\r\n.\r\nNOOP\r\n")
				c.want("250 2.0.0 Queued")
				c.want("250 2.0.0 OK")
				if m := r.one(); !strings.Contains(m.data, "evil@b.example") {
					t.Errorf("%s: the look-alike ended the message: %q", mode, m.data)
				}
			}
		})
	}
}

func TestGap06BareLFEndsOnlyADeclaredSessionOfBareLF(t *testing.T) {
	session := func(end string) string {
		return strings.Join([]string{"EHLO x.test", "MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA", ""}, end)
	}
	replies := func(c *client) {
		for _, want := range []string{"250-", "250 ", "250 ", "354 "} {
			c.want(want)
		}
	}
	t.Run("declared and whole", func(t *testing.T) {
		r := start(t, bareLF)
		c := r.greeted()
		for _, line := range strings.SplitAfter(session("\n"), "\n")[:4] {
			c.write(line)
		}
		replies(c)
		c.write("Subject: x\n\n..dot\nb\r\n.\n c\n.\r\n d\n.\n")
		c.want("250 2.0.0 Queued")
		if got, want := r.one().data, "Subject: x\n\n.dot\nb\r\n\n c\n\r\n d\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		c.write("QUIT\n")
		c.want("221")
	})
	for name, tc := range map[string]struct {
		change func(*rig)
		first  string
		reply  string
	}{
		"not declared":                    {func(*rig) {}, "NOOP\n", "250"},
		"one command with CRLF":           {bareLF, "NOOP\r\n", "250"},
		"one that was too long":           {bareLF, "NOOP " + strings.Repeat("x", commandLine) + "\r\n", "500"},
		"one that was too long by itself": {bareLF, strings.Repeat("x", 10*commandLine) + "\r\n", "500"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, tc.change)
			c := r.greeted()
			c.write(tc.first)
			c.want(tc.reply)
			for _, line := range strings.SplitAfter(session("\n"), "\n")[:4] {
				c.write(line)
			}
			replies(c)
			c.write("hi\n.\nMAIL FROM:<evil@b.example>\n\r\n.\r\n")
			c.want("250")
			if got := r.one().data; !strings.Contains(got, "evil") {
				t.Errorf("LF.LF ended the message: %q", got)
			}
		})
	}
}

func TestGap07LinesOfAMessageHaveAnyLength(t *testing.T) {
	r := start(t)
	c := r.greeted()
	c.begin()
	body := strings.Repeat("0123456789", 300_000)
	c.write(body + "\r\n.\r\n")
	c.want("250")
	if got := r.one().data; got != body+"\r\n" {
		t.Errorf("%d octets came, want %d", len(got), len(body)+2)
	}
}

func TestGap10WhatClosedGoSMTPIsRepairedEvenInsideTLS(t *testing.T) {
	r := start(t, lenient, withTLS)
	c := r.greeted()
	c.cmd("EHLO", "250-")
	c.cmd("STARTTLS", "220 2.0.0")
	c.conn = tls.Client(c.conn, clientTLS)
	c.r.Reset(c.conn)
	c.cmd("EHLO ", "250-")
	for range 6 { // go-smtp alone closes behind the fourth
		c.cmd("FOO", "500 5.5.2 ")
	}
	c.cmd("MAIL FROM :<scanner>", "250 2.1.0")
	c.cmd("RCPT TO: < it@corp.example > NOTIFY=NEVER", "250 2.1.5")
	c.cmd("DATA ", "354")
	c.write("x\r\n.\r\n")
	c.want("250")
	m := r.one()
	if m.from != "scanner@corp.example" || m.to[0] != "it@corp.example" || m.conn.TLS() == nil {
		t.Errorf("%+v", m)
	}
	c.cmd("QUIT ", "221")
	c.ended()
}

func TestGap13OnlyCatalogueRepliesLeave(t *testing.T) {
	r := start(t)
	c := r.greeted()
	check := func(line, want string) {
		t.Helper()
		got := c.cmd(line, want)
		if strings.Contains(got, "\n") || len(got) > 80 || !strings.Contains(got, " PR-") || strings.Contains(got, "secret") {
			t.Errorf("%s: %q is not a short line of the catalogue", line, got)
		}
	}
	check("MAIL FROM:<a@b.example>", "503 5.5.1 ")
	check("AUTH PLAIN", "503 5.5.1 ")
	c.cmd("EHLO x.test", "250")
	check("RCPT TO:<c@d.example>", "503 5.5.1 ")
	check("DATA", "554 5.5.1 ")
	check("MAIL FROM:<a@b.example> RET=FULL", "555 5.5.4 ")
	check("MAIL FROM:<a@b.example> BODY=BINARYMIME", "555 5.5.4 ")
	check("AUTH PLAIN !!!", "501 5.5.2 ")
	check("AUTH PLAIN AHgAeQ==", "535 5.7.8 ")
	c.cmd("AUTH PLAIN", "334")
	check("*", "501 5.7.0 ")
	c.cmd("MAIL FROM:<a@b.example>", "250")
	check("RCPT TO:<no@d.example>", "550 5.7.1 ")
	check("RCPT TO:<c@d.example> NOTIFY=NEVER", "555 5.5.4 ")
	check("HELP", "502 5.5.1 ")
	check("DATA now", "501 5.5.4 ")
	check("STARTTLS", "502 5.5.1 ")
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refusals) != 12 { // all but the session's own two
		t.Errorf("%d refusals were reported:\n%s", len(r.refusals), strings.Join(r.refusals, "\n"))
	}
}

// What comes in one piece with a line is not spoilt by what that line is made
// into, and not looked at behind the end.
func TestWhatComesAlongWithALine(t *testing.T) {
	t.Run("a login without padding", func(t *testing.T) {
		c := start(t).greeted()
		c.cmd("EHLO x.test", "250")
		c.write("AUTH PLAIN\r\nAHUAcA\r\nNOOP\r\n")
		c.want("334")
		c.want("235")
		c.want("250 2.0.0 OK")
	})
	t.Run("commands behind QUIT", func(t *testing.T) {
		r := start(t)
		c := r.greeted()
		c.cmd("EHLO x.test", "250")
		c.write("QUIT\r\nMAIL FROM:<a@b.example>\r\n")
		c.want("221")
		c.ended()
		r.eventually("the connection is gone", func() bool { return r.l.Connections() == 0 })
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.panics) > 0 {
			t.Errorf("log: %q", r.panics)
		}
	})
}

func TestPanicIs421AndIsLogged(t *testing.T) {
	r := start(t)
	c := r.greeted()
	c.cmd("EHLO x.test", "250")
	c.cmd("MAIL FROM:<a@b.example>", "250")
	c.cmd("RCPT TO:<panic@d.example>", "421 4.3.0 PR-013")
	c.ended()
	r.eventually("the fault is in the log", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.panics) > 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.panics) != 1 || !strings.Contains(r.panics[0], "asked for") {
		t.Errorf("log: %q", r.panics)
	}
}

func TestGap17CloseEndsIdleConnectionsAfterADrainTimedOut(t *testing.T) {
	r := start(t)
	c := r.greeted()
	c.begin() // an open transaction outlasts a drain
	idle := r.greeted()
	drained := r.l.Drain()
	idle.want("421 4.3.2 PR-002")
	idle.ended()
	select {
	case <-drained:
		t.Error("drained with a transaction open")
	default:
	}
	r.l.Close() //nolint:errcheck // it closes
	c.ended()
	<-drained
}

func TestDrainLetsAMessageEnd(t *testing.T) {
	r := start(t)
	c := r.greeted()
	c.begin()
	c.write("half\r\n")
	drained := r.l.Drain()
	c.write("other half\r\n.\r\n")
	c.want("250 2.0.0 Queued")
	c.want("421 4.3.2")
	c.ended()
	<-drained
	if got := r.one().data; got != "half\r\nother half\r\n" {
		t.Errorf("%q", got)
	}
}

func TestGap18CloseDuringData(t *testing.T) { // for the race detector
	for range 20 {
		r := start(t)
		c := r.greeted()
		c.begin()
		c.write("half\r\n")
		r.srv.Close() //nolint:errcheck // go-smtp closes its connections from here
		c.write2("other half\r\n.\r\n")
		for c.reply() != "" {
		}
	}
}

func TestGap19FailedHandshakeCloses(t *testing.T) {
	r := start(t, withTLS)
	c := r.greeted()
	c.cmd("EHLO x.test", "250")
	c.cmd("STARTTLS", "220")
	c.write("MAIL FROM:<a@b.example>\r\nQUIT\r\nQUIT\r\n") // the handshake takes all of it
	c.ended()
	r.eventually("the connection is forgotten", func() bool { return r.l.Connections() == 0 })
}

func TestImplicitTLSComesBeforeTheGreeting(t *testing.T) {
	r := start(t, implicit)
	c := r.dial()
	c.conn = tls.Client(c.conn, clientTLS)
	c.r.Reset(c.conn)
	c.want("220 relay.test ")
	c.begin()
	c.write("x\r\n.\r\n")
	c.want("250 2.0.0")
	if r.one().conn.TLS() == nil {
		t.Error("the session does not know of TLS")
	}
	plain := r.dial()
	plain.write("EHLO x.test\r\nQUIT\r\n")
	plain.ended()
}

func TestGap20RepliesGoOutInOneWrite(t *testing.T) {
	p := newPipes()
	startOn(t, p)
	c, s := p.dial(t)
	c.want("220 ")
	c.cmd("EHLO x.test", "250-")
	c.write("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@d.example>\r\nDATA\r\n")
	for _, want := range []string{"250", "250", "250", "354"} {
		c.want(want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writes != 3 { // greeting, EHLO, the group (RFC 2920)
		t.Errorf("%d writes, want 3", s.writes)
	}
}

func TestAuthLines(t *testing.T) {
	long := base64.StdEncoding.EncodeToString([]byte("\x00u\x00" + strings.Repeat("p", 9000)))
	wrapped := base64.StdEncoding.EncodeToString([]byte("\x00u\x00" + strings.Repeat("p", 90)))
	for name, tc := range map[string]struct {
		lenient bool
		lines   []string
		wants   []string
	}{
		"long initial response":       {false, []string{"AUTH PLAIN " + long}, []string{"235"}},
		"long response":               {false, []string{"AUTH PLAIN", long}, []string{"334", "235"}},
		"unpadded":                    {false, []string{"AUTH PLAIN AHUAcHA", "NOOP"}, []string{"235", "250"}},
		"too long":                    {false, []string{"AUTH PLAIN", long + long, "NOOP"}, []string{"334", "500 5.5.2", "250"}},
		"too long, initial":           {false, []string{"AUTH PLAIN " + long + long, "NOOP"}, []string{"500 5.5.2", "250"}},
		"pipelined":                   {false, []string{"AUTH PLAIN\r\nAHUAcHA=\r\nNOOP"}, []string{"334", "235", "250"}},
		"control characters":          {false, []string{"AUTH PLAIN", "AH\x00UAcHA=", "NOOP"}, []string{"334", "501 5.5.2", "250"}},
		"wrapped over lines, as MIME": {true, []string{"AUTH PLAIN", wrapped[:76] + "\r\n" + wrapped[76:] + "\r\nNOOP"}, []string{"334", "235", "250"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(r *rig) { r.settings.Lenient = tc.lenient })
			c := r.greeted()
			c.cmd("EHLO x.test", "250")
			for i, line := range tc.lines {
				c.write(line + "\r\n")
				if i < len(tc.wants) {
					c.want(tc.wants[i])
				}
			}
			for _, want := range tc.wants[len(tc.lines):] {
				c.want(want)
			}
		})
	}
}
