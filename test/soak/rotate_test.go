//go:build soak

package soak

import (
	"fmt"
	"testing"

	"github.com/printerrelay/printer-relay/test/ledger"
)

// allowed patches the senders that the rule for the network lets in.
func (c *chaos) allowed(t *testing.T, senders string) {
	t.Helper()
	c.Kubectl(t, "patch", "-n", namespace, "senderpolicy/copiers", "--type=json", "-p", `[{"op": "replace", "path": "/spec/rules/1/senders/allowed", "value": [`+senders+`]}]`)
}

// at waits until it is so in a session with each relay.
func (c *chaos) at(t *testing.T, p profile, what string, ok func(*ledger.Session) bool) {
	t.Helper()
	for _, r := range relays {
		c.Eventually(t, namespace, r+" "+what, func() bool {
			s, err := c.session(r, p)
			if err != nil {
				return false
			}
			defer s.Close()
			return ok(s)
		})
	}
}

// editPolicy lets another domain in, and out again.
func (c *chaos) editPolicy(t *testing.T) {
	for _, step := range []struct{ senders, want string }{
		{`"*@copier.test", "*@edited.test"`, "250"},
		{`"*@copier.test"`, "550"},
	} {
		c.allowed(t, step.senders)
		c.at(t, profile{}, "answers "+step.want, func(s *ledger.Session) bool {
			answer, err := s.Ask("MAIL FROM:<mfp@edited.test>")
			return err == nil && answer[:3] == step.want
		})
	}
}

// logIn waits until a password of the copiers is answered so.
func (c *chaos) logIn(t *testing.T, password, want string) {
	t.Helper()
	c.at(t, profile{startTLS: true}, "answers "+want+" to "+password, func(s *ledger.Session) bool {
		answer, err := s.LogIn("mfp1", password)
		return err == nil && answer[:3] == want
	})
}

// rotateLogins changes the password of the copiers that log in.
func (c *chaos) rotateLogins(t *testing.T) {
	c.turn++
	old, next := *c.load.password.Load(), fmt.Sprintf("copier-%d", c.turn)
	c.load.rotations.Add(1)
	c.secret(t, "copier-logins", map[string]string{"users": "mfp1:" + next + "\n"})
	c.logIn(t, next, "235")
	c.load.password.Store(&next)
	c.load.rotations.Add(1)
	c.logIn(t, old, "535")
}

// rotateUpstream changes the relays' password; the upstream takes both until the
// new one was used.
func (c *chaos) rotateUpstream(t *testing.T) {
	c.turn++
	next := fmt.Sprintf("upstream-%d", c.turn)
	c.mu.Lock()
	c.passwords[next] = true
	c.mu.Unlock()
	c.secret(t, "upstream-login", map[string]string{"username": "relay", "password": next})
	c.Eventually(t, namespace, "relays log in with the new password", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.logins[next] >= len(relays)
	})
}

// rotateCertificate gives the relays another certificate.
func (c *chaos) rotateCertificate(t *testing.T) {
	want := c.certificate(t).SerialNumber
	for _, p := range []profile{{startTLS: true}, {implicit: true}} {
		c.at(t, p, "shows the new certificate", func(s *ledger.Session) bool {
			return s.Peer() != nil && s.Peer().SerialNumber.Cmp(want) == 0
		})
	}
}
