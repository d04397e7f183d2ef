package ledger

import (
	"bufio"
	"fmt"
	"hash/crc32"
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
	c.mu.Lock()
	c.next++
	id := fmt.Sprintf("%s-%d", kind, c.next)
	c.mu.Unlock()
	for _, line := range []string{"MAIL FROM:<mfp@copier.test>", "RCPT TO:<" + id + "@example.test>", "DATA"} {
		if answer, err := s.Ask(line); err != nil || answer[0] > '3' {
			return c.refusal(answer), err
		}
	}
	body := strings.Repeat(bodyLine, lines)
	message := fmt.Sprintf("From: mfp@copier.test\r\nX-Scan: %s\r\nX-Sum: %08x\r\nSubject: scan\r\n\r\n%s", id, crc32.ChecksumIEEE([]byte(body)), body)
	c.Receiving.Add(1)
	half := len(message) / 2
	err := s.write(message[:half])
	if err == nil {
		if c.Pause > 0 {
			time.Sleep(time.Duration(rand.Int64N(int64(c.Pause))))
		}
		err = s.write(message[half:])
	}
	c.Receiving.Add(-1)
	if err != nil {
		return "", err
	}
	c.Committing.Add(1)
	answer, err := s.Ask(".")
	c.Committing.Add(-1)
	if err != nil || answer[:3] != "250" {
		return c.refusal(answer), err
	}
	c.mu.Lock()
	c.acknowledged = append(c.acknowledged, id)
	c.mu.Unlock()
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
	s := &Session{c: c, r: bufio.NewReader(c)}
	if _, err = s.answer(); err == nil {
		_, err = s.Ask("HELO copier.test")
	}
	if err != nil {
		c.Close() //nolint:errcheck // it is of no use
		return nil, err
	}
	return s, nil
}

// Close closes the connection.
func (s *Session) Close() { s.c.Close() } //nolint:errcheck // the session is over

func (s *Session) write(text string) error {
	if err := s.c.SetDeadline(time.Now().Add(env.Wait)); err != nil {
		return err
	}
	_, err := s.c.Write([]byte(text))
	return err
}

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
	line, err := s.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if len(line) < 4 {
		return "", fmt.Errorf("an answer %q", line)
	}
	return line, nil
}
