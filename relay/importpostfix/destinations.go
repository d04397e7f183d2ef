package importpostfix

import (
	"cmp"
	"slices"
	"strings"
)

// destinations are the domains that Postfix takes mail for from everybody.
func (c *converter) destinations(s scope) []string {
	c.take("relay_domains", "virtual_alias_domains")
	subdomains := slices.Contains(s.list("parent_domain_matches_subdomains"), "relay_domains")
	var out []string
	for _, name := range []string{"mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains"} {
		for _, d := range c.domains(s, name) {
			out = append(out, "*@"+d)
			if name == "relay_domains" && subdomains {
				out = append(out, "*@*."+d)
			}
		}
	}
	return tidy(out)
}

// domains reads a list of domains, tables and files of them. What cannot be read
// holds none.
func (c *converter) domains(s scope, name string) (out []string) {
	for _, w := range s.list(name) {
		switch {
		case isTable(w):
			t := c.lookup(w)
			if t.err != nil {
				c.note(LeftOut, name, w, s.where(name), t.err.Error(), "name the domains in recipients.allowed")
			}
			for _, e := range t.entries {
				if plainDomain(e.key) {
					out = append(out, e.key)
				}
			}
		case strings.HasPrefix(w, "/"):
			_, text, err := c.find(w)
			if err != nil {
				c.note(LeftOut, name, w, s.where(name), err.Error(), "name the domains in recipients.allowed")
				continue
			}
			for _, l := range lines(text) {
				for _, d := range words(l.text) {
					if plainDomain(d) {
						out = append(out, strings.ToLower(d))
					}
				}
			}
		case plainDomain(w):
			out = append(out, strings.ToLower(w))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// messageRate is smtpd_client_message_rate_limit, a minute; 0: none.
func (c *converter) messageRate(s scope) int {
	n := number(s.get("smtpd_client_message_rate_limit"))
	unit, _ := seconds(s.get("anvil_rate_time_unit"), 's')
	c.take("smtpd_client_message_rate_limit")
	if n <= 0 {
		return 0
	}
	c.take("anvil_rate_time_unit")
	return min(100000, max(1, n*60/cmp.Or(unit, 60)))
}
