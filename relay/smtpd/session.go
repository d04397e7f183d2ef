package smtpd

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/selfprobe"
	"github.com/printerrelay/printer-relay/relay/smtpd/wire"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// session is one client between HELO and the end of the connection, or
// STARTTLS. go-smtp calls Logout from other goroutines; all else comes from one.
type session struct {
	srv      *Server
	conn     *wire.Conn
	gs       *gosmtp.Conn
	own      *listener
	listener *plan.Listener // as it was at the last MAIL, or when the client connected
	override *plan.ClientOverride
	log      *slog.Logger

	user          string
	proof         login // that the user had in the Secret then
	mechanism     string
	loginFailures int
	from, to      envelope.Address // as MAIL and RCPT named them last; for what is told of a refusal
	decided       *policy.Rule     // what matched at MAIL last; for the same

	mu    sync.Mutex
	tx    *transaction
	auth  inventory.Auth // the last login that was tried
	tried tried          // since the last MAIL
	end   ending         // for the inventory, once the session is over
}

// transaction is one message, from MAIL to the reply to its final dot.
type transaction struct {
	plan       *plan.Plan
	sender     envelope.Address
	decision   policy.Decision
	utf8       bool
	declared   int64 // octets that MAIL announced; 0: it did not
	given      int   // recipients that the client named and that were accepted
	recipients []queue.Recipient
	start      time.Time
	dry        []rehearsal // of the policies in DryRun
	domains    [4]string   // room for those of the recipients
}

func (s *session) current() *transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx
}

func (s *session) set(tx *transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx = tx
}

// Reset implements go-smtp's Session: RSET, EHLO, or the end of a message.
func (s *session) Reset() {
	s.set(nil)
	s.from, s.to, s.decided = envelope.Address{}, envelope.Address{}, nil
}

// Logout implements go-smtp's Session.
func (s *session) Logout() error {
	s.set(nil)
	return nil
}

// refuse logs a refusal once, with its cause, and has wire send it as it is.
// The error tells go-smtp that the command failed; it must be a bare SMTPError,
// since go-smtp shows any other to the client.
func (s *session) refuse(step string, r *reply.Reply, cause string) error {
	s.conn.Because(cause)
	s.conn.Answer(r)
	own := s.gs.Hostname() == selfprobe.Name // the relay's own question is nobody's mail
	if !own {
		s.srv.Metrics.Refusals.WithLabelValues(s.listener.Name, code(r)).Inc()
	}
	x := s.refusal(step, r, cause)
	s.log.Warn("refused", "session", s.conn.ID, "listener", s.listener.Name, "client", s.conn.Addr.Addr(), "helo", x.Client.HELO,
		"user", s.user, "step", step, "reply", x.Reply, "cause", x.Cause)
	if s.srv.Refused != nil && !own {
		s.srv.Refused(x)
	}
	s.noteRefusal(step, r, cause)
	return &gosmtp.SMTPError{Code: r.Code, EnhancedCode: gosmtp.EnhancedCode(r.Enhanced), Message: r.Text}
}

// refusal is what is told of a refusal, in the log and to who keeps them: without
// passwords. A reply to AUTH is the relay's own words.
func (s *session) refusal(step string, r *reply.Reply, cause string) history.RefusedCommand {
	c := s.client()
	x := history.RefusedCommand{
		At: time.Now(), Listener: s.listener.Name, Step: step, Reply: r.String(), Cause: cause,
		Client: queue.Client{Addr: c.Addr, Hidden: c.Hidden, HELO: s.name(), User: c.User, TLS: c.TLSVersion, Redacted: s.listener.RedactReceived},
	}
	if step != "AUTH" {
		x.Sender, x.Recipient = s.shownAddress(s.from), s.shownAddress(s.to)
	}
	if !ours(r) {
		if s.hides(x.Reply) {
			x.Reply = transcript.CodesOnly(x.Reply)
		}
		x.Cause = s.shown(x.Cause)
	}
	rule := s.decided
	if tx := s.current(); tx != nil {
		x.Size, rule = tx.declared, tx.decision.Rule
	}
	if rule != nil && step != "AUTH" {
		x.Rule = rule.Policy + "/" + rule.Name
	}
	return x
}

// client is who sends, as policies see it. A transaction has one view of it: what
// hides addresses may change between two.
func (s *session) client() policy.Client {
	c := policy.Client{Addr: s.conn.Addr.Addr(), Hidden: s.conn.Hidden, User: s.user}
	if t := s.conn.TLS(); t != nil {
		c.TLSVersion = t.Version
	}
	return c
}

