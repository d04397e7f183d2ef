package smtpd

import (
	"bytes"
	"net/netip"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/selfprobe"
	"github.com/printerrelay/printer-relay/relay/smtpd/wire"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// tried is what a client tried since its last MAIL, for the inventory.
type tried struct {
	mail    bool   // it said MAIL
	refused bool   // MAIL was
	sender  string // as it stands in the command
	domain  string // of the recipient
}

// from is the sender for an inventory.Attempt.
func (t *tried) from() *string {
	if !t.mail {
		return nil
	}
	s := t.sender
	return &s
}

// expected tells whether a rule names a client's network.
func (s *Server) expected(client netip.Addr) bool {
	p := s.Plan()
	return p != nil && p.Policies.Names(client)
}

// notes tells whether the inventory is to know of a connection: a test in the place of
// a device says nothing about that one.
func (s *Server) notes(c *wire.Conn) bool { return s.Copiers != nil && !c.Placed() }

// visit is what the inventory takes of the session's connection.
func (s *session) visit(at time.Time) inventory.Visit {
	v := visit(s.conn, s.listener.Name, at)
	v.Name, v.Auth, v.Guard = s.gs.Hostname(), s.auth, s
	return v
}

func visit(c *wire.Conn, listener string, at time.Time) inventory.Visit {
	v := inventory.Visit{At: at, Client: c.Addr.Addr(), Hidden: c.Hidden, Listener: listener, Offered: c.OffersTLS(), Session: c.ID}
	if t := c.TLS(); t != nil {
		v.TLS, v.Cipher = t.Version, t.CipherSuite
	}
	return v
}

// Hides implements inventory.Guard: it tells whether a password is in a text.
func (s *session) Hides(text string) (hides bool) {
	about := s.srv.about()
	s.conn.Record(func(r *transcript.Recorder) { hides = r.Hides(&about, text) })
	return hides
}

// ending is the inventory.Guard of a session that is over, and so was its recorder
// taken from the connection.
type ending struct {
	srv *Server
	r   *transcript.Recorder
}

// Hides implements inventory.Guard.
func (e *ending) Hides(text string) bool {
	about := e.srv.about()
	return e.r.Hides(&about, text)
}

// about says what must not be seen of any session.
func (s *Server) about() transcript.About {
	return transcript.About{Secrets: s.secrets(), Login: s.users.Load().login(s.Plan())}
}

// secrets are the plain passwords of all listeners: a password for one may come to
// another.
func (s *Server) secrets() (all []*transcript.Secrets) {
	p, users := s.Plan(), s.users.Load()
	for i := range p.Listeners {
		if name := p.Listeners[i].Auth.Secret; name != "" {
			all = append(all, users.secrets(name))
		}
	}
	return all
}

// noteRefusal notes a refusal of the session's own.
func (s *session) noteRefusal(step string, r *reply.Reply, cause string) {
	if !s.srv.notes(s.conn) || s.gs.Hostname() == selfprobe.Name || s.conn.Over() { // noteEnd says how it ended
		return
	}
	v := s.visit(time.Now())
	s.srv.Copiers.Refused(&v, &inventory.Attempt{
		Kind: inventory.Refused, Reply: r.String(), Code: code(r), Step: step, Why: cause, Sender: s.tried.from(), Domain: s.tried.domain,
		Follows: step == "DATA" && *r == *reply.NoRecipients(),
		Ours:    ours(r),
	})
	s.conn.Record((*transcript.Recorder).Noted)
	if step == "MAIL" {
		s.mu.Lock()
		s.tried.refused = true
		s.mu.Unlock()
	}
}

// ours tells a reply in which, and in whose cause, no word is the device's.
func ours(r *reply.Reply) bool { return *r == *reply.AuthFailed() || *r == *reply.AuthTooMany() }

// trying notes what the client tries.
func (s *session) trying(t tried) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = t
}

// history is what a session tried, for whoever is not its goroutine.
func (s *session) history() (inventory.Auth, tried) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.auth, s.tried
}

// noteWire notes a refusal of wire's own. Its texts are the catalogue's; what the
// client is called is noted when the session ends, since wire may hold its lock now.
func (s *Server) noteWire(c *wire.Conn, listener, verb string, r *reply.Reply, cause string) {
	if !s.notes(c) || wire.Optional(verb) {
		return
	}
	v := visit(c, listener, time.Now())
	follows := *r == *reply.TooManyErrors()
	if ss, ok := c.Session().(*session); ok {
		v.Auth = ss.auth
		if verb == "RCPT" && ss.tried.refused { // what it would have sent to
			t := ss.tried
			t.domain, follows = domainOf(c.Command()), true
			ss.trying(t)
		}
		follows = follows || verb == "DATA" && ss.tried.mail
	}
	if strings.HasPrefix(cause, "go-smtp: ") {
		cause = "" // says no more than the reply
	}
	s.Copiers.Refused(&v, &inventory.Attempt{Kind: inventory.Refused, Reply: r.String(), Code: code(r), Step: verb, Why: cause, Follows: follows})
}

// domainOf is the domain of the path in a command.
func domainOf(line []byte) string {
	i, j := bytes.LastIndexByte(line, '@'), bytes.LastIndexByte(line, '>')
	if i < 0 || j < i {
		return ""
	}
	return envelope.DomainKey(string(line[i+1 : j]))
}

// noteEnd notes a session that is over, and how it failed, if it did.
func (s *Server) noteEnd(c *wire.Conn, listener string, r *transcript.Recorder, at time.Time) {
	if !s.notes(c) {
		return
	}
	v := visit(c, listener, at)
	v.Name, v.Scrub = r.HELO(), r.Stale()
	var t tried
	if ss, ok := c.Session().(*session); ok {
		v.Auth, t = ss.history()
		ss.end = ending{s, r}
		v.Guard = &ss.end
	} else {
		v.Guard = &ending{s, r}
	}
	switch failure, cause := r.Failure(); failure {
	case "", transcript.Refused: // noted when it happened
		if t.domain != "" && t.refused {
			s.Copiers.Refused(&v, &inventory.Attempt{Kind: inventory.Tried, Domain: t.domain, Follows: true})
			return
		}
		s.Copiers.Seen(&v)
	default:
		s.Copiers.Refused(&v, &inventory.Attempt{Kind: string(failure), Why: cause, Sender: t.from(), Domain: t.domain})
	}
}

// noteTurnedAway notes a client that gets no further than the greeting.
func (s *Server) noteTurnedAway(listener string, client netip.Addr, hidden bool, r *reply.Reply, why string, at time.Time) {
	s.Copiers.Refused(&inventory.Visit{At: at, Client: client, Hidden: hidden, Listener: listener},
		&inventory.Attempt{Kind: inventory.Refused, Reply: r.String(), Code: code(r), Why: why})
}

// noteAccepted notes a message that was acknowledged.
func (s *session) noteAccepted(tx *transaction, m *queue.Message) {
	if !s.srv.notes(s.conn) {
		return
	}
	v := s.visit(m.Arrived)
	note := inventory.Message{ID: m.ID, Sender: s.tried.sender, Octets: m.Size}
	note.Domains = tx.domains[:0]
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if r.Copy {
			continue
		}
		a := r.Address
		if !r.Original.IsNull() {
			a = r.Original
		}
		note.Recipients++
		note.AddDomain(envelope.DomainKey(a.Domain))
	}
	s.srv.Copiers.Accepted(&v, &note)
	s.conn.Record((*transcript.Recorder).Noted)
	s.trying(tried{})
}
