package senderdns

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

// Check looks up what is published and says how each record stands, in the
// order of the needs. It takes 40 seconds at most.
func Check(ctx context.Context, dns Resolver, needs []Need) []Record {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	c := checker{&memo{dns: dns, asked: map[string]*answer{}}}
	out := make([]Record, len(needs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range needs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			out[i] = c.check(ctx, &needs[i])
			out[i].Observed = printable(out[i].Observed)
		})
	}
	wg.Wait()
	return out
}

// Unchecked are the records where nobody asks DNS.
func Unchecked(needs []Need) []Record {
	out := make([]Record, len(needs))
	for i := range needs {
		out[i] = needs[i].record(Unknown, "", needs[i].Hint)
	}
	return out
}

type checker struct{ dns *memo }

func (n *Need) record(s State, observed, why string) Record {
	return Record{Purpose: n.Purpose, Name: n.Name, Type: n.Type, Expected: n.Value, Observed: observed, State: s, Why: why}
}

// missing is a record that is not there: to be published where its value is
// known.
func (n *Need) missing() Record {
	if n.Value == "" {
		return n.record(Unknown, "", n.Hint)
	}
	return n.record(Missing, "", "")
}

func (n *Need) unanswered() Record {
	r := n.record(Unknown, "", "DNS does not answer (a failure of the name server, or a time-out)")
	r.Unanswered = true
	return r
}

func (c checker) check(ctx context.Context, n *Need) Record {
	switch {
	case n.hasPlaceholder():
		return n.missing()
	case n.absent:
		return c.gone(ctx, n)
	case n.Type == "CNAME":
		return c.alias(ctx, n)
	case n.Type == "MX":
		return c.exchanger(ctx, n)
	case n.Type == "A" || n.Type == "AAAA":
		return c.address(ctx, n)
	}
	txts, err := c.dns.txt(ctx, cmp.Or(n.ask, n.Name))
	if err != nil && !isGone(err) {
		return n.unanswered()
	}
	switch n.Purpose {
	case SPF:
		return c.spf(ctx, n, only(txts, isSPF))
	case DKIM:
		return key(n, txts)
	case DMARC:
		return c.dmarc(ctx, n, only(txts, isDMARC))
	}
	return text(n, txts)
}

// text compares a TXT record of no known kind. Others at the name do not
// matter, but one that begins alike is an older version of it.
func text(n *Need, txts []string) Record {
	if slices.Contains(txts, n.Value) {
		return n.record(OK, n.Value, "")
	}
	kind, _, _ := strings.Cut(n.Value, "=")
	for _, t := range txts {
		if strings.HasPrefix(t, kind+"=") {
			return n.record(Different, t, "another value is published")
		}
	}
	return n.missing()
}

func (c checker) alias(ctx context.Context, n *Need) Record {
	to, err := c.dns.cname(ctx, n.Name)
	switch {
	case err != nil && !isGone(err):
		return n.unanswered()
	case to == "":
		if txts, err := c.dns.txt(ctx, n.Name); err == nil && len(txts) > 0 {
			return n.record(Different, joined(txts), "a TXT record is there: remove it, since a CNAME cannot stand beside it")
		}
		if err == nil {
			return n.record(Different, "", "an address record is there: remove it, since a CNAME cannot stand beside it")
		}
		return n.missing()
	case n.Value != "" && to == bare(n.Value):
		return n.record(OK, to, "")
	case n.Value != "":
		return n.record(Different, to, "it points elsewhere")
	case slices.ContainsFunc(n.targets, func(end string) bool { return within(to, end) }):
		return n.record(OK, to, "")
	case len(n.targets) > 0:
		return n.record(Different, to, "it does not point to the provider: "+n.Hint)
	}
	return n.record(Unknown, to, n.Hint)
}

// exchanger compares an MX, of which Value gives the host, with or without a
// preference. Without a Value the domain has to have some place that bounces go
// to.
func (c checker) exchanger(ctx context.Context, n *Need) Record {
	list, err := c.dns.mx(ctx, n.Name)
	if err != nil && !isGone(err) {
		return n.unanswered()
	}
	var all []string
	for _, m := range list {
		all = append(all, strconv.Itoa(int(m.Pref))+" "+mxHost(m.Host))
	}
	slices.Sort(all)
	observed := joined(all)
	if n.Value == "" {
		return c.resolves(ctx, n, all)
	}
	words := strings.Fields(n.Value)
	want := mxHost(words[len(words)-1])
	there := slices.ContainsFunc(all, func(m string) bool { return strings.HasSuffix(m, " "+want) })
	switch {
	case len(all) == 0:
		return n.missing()
	case !there:
		return n.record(Different, observed, "other hosts take its mail")
	case n.only && len(all) > 1:
		return n.record(Different, observed, "nothing else may be there: remove the others")
	}
	return n.record(OK, observed, "")
}

