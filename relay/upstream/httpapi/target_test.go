package httpapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A segment of a path may hold what else would end it, and an address that a reply
// named is used as it is, if it is no way out of TLS.
func TestTarget(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Host + r.URL.RequestURI() }))
	defer s.Close()
	other := httptest.NewServer(s.Config.Handler)
	defer other.Close()
	c, err := New(Config{Endpoint: s.URL + "/base", Private: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	named, err := url.Parse(other.URL + "/a/Users('x@y')/%2Fz=?token=a%2Bb+c&a")
	if err != nil {
		t.Fatal(err)
	}
	host := func(u string) string { return strings.TrimPrefix(u, "http://") }
	for _, q := range []struct {
		r    Request
		want string
	}{
		{Request{Path: "/v1/x y"}, host(s.URL) + "/base/v1/x%20y"},
		{Request{Path: "/v1/a/b%2f?/z", To: &Target{RawPath: "/v1/a%2Fb%252f%3F/z"}}, host(s.URL) + "/base/v1/a%2Fb%252f%3F/z"},
		{Request{Path: "/v1", Query: url.Values{"q": {"1"}}, To: &Target{RawPath: "/v1"}}, host(s.URL) + "/base/v1?q=1"},
		{Request{Path: "/not", To: &Target{URL: named}}, host(other.URL) + "/a/Users('x@y')/%2Fz=?token=a%2Bb+c&a"},
	} {
		if r, err := c.Do(t.Context(), &q.r); err != nil || r.Status != 200 || got != q.want || !strings.HasPrefix(q.want, r.Remote+"/") {
			t.Errorf("%+v: %q, %v; want %q", q.r, got, err, q.want)
		}
	}
	c.Close() // drops the connections that are kept
	other.Close()
	var lost *Error
	if _, err := c.Do(t.Context(), &Request{To: &Target{URL: named}}); !errors.As(err, &lost) || lost.Remote != named.Host || lost.Sent || !strings.Contains(lost.Error(), named.Host) {
		t.Errorf("%v", err)
	}
	secure, err := New(Config{Endpoint: "https://127.0.0.1:1", Private: true})
	if err != nil {
		t.Fatal(err)
	}
	defer secure.Close()
	for _, u := range []*url.URL{named, {Scheme: "https", Path: "/"}, {Scheme: "file", Host: "x", Path: "/etc/passwd"}} {
		got = ""
		if _, err := secure.Do(t.Context(), &Request{To: &Target{URL: u}}); err == nil || got != "" {
			t.Errorf("%s: %v, %q", u, err, got)
		}
	}
}
