//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/cluster"
	"github.com/printerrelay/printer-relay/test/netns"
	"github.com/printerrelay/printer-relay/test/postfix"
)

// load is copiers that send small scans, one connection each, until it is
// stopped. Like copiers they never retry.
type load struct {
	network *netns.Network
	address string // of the relay
	prefix  string // of the Subject of each scan

	stop chan struct{}
	once sync.Once
	done sync.WaitGroup
	next atomic.Int64

	mu      sync.Mutex
	acked   map[string]bool
	refused []string // connections that were not taken
	failed  []string // sessions that ended without 250
}

// pause of a copier between two scans: the load is that of a busy office, not all
// that the machine can do.
const pause = 50 * time.Millisecond

// sessionTime bounds a session.
const sessionTime = 30 * time.Second

func startLoad(n *netns.Network, address, prefix string, copiers int) *load {
	l := &load{network: n, address: address, prefix: prefix, stop: make(chan struct{}), acked: map[string]bool{}}
	for range copiers {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(pause):
					l.scan()
				}
			}
		})
	}
	return l
}

// end stops the copiers and waits for them. It may be called again.
func (l *load) end() {
	l.once.Do(func() { close(l.stop) })
	l.done.Wait()
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// scan sends one, in a session of its own.
func (l *load) scan() {
	id := fmt.Sprintf("%s-%d", l.prefix, l.next.Add(1))
	ctx, cancel := context.WithTimeout(context.Background(), sessionTime)
	defer cancel()
	conn, err := l.network.Dial(ctx, l.address)
	if err != nil {
		l.mu.Lock()
		l.refused = append(l.refused, err.Error())
		l.mu.Unlock()
		return
	}
	defer conn.Close() //nolint:errcheck // what counts was read
	err = transaction(conn, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, err.Error())
		return
	}
	l.acked[id] = true
}

// transaction sends one message and gives nil if its 250 was read.
func transaction(conn net.Conn, id string) error {
	if err := conn.SetDeadline(time.Now().Add(sessionTime)); err != nil {
		return err
	}
	r := bufio.NewReader(conn)
	reply := func(want string) error {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if len(line) > 3 && line[3] == '-' {
				continue
			}
			if !strings.HasPrefix(line, want) {
				return errors.New(strings.TrimSpace(line))
			}
			return nil
		}
	}
	if err := reply("220"); err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	body := "From: scanner@copier.example.com\r\nTo: floor3@example.com\r\nSubject: " + id + "\r\n\r\n" + strings.Repeat("scan scan scan scan scan scan\r\n", 100) + ".\r\n"
	for _, step := range []struct{ send, want string }{
		{"EHLO mfp.example.com\r\n", "250"},
		{"MAIL FROM:<scanner@copier.example.com>\r\n", "250"},
		{"RCPT TO:<floor3@example.com>\r\n", "250"},
		{"DATA\r\n", "354"},
		{body, "250"},
	} {
		if _, err := io.WriteString(conn, step.send); err != nil {
			return err
		}
		if err := reply(step.want); err != nil {
			return fmt.Errorf("%.12q: %w", step.send, err)
		}
	}
	_, _ = io.WriteString(conn, "QUIT\r\n") //nolint:errcheck // the 250 was given
	return nil
}

// allArrive waits until every scan that was acknowledged lies in the mailbox,
// and gives how many lie there more than once.
func (l *load) allArrive(t *testing.T, c *cluster.Cluster, namespace string, server *postfix.Server) (twice int) {
	t.Helper()
	var missing []string
	counts := map[string]int{}
	c.Eventually(t, namespace, "every acknowledged scan has arrived", func() bool {
		clear(counts)
		for _, m := range server.Mail(t) {
			counts[m.Header.Get("Subject")]++
		}
		missing = missing[:0]
		for id := range l.acked {
			if counts[id] == 0 {
				missing = append(missing, id)
			}
		}
		return len(missing) == 0
	})
	for id := range l.acked {
		if counts[id] > 1 {
			twice++
		}
	}
	t.Logf("%d scans acknowledged, all arrived, %d of them twice; %d connections not taken, %d sessions without 250", len(l.acked), twice, len(l.refused), len(l.failed))
	return twice
}
