package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
}

func (c *compiler) holds(self at) {
	for i := range c.in.Relay.Spec.Holds {
		h := &c.in.Relay.Spec.Holds[i]
		field := fmt.Sprintf("spec.holds[%d]", i)
		out := Hold{
			Name: h.Name, Reason: h.Reason, Users: slices.Clone(h.Users),
			Networks: c.networks(self, field+".clientNetworks", h.ClientNetworks),
			Senders:  c.patterns(self, field+".senders", h.Senders),
		}
		if len(out.Networks)+len(out.Users)+len(out.Senders) == 0 {
			self.errorf(field, "names nobody: give clientNetworks, users or senders; what holds all mail is intake: Hold")
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
