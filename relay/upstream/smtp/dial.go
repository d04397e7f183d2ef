package smtp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/printerrelay/printer-relay/relay/upstream/egress"
)

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
