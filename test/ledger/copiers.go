package ledger

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
)

// Copiers send scans, and note which were acknowledged.
type Copiers struct {
	Kind  func() string // of a recipient; nil: Now
	Size  func() int    // lines of a body; nil: up to 2,000
	Pause time.Duration // the longest in the middle of a scan

	// Receiving and Committing are the scans that are being sent, and those whose
	// final dot was sent and that were not answered yet.
	Receiving, Committing atomic.Int32

	mu           sync.Mutex
	next         int
	acknowledged []string
	refused      []string
	withheld     map[string]bool
}

// Acknowledged are the IDs of scans that were answered with 250.
func (c *Copiers) Acknowledged() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.acknowledged)
}

// Refused are the refusals so far.
func (c *Copiers) Refused() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.refused)
}

// Withheld tells whether a scan was refused, or not sent to its end: nobody may
// get it.
func (c *Copiers) Withheld(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.withheld[id]
}

func (c *Copiers) withhold(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.withheld == nil {
		c.withheld = map[string]bool{}
	}
	c.withheld[id] = true
}

// During has n copiers send until do has returned and their connections broke.
func (c *Copiers) During(address string, n int, do func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			s, err := Dial(address)
			if err != nil {
				return
			}
			defer s.Close()
			for {
				if _, err := c.Send(s); err != nil {
					return
				}
			}
		})
	}
	do()
	wg.Wait()
}

// One sends a scan on a connection of its own and gives the answer.
func (c *Copiers) One(address string) (string, error) {
	s, err := Dial(address)
	if err != nil {
		return "", err
	}
	defer s.Close()
	return c.Send(s)
}

const bodyLine = "0123456789012345678901234567890123456789012345678901234567890123456789\r\n"

// Scan is what a copier sends.
type Scan struct {
	ID, Sender, Recipient string
	Body                  string // lines that end in CRLF, and none that begins with a dot
	Announced             int    // its size in octets, at MAIL; 0: not announced
	BareLF                bool   // its lines are sent with LF alone, and are to arrive with CRLF
}

// New makes a scan for a recipient of a kind.
func (c *Copiers) New(kind, body string) Scan {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	id := fmt.Sprintf("%s-%d", kind, c.next)
	return Scan{ID: id, Sender: "mfp@copier.test", Recipient: id + "@example.test", Body: body}
}

func sum(body []byte) string { return fmt.Sprintf("%x", sha256.Sum256(body)) }

func (s Scan) message() string {
	m := fmt.Sprintf("From: %s\r\nX-Scan: %s\r\nX-Sum: %s\r\nSubject: scan\r\n\r\n%s", s.Sender, s.ID, sum([]byte(s.Body)), s.Body)
	if s.BareLF {
		m = strings.ReplaceAll(strings.TrimSuffix(m, "\r\n"), "\r\n", "\n") + "\r\n" // no LF begins the end of a message
	}
	return m
}

// Send sends one scan in a session and gives the answer to it, or the refusal
// before it; the error is of the connection.
func (c *Copiers) Send(s *Session) (string, error) {
	kind, lines := Now, rand.IntN(2000)
	if c.Kind != nil {
		kind = c.Kind()
	}
	if c.Size != nil {
		lines = c.Size()
	}
	return c.Give(s, c.New(kind, strings.Repeat(bodyLine, lines)))
}

// Give is Send of a certain scan.
func (c *Copiers) Give(s *Session, scan Scan) (string, error) {
	if answer, err := c.begin(s, scan); err != nil || answer[0] > '3' {
		return answer, err
	}
	message := scan.message()
	half := len(message) / 2
	c.Receiving.Add(1)
	err := s.write(message[:half])
	if err == nil {
		if c.Pause > 0 {
			time.Sleep(time.Duration(rand.Int64N(int64(c.Pause))))
		}
		err = s.write(message[half:])
	}
	c.Receiving.Add(-1)
	if err != nil {
		c.withhold(scan.ID)
		return "", err
	}
	c.Committing.Add(1)
	answer, err := s.Ask(".")
	c.Committing.Add(-1)
	if err != nil || answer[:3] != "250" {
		if err == nil {
			c.withhold(scan.ID)
		}
		return c.refusal(answer), err
	}
	c.mu.Lock()
	c.acknowledged = append(c.acknowledged, scan.ID)
	c.mu.Unlock()
	return answer, nil
}

