package smtp

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// transaction is one MAIL for some recipients of a message. Its commands are
// numbered: 0 is MAIL, then one RCPT for each recipient, the last is DATA.
type transaction struct {
	s   *session
	m   *upstream.Message
	to  []int              // indices of m.Recipients
	out []upstream.Outcome // of all of m.Recipients; those of to are set here

	sent     int  // commands
	refused  bool // MAIL was
	accepted []int
	rest     []int // the server wants them in another transaction
}

// maxGroup is how many commands go out before a reply is read. Their replies
// must fit into the socket's buffers while nobody reads them (RFC 2920 3.1).
const maxGroup = 50

// run makes the transaction and sets the outcomes. gone says that the
// connection ended with the server having heard MAIL at most.
func (x *transaction) run(ctx context.Context) (gone bool) {
	data := len(x.to) + 1
	for i := 0; i <= data; i++ {
		if i == x.sent && x.hopeless(i) {
			break
		}
		at := stepOf(i, data)
		r, err := x.ask(i, at)
		if err != nil {
			x.s.broken = true
			x.settle(lostOutcome(ctx, upstream.Deferred, at.String(), err))
			return i == 0
		}
		if r.Code == 421 { // whatever it was asked: it closes (RFC 5321 3.8)
			x.s.broken = true
			x.settle(classify(at, r))
			return i == 0
		}
		switch at {
		case stepMail:
			if x.s.loggedOut(r) { // our login, or its token, has expired there
				x.s.broken = true
				x.settle(classify(at, r))
				return true
			}
			if x.refused = r.Code/100 != 2; x.refused { // what follows are complaints about that
				x.settle(classify(stepMail, r))
			}
		case stepRcpt:
			if !x.refused {
				x.rcpt(x.to[i-1], r)
			}
		case stepData:
			x.data(ctx, r)
		}
	}
	if x.sent <= data { // no DATA: the server still has the envelope
		x.s.reset()
	}
	return false
}

func stepOf(i, data int) step {
	switch i {
	case 0:
		return stepMail
	case data:
		return stepData
	}
	return stepRcpt
}

// hopeless tells that the commands from i on, which are not sent yet, would be
// for nothing.
func (x *transaction) hopeless(i int) bool {
	return x.refused || i > len(x.to) && len(x.accepted) == 0
}

// ask sends command i where it has not been sent together with one before, and
// reads its reply.
func (x *transaction) ask(i int, at step) (Reply, error) {
	limit := x.s.t.c.Timeouts.Command
	if at == stepData {
		limit = x.s.t.c.Timeouts.DataInit
	}
	if i == x.sent {
		n := 1
		if x.s.offers("PIPELINING") {
			n = min(maxGroup, len(x.to)+2-i)
		}
		var b []byte
		for range n {
			b = x.appendCommand(b, x.sent)
			x.sent++
		}
		if err := x.s.write(limit, b); err != nil {
			return Reply{}, err
		}
	}
	return x.s.read(limit)
}

func (x *transaction) appendCommand(b []byte, i int) []byte {
	switch m := x.m; {
	case i == 0:
		b = append(b, "MAIL FROM:<"+spell(m.Sender, m.UTF8)+">"...)
		if m.Size > 0 && x.s.offers("SIZE") {
			b = strconv.AppendInt(append(b, " SIZE="...), m.Size, 10)
		}
		if m.EightBit && x.s.offers("8BITMIME") {
			b = append(b, " BODY=8BITMIME"...)
		}
		if m.UTF8 {
			b = append(b, " SMTPUTF8"...)
		}
	case i <= len(x.to):
		b = append(b, "RCPT TO:<"+spell(m.Recipients[x.to[i-1]], m.UTF8)+">"...)
	default:
		b = append(b, "DATA"...)
	}
	return append(b, "\r\n"...)
}

// spell writes an address; without SMTPUTF8 its domain as A-labels.
func spell(a envelope.Address, utf8 bool) string {
	if !utf8 {
		if b, err := a.ToASCII(); err == nil {
			a = b
		}
	}
	return a.String()
}

func (x *transaction) rcpt(i int, r Reply) {
	switch {
	case r.Code/100 == 2:
		x.accepted = append(x.accepted, i)
	case tooMany(r) && len(x.accepted) > 0:
		x.rest = append(x.rest, i)
	default:
		x.out[i] = classify(stepRcpt, r)
	}
}

