package smtpd

import (
	"errors"
	"fmt"
	"testing"

	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/spool"
)

// A disk that does not take the message is 452: the copier's user keeps the paper.
func TestWhatACopierHearsOfTheDisk(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want *reply.Reply
	}{
		{fmt.Errorf("queue: message A: %w", spool.ErrFull), reply.SpoolFull()},
		{queue.ErrFull, reply.SpoolFull()},
		{fmt.Errorf("queue: message A: %w: input/output error", spool.ErrFailing), reply.SpoolFails()},
		{errors.New("anything else"), reply.NotStored()},
	} {
		if got := noRoom(tc.err); *got != *tc.want || got.Code/100 != 4 {
			t.Errorf("%v: %v, want %v", tc.err, got, tc.want)
		}
	}
}
