package smtpd

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/smtpd/wire"
	"github.com/printerrelay/printer-relay/relay/spool"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// receive takes the message of a transaction: into the spool, through the
// rules, to the queue. 250 is said only after the queue has it on stable storage.
func (s *session) receive(tx *transaction) error {
	w, limit, done, refused := s.begin(tx)
	if refused != nil {
		s.conn.Decline() // at once, not behind a scan that nobody will keep
		return refused
	}
	defer done()
	defer w.Abort() // does nothing behind a Commit
	rule := tx.decision.Rule
	force := tx.decision.Force
	facts, err := message.Intake(w.in, s.conn.Body(), message.IntakeOptions{
		Reject: s.conn.Settings.LineEndings == "Reject", UTF8: tx.utf8, MaxSize: limit,
		Received: s.received(tx, w.ID()), Hostname: tx.plan.Hostname, ID: w.ID(), Sender: tx.sender, Now: time.Now(),
		Attachments: rule.Attachments, Subject: tx.plan.History.Subjects,
		Header: func(h *message.Header) *reply.Reply {
			senders, err := h.Senders()
			tx.header(senders, err != nil)
			if err != nil {
				if (len(rule.Senders.Allowed) == 0 || rule.Senders.EnvelopeOnly) && headerFits(tx.plan, []envelope.Address{{Local: "unclear", Domain: "invalid"}}) == nil {
					return nil
				}
				return reply.HeaderUnclear()
			}
			f, r := rule.CheckHeader(senders)
			force = force || f
			if r == nil && !force {
				r = headerFits(tx.plan, senders)
			}
			return r
		},
	})
	var refusal *reply.Reply
	var source *message.SourceError
	switch {
	case errors.As(err, &refusal):
		if headerSays(refusal) { // a rule may see that otherwise; what else is refused here, none does
			s.refusedAll(tx.dry, refusal, nil)
		}
		return s.refuse("DATA", refusal, fmt.Sprintf("rule %s/%s", rule.Policy, rule.Name))
	case errors.As(err, &source):
		// Nothing behind a broken message may be read as commands.
		s.conn.Abort()
		return s.refuse("DATA", reply.NotStored(), source.Error())
	case err != nil:
		return s.notStored(err)
	}
	m := s.message(tx, w.ID(), facts, force)
	if refused := s.limit(tx, m); refused != nil {
		s.refusedAll(tx.dry, refused, func(dry *rehearsal) *reply.Reply { return s.rehearseRate(tx, m, dry).refusal })
		return s.refuse("DATA", refused, fmt.Sprintf("rate limit of rule %s/%s", rule.Policy, rule.Name))
	}
	return s.submit(tx, w.Writer, m)
}

// headerSays tells a refusal for what the header says of senders.
func headerSays(r *reply.Reply) bool { return code(r) == "PR-034" || *r == *reply.HeaderUnclear() }

// headerFits refuses a sender of the header that every upstream would have to
// rewrite and none may: MAIL was looked at likewise.
func headerFits(p *plan.Plan, senders []envelope.Address) *reply.Reply {
	for _, a := range senders {
		if domain, ok := p.SendsAs(a); !ok {
			return reply.SenderDomain(domain)
		}
	}
	return nil
}

// account is whom a message counts for in the spool.
func (s *session) account() queue.Client {
	return queue.Client{Addr: s.conn.Addr.Addr(), User: s.user}
}

func (s *session) notStored(err error) error {
	return s.refuse("DATA", noRoom(err), err.Error())
}

// full tells whether a message of size octets must be refused.
func (s *Server) full(size int64) error {
	if s.Queue.Full() {
		return queue.ErrFull
	}
	return s.Spool.Full(size)
}

// noRoom is what a client hears of a spool that does not take its message.
func noRoom(err error) *reply.Reply {
	switch {
	case errors.Is(err, queue.ErrShare):
		return reply.SpoolShare()
	case errors.Is(err, spool.ErrFailing):
		return reply.SpoolFails()
	case errors.Is(err, spool.ErrFull): // and queue.ErrFull
		return reply.SpoolFull()
	}
	return reply.NotStored()
}

