package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// Hold keeps mail in the queue until a person releases it. Each list that is
// given must match; one without any matches nothing.
type Hold struct {
	Name     string             `json:"name"`
	Networks []netip.Prefix     `json:"networks,omitempty"`
	Users    []string           `json:"users,omitempty"`
	Senders  []envelope.Pattern `json:"senders,omitempty"`
	Reason   string             `json:"reason,omitempty"`
	Ahead    bool               `json:"ahead,omitempty"` // of a configuration that could not be applied (Stopping)
}

// holds compiles spec.holds. Of one with a fault what can be read counts, but no list
// that is empty for it: the plan is not run, and what it stops is (Stopping).
func (c *compiler) holds(self at) {
	ahead, err := aheadOf(c.in.Relay)
	if err != nil {
		self.errorf("metadata.annotations["+v1alpha1.AnnotationHoldsAhead+"]", "is written by the operator, in the manifests of its instances only, and cannot be read: %v", err)
	}
	c.out.Holds = ahead
	for i := range c.in.Relay.Spec.Holds {
		h := &c.in.Relay.Spec.Holds[i]
		field := fmt.Sprintf("spec.holds[%d]", i)
		out := Hold{
			Name: h.Name, Reason: h.Reason, Users: slices.Clone(h.Users),
			Networks: c.networks(self, field+".clientNetworks", h.ClientNetworks),
			Senders:  c.patterns(self, field+".senders", h.Senders),
		}
		if len(h.ClientNetworks)+len(h.Users)+len(h.Senders) == 0 {
			self.errorf(field, "names nobody: give clientNetworks, users or senders; what holds all mail is intake: Hold")
			continue
		}
		if len(h.ClientNetworks) > 0 && len(out.Networks) == 0 || len(h.Senders) > 0 && len(out.Senders) == 0 {
			continue // without that list it would keep others' mail
		}
		c.out.Holds = append(c.out.Holds, out)
	}
	if c.out.Spool.Ephemeral && len(c.out.Holds) > 0 {
		self.warnf("spec.holds", "with an Ephemeral spool nothing can be held: what a hold matches is refused with 451")
	}
}

// Matches tells whether the hold keeps the mail of a client from a sender. Of a
// client with a hidden address nobody can say that it is in none of the networks:
// it is kept, since what is held is not lost. A login is meant in whatever case it is
// written, as it is when a device logs in.
func (h *Hold) Matches(c policy.Client, sender envelope.Address) bool {
	if len(h.Networks)+len(h.Users)+len(h.Senders) == 0 {
		return false
	}
	return (len(h.Networks) == 0 || c.Hidden || containsAddr(h.Networks, c.Addr)) &&
		(len(h.Users) == 0 || slices.ContainsFunc(h.Users, func(u string) bool { return strings.EqualFold(u, c.User) })) &&
		(len(h.Senders) == 0 || envelope.MatchAny(h.Senders, sender))
}

// FirstHold gives the first of holds that keeps the mail of a client from a
// sender; nil: none does.
func FirstHold(holds []Hold, c policy.Client, sender envelope.Address) *Hold {
	for i := range holds {
		if holds[i].Matches(c, sender) {
			return &holds[i]
		}
	}
	return nil
}
