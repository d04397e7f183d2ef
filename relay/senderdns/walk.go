package senderdns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of RFC 7208 4.6.4, and where we stop counting: a record that is so far
// beyond is wrong by any count.
const (
	maxLookups = 10
	maxVoid    = 2
	maxMX      = 10
	countUntil = 30
)

// walk is what a receiver would find that followed all of an SPF record. It
// counts the worst case: a mail that no mechanism matches.
type walk struct {
	ctx context.Context //nolint:containedctx // of one walk, which does not outlive its caller
	dns *memo

	lookups, void int
	includes      []string       // domains whose records let somebody send
	networks      []netip.Prefix // that may send
	everybody     string         // the record's own +all; "" if there is none
	problem       string         // what makes it a permanent error
	open          bool           // some answer is missing
	seen          []string       // domains on the way here
}

func walkSPF(ctx context.Context, dns *memo, name string, r spfRecord) *walk {
	w := &walk{ctx: ctx, dns: dns}
	w.own(r)
	w.record(name, r, true)
	switch {
	case w.problem != "":
	case w.lookups > countUntil:
		w.problem = fmt.Sprintf("needs more than %d DNS lookups, and receivers stop at %d: remove mechanisms, or name networks in their place", countUntil, maxLookups)
	case w.lookups > maxLookups:
		w.problem = fmt.Sprintf("needs %d DNS lookups, and receivers stop at %d: remove mechanisms, or name networks in their place", w.lookups, maxLookups)
	case w.void > maxVoid:
		w.problem = fmt.Sprintf("%d of its lookups find nothing, and receivers stop at %d: remove the mechanisms that name what is no more", w.void, maxVoid)
	}
	return w
}

// own takes up what the record itself lets send, however far the walk gets.
func (w *walk) own(r spfRecord) {
	for _, t := range r.terms {
		switch {
		case t.modifier:
		case t.name == "all":
			return
		case t.name == "include" && t.qualifier == '+':
			w.includes = append(w.includes, bare(t.value))
		case t.net.IsValid():
			w.pass(t, t.net)
		}
	}
}

func (w *walk) record(name string, r spfRecord, top bool) {
	if slices.Contains(w.seen, name) {
		w.fail("%s includes itself", name)
		return
	}
	w.seen = append(w.seen, name)
	defer func() { w.seen = w.seen[:len(w.seen)-1] }()
	redirect := ""
	for _, t := range r.terms {
		switch {
		case w.lookups > countUntil:
			return
		case t.modifier && t.name == "redirect":
			redirect = t.value
		case t.modifier:
		case t.name == "all":
			if top && t.qualifier == '+' {
				w.everybody = t.text
			}
			return // nothing behind it counts, redirect neither
		default:
			w.mechanism(name, t)
		}
	}
	if redirect != "" {
		w.into("redirect=", redirect, '+', top)
	}
}

func (w *walk) mechanism(name string, t spfTerm) {
	domain := name
	if t.value != "" {
		domain = bare(t.value)
	}
	macro := strings.Contains(t.value, "%")
	switch t.name {
	case "ip4", "ip6":
		w.pass(t, t.net)
	case "include":
		w.into("include:", t.value, t.qualifier, false)
	case "exists", "ptr":
		w.lookups++
	case "a":
		w.lookups++
		if !macro {
			w.addresses(t, domain, true)
		}
	case "mx":
		w.lookups++
		if !macro {
			w.exchangers(t, domain)
		}
	}
}

// into follows an include or a redirect.
func (w *walk) into(word, value string, qualifier byte, top bool) {
	w.lookups++
	if strings.Contains(value, "%") {
		return // what it stands for depends on the mail
	}
	name := bare(value)
	if qualifier == '+' {
		w.includes = append(w.includes, name)
	}
	txts, err := w.dns.txt(w.ctx, name)
	if isGone(err) {
		w.void++
	} else if err != nil {
		w.open = true
		return
	}
	records := only(txts, isSPF)
	if len(records) != 1 {
		w.fail("%s%s has %s", word, name, map[bool]string{true: "no SPF record", false: "several SPF records"}[len(records) == 0])
		return
	}
	r, err := parseSPF(records[0])
	if err != nil {
		w.fail("%s%s: %s", word, name, err)
		return
	}
	if qualifier != '+' { // who is found there may not send
		had, nets := len(w.includes), len(w.networks)
		defer func() { w.includes, w.networks = w.includes[:had], w.networks[:nets] }()
	}
	w.record(name, r, top)
}

func (w *walk) fail(format string, a ...any) {
	if w.problem == "" {
		w.problem = fmt.Sprintf(format, a...)
	}
}

func (w *walk) pass(t spfTerm, p netip.Prefix) {
	if t.qualifier == '+' {
		w.networks = append(w.networks, p)
	}
}

// addresses takes up those of a host. Only those of an "a" can be void.
func (w *walk) addresses(t spfTerm, host string, counts bool) {
	ips, err := w.dns.ips(w.ctx, host)
	switch {
	case isGone(err) && counts:
		w.void++
	case err != nil && !isGone(err):
		w.open = true
	}
	for _, ip := range ips {
		bits := t.bits[0]
		if ip = ip.Unmap(); ip.Is6() {
			bits = t.bits[1]
		}
		if p, err := ip.Prefix(bits); err == nil {
			w.pass(t, p)
		}
	}
}

func (w *walk) exchangers(t spfTerm, domain string) {
	hosts, err := w.dns.mx(w.ctx, domain)
	switch {
	case isGone(err):
		w.void++
	case err != nil:
		w.open = true
	case len(hosts) > maxMX:
		w.fail("mx:%s has %d hosts, and receivers stop at %d", domain, len(hosts), maxMX)
	}
	for _, h := range hosts[:min(len(hosts), maxMX)] {
		if host := bare(h.Host); host != "" {
			w.addresses(t, host, false)
		}
	}
}

// lets tells whether the record lets a mechanism's servers send.
func (w *walk) lets(term string) bool {
	t, err := parseTerm(term)
	if err != nil {
		return false
	}
	switch t.name {
	case "include":
		return slices.Contains(w.includes, bare(t.value))
	case "ip4", "ip6":
		return slices.ContainsFunc(w.networks, func(p netip.Prefix) bool { return p.Bits() <= t.net.Bits() && p.Contains(t.net.Addr()) })
	}
	return false
}