// message is what the queue keeps of it.
func (s *session) message(tx *transaction, id string, f message.Facts, force bool) *queue.Message {
	rule := tx.decision.Rule
	c := s.client()
	m := &queue.Message{
		ID: id, Arrived: time.Now(),
		Origin: &queue.Origin{
			Relay: tx.plan.Namespace + "/" + tx.plan.Name, Listener: s.listener.Name,
			Client: queue.Client{Addr: c.Addr, Hidden: c.Hidden, HELO: s.name(), User: c.User, TLS: c.TLSVersion, Redacted: s.listener.RedactReceived},
			Policy: rule.Policy, Rule: rule.Name, Sender: tx.sender, SenderSecret: s.hides(s.tried.sender),
			SenderCovered: tx.decision.Covered, ForceIdentity: force, Identity: rule.Identity, ReplyToAllowed: !force,
		},
		Recipients: tx.recipients, Size: f.Size, HeaderSize: f.HeaderSize, EightBit: f.EightBit, UTF8: f.UTF8 || tx.needsUTF8(),
		MaxLine: f.MaxLine, MessageID: reply.Line(f.MessageID, 200), Subject: reply.Line(f.Subject, 200), Relayed: tx.plan.Ack.Relayed,
	}
	for _, a := range tx.plan.CopiesFor(tx.sender) {
		tx.add(queue.Recipient{Address: a, Copy: true})
	}
	m.Recipients = tx.recipients
	switch {
	case tx.plan.Intake == plan.IntakeHold:
		m.Held = queue.IntakeHeld
	case tx.decision.Action == policy.Hold:
		m.Held = queue.RuleHeld(rule.Policy, rule.Name)
	}
	return m
}

func (tx *transaction) needsUTF8() bool {
	if !tx.sender.ASCII() {
		return true
	}
	for _, r := range tx.recipients {
		if !r.Address.ASCII() {
			return true
		}
	}
	return false
}

// limit applies the rule's rate limit to a message that is otherwise accepted.
func (s *session) limit(tx *transaction, m *queue.Message) *reply.Reply {
	v := s.srv.Limiter.Take(m.Arrived, tx.decision.Rule, m.Client.Addr, m.Client.User, tx.given)
	if !v.Over {
		return nil
	}
	switch v.Exceeded {
	case policy.Refuse:
		return reply.RateExceeded()
	case policy.HoldExcess:
		m.Held = cmp.Or(m.Held, queue.RateHeld(m.Policy, m.Rule))
	default:
		m.NotBefore = m.Arrived.Add(v.Delay)
	}
	return nil
}

// submit makes the message durable and answers.
func (s *session) submit(tx *transaction, w *spool.Writer, m *queue.Message) error {
	t, err := s.srv.Queue.Submit(w, m)
	if err != nil {
		return s.notStored(err)
	}
	if !s.conn.Placed() {
		s.srv.senders.saw(m.Arrived, m.Client.Addr)
	}
	s.srv.Metrics.MessagesReceived.WithLabelValues(s.listener.Name).Inc()
	s.srv.Metrics.BytesReceived.WithLabelValues(s.listener.Name).Add(float64(m.Size))
	s.srv.Metrics.MessageSize.Observe(float64(m.Size))
	s.srv.Metrics.AcknowledgeDuration.Observe(time.Since(m.Arrived).Seconds())
	sender := s.tried.sender
	s.noteAccepted(tx, m)
	s.acceptedAll(tx, m)
	s.log.Info("received", "id", m.ID, "session", s.conn.ID, "listener", m.Listener, "client", m.Client.Addr, "user", m.Client.User, "sender", s.shown(sender),
		"recipients", len(m.Recipients), "size", m.Size, "policy", m.Policy, "rule", m.Rule, "held", m.Held)
	if !m.Relayed || m.Held != "" || !m.NotBefore.IsZero() {
		return s.queued(tx, m)
	}
	result := s.wait(t, m.ID, tx.plan.Ack.Timeout)
	switch result.Verdict {
	case queue.Accepted:
		return &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 0, 0}, Message: "Relayed as " + m.ID}
	case queue.Refused:
		return s.refuse("DATA", remote(result.First()), "every recipient was refused by the upstream: "+reply.Line(result.First().String(), 600))
	}
	return s.queued(tx, m)
}

