package importpostfix

import (
	"errors"
	"net/netip"
	"strings"
)

var (
	errNotAddress = errors.New("a table of type cidr holds no mail addresses")
	errHidden     = errors.New("it is named within another table, where it is not followed")
)

// network is one word of mynetworks: who is in it belongs to it, or does not.
type network struct {
	prefix netip.Prefix
	not    bool
}

// networks is mynetworks: the first that holds a client decides.
type networks []network

// has tells whether the class of clients of a network belongs to it.
func (n networks) has(p netip.Prefix) bool {
	for _, e := range n {
		if within(p, e.prefix) {
			return !e.not
		}
	}
	return false
}

// mynetworks reads the parameter. What cannot be read and excludes somebody
// leaves none.
func (c *converter) mynetworks(s scope) networks {
	if !s.set("mynetworks") {
		style := s.get("mynetworks_style")
		c.take("mynetworks_style")
		if style != "host" {
			c.note(Decide, "mynetworks_style", style, s.where("mynetworks_style"), "mynetworks is not set, so Postfix takes the networks of the machine's own interfaces, which are not in the folder: none is allowed",
				"write the output of `postconf mynetworks` on that machine into main.cf, and import again")
			return nil
		}
		c.note(LeftOut, "mynetworks", "the machine itself", s.where("mynetworks"), "Postfix takes mail of the machine's own addresses, which are not in the folder; 127.0.0.0/8 and ::1 are carried", "add its other addresses to match.clientNetworks, if it sends by the relay")
		return networks{{prefix: netip.MustParsePrefix("127.0.0.0/8")}, {prefix: netip.MustParsePrefix("::1/128")}}
	}
	c.take("mynetworks")
	out, ok := c.networkList(s, "mynetworks", s.list("mynetworks"), 0)
	if !ok {
		return nil
	}
	return out
}

func (c *converter) networkList(s scope, name string, list []string, depth int) (out networks, ok bool) {
	for _, word := range list {
		not := strings.HasPrefix(word, "!")
		word = strings.TrimPrefix(word, "!")
		more, err := c.networkWord(s, name, word, depth)
		if err != nil {
			if not { // whom it excludes is not known
				c.note(Decide, name, "!"+word, s.where(name), err.Error()+"; whom it excludes is not known, so no network is allowed", "write the networks into main.cf, and import again")
				return nil, false
			}
			c.note(LeftOut, name, word, s.where(name), err.Error(), "name the networks in match.clientNetworks")
			continue
		}
		for _, n := range more {
			if not && n.not {
				c.note(Decide, name, "!"+word, s.where(name), "an exception of an exception cannot be carried; no network is allowed", "write the networks into main.cf, and import again")
				return nil, false
			}
			out = append(out, network{n.prefix, n.not != not})
		}
	}
	return out, true
}

// networkWord reads a network, a file of networks, or a table of them.
func (c *converter) networkWord(s scope, name, word string, depth int) (networks, error) {
	switch {
	case strings.HasPrefix(word, "/"):
		if depth > 4 {
			return nil, errors.New("files refer to each other")
		}
		_, text, err := c.find(word)
		if err != nil {
			return nil, err
		}
		var all []string
		for _, l := range lines(text) {
			all = append(all, words(l.text)...)
		}
		out, ok := c.networkList(s, name, all, depth+1)
		if !ok {
			return nil, errors.New(word + " cannot be carried whole")
		}
		return out, nil
	case isTable(word) && !strings.Contains(word, "::") && !strings.HasPrefix(word, "["):
		t := c.lookup(word)
		if t.err != nil {
			return nil, t.err
		}
		var out networks
		for _, e := range t.entries {
			p := e.network
			if t.kind != "cidr" {
				var err error
				if p, err = prefix(e.key); err != nil {
					return nil, err
				}
			} else if e.not {
				return nil, errors.New(word + " holds a network with !, which cannot be carried")
			}
			out = append(out, network{prefix: p})
		}
		return out, nil
	}
	p, err := prefix(word)
	if err != nil {
		return nil, err
	}
	return networks{{prefix: p}}, nil
}

// gather finds what the restrictions of services tell apart: the networks of
// their access tables, and the senders of those and of smtpd_sender_login_maps.
func (c *converter) gather(scopes []scope) (nets []netip.Prefix, senders, users []string) {
	for _, s := range scopes {
		for _, list := range lists {
			all := s.list(list)
			for _, class := range s.list("smtpd_restriction_classes") {
				all = append(all, s.list(class)...)
			}
			for i, w := range all {
				if !isTable(w) {
					continue
				}
				c.gathered[w] = true
				before := ""
				if i > 0 {
					before = strings.ToLower(all[i-1])
				}
				for _, e := range c.lookup(w).entries {
					if e.network.IsValid() {
						nets = append(nets, e.network)
					} else if p, ok := networkKey(e.key); ok {
						nets = append(nets, p)
					} else if before == "check_sasl_access" && e.key != "" {
						users = append(users, e.key)
					} else if p, ok := c.addressKeys(e.key); ok && before != "check_recipient_access" {
						senders = append(senders, p...)
					}
				}
			}
		}
		for _, name := range s.list("smtpd_sender_login_maps") {
			for _, e := range c.lookup(name).entries {
				if k, err := loginKey(e.key); err == nil {
					senders = append(senders, k)
				}
				users = append(users, words(e.value)...)
			}
		}
	}
	return nets, senders, users
}
