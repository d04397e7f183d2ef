package senderdns

import (
	"cmp"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Need is one record that has to be there. Which value is known depends on the
// provider: some are fixed, some are in its console only.
type Need struct {
	Purpose string
	Name    string
	Type    string
	Value   string // to publish where nothing is there; empty: not known
	Hint    string // what to do where the value is not known: names the field to fill in

	terms   []string // of an SPF record: the mechanisms that let the upstream send
	targets []string // of a CNAME without a Value: ends of names that are the provider's
	anyKey  bool     // of a DKIM record without a Value: whatever key is there is the provider's
	aligned []string // of a DMARC record: domains that pass SPF or DKIM
	author  string   // of a DMARC record: the sender domain
	only    bool     // of an MX: nothing else may be there
	absent  bool     // nothing is to be there
	exact   bool     // of SPF and DMARC: it is to be Value, and nothing more lenient
	ask     string   // the name to look up in place of Name, where that is a wildcard
}

// Needs are the records of one upstream.
type Needs struct {
	Domain  string // of the sender; empty: none is known
	Records []Need
	Notes   []string // what is worth to know, and no record
	Why     string   // why there are no records
	NotSent bool     // nothing leaves here, so that none is needed
}

// needs are Needs in the making.
type needs struct {
	Needs
	up    *plan.Upstream
	way   way
	keys  []Key
	given plan.DNS
	spf   map[string][]string // mechanisms that vendorRecords ask for, by name
	dmarc string              // recommended by vendorRecords
}

// Of works out what the upstream's sender domain needs. keys are the public parts
// of those that it signs with, where they are known.
func Of(u *plan.Upstream, keys []Key) Needs {
	n := &needs{up: u, way: wayOf(u), keys: keys, spf: map[string][]string{}}
	if u.DNS != nil {
		n.given = *u.DNS
	}
	if u.Maildir != nil {
		n.NotSent, n.Why = true, "Maildir writes mail to a folder: it needs no record"
		return n.Needs
	}
	if n.Domain = n.domain(); n.Domain == "" {
		n.Why = "spec.sender.domain is not set: mail leaves as whoever the copier says, so no record can be named; set it"
		return n.Needs
	}
	n.vendor()
	n.envelope()
	n.signatures()
	n.policy()
	n.sort()
	return n.Needs
}

// domain is that of the sender. Where none is set, providers that send as one
// domain only tell it.
func (n *needs) domain() string {
	switch {
	case n.up.Sender != nil:
		return envelope.DomainKey(n.up.Sender.Domain)
	case n.given.ReturnPath != "":
		return n.given.ReturnPath
	}
	mailbox := ""
	if n.up.Graph != nil {
		mailbox = n.up.Graph.Mailbox
	} else if n.up.SMTP != nil && n.up.SMTP.Auth != nil && n.up.Type == "Microsoft365" {
		mailbox = n.up.SMTP.Auth.User
	}
	_, domain, _ := strings.Cut(mailbox, "@")
	return envelope.DomainKey(domain)
}

func (n *needs) add(x Need) {
	if !slices.ContainsFunc(n.Records, func(o Need) bool { return o.Name == x.Name && o.Type == x.Type && o.Value == x.Value }) {
		n.Records = append(n.Records, x)
	}
}

func (n *needs) has(match func(Need) bool) bool { return slices.ContainsFunc(n.Records, match) }

// vendor takes up what the provider's console asks for, each for what it is.
func (n *needs) vendor() {
	for _, r := range n.given.Records {
		name, value := n.absolute(r.Name), strings.TrimSpace(r.Value)
		x := Need{Purpose: Provider, Name: name, Type: r.Type, Value: value}
		switch {
		case r.Type == "TXT" && isSPF(value):
			n.spf[name] = append(n.spf[name], mechanismsOf(value)...)
			continue
		case name == "_dmarc."+n.Domain && r.Type == "TXT":
			n.dmarc = value
			continue
		case isSelector(name):
			x.Purpose = DKIM
		case r.Type == "MX":
			x.Purpose, x.only = Bounces, isSESFeedback(value)
		case r.Type == "CNAME" && bare(value) == postmarkBounces:
			x.Purpose = Bounces
		}
		if r.Type == "CNAME" {
			x.Value = bare(value)
		}
		n.add(x)
	}
	for _, x := range n.Records { // SES wants SPF where its feedback goes, and says so beside the MX
		if x.only && len(n.spf[x.Name]) == 0 {
			n.spf[x.Name] = []string{"include:amazonses.com"}
		}
	}
}

// absolute reads a name as consoles show it: whole, or as it is entered at the
// registrar's, below the domain.
func (n *needs) absolute(name string) string {
	key := bare(name)
	last := key[strings.LastIndexByte(key, '.')+1:]
	switch {
	case key == "" || key == "@":
		return n.Domain
	case strings.HasSuffix(strings.TrimSpace(name), "."), within(key, n.Domain):
		return key
	case !strings.Contains(key, "."), strings.HasPrefix(last, "_"):
		return key + "." + n.Domain
	}
	return key
}

// isSelector tells whether a name is that of a DKIM record.
func isSelector(name string) bool { return strings.Contains(name, "._domainkey.") }

// selectorUnknown stands for a selector that only the provider's console shows.
const selectorUnknown = "SELECTOR"

// hasPlaceholder tells that a name cannot be looked up.
func (n *Need) hasPlaceholder() bool { return strings.HasPrefix(n.Name, selectorUnknown+".") }

// envelope adds what the domain in the envelope needs: SPF, and a place that
// bounces go to.
func (n *needs) envelope() {
	from := cmp.Or(n.given.ReturnPath, n.Domain)
	if n.way.inEnvelope {
		terms := slices.Concat(n.way.spf, n.spf[from])
		if n.way.egress {
			for _, p := range n.given.Egress {
				terms = append(terms, ipTerm(p))
			}
		}
		x := Need{Purpose: SPF, Name: from, Type: "TXT", terms: terms}
		if len(terms) > 0 && (!n.way.egressFirst || len(n.given.Egress) > 0 || len(n.spf[from]) > 0) {
			x.Value = freshSPF(terms)
		} else {
			x.Hint, x.terms = n.way.hint, nil
		}
		n.add(x)
		delete(n.spf, from)
		if !n.has(func(o Need) bool { return o.Type == "MX" && o.Name == from }) {
			n.add(Need{Purpose: Bounces, Name: from, Type: "MX", Hint: "publish the MX of a server that takes its bounces, or name it in spec.dns.vendorRecords: many receivers refuse mail from a domain that cannot be answered" + n.way.mxHint})
		}
	} else {
		n.Notes = append(n.Notes, n.way.note, from+" is in no envelope: if it takes no mail either, say so by the null MX \"0 .\" (RFC 7505)")
	}
	if n.way.name == "Postmark" && !n.has(func(o Need) bool { return o.Value == postmarkBounces }) {
		n.add(Need{Purpose: Bounces, Name: "pm-bounces." + n.Domain, Type: "CNAME", Value: postmarkBounces})
	}
	for name, terms := range n.spf {
		n.add(Need{Purpose: SPF, Name: name, Type: "TXT", terms: terms, Value: freshSPF(terms)})
	}
	if len(n.given.Egress) > 0 && !n.way.egress {
		n.Notes = append(n.Notes, "spec.dns.egressAddresses is not used: "+n.way.name+" sends from its own addresses")
	}
}

// signatures adds the keys: the upstream's own, and the provider's.
func (n *needs) signatures() {
	if d := n.up.DKIM; d != nil {
		n.ownKeys(d)
		return
	}
	if n.has(func(o Need) bool { return o.Purpose == DKIM }) {
		return
	}
	if len(n.way.dkim) == 0 && n.way.noDKIM != "" {
		n.Notes = append(n.Notes, n.way.noDKIM)
	}
	for _, x := range n.way.dkim {
		x.Purpose, x.Name = DKIM, x.Name+"._domainkey."+cmp.Or(n.given.ReturnPath, n.Domain)
		n.add(x)
	}
}

func (n *needs) ownKeys(d *plan.DKIM) {
	rsa, ed25519 := bare(d.Selector)+"._domainkey."+d.Domain, bare(d.Selector)+"-ed25519._domainkey."+d.Domain
	found := false
	for _, k := range n.keys {
		if name := bare(k.Name); name == rsa || name == ed25519 { // others are none of this upstream's
			n.add(Need{Purpose: DKIM, Name: name, Type: "TXT", Value: k.Value})
			found = true
		}
	}
	if !found {
		n.add(Need{Purpose: DKIM, Name: rsa, Type: "TXT", Hint: "the key is in Secret " + quoted(d.Secret) + " of spec.dkim.secretRef: a relay that uses the upstream tells its public part, and so does printer-relay dns --secrets"})
	}
}

func quoted(s string) string { return `"` + s + `"` }

// policy adds the DMARC record, and which of the domains it can agree with.
func (n *needs) policy() {
	x := Need{Purpose: DMARC, Name: "_dmarc." + n.Domain, Type: "TXT", Value: cmp.Or(n.dmarc, "v=DMARC1; p=none"), author: n.Domain}
	for _, o := range n.Records {
		switch {
		case o.Purpose == DKIM:
			_, d, _ := strings.Cut(o.Name, "._domainkey.")
			x.aligned = append(x.aligned, d)
		case o.Purpose == SPF, o.Purpose == Bounces && o.Type == "CNAME":
			x.aligned = append(x.aligned, o.Name)
		}
	}
	slices.Sort(x.aligned)
	x.aligned = slices.Compact(x.aligned)
	n.add(x)
}

// sort puts the records into the order in which they are shown.
func (n *needs) sort() {
	order := []string{SPF, Bounces, DKIM, DMARC, Provider}
	slices.SortStableFunc(n.Records, func(a, b Need) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Purpose), slices.Index(order, b.Purpose)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
	})
}
