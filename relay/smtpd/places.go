package smtpd

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/share"
)

// placeTime is how long a client waits for the reply to DATA where there is no place.
// RFC 5321 4.5.3.2.4 has clients wait two minutes; devices are less patient.
const placeTime = 30 * time.Second

var errNoPlace = errors.New("as many messages come in as may (spec.pod.resources.limits.memory)")

// places bounds how many messages come in at once: each has buffers and a header in
// memory. A device gets them as package share says.
type places struct{ pool *share.Pool }

func newPlaces(n int) places {
	if n <= 0 {
		return places{}
	}
	return places{share.New(func() int64 { return int64(n) })}
}

// take waits for a place until ctx ends; give gives it back.
func (p places) take(ctx context.Context, client netip.Addr) (give func(), err error) {
	if p.pool == nil {
		return func() {}, nil
	}
	device := envelope.Device(client).String()
	if p.pool.Take(ctx, device, 1) != nil {
		return nil, errNoPlace
	}
	return func() { p.pool.Give(device, 1) }, nil
}
