package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream/egress"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// kind is what a receiver made of a request.
type kind int

const (
	put     kind = iota // off: to be tried again
	taken               // 2xx
	refused             // it will not take this one, however often it is asked
	gone                // it wants no more
)

// result is what came of a request.
type result struct {
	kind       kind
	address    string // digest of where it was made to
	host       string
	reply      *Reply // none: there was none
	field      string // of the webhook that problem is about; empty: of none
	problem    string
	remedy     string
	retryAfter time.Duration // that the receiver asked for
}

// outcome is result in a word, for the metrics.
func (r *result) outcome() string {
	if r.kind == taken {
		return "ok"
	}
	return "failed"
}

// target is where a request goes, by what, as the manifests and Secrets say now.
type target struct {
	url   *url.URL
	keys  [][]byte
	roots *x509.CertPool // nil: the system's
	ca    string
}

// target reads it. An error names the Secret, and shows nothing of it.
func (h *hook) target(c *config) (*target, error) {
	src := h.o.Secrets()
	t := &target{}
	var err error
	address := c.URL
	if address == "" {
		if address, err = secrets.Key(src, c.Secret, "url"); err != nil {
			return t, keyError("secretRef", c.Secret, "url", err)
		}
		if err := plan.CheckWebhookURL(address, c.Private); err != nil {
			return t, &fieldError{"secretRef", "", fmt.Errorf("secret %q: url: %w", c.Secret, err)}
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return t, &fieldError{"url", "", errors.New("the address is no URL")} // without what it is
	}
	t.url = u
	if t.keys, err = signingSecrets(src, c.Secret); err != nil {
		return t, keyError("secretRef", c.Secret, SecretKey, err)
	}
	if c.CASecret == "" {
		return t, nil
	}
	if t.ca, err = secrets.Key(src, c.CASecret, "ca.crt"); err != nil {
		return t, keyError("caSecretRef", c.CASecret, "ca.crt", err)
	}
	t.roots = x509.NewCertPool()
	if !t.roots.AppendCertsFromPEM([]byte(t.ca)) {
		return t, &fieldError{"caSecretRef", "", fmt.Errorf("secret %q: ca.crt holds no certificate in PEM form", c.CASecret)}
	}
	return t, nil
}

// fieldError is what is wrong with a field of the webhook.
type fieldError struct {
	field, remedy string
	error
}

// Unwrap gives the cause.
func (e *fieldError) Unwrap() error { return e.error }

// keyError is an error about a key of a Secret.
func keyError(field, secret, key string, err error) error {
	if errors.Is(err, secrets.ErrNotFound) {
		return &fieldError{field, fmt.Sprintf("put key %s into Secret %q beside the PrinterRelay, or correct its name in %s", key, secret, field), err}
	}
	return &fieldError{field, "", err}
}

// about is the field that an error of target is about, and what to do.
func about(err error) (field, remedy string) {
	var e *fieldError
	if errors.As(err, &e) {
		return e.field, e.remedy
	}
	return "", ""
}

// digest tells one state of the configuration from another.
func (t *target) digest(c *config, err error) string {
	s := sha256.New()
	fmt.Fprintf(s, "%+v %v %q", c.Webhook, err, t.ca)
	if t.url != nil {
		io.WriteString(s, t.url.String()) //nolint:errcheck // a hash takes all
	}
	for _, k := range t.keys {
		fmt.Fprintf(s, " %x", k)
	}
	return hex.EncodeToString(s.Sum(nil))
}

// digestOfAddress is what is kept of an address that may be a credential.
func (t *target) digestOfAddress() string {
	s := sha256.Sum256([]byte(t.url.String()))
	return hex.EncodeToString(s[:])
}

func (t *target) host() string { return t.url.Host }

// post makes one request. What it says shows the host, and nothing else of the address.
func (h *hook) post(ctx context.Context, c *config, d *delivery) result {
	t, err := h.target(c)
	if err != nil {
		field, remedy := about(err)
		return result{field: field, problem: err.Error(), remedy: remedy}
	}
	client, err := httpapi.New(httpapi.Config{
		Endpoint: t.url.Scheme + "://" + t.url.Host, Private: c.Private, RootCAs: t.roots, MaxIdle: 1, Timeouts: h.o.pace.timeouts,
	})
	if err != nil {
		return result{field: "url", problem: err.Error()}
	}
	defer client.Close() //nolint:errcheck // drops the connection
	header := http.Header{"Content-Type": {"application/json"}}
	sign(header, d.ID, time.Now(), d.Body, t.keys)
	resp, err := client.Do(ctx, &httpapi.Request{
		To: &httpapi.Target{URL: t.url}, Header: header, Length: int64(len(d.Body)),
		Body: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(d.Body)), nil },
	})
	var r result
	if err != nil {
		r = lost(ctx, t, err)
	} else {
		r = judge(resp, t.host(), c.Secret)
		r.reply = &Reply{At: time.Now().UTC(), Status: resp.Status, Text: t.words(resp.Body)}
	}
	r.address, r.host = t.digestOfAddress(), t.host()
	return r
}

