package oauth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// What the server's own trouble says is nothing of the credential.
func TestTemporary(t *testing.T) {
	for _, c := range []struct {
		e    Error
		want bool
	}{
		{Error{Status: 429}, true},
		{Error{Status: 503}, true},
		{Error{cause: &httpapi.Error{}}, true},
		{Error{Status: 401, Code: "AADSTS7000215"}, false},
		{Error{Status: 400}, false},
		{Error{}, false},
		{Error{cause: errors.New("no such Secret")}, false},
	} {
		if got := c.e.Temporary(); got != c.want {
			t.Errorf("%+v: %t", c.e, got)
		}
	}
}

// Who is asked to wait does not ask before.
func TestRetryAfter(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		srv.answer = refuse(429, "", "")
		s := newSource(t, srv, v)
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {30 * time.Second, 1}, {31 * time.Second, 2}} {
			time.Sleep(c.after)
			if _, err := s.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "too often") {
				t.Errorf("%v", err)
			}
			if srv.count() != c.want {
				t.Errorf("after %s: %d requests, want %d", c.after, srv.count(), c.want)
			}
		}
	})
}
