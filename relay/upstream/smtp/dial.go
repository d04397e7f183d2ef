package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/egress"
)

// Target is one server that a Transport may have sessions with.
type Target struct {
	// Key names what a session is good for: one that is idle is used again for a
	// target of the same key only.
	Key  string
	Host string       // as people know it
	TLS  plan.TLSMode // how TLS begins
	// Dial connects. It ends soon after ctx does.
	Dial func(ctx context.Context) (net.Conn, error)
	// TLSConfig is asked for at each handshake. What it verifies is all that is.
	TLSConfig func() (*tls.Config, error)
	// Secured, if set, hears of each session how its TLS began: nil, ErrNoSTARTTLS,
	// or the error of the handshake.
	Secured func(error)
}

func (to *Target) secured(err error) {
	if to.Secured != nil {
		to.Secured(err)
	}
}

// target is the server that Config names.
func (t *Transport) target() *Target {
	return &Target{Host: t.c.SMTP.Host, TLS: t.c.SMTP.TLS, Dial: t.dial, TLSConfig: t.tlsConfig}
}

// Offer offers m to a target. An error says that no session came about: nothing
// was said of the message, and another server may be asked.
//
// A connection that an earlier message used may have been closed by the server
// since: then a new one is tried before anything counts as failed.
func (t *Transport) Offer(ctx context.Context, to *Target, m *upstream.Message) ([]upstream.Outcome, error) {
	if s := t.take(to.Key); s != nil {
		out, stale := s.deliver(ctx, m)
		t.give(s)
		if !stale {
			return out, nil
		}
	}
	s, err := t.connect(ctx, to)
	if err != nil {
		return nil, err
	}
	out, _ := s.deliver(ctx, m)
	t.give(s)
	return out, nil
}

// Probe makes a session with a target and ends it: whether mail could be offered.
func (t *Transport) Probe(ctx context.Context, to *Target) error {
	s, err := t.connect(ctx, to)
	if err != nil {
		return err
	}
	s.quit()
	return nil
}

// dial connects to the host, where the upstream's rules let it be.
func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	address := net.JoinHostPort(t.c.SMTP.Host, strconv.Itoa(t.c.SMTP.Port))
	dial := t.c.Dial
	if dial == nil {
		dial = egress.Rules{Private: t.c.Private}.Dialer().DialContext
	}
	limited, cancel := context.WithTimeout(ctx, t.c.Timeouts.Connect)
	defer cancel()
	conn, err := dial(limited, "tcp", address)
	if err == nil {
		return conn, nil
	}
	var bad *egress.AddressError
	if errors.As(err, &bad) {
		return nil, bad
	}
	return nil, fmt.Errorf("connecting to %s: %w", address, tell(ctx, err))
}

func hostOf(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}
