package importpostfix

import (
	"net/netip"
	"slices"
	"strings"
)

// client is a class of clients that restrictions treat alike: in a network but
// in none of the smaller ones that Postfix names, logged in or not, with a sender.
type client struct {
	network netip.Prefix // the zero value: everywhere else
	login   bool
	user    string // with login; empty: one that no table names
	sender  string // pattern; empty: one that no table names
}

// judge evaluates the restrictions of one service for classes of clients.
type judge struct {
	c        *converter
	scope    scope
	ours     networks
	domain   []string // authorised destinations
	listener *listener
	openTo   bool // somebody may send there without a login
}

// walk is one list of restrictions on its way.
type walk struct {
	permitted []part
	rest      part // what is not decided yet
	depth     int
}

func (w *walk) permit()         { w.permitted = append(w.permitted, w.rest); w.stop() }
func (w *walk) stop()           { w.rest.include = nil }
func (w *walk) done() bool      { return len(w.rest.include) == 0 }
func (w *walk) only(p []string) { w.rest = w.rest.only(p) }
func (w *walk) permitOnly(p []string) {
	if some := w.rest.only(p); len(some.include) > 0 {
		w.permitted = append(w.permitted, some)
	}
	w.rest = w.rest.without(p)
}

// lists are the restrictions that a message has to pass, all of them.
var lists = []string{
	"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions",
	"smtpd_recipient_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions",
}

// allowed gives the recipients that the class may send to.
func (j *judge) allowed(who client) []part {
	if who.login && !j.scope.yes("smtpd_sasl_auth_enable") {
		return nil
	}
	if j.scope.yes("smtpd_tls_req_ccert") {
		j.c.note(Decide, "smtpd_tls_req_ccert", "yes", j.scope.where("smtpd_tls_req_ccert"), "listeners know no certificates of clients: nobody may send by this service", "let devices log in, with a rule for their users")
		return nil
	}
	out := []part{{include: []string{everyone}, tls: j.scope.get("smtpd_tls_security_level") == "encrypt" || j.scope.yes("smtpd_enforce_tls") || j.scope.yes("smtpd_tls_wrappermode")}}
	guarded := false
	for _, name := range lists {
		words := j.scope.list(name)
		if name == "smtpd_relay_restrictions" || name == "smtpd_recipient_restrictions" {
			guarded = guarded || slices.ContainsFunc(words, refusesStrangers)
		}
		w := &walk{rest: part{include: []string{everyone}}}
		j.run(w, who, name, words)
		if !w.done() {
			w.permit()
		}
		out = intersect(out, w.permitted)
	}
	if !guarded { // smtpd does not start with such lists
		j.c.note(Decide, "smtpd_relay_restrictions", j.scope.get("smtpd_relay_restrictions"), j.scope.where("smtpd_relay_restrictions"), "neither it nor smtpd_recipient_restrictions refuses strangers, so Postfix takes nothing: nobody may send", "write rules, or correct it and import again")
		return nil
	}
	return out
}

func refusesStrangers(word string) bool {
	switch strings.ToLower(word) {
	case "reject", "defer", "defer_if_permit", "reject_unauth_destination", "defer_unauth_destination":
		return true
	}
	return false
}

// run takes restrictions one by one.
func (j *judge) run(w *walk, who client, list string, words []string) {
	if w.depth++; w.depth > 8 {
		j.blocked(w, list, "restrictions refer to each other")
		return
	}
	defer func() { w.depth-- }()
	warn := false
	for i := 0; i < len(words) && !w.done(); i++ {
		word := strings.ToLower(words[i])
		argument := ""
		if takesArgument(word) && i+1 < len(words) {
			i++
			argument = words[i]
		}
		if warn {
			warn = false
			continue
		}
		if word == "warn_if_reject" {
			warn = true
			continue
		}
		if isTable(words[i]) && argument == "" { // type:table alone is check_NAME_access of its list
			argument = words[i]
			word = "check_" + strings.TrimSuffix(strings.TrimPrefix(list, "smtpd_"), "_restrictions") + "_access"
		}
		j.one(w, who, list, word, argument)
	}
}

func takesArgument(word string) bool {
	return strings.HasPrefix(word, "check_") || strings.HasPrefix(word, "reject_rbl_") || strings.HasPrefix(word, "reject_rhsbl_") ||
		strings.HasPrefix(word, "permit_dnswl_") || strings.HasPrefix(word, "permit_rhswl_") || word == "sleep"
}