// Mail implements go-smtp's Session.
func (s *session) Mail(from string, opts *gosmtp.MailOptions) error {
	p := s.srv.Plan()
	s.from, s.to, s.decided = address(from), envelope.Address{}, nil
	if s.current() != nil {
		return s.refuse("MAIL", reply.BadSequence("Sender already given, send RSET first"), "second MAIL (RFC 5321 4.1.4)")
	}
	sender := address(from)
	s.trying(tried{mail: true, sender: sender.String()})
	s.conn.Hidden = s.conn.Hidden || p.HiddenClients.Hides(s.conn.Addr.Addr()) // once hidden, for good: the connection is older than what shows it
	if changed := s.renew(); changed != "" {
		s.conn.Hangup()
		return s.refuse("MAIL", reply.SettingsChanged(), changed)
	}
	if p.Intake == plan.IntakeRefuse {
		s.conn.Hangup()
		return s.refuse("MAIL", reply.IntakeRefused(), "intake is Refuse")
	}
	if s.listener.Auth.Mode == plan.AuthRequired && s.user == "" {
		if s.needsTLS("") {
			return s.refuse("MAIL", reply.TLSRequired(), "the listener requires authentication, which it takes inside TLS only")
		}
		return s.refuse("MAIL", reply.AuthRequired(), "the listener requires authentication")
	}
	if !sender.ASCII() && !opts.UTF8 {
		return s.refuse("MAIL", reply.NeedsUTF8(), "non-ASCII sender without SMTPUTF8")
	}
	if opts.UTF8 && !s.srv.offersUTF8() {
		return s.refuse("MAIL", reply.NeedsUTF8(), "SMTPUTF8 was not offered")
	}
	d := p.Policies.AtMail(s.client(), sender)
	s.decided = d.Rule
	s.count(&d)
	dry := s.rehearse(p, &d, sender, opts.Size)
	if d.Reply != nil {
		s.refusedAll(dry, d.Reply, nil)
		if *d.Reply == *reply.AuthRequired() && s.listener.Auth.Mode == plan.AuthNone { // no login could be taken here
			return s.refuse("MAIL", policy.NoRule(s.client(), d.Hidden), explain(d)+"; a login would help, and the listener takes none (authentication.mode)")
		}
		return s.refuse("MAIL", d.Reply, explain(d))
	}
	if domain, ok := p.SendsAs(sender); !ok && !d.Force {
		s.refusedAll(dry, reply.SenderDomain(domain), nil)
		return s.refuse("MAIL", reply.SenderDomain(domain), "every upstream has rewrite: Never")
	}
	if limit := d.Rule.SizeLimit(s.listener.AdvertisedSize); opts.Size > limit {
		s.refusedAll(dry, reply.TooLarge(opts.Size, limit), nil)
		return s.refuse("MAIL", reply.TooLarge(opts.Size, limit), "declared size")
	}
	if err := s.srv.full(opts.Size); err != nil {
		return s.refuse("MAIL", noRoom(err), err.Error())
	}
	if err := s.srv.Queue.Admits(s.account(), opts.Size); err != nil {
		return s.refuse("MAIL", reply.SpoolShare(), err.Error())
	}
	s.conn.Record((*transcript.Recorder).Named)
	s.set(&transaction{plan: p, sender: sender, decision: d, utf8: opts.UTF8, declared: opts.Size, start: time.Now(), dry: dry})
	return nil
}

// renew takes the listener as it is now: a client may stay connected for days.
// It says what no longer lets the session go on: it could not begin so now.
func (s *session) renew() (changed string) {
	before, t := s.listener, s.conn.TLS()
	s.listener = s.own.plan()
	s.override = override(s.listener, s.conn)
	l := s.listener
	switch {
	case t == nil && l.TLS.Mode == plan.TLSImplicit:
		return "the listener has implicit TLS now"
	case t != nil && l.TLS.Mode != plan.TLSNone && t.Version < profile(l.TLS.Profile).MinVersion:
		return fmt.Sprintf("the listener's TLS profile is %s now", l.TLS.Profile)
	case s.user == "" && l.Auth.Mode == plan.AuthRequired && before.Auth.Mode != plan.AuthRequired:
		return "the listener requires authentication now"
	case s.user == "":
		return ""
	case l.Auth.Mode == plan.AuthNone, !slices.Contains(s.configuredMechanisms(), s.mechanism):
		return "the listener no longer takes " + s.mechanism
	case t == nil && !l.Auth.Plaintext && s.mechanism != "CRAM-MD5":
		return "the listener takes passwords inside TLS only now"
	}
	return s.revoked()
}

// revoked says that the login of the session's user is no longer what it was;
// empty: it is, or there is none.
func (s *session) revoked() string {
	if s.user == "" {
		return ""
	}
	if l := s.logins(); l == nil || !l.still(s.user, s.proof) {
		return fmt.Sprintf("the login of %q was changed or revoked", s.user)
	}
	return ""
}

