package oauth

import (
	"errors"
	"testing"

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