// mxHost writes the host of an MX; the null MX is a dot.
func mxHost(host string) string {
	if host = bare(host); host == "" {
		return "."
	}
	return host
}

// resolves tells whether mail from a domain can be answered. Receivers ask.
func (c checker) resolves(ctx context.Context, n *Need, all []string) Record {
	if slices.ContainsFunc(all, func(m string) bool { return strings.HasSuffix(m, " .") }) {
		return n.record(Different, joined(all), "the null MX says that nobody can answer, and receivers may refuse its mail for that (RFC 7505 4.2): "+n.Hint)
	}
	if len(all) > 0 {
		return n.record(OK, joined(all), "")
	}
	ips, err := c.dns.ips(ctx, n.Name)
	switch {
	case err != nil && !isGone(err):
		return n.unanswered()
	case len(ips) > 0:
		return n.record(OK, "no MX, but "+ips[0].String(), "")
	}
	return n.missing()
}

func (c checker) address(ctx context.Context, n *Need) Record {
	ips, err := c.dns.ips(ctx, n.Name)
	if err != nil && !isGone(err) {
		return n.unanswered()
	}
	var all []string
	for _, ip := range ips {
		if ip = ip.Unmap(); ip.Is4() == (n.Type == "A") {
			all = append(all, ip.String())
		}
	}
	want, err := netip.ParseAddr(n.Value)
	switch {
	case err != nil:
		return n.record(Unknown, joined(all), "its value in spec.dns.vendorRecords is no address: correct it")
	case slices.Contains(all, want.String()):
		return n.record(OK, joined(all), "")
	case len(all) == 0:
		return n.missing()
	}
	return n.record(Different, joined(all), "it points elsewhere")
}

// gone looks for what is to be removed: an alias.
func (c checker) gone(ctx context.Context, n *Need) Record {
	to, err := c.dns.cname(ctx, n.Name)
	switch {
	case err != nil && !isGone(err):
		return n.unanswered()
	case to != "":
		return n.record(Different, to, "remove it")
	}
	return n.record(OK, "", "")
}

func (c checker) spf(ctx context.Context, n *Need, found []string) Record {
	observed := joined(found)
	switch {
	case n.exact:
		if len(found) == 1 && strings.EqualFold(strings.Join(strings.Fields(found[0]), " "), n.Value) {
			return n.record(OK, observed, "")
		}
		if len(found) == 0 {
			return n.missing()
		}
		return n.record(Different, observed, "publish it in the place of what is there")
	case len(found) == 0:
		return n.missing()
	case len(found) > 1:
		return c.severalSPF(n, found)
	}
	r, bad := parseSPF(found[0])
	w := walkSPF(ctx, c.dns, n.Name, r)
	terms := only(n.terms, func(t string) bool { return !w.lets(t) })
	if len(terms) > 0 && w.open && bad == nil { // it may be in what is not known
		return n.unanswered()
	}
	out := n.record(OK, observed, "")
	out.Expected = found[0]
	if len(terms) > 0 || bad != nil {
		out.State, out.Expected = Different, mergeSPF(r, terms)
		out.Why = "publish it in the place of the record that is there, not beside it: it lacks " + strings.Join(terms, " ")
		if bad != nil {
			out.Why = bad.Error() + ": receivers take the whole record for broken; publish it without"
		}
		whole, _ := parseSPF(out.Expected) //nolint:errcheck // what was wrong is left out
		w = walkSPF(ctx, c.dns, n.Name, whole)
	}
	switch {
	case w.problem != "" && out.Why != "":
		out.Why += "; and " + w.problem
	case w.problem != "":
		out.State, out.Why = Different, w.problem
	case w.everybody != "":
		out.State, out.Why = Different, w.everybody+" lets everybody send as the domain: put ~all or -all in its place"
		out.Expected = strings.Replace(out.Expected, w.everybody, "~all", 1)
	case n.Value == "":
		return n.record(Unknown, observed, n.Hint)
	}
	return out
}

// severalSPF makes one record of several: with two, receivers take none (RFC 7208
// 4.5).
func (c checker) severalSPF(n *Need, found []string) Record {
	first, _ := parseSPF(found[0]) //nolint:errcheck // what is wrong in it is left out
	var terms []string
	for _, f := range found[1:] {
		terms = append(terms, mechanismsOf(f)...)
	}
	terms = only(append(terms, n.terms...), func(t string) bool {
		return !slices.ContainsFunc(first.terms, func(o spfTerm) bool { return strings.EqualFold(strings.TrimPrefix(o.text, "+"), t) })
	})
	out := n.record(Different, joined(found), fmt.Sprintf("there are %d SPF records, and receivers take none of several (RFC 7208 4.5): publish this one, and remove the others", len(found)))
	out.Expected = mergeSPF(first, terms)
	return out
}

// joined shows several records of a name.
func joined(all []string) string { return strings.Join(all, " | ") }

// printable keeps what others publish from breaking a line or a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
