package delivery

import (
	"context"
	"errors"
	"io"

	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// form is how the body of a message leaves.
type form uint8

const (
	asItIs  form = iota
	encoded      // 7-bit text in short lines (RFC 6152 3)
)

// longestLine is what any server takes (RFC 5321 4.5.3.1.6), without CRLF.
const longestLine = 998

// opener gives a message from its start: head, then the body in its form.
type opener func(head []byte) (io.ReadCloser, error)

// body gives the opener of a stored message whose header is h by now. Where the
// body leaves encoded, h is changed to say so.
func (d *Delivery) body(q *queue.Message, h *message.Header, f form) (opener, error) {
	if f == asItIs {
		return func(head []byte) (io.ReadCloser, error) { return d.open(q, head) }, nil
	}
	s, err := message.NewSevenBit(h)
	if err != nil {
		return nil, err
	}
	return func(head []byte) (io.ReadCloser, error) {
		r, err := d.open(q, nil)
		if err != nil {
			return nil, err
		}
		return before(head, s.Encode(r), r), nil
	}, nil
}

// measure says of m what an encoded body makes of it.
func measure(ctx context.Context, m *upstream.Message, head []byte, body opener) error {
	r, err := body(head)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // read-only
	size, longest, err := message.Measure(&untilDone{ctx, r})
	if err == nil && longest > longestLine {
		err = &message.UncarriedError{What: "a line that cannot be broken"}
	}
	m.Size, m.MaxLine, m.EightBit = size, longest, false
	return err
}

// encoded offers a message once more, encoded before it is signed, to those
// recipients whose server could not take it as it is. Where that cannot be had, what
// the server said stands.
func (d *Delivery) encoded(ctx context.Context, r *route, a queue.Attempt, out []upstream.Outcome) []upstream.Outcome {
	var again []int
	some := a
	some.Recipients = nil
	for i, o := range out {
		if errors.Is(o.Cause, upstream.ErrUnencoded) {
			again = append(again, i)
			some.Recipients = append(some.Recipients, a.Recipients[i])
		}
	}
	if len(again) == 0 {
		return out
	}
	m, err := d.prepare(ctx, r, some, encoded)
	var uncarried *message.UncarriedError
	switch {
	case errors.As(err, &uncarried):
		for _, i := range again {
			out[i].Text += "; and it cannot be encoded: " + uncarried.What
		}
		return out
	case err != nil:
		for _, i := range again {
			out[i] = d.unprepared(ctx, a, err)
		}
		return out
	}
	d.Log.Info("encoded for a server that takes no 8-bit text or no long lines", "id", a.Message.ID, "upstream", a.Upstream, "recipients", len(again), "size", m.Size)
	for n, o := range r.transport.Deliver(ctx, m) {
		out[again[n]] = o
	}
	return out
}