const (
	goneRemedy = "correct its url, or take the webhook out of the PrinterRelay: it is told nothing more at this address"
	passes     = "nothing, it is tried again; if it stays so, tell who runs it"
)

func goneWords(host string) string { return host + " wants no more (410 Gone)" }

// judge reads a reply by the rules of Standard Webhooks: 2xx is success, and nothing
// else is.
func judge(resp *httpapi.Response, host, secret string) result {
	r := result{problem: strings.TrimSpace(fmt.Sprintf("%s answers %d %s", host, resp.Status, http.StatusText(resp.Status)))}
	switch s := resp.Status; {
	case s/100 == 2:
		return result{kind: taken}
	case s/100 == 3:
		r.problem += redirects(resp)
		r.field, r.remedy = "url", "set its url to where it is: redirects are not followed"
	case s == http.StatusGone:
		r.kind, r.field, r.problem, r.remedy = gone, "url", goneWords(host), goneRemedy
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		r.field, r.remedy = "secretRef", fmt.Sprintf("give it the signing secret of Secret %q, key %s, or put its own there; compare the clocks", secret, SecretKey)
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed:
		r.field, r.remedy = "url", "correct its url: nothing there takes a POST"
	case s == http.StatusBadRequest || s == http.StatusRequestEntityTooLarge || s == http.StatusUnprocessableEntity:
		r.kind, r.remedy = refused, "see what it says in its log about requests of printer-relay: docs/webhooks.md has their form"
	default:
		r.remedy = passes
	}
	r.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return r
}

// redirects names the host that a reply leads to; the rest of the address may be a
// credential.
func redirects(resp *httpapi.Response) string {
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || u.Host == "" {
		return ""
	}
	return ", a redirect to " + reply.Line(u.Host, 128)
}

// words is what a reply begins with, without what of the address or the signing secrets
// stands in it: the page of a 404 likes to repeat the path.
func (t *target) words(body []byte) string {
	const short = 6 // what is shorter is a word of its own
	text := strings.ToValidUTF8(string(body), "?")
	pieces := []string{t.url.RequestURI(), t.url.Path, t.url.RawQuery}
	for segment := range strings.SplitSeq(t.url.EscapedPath(), "/") {
		plain, _ := url.PathUnescape(segment) //nolint:errcheck // it was escaped by net/url
		pieces = append(pieces, segment, plain)
	}
	for name, values := range t.url.Query() {
		for _, v := range values {
			pieces = append(pieces, url.QueryEscape(name)+"="+url.QueryEscape(v), v, url.QueryEscape(v))
		}
	}
	for _, k := range t.keys {
		pieces = append(pieces, base64.StdEncoding.EncodeToString(k))
	}
	slices.SortFunc(pieces, func(a, b string) int { return len(b) - len(a) })
	for _, p := range pieces {
		if len(p) >= short {
			text = strings.ReplaceAll(text, p, "(hidden)")
		}
	}
	return reply.Line(strings.Join(strings.Fields(reply.Line(text, len(text))), " "), maxWords)
}

// retryAfter reads the header field of RFC 9110 10.2.3; 0: there is none that can be
// read.
func retryAfter(field string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(field, 10, 31); err == nil {
		return time.Duration(n) * time.Second //nolint:gosec // 31 bits
	}
	if at, err := http.ParseTime(field); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// lost is the result of a request without a reply.
func lost(ctx context.Context, t *target, err error) result {
	r := result{field: "url", problem: reply.Line(err.Error(), 300), remedy: "see that it runs, and that the relay may connect to it: firewalls, and NetworkPolicies for egress"}
	var address *egress.AddressError
	switch {
	case errors.As(err, &address):
		r.field, r.problem, r.remedy = forbidden(t.host(), address.Addr, t.url.Scheme == "http")
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.problem = t.host() + ": it did not answer in time"
	case strings.Contains(r.problem, ": TLS: "):
		if errors.As(err, new(x509.UnknownAuthorityError)) {
			r.field = "caSecretRef"
		}
		r.remedy = "see that its certificate is for this host and has not expired; where an authority of your own signed it, put that into a Secret, key ca.crt, and name it in caSecretRef"
	case strings.Contains(r.problem, "no such host"):
		r.remedy = "correct the host of its url, or see why DNS does not have it"
	case errors.As(err, new(*net.DNSError)):
		r.remedy = "see that the DNS server that the relay asks answers"
	}
	return r
}

// forbidden says why an address is not connected to.
func forbidden(host string, a netip.Addr, inClear bool) (field, problem, remedy string) {
	problem = fmt.Sprintf("%s is %s, and is not connected to: ", host, a)
	switch {
	case (egress.Rules{Private: true}).Judge(netip.AddrPortFrom(a, 1).String()) != nil:
		return "url", problem + "it is link-local or no address of a host", "correct the host of its url, or what DNS says of it"
	case inClear:
		return "url", problem + "it is a public address, and what goes there would travel in clear", "use https"
	}
	return "allowPrivateHosts", problem + "it is not a public address", "set allowPrivateHosts of the webhook if that is meant"
}
