package rig

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Client is a copier: it writes lines and reads replies, and never helps.
type Client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to the relay and reads the greeting.
func (r *Relay) Dial() *Client {
	r.t.Helper()
	return Connect(r.t, r.Port)
}

// DialFrom is Dial from another address of 127.0.0.0/8: another client.
func (r *Relay) DialFrom(client string) *Client {
	r.t.Helper()
	return connect(r.t, net.Dialer{Timeout: Wait, LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}, r.Port)
}

// Connect connects to a relay's listener and reads the greeting.
func Connect(t *testing.T, port int) *Client {
	t.Helper()
	return connect(t, net.Dialer{Timeout: Wait}, port)
}

func connect(t *testing.T, d net.Dialer, port int) *Client {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{t: t, conn: conn, r: bufio.NewReader(conn)}
	t.Cleanup(func() { c.Close() })
	if got := c.Reply(); !strings.HasPrefix(got, "220 ") {
		t.Fatalf("greeting: %s", got)
	}
	return c
}

// StartTLS says EHLO and STARTTLS and shakes hands; any certificate will do.
func (c *Client) StartTLS() {
	c.t.Helper()
	c.StartTLSUpTo(tls.VersionTLS13)
}

// StartTLSUpTo is StartTLS of a client that knows no newer version.
func (c *Client) StartTLSUpTo(version uint16) {
	c.t.Helper()
	c.Want("250", "EHLO copier.test")
	c.Want("220", "STARTTLS")
	c.conn = tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: version}) //nolint:gosec // the relay's own certificate is self-signed
	c.r.Reset(c.conn)
}

// Close closes the connection without a QUIT.
func (c *Client) Close() { c.conn.Close() }

// Write sends octets as they are.
func (c *Client) Write(s string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// TryWrite writes to a connection that the relay may have closed.
func (c *Client) TryWrite(s string) {
	c.conn.Write([]byte(s)) //nolint:errcheck // the reply tells
}

// Reply reads one reply, its lines joined by "\n"; "" when the connection ends.
func (c *Client) Reply() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(Wait)); err != nil {
		c.t.Fatal(err)
	}
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return strings.Join(lines, "\n")
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

// Cmd sends one command and gives the reply.
func (c *Client) Cmd(format string, a ...any) string {
	c.t.Helper()
	c.Write(fmt.Sprintf(format, a...) + "\r\n")
	return c.Reply()
}

// Want is Cmd that fails the test unless the reply begins with want.
func (c *Client) Want(want, format string, a ...any) string {
	c.t.Helper()
	got := c.Cmd(format, a...)
	if !strings.HasPrefix(got, want) {
		c.t.Fatalf("%s: got %q, want %q", fmt.Sprintf(format, a...), got, want)
	}
	return got
}

// Begin says EHLO, MAIL, RCPT and DATA, each accepted.
func (c *Client) Begin(from string, to ...string) {
	c.t.Helper()
	c.Want("250", "EHLO copier.test")
	c.Want("250", "MAIL FROM:<%s>", from)
	for _, a := range to {
		c.Want("250", "RCPT TO:<%s>", a)
	}
	c.Want("354", "DATA")
}

// Send sends a whole message (CRLF lines, no dots at line starts) and gives
// the reply to the final dot.
func (c *Client) Send(from string, to []string, message string) string {
	c.t.Helper()
	c.Begin(from, to...)
	c.Write(message + "\r\n.\r\n")
	return c.Reply()
}

// Scan is a plausible message from one address to another.
func Scan(from, to string) string {
	return strings.ReplaceAll(fmt.Sprintf(`From: <%s>
To: <%s>
Subject: Scan
Date: Mon, 23 Nov 2026 10:00:00 +0000
Message-ID: <scan-1@copier.test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=xyz

--xyz
Content-Type: text/plain

scanned
--xyz
Content-Type: application/pdf; name=scan.pdf
Content-Disposition: attachment; filename=scan.pdf
Content-Transfer-Encoding: base64

JVBERi0xLjQKJcOkw7zDtsOf
--xyz--`, from, to), "\n", "\r\n")
}

// QueueID is the ID in a 250 reply.
func QueueID(t *testing.T, reply string) string {
	t.Helper()
	f := strings.Fields(reply)
	if len(f) < 2 || f[0] != "250" {
		t.Fatalf("not queued: %q", reply)
	}
	return f[len(f)-1]
}
