package postmark

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/translated"
)

// check asks for the server that the token is of: GET /server. Nothing is sent.
// There are no tokens of less rights than a server's.
func check(ctx context.Context, t *translated.Transport) upstream.Health {
	r, bad := t.Get(ctx, "/server")
	if bad != nil {
		return *bad
	}
	h := upstream.Health{Reachable: upstream.Good}
	var said struct {
		answer
		Name         string
		DeliveryType string
	}
	err := json.Unmarshal(r.Body, &said)
	switch {
	case r.Status == http.StatusUnauthorized, r.Status == http.StatusForbidden:
		h.Credentials, h.Text = upstream.Bad, reply.Line("Postmark does not take the server token: "+said.Message, 512)
	case r.Status != http.StatusOK || err != nil:
		h.Text = reply.Line(fmt.Sprintf("Postmark did not tell of the server: %d %s", r.Status, said.Message), 512)
	default:
		h.Credentials, h.Text = upstream.Good, reply.Line(fmt.Sprintf("the token is of the server %q", said.Name), 512)
		if said.DeliveryType == "Sandbox" {
			h.Warnings = []string{fmt.Sprintf("the server %q is a sandbox: Postmark takes the mail and delivers none of it", said.Name)}
		}
	}
	return h
}
