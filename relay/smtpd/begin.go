package smtpd

import (
	"context"
	"io"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// incoming is the spool entry of a message that comes in. The body is written to
// in, which keeps it within its client's share.
type incoming struct {
	*spool.Writer
	in io.Writer
}

// begin finds room for a message before its client is told to send it: a place
// among those that come in, octets of the spool, an entry. limit is the octets that it
// may have. done gives back all but the entry. A client waits a little for the first
// two: a device does not retry.
func (s *session) begin(tx *transaction) (w incoming, limit int64, done func(), refused error) {
	ctx, cancel := context.WithTimeout(s.srv.ctx, placeTime)
	defer cancel()
	leave, err := s.srv.places.take(ctx, s.conn.Addr.Addr())
	if err != nil {
		return w, 0, nil, s.refuse("DATA", reply.Busy(), err.Error())
	}
	limit = s.sizeLimit(tx)
	in, err := s.srv.Queue.Begin(ctx, s.account(), tx.declared, limit)
	if err != nil {
		leave()
		return w, 0, nil, s.notStored(err)
	}
	done = func() { in.End(); leave() }
	w.Writer, err = s.srv.Spool.Create(s.srv.Spool.NewID())
	if err != nil {
		done()
		return w, 0, nil, s.notStored(err)
	}
	w.in = in.Writer(s.srv.ctx, w.Writer)
	return w, limit, done, nil
}
