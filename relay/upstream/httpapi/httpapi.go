// Package httpapi is what the providers' HTTPS APIs have in common: a client that
// streams a request from the spool, follows no redirect, knows whether the body
// had left when the connection broke, and puts a status into an outcome.
//
// It may import relay/upstream, upstream/egress and relay/reply.
package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream/egress"
)

// Config is what New takes. Endpoint is required.
type Config struct {
	Endpoint string // "https://api.example.com"; http: only to private and loopback addresses
	Private  bool   // private and loopback addresses may be connected to
	RootCAs  *x509.CertPool
	MaxIdle  int // connections kept for the next request
	Timeouts Timeouts
}

// Timeouts bound the steps of a request.
type Timeouts struct {
	Connect time.Duration // TCP, then TLS, each
	Stall   time.Duration // in which the server takes no octet of the body
	Answer  time.Duration // from the last octet of the body to the reply's header
}

// DefaultTimeouts are generous: a provider that scans an attachment takes its
// time before it answers.
var DefaultTimeouts = Timeouts{Connect: 30 * time.Second, Stall: time.Minute, Answer: 5 * time.Minute}

// maxReply bounds what is read of a reply.
const maxReply = 64 << 10

// Client makes requests of one endpoint. It is safe for concurrent use.
type Client struct {
	c    Config
	base *url.URL
	http *http.Client
}

// New makes a client; the error says what is wrong with the endpoint.
func New(c Config) (*Client, error) {
	if c.Timeouts == (Timeouts{}) {
		c.Timeouts = DefaultTimeouts
	}
	base, err := url.Parse(strings.TrimRight(c.Endpoint, "/"))
	if err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" {
		return nil, fmt.Errorf("endpoint %q is no URL of an API: write it as https://api.example.com", c.Endpoint)
	}
	rules := egress.Rules{Private: c.Private, Near: base.Scheme == "http"}
	dialer := rules.Dialer()
	dialer.Timeout = c.Timeouts.Connect
	t := &http.Transport{
		DialContext:           stallDialer(dialer, c.Timeouts.Stall),
		TLSClientConfig:       &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   c.Timeouts.Connect,
		ResponseHeaderTimeout: c.Timeouts.Answer,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   max(1, c.MaxIdle),
		WriteBufferSize:       64 << 10,
	}
	return &Client{c: c, base: base, http: &http.Client{
		Transport: t,
		// A redirect would carry the credential, and the scan, to whom it names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// stallDialer makes each write of a connection end within a time, so that a
// server that takes no more of a body is not waited for.
func stallDialer(d *net.Dialer, stall time.Duration) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &stallConn{conn, stall}, nil
	}
}

type stallConn struct {
	net.Conn
	limit time.Duration
}

func (c *stallConn) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(c.limit)) //nolint:errcheck // a closed socket says so when it is written
	return c.Conn.Write(b)
}

// Host is the endpoint's host, for Outcome.Remote.
func (c *Client) Host() string { return c.base.Host }

// Close drops idle connections; requests under way end by their own.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Request is one request.
type Request struct {
	Method string // empty: POST
	Path   string // below the endpoint: "/v3/mail/send"
	Query  url.Values
	Header http.Header
	To     *Target // nil: Path and Query say it
	// Body opens the content; nil: there is none. Length is its octets; -1: not
	// known, it goes in chunks. An error of its reader ends the request before the
	// server has the whole of it, and is in the *Error.
	Body   func() (io.ReadCloser, error)
	Length int64
}

// Response is a reply, read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most 64 KiB of it
	Remote string // host and address that answered
}

// Error is a request without a reply.
type Error struct {
	Sent   bool   // the server may have had all of it
	Source error  // reading the body failed; nil: the connection did
	Remote string // host
	words  string
	cause  error
}

// Error is in words, without the URL's query and without secrets.
func (e *Error) Error() string { return e.words }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Do makes a request once; net/http itself repeats it only where nothing of it
// had been written. An error is an *Error.
func (c *Client) Do(ctx context.Context, q *Request) (*Response, error) {
	req, err := c.request(ctx, q)
	if err != nil {
		return nil, &Error{Remote: c.Host(), words: "the request cannot be made: " + err.Error(), cause: err}
	}
	return c.Send(req, q.Body)
}

// Send is Do for a request that somebody else built, and signed perhaps, to the
// endpoint; body is as in Request, and the request's ContentLength is its length.
func (c *Client) Send(req *http.Request, body func() (io.ReadCloser, error)) (*Response, error) {
	var sent sentinel
	if err := sent.watch(req, body); err != nil {
		return nil, &Error{Source: sent.source(), Remote: c.Host(), words: "the request cannot be made: " + err.Error(), cause: err}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(req.Context(), &sent, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil && resp.StatusCode/100 == 2 { // what it took and under which name is in what is missing
		return nil, c.lost(req.Context(), &sent, err)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: b, Remote: c.Host()}, nil
}

func (c *Client) request(ctx context.Context, q *Request) (*http.Request, error) {
	u, err := c.target(q)
	if err != nil {
		return nil, err
	}
	method := q.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	if q.Header != nil {
		req.Header = q.Header.Clone()
	}
	req.Header.Set("User-Agent", "printer-relay")
	if q.Body != nil {
		req.ContentLength = q.Length
	}
	return req, nil
}

// sentinel notes how far the body of a request has gone.
type sentinel struct {
	whole  atomic.Bool // its last octet was given to the connection
	failed atomic.Pointer[error]
}

// watch gives the request its body, and again where net/http has to begin anew.
func (s *sentinel) watch(req *http.Request, body func() (io.ReadCloser, error)) (err error) {
	if body == nil {
		s.whole.Store(true)
		return nil
	}
	req.GetBody = func() (io.ReadCloser, error) {
		b, err := body()
		if err != nil {
			s.fail(err)
			return nil, err
		}
		s.whole.Store(false)
		return &watched{b, s, req.ContentLength}, nil
	}
	req.Body, err = req.GetBody()
	return err
}

func (s *sentinel) fail(err error) { s.failed.CompareAndSwap(nil, &err) }

func (s *sentinel) source() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	return nil
}

// watched is a body that tells a sentinel. With a known length the last octet is
// the end; net/http does not read on to see io.EOF before it writes.
type watched struct {
	io.ReadCloser
	sent *sentinel
	left int64 // negative: not known
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.left -= int64(n)
	if errors.Is(err, io.EOF) || w.left == 0 {
		w.sent.whole.Store(true)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		w.sent.fail(err)
	}
	return n, err
}

// lost is the error of a request without a reply.
func (c *Client) lost(ctx context.Context, sent *sentinel, err error) *Error {
	e := &Error{Sent: sent.whole.Load(), Source: sent.source(), Remote: c.Host(), cause: err}
	var address *egress.AddressError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	var op *net.OpError
	switch {
	case e.Source != nil:
		e.Sent, e.words = false, "the stored message cannot be read"
	case ctx.Err() != nil:
		e.words = "stopped while it was under way"
	case errors.As(err, &address):
		e.Sent, e.words = false, address.Error()
	case errors.As(err, &certificate):
		e.Sent, e.words = false, "TLS: "+reply.Line(certificate.Error(), 256)
	case errors.As(err, &timeout) && timeout.Timeout():
		e.words = "the server did not answer in time"
	case errors.As(err, &op):
		e.Sent = e.Sent && op.Op != "dial"
		e.words = op.Err.Error()
	default:
		e.words = reply.Line(unwrapURL(err).Error(), 256)
	}
	e.words = c.Host() + ": " + e.words
	return e
}

// unwrapURL takes off the URL that net/http puts before its errors.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
