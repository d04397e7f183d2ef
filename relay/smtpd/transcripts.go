package smtpd

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/selfprobe"
	"github.com/printerrelay/printer-relay/relay/smtpd/wire"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// keep notes a session that is over, and keeps its transcript if it failed, but for
// those in which the relay asked itself.
func (s *Server) keep(l *listener, c *wire.Conn, r *transcript.Recorder) {
	if r.HELO() == selfprobe.Name {
		return
	}
	now, name := time.Now(), l.plan().Name
	s.noteEnd(c, name, r, now)
	if !r.Failed() {
		return
	}
	about := transcript.About{ID: c.ID, Listener: name, Hidden: c.Hidden, Ended: now, Login: s.users.Load().login(s.Plan()), Secrets: s.secrets()}
	if t := c.TLS(); t != nil {
		about.TLS = wire.Agreed(t)
	}
	if s.known(c.Addr.Addr(), c.Hidden) {
		r.Named()
	}
	s.Transcripts.Add(r, c.Addr.Addr(), about)
}

// turnedAway keeps that a device got no further than the limits.
func (s *Server) turnedAway(l *listener, reason string, client netip.Addr) {
	p := s.Plan()
	lp := l.plan()
	why := fmt.Sprintf("%s: limits.connections of listener %s is %d, limits.connectionsPerClient %d", reason, lp.Name, lp.Connections, lp.ConnsPerClient)
	if !strings.HasPrefix(reason, "connections") {
		return // no device's session: it is a proxy's, or wire kept it
	}
	now := time.Now()
	r := transcript.New(now)
	r.Because(why, false)
	r.Reply(reply.TooManyConnections().String(), true)
	hidden := p.HiddenClients.Hides(client)
	s.noteTurnedAway(lp.Name, client, hidden, why, now)
	if s.known(client, hidden) {
		r.Named()
	}
	s.Transcripts.Add(r, client, transcript.About{ID: wire.NewID(), Listener: lp.Name, Hidden: hidden, Ended: now})
}

// because says in a transcript why a login failed. A name that no login has is
// not shown: it may be a password at the wrong prompt.
func (l *logins) because(r *transcript.Recorder, said, why string) {
	name, login, ok := l.find(said)
	switch {
	case !ok:
		r.Because(nobody, false)
		return
	case why != "":
	case login.hashed:
		why = "the password is not that of the hash in the Secret"
	default:
		why = "the password is not that of the Secret"
	}
	r.Tried(name)
	r.Because(fmt.Sprintf("user %q: %s", reply.Line(name, 64), why), false)
}

// secrets are the plain passwords of a Secret, to be looked for in transcripts.
func (c *loginCache) secrets(name string) *transcript.Secrets {
	l := c.get(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.passwords[name]; ok {
		return s
	}
	var all []string
	if l != nil {
		for _, v := range l.users {
			if !v.hashed {
				all = append(all, v.password)
			}
		}
	}
	s := transcript.NewSecrets(all)
	if c.passwords == nil {
		c.passwords = map[string]*transcript.Secrets{}
	}
	c.passwords[name] = s
	return s
}

// login tells the names of a plan's logins from what a device says in their
// place.
func (c *loginCache) login(p *plan.Plan) func(string) bool {
	return func(name string) bool {
		for i := range p.Listeners {
			if secret := p.Listeners[i].Auth.Secret; secret != "" {
				if l := c.get(secret); l != nil {
					if _, _, ok := l.find(name); ok {
						return true
					}
				}
			}
		}
		return false
	}
}
