package senderdns

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// isDMARC tells whether a TXT value is a DMARC record (RFC 7489 6.3).
func isDMARC(txt string) bool {
	v, _, _ := strings.Cut(txt, ";")
	name, value, _ := strings.Cut(v, "=")
	return strings.TrimSpace(name) == "v" && strings.TrimSpace(value) == "DMARC1"
}

// organization is the domain that was registered, of which relaxed alignment
// speaks; a name that is a public suffix itself is its own.
func organization(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return org
	}
	return domain
}

// dmarc compares the policy. Where the domain has none, that of a domain above
// holds for it.
func (c checker) dmarc(ctx context.Context, n *Need, found []string) Record {
	observed, from := joined(found), n.author
	for len(found) == 0 && from != organization(n.author) {
		_, above, ok := strings.Cut(from, ".")
		if !ok {
			break
		}
		from = above
		txts, err := c.dns.txt(ctx, "_dmarc."+from)
		if err != nil && !isGone(err) {
			return n.unanswered()
		}
		found = only(txts, isDMARC)
		observed = "at _dmarc." + from + ": " + joined(found)
	}
	if len(found) == 0 {
		r := n.missing()
		r.Why = "p=none changes nothing and shows that the domain is looked after; p=reject keeps others from writing as it, once its own mail passes"
		return r
	}
	t, ok := tags(found[0])
	policy := t["p"]
	if from != n.author && t["sp"] != "" {
		policy = t["sp"]
	}
	switch {
	case len(found) > 1:
		return n.record(Different, observed, "there are several DMARC records, and receivers take none of several: leave one")
	case !ok || !slices.Contains([]string{"none", "quarantine", "reject"}, strings.ToLower(policy)):
		return n.record(Different, observed, "it has no policy: p= must be none, quarantine or reject")
	case n.exact && !strings.EqualFold(policy, "reject"):
		return n.record(Different, observed, "p="+policy+" lets through what it is to refuse")
	}
	r := n.record(OK, observed, "")
	if r.Expected = found[0]; from != n.author {
		r.Expected = "" // nothing is to be published
	}
	return n.judge(r, t)
}

// judge adds what keeps the upstream's own mail from passing. That is
// mended in the manifest, or by the alignment modes.
func (n *Need) judge(r Record, t map[string]string) Record {
	if len(n.aligned) == 0 || n.exact {
		return r
	}
	relaxed, strict := false, false
	for _, d := range n.aligned {
		strict = strict || d == n.author
		relaxed = relaxed || organization(d) == organization(n.author)
	}
	switch {
	case !relaxed:
		r.State = Different
		r.Why = "mail from " + n.author + " passes it by neither SPF nor DKIM, which speak for " + strings.Join(n.aligned, ", ") + ": choose a spec.sender.domain of the same organization"
	case !strict && t["aspf"] == "s" && t["adkim"] == "s":
		r.State = Different
		r.Why = "aspf=s and adkim=s ask for the very domain, and SPF and DKIM speak for " + strings.Join(n.aligned, ", ") + ": publish it without one of them"
	}
	return r
}
