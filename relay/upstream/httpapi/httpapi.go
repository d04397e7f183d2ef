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
	Stall   time.Duration // in which the server takes none, or too little, of a piece of the body (64 KiB at most)
	Answer  time.Duration // from the last octet of the body to the reply's header, and from there to its end
}

// DefaultTimeouts are generous: a provider that scans an attachment takes its
// time before it answers.
var DefaultTimeouts = Timeouts{Connect: 30 * time.Second, Stall: time.Minute, Answer: 5 * time.Minute}

const (
	// maxReply bounds what is read of a reply.
	maxReply = 64 << 10
	// idleTime is below the five seconds after which the most hurried servers close
	// (Node.js): a small request on a connection that is being closed has an
	// unknown outcome.
	idleTime = 4 * time.Second
	// large is from where a request asks the server first (Expect: 100-continue), so
	// that a scan is not sent to be refused for its size or our credential, and the
	// refusal not lost with the connection.
	large        = 1 << 20
	continueTime = time.Second // for servers that do not know of it
)

// Client makes requests of one endpoint. It is safe for concurrent use.
type Client struct {
	c    Config
	base *url.URL
	http *http.Transport // not a Client: a redirect would carry the credential, and the scan, to whom it names
}

// New makes a client; the error says what is wrong with the endpoint.
func New(c Config) (*Client, error) {
	if c.Timeouts == (Timeouts{}) {
		c.Timeouts = DefaultTimeouts
	}
	base, err := url.Parse(strings.TrimRight(c.Endpoint, "/"))
	switch {
	case strings.Contains(c.Endpoint, "@"): // before all that shows it
		return nil, errors.New("the endpoint holds a user or password, or an @: write it as https://api.example.com; the credential belongs in the Secret")
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("endpoint %q is no URL of an API: write it as https://api.example.com", c.Endpoint)
	}
	d := dialer{
		net: *egress.Rules{Private: c.Private, Near: base.Scheme == "http"}.Dialer(),
		tls: &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
		to:  c.Timeouts,
	}
	d.net.Timeout = c.Timeouts.Connect
	t := &http.Transport{
		DialContext:            d.clear,
		DialTLSContext:         d.secure,
		ResponseHeaderTimeout:  c.Timeouts.Answer,
		ExpectContinueTimeout:  continueTime,
		IdleConnTimeout:        idleTime,
		MaxIdleConnsPerHost:    max(1, c.MaxIdle),
		MaxResponseHeaderBytes: maxReply,
		WriteBufferSize:        64 << 10,
		DisableCompression:     true, // replies are small
	}
	return &Client{c: c, base: base, http: t}, nil
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
	// known, it goes in chunks. An error of its reader, also in place of io.EOF,
	// and another length than Length, end the request before the server has the
	// whole of it, and are in the *Error. It is closed when Do returns.
	Body   func() (io.ReadCloser, error)
	Length int64
}

// Response is a reply, read whole.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // at most 64 KiB of it
	Remote string // host that answered
	Early  bool   // it came before the body had been read to its end: the server has not the whole
}

// Error is a request without a reply.
type Error struct {
	Sent   bool   // the connection took all of it: the server may have it
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
	p := progress{host: req.URL.Host}
	ctx := req.Context()
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req = req.WithContext(follow(inner, &p))
	if err := p.put(req, body); err != nil {
		return nil, &Error{Source: p.source(), Remote: p.host, words: "the request cannot be made: " + err.Error(), cause: err}
	}
	resp, err := c.http.RoundTrip(req)
	var r *Response
	if err == nil {
		r, err = c.read(resp, cancel)
	}
	p.bodies.Wait() // the connection is given back or closed; then net/http reads no more of the body
	switch {
	case err != nil:
		return nil, lost(ctx, &p, err)
	case p.source() != nil:
		return nil, lost(ctx, &p, p.source())
	}
	r.Early = !p.read.Load()
	if r.Early && r.Status/100 == 2 {
		return nil, lost(ctx, &p, errEarly)
	}
	return r, nil
}

var (
	errSlow  = errors.New("the server did not end its reply in time")
	errEarly = errors.New("the server said that it has the message before all of it had been sent: check the endpoint")
)

// read reads a reply to its end or as far as is kept, within Answer. A reply that
// breaks off is an error where what is missing says what the server took.
func (c *Client) read(resp *http.Response, cancel context.CancelCauseFunc) (*Response, error) {
	timer := time.AfterFunc(c.c.Timeouts.Answer, func() { cancel(errSlow) })
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	resp.Body.Close()
	if !timer.Stop() && err != nil {
		err = errSlow
	}
	if err != nil && resp.StatusCode/100 == 2 {
		return nil, err
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: b, Remote: resp.Request.URL.Host}, nil
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
		return nil, unwrapURL(err)
	}
	if q.Header != nil {
		req.Header = q.Header.Clone()
	}
	req.Header.Set("User-Agent", "printer-relay")
	if q.Body != nil {
		req.ContentLength = q.Length
		if q.Length < 0 || q.Length > large {
			req.Header.Set("Expect", "100-continue")
		}
	}
	return req, nil
}

// lost is the error of a request without a reply. net/http gives it when it
// writes no more, so what is known of the body is final.
func lost(ctx context.Context, p *progress, err error) *Error {
	e := &Error{Sent: p.sent.Load(), Source: p.source(), Remote: p.host, cause: unwrapURL(err)}
	var address *egress.AddressError
	var handshake *handshakeError
	var timeout net.Error
	var op *net.OpError
	isOp := errors.As(err, &op)
	switch {
	case e.Source != nil:
		e.Sent, e.words = false, "the stored message cannot be read"
	case ctx.Err() != nil:
		e.words = "stopped while it was under way"
	case errors.As(err, &address):
		e.words = address.Error()
	case errors.As(err, &handshake):
		e.words = reply.Line(handshake.Error(), 256)
	case isOp && op.Op == "write" && op.Timeout():
		e.words = "the server took no more of the message in time"
	case isOp && op.Op == "dial" && op.Timeout():
		e.words = "no connection came about in time"
	case errors.As(err, &timeout) && timeout.Timeout():
		e.words = "the server did not answer in time"
	case isOp:
		e.words = reply.Line(op.Err.Error(), 256)
	default:
		e.words = reply.Line(e.cause.Error(), 256)
	}
	e.words = p.host + ": " + e.words
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
