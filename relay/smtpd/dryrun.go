package smtpd

import (
	"cmp"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// rehearsal is one policy in DryRun whose rule matched a message: what would have
// become of it, were that policy enforced. It is asked at each step like the rule in
// force, but for what the message holds (content.attachmentTypes).
type rehearsal struct {
	rule    *policy.Rule
	hold    bool         // by its action, or by the relay's intake or holds, which no policy changes
	refusal *reply.Reply // nil: none so far
	told    bool         // that it would have let something pass that was refused
}

// rehearse begins with what the policies in DryRun say at MAIL.
func (s *session) rehearse(p *plan.Plan, d *policy.Decision, sender envelope.Address, size int64) (all []rehearsal) {
	if len(d.DryRun) == 0 {
		return nil
	}
	kept := p.Intake == plan.IntakeHold || plan.FirstHold(p.Holds, s.client(), sender) != nil
	for i := range d.DryRun {
		dry := &d.DryRun[i]
		s.srv.Metrics.PolicyDecisions.WithLabelValues(dry.Rule.Policy, dry.Rule.Name, string(dry.Action), "dryrun").Inc()
		r := rehearsal{rule: dry.Rule, hold: dry.Action == policy.Hold || kept, refusal: dry.Reply}
		if domain, ok := p.SendsAs(sender); r.refusal == nil && !ok && !dry.Force {
			r.refusal = reply.SenderDomain(domain)
		}
		if limit := dry.Rule.SizeLimit(s.listener.AdvertisedSize); r.refusal == nil && size > limit {
			r.refusal = reply.TooLarge(size, limit)
		}
		all = append(all, r)
	}
	return all
}

// refusedAll says that a message or recipient is refused by the rule in force: what
// would have let it pass has it told, once a message.
func (s *session) refusedAll(all []rehearsal, now *reply.Reply, would func(*rehearsal) *reply.Reply) {
	for i := range all {
		r := &all[i]
		if r.told || r.refusal != nil || would != nil && would(r) != nil {
			continue
		}
		r.told = true
		s.wouldHave(r, inventory.Refuse, r.accepts(), now.String(), "")
	}
}

// accepts is what becomes of a message that the rule does not refuse.
func (r *rehearsal) accepts() inventory.Verdict {
	if r.hold {
		return inventory.Hold
	}
	return inventory.Accept
}

// recipient asks about a recipient that is accepted.
func (tx *transaction) recipient(a envelope.Address, listener int) {
	for i := range tx.dry {
		if r := &tx.dry[i]; r.refusal == nil {
			r.refusal = r.rule.CheckRecipient(a, tx.given, listener)
		}
	}
}

// header asks about the senders of a header that is accepted; unclear: they cannot be
// read.
func (tx *transaction) header(senders []envelope.Address, unclear bool) {
	for i := range tx.dry {
		r := &tx.dry[i]
		switch {
		case r.refusal != nil:
		case unclear && len(r.rule.Senders.Allowed) > 0 && !r.rule.Senders.EnvelopeOnly:
			r.refusal = reply.HeaderUnclear()
		case !unclear:
			_, r.refusal = r.rule.CheckHeader(senders)
		}
	}
}

// acceptedAll tells what would have been otherwise of a message that is accepted.
func (s *session) acceptedAll(tx *transaction, m *queue.Message) {
	for i := range tx.dry {
		r := &tx.dry[i]
		would := r.accepts()
		if limit := r.rule.SizeLimit(s.listener.AdvertisedSize); r.refusal == nil && m.Size > limit {
			r.refusal = reply.TooLarge(m.Size, limit)
		}
		if r.refusal == nil {
			rate := s.rehearseRate(tx, m, r)
			if r.refusal = rate.refusal; rate.hold {
				would = inventory.Hold
			}
		}
		now, text := inventory.Accept, ""
		if m.Held != "" {
			now = inventory.Hold
		}
		if r.refusal != nil {
			would, text = inventory.Refuse, r.refusal.String()
		}
		if would != now {
			s.wouldHave(r, now, would, text, m.ID)
		}
	}
}

// rated is what a rate limit would do; one that paces changes nothing but the time.
type rated struct {
	refusal *reply.Reply
	hold    bool
}

func (s *session) rehearseRate(tx *transaction, m *queue.Message, r *rehearsal) (out rated) {
	v := s.srv.rehearsed.Take(m.Arrived, r.rule, m.Client.Addr, m.Client.User, tx.given)
	switch {
	case !v.Over:
	case v.Exceeded == policy.Refuse:
		out.refusal = reply.RateExceeded()
	case v.Exceeded == policy.HoldExcess:
		out.hold = true
	}
	return out
}

// wouldHave tells of one message what a policy in DryRun would have changed: in the
// inventory, a metric and the log, which has so many such lines a minute at most.
func (s *session) wouldHave(r *rehearsal, now, would inventory.Verdict, text, id string) {
	s.srv.Metrics.DryRunChanges.WithLabelValues(r.rule.Policy, r.rule.Name, string(now), string(would)).Inc()
	at := time.Now()
	if s.srv.notes(s.conn) {
		v := s.visit(at)
		s.srv.Copiers.WouldHave(&v, inventory.DryRun{Policy: r.rule.Policy, Rule: r.rule.Name, Now: now, Would: would, Reply: text})
	}
	left, ok := s.srv.dryLines.take(at)
	if !ok {
		return
	}
	s.log.Info("policy dry run", "id", id, "session", s.conn.ID, "client", s.conn.Addr.Addr(), "policy", r.rule.Policy, "rule", r.rule.Name,
		"now", now, "would", would, "reply", cmp.Or(text, "-"), "notLogged", left)
}