func (j *judge) one(w *walk, who client, list, word, argument string) {
	switch word {
	case "permit":
		w.permit()
	case "reject", "defer", "defer_if_permit":
		w.stop()
	case "permit_mynetworks":
		if j.ours.has(who.network) {
			w.permit()
		}
	case "permit_inet_interfaces":
		if who.network.IsValid() && who.network.Addr().IsLoopback() {
			w.permit()
		}
	case "permit_sasl_authenticated":
		if who.login {
			w.permit()
		}
	case "reject_unauth_destination", "defer_unauth_destination":
		w.only(j.domain)
	case "permit_auth_destination":
		w.permitOnly(j.domain)
	case "reject_plaintext_session":
		w.rest.tls = true
	case "reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch", "reject_known_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch":
		j.logins(w, who, list, word)
	case "check_client_access":
		j.byClient(w, who, list, argument)
	case "check_sender_access":
		j.bySender(w, who, list, argument)
	case "check_recipient_access":
		j.byRecipient(w, who, list, argument)
	case "check_sasl_access":
		j.byUser(w, who, list, argument)
	default:
		j.other(w, who, list, word, argument)
	}
}

// other looks at restrictions that have no counterpart.
func (j *judge) other(w *walk, who client, list, word, argument string) {
	for _, class := range j.scope.list("smtpd_restriction_classes") {
		if strings.EqualFold(class, word) {
			j.c.seen[class] = true
			j.c.take("smtpd_restriction_classes", class)
			j.run(w, who, list, j.scope.list(class))
			return
		}
	}
	switch {
	case strings.HasPrefix(word, "check_"): // policy services, HELO and certificate tables: they decide
		j.blocked(w, list, strings.TrimSpace(word+" "+argument)+" has no counterpart, and decides who may send")
	case strings.HasPrefix(word, "permit_"), word == "defer_if_reject", word == "sleep":
		j.c.note(LeftOut, list, strings.TrimSpace(word+" "+argument), j.scope.where(list), "there is no such check, so it lets nobody in", "name the clients in match.clientNetworks or match.users, if they shall send")
	case strings.HasPrefix(word, "reject_"): // form, names in DNS, lists of spammers
		j.c.note(LeftOut, list, strings.TrimSpace(word+" "+argument), j.scope.where(list), "the relay does not look names up in DNS for clients that a rule names, and refuses malformed addresses by itself", "none is needed where clients are named one by one; keep what a rule allows narrow")
	default:
		j.blocked(w, list, word+" is not known here")
	}
}

// blocked ends a list that cannot be followed: what was not permitted before is
// refused, so that nothing is let in that Postfix might have refused.
func (j *judge) blocked(w *walk, list, why string) {
	j.c.note(Decide, list, j.scope.get(list), j.scope.where(list), why+"; what it would have decided is refused", "write rules for it in the SenderPolicy")
	w.stop()
}

// act does what a table says.
func (j *judge) act(w *walk, who client, list string, e entry, at []string) {
	action, rest := cutSpace(e.value)
	upper := strings.ToUpper(action)
	take := func(permit bool) {
		switch {
		case at == nil && permit:
			w.permit()
		case at == nil:
			w.stop()
		case permit:
			w.permitOnly(at)
		default:
			w.rest = w.rest.without(at)
		}
	}
	switch {
	case upper == "OK" || upper == "RELAY" || upper == "PERMIT" || digits(upper) && (len(upper) != 3 || upper[0] != '4' && upper[0] != '5'):
		take(true)
	case upper == "REJECT" || upper == "DEFER" || upper == "DEFER_IF_PERMIT" || upper == "DISCARD" || digits(upper):
		take(false)
	case upper == "DUNNO" || upper == "INFO" || upper == "WARN" || upper == "DEFER_IF_REJECT" || upper == "PREPEND" || upper == "":
		if upper == "PREPEND" {
			j.c.note(LeftOut, list, e.value, e.where(), "the relay adds no header of yours", "none")
		}
	case upper == "HOLD" && at == nil:
		w.rest.hold = true
	case upper == "FILTER" || upper == "REDIRECT" || upper == "BCC" || upper == "HOLD":
		j.c.note(Decide, list, e.value, e.where(), "a rule cannot do this; what it was for is refused", "routes, copies and action: Hold of rules are the counterparts")
		take(false)
	case at == nil:
		j.run(w, who, list, words(action+" "+rest))
	default:
		j.c.note(Decide, list, e.value, e.where(), "restrictions for single recipients cannot be carried; they are refused", "write a rule with recipients.allowed")
		take(false)
	}
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