// HangUp sends half of a scan, and no more: the caller closes the session.
func (c *Copiers) HangUp(s *Session, scan Scan) (string, error) {
	answer, err := c.begin(s, scan)
	if err != nil || answer[0] > '3' {
		return answer, err
	}
	c.withhold(scan.ID)
	message := scan.message()
	return answer, s.write(message[:len(message)/2])
}

// begin sends what comes before the message.
func (c *Copiers) begin(s *Session, scan Scan) (answer string, err error) {
	mail := "MAIL FROM:<" + scan.Sender + ">"
	if scan.Announced > 0 {
		mail += fmt.Sprintf(" SIZE=%d", scan.Announced)
	}
	for _, line := range []string{mail, "RCPT TO:<" + scan.Recipient + ">", "DATA"} {
		if answer, err = s.Ask(line); err != nil || answer[0] > '3' {
			c.withhold(scan.ID)
			return c.refusal(answer), err
		}
	}
	return answer, nil
}

func (c *Copiers) refusal(answer string) string {
	if answer != "" {
		c.mu.Lock()
		c.refused = append(c.refused, answer)
		c.mu.Unlock()
	}
	return answer
}

// Session is a copier's connection.
type Session struct {
	c net.Conn
	r *bufio.Reader
}

// Dial opens a session, and says HELO.
func Dial(address string) (*Session, error) {
	c, err := net.DialTimeout("tcp", address, env.Wait)
	if err != nil {
		return nil, err
	}
	return Open(c, "HELO")
}

// Open is Dial on a connection, which it closes where it fails, with HELO or EHLO.
func Open(c net.Conn, hello string) (*Session, error) {
	s := &Session{c: c, r: bufio.NewReader(c)}
	err := s.deadline()
	if err == nil {
		_, err = s.answer()
	}
	if err == nil {
		_, err = s.Ask(hello + " copier.test")
	}
	if err != nil {
		c.Close() //nolint:errcheck // it is of no use
		return nil, err
	}
	return s, nil
}

// StartTLS goes on inside TLS, and says EHLO again.
func (s *Session) StartTLS(config *tls.Config) error {
	answer, err := s.Ask("STARTTLS")
	if err != nil {
		return err
	}
	if answer[:3] != "220" {
		return fmt.Errorf("STARTTLS: %s", answer)
	}
	s.c = tls.Client(s.c, config)
	s.r.Reset(s.c)
	_, err = s.Ask("EHLO copier.test")
	return err
}

// Peer is the certificate of the other side; nil outside TLS.
func (s *Session) Peer() *x509.Certificate {
	c, ok := s.c.(*tls.Conn)
	if !ok || len(c.ConnectionState().PeerCertificates) == 0 {
		return nil
	}
	return c.ConnectionState().PeerCertificates[0]
}

// LogIn logs in with AUTH PLAIN and gives the answer.
func (s *Session) LogIn(user, password string) (string, error) {
	return s.Ask("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
}

// Close closes the connection.
func (s *Session) Close() { s.c.Close() } //nolint:errcheck // the session is over

func (s *Session) write(text string) error {
	if err := s.deadline(); err != nil {
		return err
	}
	_, err := s.c.Write([]byte(text))
	return err
}

func (s *Session) deadline() error { return s.c.SetDeadline(time.Now().Add(env.Wait)) }

// Ask sends a line and gives the answer to it.
func (s *Session) Ask(line string) (string, error) {
	if err := s.write(line + "\r\n"); err != nil {
		return "", err
	}
	return s.answer()
}

// Data sends a part of a message.
func (s *Session) Data(text string) error { return s.write(text) }

func (s *Session) answer() (string, error) {
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSpace(line)
		if len(line) < 4 {
			return "", fmt.Errorf("an answer %q", line)
		}
		if line[3] == ' ' {
			return line, nil
		}
	}
}