// tooMany tells that the server takes no more recipients in this transaction.
// 552 is what RFC 821 called it (RFC 5321 4.5.3.1.10).
func tooMany(r Reply) bool {
	switch r.Code {
	case 452:
		return r.Enhanced == "" || r.Enhanced == "4.5.3"
	case 552:
		return r.Enhanced == "" || r.Enhanced == "5.5.3"
	}
	return false
}

// data goes by the reply to DATA.
func (x *transaction) data(ctx context.Context, r Reply) {
	s := x.s
	switch {
	case r.Code == 354 && s.r.Buffered() > 0:
		// Its next words would be taken for the verdict on what was not sent yet.
		s.broken = true
		x.settle(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "DATA: the server answered what it was not asked"})
	case r.Code == 354 && len(x.accepted) == 0:
		// It wants a message although it took nobody to give it to (RFC 2920 3.1).
		if _, err := s.command(s.t.c.Timeouts.DataEnd, "."); err != nil {
			s.broken = true
		}
	case r.Code == 354:
		x.content(ctx)
	default:
		x.settle(classify(stepData, r))
		s.reset()
	}
}

// settle gives o to all recipients that have no outcome yet.
func (x *transaction) settle(o upstream.Outcome) {
	x.rest = nil
	for _, i := range x.to {
		if x.out[i].Kind == 0 {
			x.out[i] = o
		}
	}
}

// content sends the message and reads the verdict. Once the final dot is out,
// silence means Unknown.
//
// A write that fails did not get the final dot out: it is in the last octets of
// the last write, and a write that gave all of its octets to the kernel does not
// fail.
func (x *transaction) content(ctx context.Context) {
	s := x.s
	unreadable := func(err error) {
		s.broken = true // without the final dot the server drops what it has
		x.settle(upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeMessage, Text: "the stored message cannot be read", Cause: err})
	}
	src, err := x.m.Open()
	if err != nil {
		unreadable(err)
		return
	}
	defer src.Close()
	w := &dotWriter{write: func(b []byte) error { return s.write(s.t.c.Timeouts.Block, b) }}
	if err := w.copy(src); err != nil {
		var bad *sourceError
		if errors.As(err, &bad) {
			unreadable(bad.err)
			return
		}
		s.broken = true
		x.settle(x.parting(ctx, err))
		return
	}
	r, err := s.read(s.t.c.Timeouts.DataEnd)
	switch {
	case err != nil:
		s.broken = true
		o := lostOutcome(ctx, upstream.Unknown, "no reply to the final dot", err)
		x.verdict(o)
	case r.Code/100 == 2:
		x.verdict(upstream.Outcome{Kind: upstream.Accepted, Code: r.Code, Enhanced: r.Enhanced, Text: r.Text, RemoteID: remoteID(r.Text)})
	case r.Code/100 == 3:
		s.broken = true
		x.verdict(upstream.Outcome{Kind: upstream.Unknown, Scope: upstream.ScopeUpstream, Code: r.Code, Text: "the reply to the final dot makes no sense: " + r.Text})
	default:
		s.broken = r.Code == 421
		x.verdict(classify(stepEnd, r))
	}
}

// verdict gives o to the recipients that the server took. Those that wait for
// another transaction need none where the message was refused.
func (x *transaction) verdict(o upstream.Outcome) {
	if o.Kind != upstream.Accepted && o.Kind != upstream.Unknown {
		x.settle(o)
		return
	}
	for _, i := range x.accepted {
		x.out[i] = o
	}
}

// partingTime is how long to wait for the last words of a server that hung up
// while it was sent a message.
const partingTime = time.Second

// parting is the outcome where the message could not be sent to its end: by
// what the server said before it closed, where it said something.
func (x *transaction) parting(ctx context.Context, err error) upstream.Outcome {
	if ctx.Err() == nil {
		if r, rerr := x.s.read(partingTime); rerr == nil && (r.Code/100 == 4 || r.Code/100 == 5) {
			return classify(stepEnd, r)
		}
	}
	return lostOutcome(ctx, upstream.Deferred, "sending the message", err)
}

// remoteID finds the name that common servers give a message in their 250:
// "queued as X" (Postfix), "id=X" (Exim), "Ok X" (SES).
func remoteID(text string) string {
	f := strings.Fields(text)
	for _, w := range f {
		if len(w) > 3 && strings.EqualFold(w[:3], "id=") {
			return w[3:]
		}
	}
	if i := slices.IndexFunc(f, func(w string) bool { return strings.EqualFold(w, "as") }); i >= 0 && i+1 < len(f) {
		return strings.Trim(f[i+1], "<>.")
	}
	if len(f) == 2 && strings.EqualFold(f[0], "ok") && len(f[1]) >= 8 {
		return f[1]
	}
	return ""
}
