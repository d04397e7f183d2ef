package httpapi

import (
	"errors"
	"net/url"
)

// Target is where a request goes that Path and Query cannot say.
type Target struct {
	// RawPath is Path as it is to be written, where a segment of it holds a slash or
	// a percent sign. Path is to be set too.
	RawPath string
	// URL, if set, is the whole of it, as a reply gave it: it may be of another host,
	// which is connected to by the same rules, but not of another scheme than the
	// endpoint. No credential is to go along that is not meant for it.
	URL *url.URL
}

var errScheme = errors.New("the API named an address to go on with that is not of its endpoint's scheme")

// target is the URL of a request.
func (c *Client) target(q *Request) (*url.URL, error) {
	if q.To != nil && q.To.URL != nil {
		if q.To.URL.Scheme != c.base.Scheme || q.To.URL.Host == "" {
			return nil, errScheme
		}
		return q.To.URL, nil
	}
	u := *c.base
	if q.To != nil && q.To.RawPath != "" {
		u.RawPath = c.base.EscapedPath() + q.To.RawPath
	}
	u.Path += q.Path
	u.RawQuery = q.Query.Encode()
	return &u, nil
}