// wait waits for the first round of attempts, unless the time is over, the
// relay stops, or the client hangs up: who is not told hears by notification.
func (s *session) wait(t *queue.Ticket, id string, timeout time.Duration) (result queue.Result) {
	ctx, cancel := context.WithTimeout(s.srv.ctx, timeout)
	defer cancel()
	s.conn.Watch(ctx, func(ctx context.Context) {
		result, _ = t.Wait(ctx)
		if errors.Is(context.Cause(ctx), wire.ErrGone) {
			s.log.Info("the client hung up before it was answered; the message goes on", "id", id, "session", s.conn.ID, "client", s.conn.Addr.Addr())
		}
	})
	return result
}

// queued says 250: the message is on stable storage. Where storage is not
// stable it says 451 instead, and takes the message back.
func (s *session) queued(tx *transaction, m *queue.Message) error {
	if !tx.plan.Spool.Ephemeral {
		return &gosmtp.SMTPError{Code: 250, EnhancedCode: gosmtp.EnhancedCode{2, 0, 0}, Message: "Queued as " + m.ID}
	}
	ctx, cancel := context.WithTimeout(s.srv.ctx, 10*time.Second)
	defer cancel()
	if _, err := s.srv.Queue.Remove(ctx, queue.Filter{IDs: []string{m.ID}}); err != nil {
		s.log.Error("a message that was answered with 451 is still in the queue", "id", m.ID, "cause", err)
	}
	return s.refuse("DATA", reply.NotRelayed(), "the upstream did not take it at once, and the spool is ephemeral")
}

// remote passes on an upstream's refusal.
func remote(o upstream.Outcome) *reply.Reply {
	code, enhanced := 554, [3]int{5, 0, 0}
	if o.Code/100 == 5 && o.Code >= 550 { // those below speak of commands that the device did not send
		code = o.Code
	}
	var e [3]int
	if n, err := fmt.Sscanf(o.Enhanced, "%d.%d.%d", &e[0], &e[1], &e[2]); n == 3 && err == nil && e[0] == 5 && e[1] >= 0 && e[2] >= 0 {
		enhanced = e
	}
	return reply.Remote(code, enhanced, o.Text)
}

// received is the Received field of this hop (RFC 5321 4.4), folded.
func (s *session) received(tx *transaction, id string) string {
	with := "SMTP"
	if s.conn.Extended() {
		with = "ESMTP"
	}
	if tx.utf8 {
		with = "UTF8SMTP"
	}
	cipher := ""
	if t := s.conn.TLS(); t != nil {
		with += "S"
		cipher = fmt.Sprintf("\r\n\t(using %s with cipher %s)", strings.Replace(tls.VersionName(t.Version), " ", "v", 1), wire.CipherName(t.CipherSuite))
	}
	if s.user != "" {
		with += "A"
	}
	var b bytes.Buffer
	if s.listener.RedactReceived {
		b.WriteString("Received: from copier")
	} else {
		fmt.Fprintf(&b, "Received: from %s (%s)", heloAtom(s.name()), literal(s.conn.Addr.Addr()))
	}
	fmt.Fprintf(&b, "%s\r\n\tby %s (Printer Relay) with %s id %s;\r\n\t%s\r\n", cipher, tx.plan.Hostname, with, id, time.Now().Format(time.RFC1123Z))
	return b.String()
}

// literal is an address as RFC 5321 4.1.3 writes it.
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}

// heloAtom is the HELO name where it is harmless in a header.
func heloAtom(h string) string {
	h = reply.Line(h, 128)
	for _, c := range h {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_:[]", c)) {
			return "unknown"
		}
	}
	return cmp.Or(h, "unknown")
}
