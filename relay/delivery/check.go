package delivery

import (
	"context"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Check looks at the credential and account of an upstream without sending mail;
// false: there is no such upstream, or its type has nothing to look at.
func (d *Delivery) Check(ctx context.Context, name string) (upstream.Health, bool) {
	r := d.route(name)
	if r == nil {
		return upstream.Health{}, false
	}
	c, ok := r.transport.(upstream.Checker)
	if !ok {
		return upstream.Health{}, false
	}
	return c.Check(ctx), true
}
