package httpapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// dialer opens the connections of one client.
type dialer struct {
	net net.Dialer
	tls *tls.Config
	to  Timeouts
}

// clear opens a connection without TLS.
func (d *dialer) clear(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: &stallConn{c, d.to.Stall}}, nil
}

// secure opens one with TLS. It shakes hands itself, so that conn is above TLS
// and sees what the request wrote, not records.
func (d *dialer) secure(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		c.Close()
		return nil, err
	}
	cfg := d.tls.Clone()
	cfg.ServerName = host
	limited, cancel := context.WithTimeout(ctx, d.to.Connect)
	defer cancel()
	tc := tls.Client(&stallConn{c, d.to.Stall}, cfg)
	if err := tc.HandshakeContext(limited); err != nil {
		c.Close()
		return nil, &handshakeError{err}
	}
	return &conn{Conn: tc}, nil
}

// handshakeError is a TLS handshake that failed.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// stallConn makes each write end within a time, so that a server that takes no
// more of a body is not waited for. net/http writes 64 KiB at once at most, TLS
// 16 KiB.
type stallConn struct {
	net.Conn
	limit time.Duration
}

func (c *stallConn) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.limit)) //nolint:errcheck // a closed socket says so when it is written
	return c.Conn.Write(b)
}

// conn tells the request that uses it when its last octet has gone.
type conn struct {
	net.Conn
	request atomic.Pointer[progress]
}

// Write is called by one goroutine, the one that reads the request's body too: what
// is written after the last octet was read holds it.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if p := c.request.Load(); p != nil && err == nil && p.read.Load() {
		p.sent.Store(true)
	}
	return n, err
}

// follow makes the connection that a request gets report to p.
func follow(ctx context.Context, p *progress) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if c, ok := info.Conn.(*conn); ok {
			c.request.Store(p)
		}
	}})
}