// address undoes what go-smtp did to a path: it takes the quotes off a local
// part. wire has parsed the path, so its domain holds no @, and the last one
// tells where that begins.
func address(path string) envelope.Address {
	i := strings.LastIndexByte(path, '@')
	if i < 0 {
		return envelope.Address{}
	}
	return envelope.Address{Local: path[:i], Domain: path[i+1:]}
}

// Rcpt implements go-smtp's Session.
func (s *session) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	tx := s.current()
	s.to = address(to)
	if tx == nil {
		return s.refuse("RCPT", reply.BadSequence("Sender first (MAIL)"), "RCPT without MAIL")
	}
	given := address(to)
	s.trying(tried{mail: s.tried.mail, sender: s.tried.sender, domain: envelope.DomainKey(given.Domain)})
	if !given.ASCII() && !tx.utf8 {
		return s.refuse("RCPT", reply.NeedsUTF8(), "non-ASCII recipient without SMTPUTF8")
	}
	all := tx.plan.RewriteRecipient(given)
	for _, a := range all {
		if r := tx.decision.Rule.CheckRecipient(a, tx.given, s.listener.Recipients); r != nil {
			s.refusedAll(tx.dry, r, func(dry *rehearsal) *reply.Reply { return dry.rule.CheckRecipient(a, tx.given, s.listener.Recipients) })
			return s.refuse("RCPT", r, fmt.Sprintf("rule %s/%s, recipient %s", tx.decision.Rule.Policy, tx.decision.Rule.Name, a))
		}
		if limit := s.takes(tx, a); limit > 0 && tx.declared > limit {
			return s.refuse("RCPT", reply.TooLarge(tx.declared, limit), fmt.Sprintf("declared size; no upstream on the way to %s takes more", a))
		}
	}
	for _, a := range all {
		tx.recipient(a, s.listener.Recipients)
	}
	tx.given++
	for _, a := range all {
		r := queue.Recipient{Address: a}
		if a != given {
			r.Original = given
		}
		tx.add(r)
	}
	return nil
}

// takes is the octets of the largest message that can go to a recipient; 0: no
// limit is known.
func (s *session) takes(tx *transaction, to envelope.Address) int64 {
	var client netip.Addr // none: it matches no route's networks
	if !s.conn.Hidden {
		client = s.conn.Addr.Addr()
	}
	return tx.plan.Takes(client, tx.sender, to)
}

// sizeLimit is the octets that the message may have: those of the listener and
// the rule, and what every recipient can be sent. The device shows its user why a
// scan does not go; nobody shows them a bounce.
func (s *session) sizeLimit(tx *transaction) int64 {
	limit := tx.decision.Rule.SizeLimit(s.listener.AdvertisedSize)
	for i := range tx.recipients {
		if n := s.takes(tx, tx.recipients[i].Address); n > 0 {
			limit = min(limit, n)
		}
	}
	return limit
}

// add adds a recipient once, however often it is named.
func (tx *transaction) add(r queue.Recipient) {
	if !slices.ContainsFunc(tx.recipients, func(have queue.Recipient) bool { return have.Address.Key() == r.Address.Key() }) {
		tx.recipients = append(tx.recipients, r)
	}
}

// Data implements go-smtp's Session. The message comes from wire, not from r:
// wire frames it.
func (s *session) Data(io.Reader) error {
	tx := s.current()
	if tx == nil || len(tx.recipients) == 0 {
		return s.refuse("DATA", reply.NoRecipients(), "no recipients")
	}
	if changed := s.revoked(); changed != "" { // a transaction can be kept open for hours; 354 is out already
		s.conn.Hangup()
		return s.refuse("DATA", reply.SettingsChanged(), changed)
	}
	return s.receive(tx)
}

func (s *session) count(d *policy.Decision) {
	pol, rule := "", ""
	if d.Rule != nil {
		pol, rule = d.Rule.Policy, d.Rule.Name
	}
	s.srv.Metrics.PolicyDecisions.WithLabelValues(pol, rule, string(d.Action), "enforce").Inc()
}

// explain is the cause of a refusal by policy: the last thing that was looked at.
func explain(d policy.Decision) string {
	n := len(d.Steps)
	switch {
	case d.Rule != nil && d.Rule.Action == policy.Reject && n > 0:
		return fmt.Sprintf("rule %s/%s: %s", d.Rule.Policy, d.Rule.Name, d.Steps[n-1].Why)
	case d.Rule != nil:
		return fmt.Sprintf("rule %s/%s", d.Rule.Policy, d.Rule.Name)
	case d.Hidden:
		return "no rule matched, and those on networks let nobody in whose address is hidden: it is a node's, a Pod's or a load balancer's (see the PrinterRelay's condition ClientAddressesKnown)"
	case n > 0:
		st := d.Steps[n-1]
		return fmt.Sprintf("no rule matched; last %s/%s: %s", st.Policy, st.Rule, st.Why)
	}
	return "no rule matched: the policies have none"
}
