package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Ask reads one JSON document of an admin port into a value: GET path, with the
// query q. The console knows relays by nothing else, whether they are in its own
// process or in a Pod.
type Ask func(ctx context.Context, path string, q url.Values, into any) error

// Inside answers as the port does, within the process and to whom the caller
// lets in.
func (s *Server) Inside(ctx context.Context, path string, q url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path+"?"+q.Encode(), nil)
	if err != nil {
		return err
	}
	a := &answer{header: http.Header{}, code: http.StatusOK}
	s.documents.ServeHTTP(a, req)
	if a.code != http.StatusOK {
		return &StatusError{a.code, strings.TrimSpace(a.body.String())}
	}
	if err := json.Unmarshal(a.body.Bytes(), into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// answer is what a handler writes, kept.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) { a.code = code }

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
