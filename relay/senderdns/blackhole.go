package senderdns

import "slices"

// BlackHole are the records by which the domain says that no mail is from it: when
// it is given up, or somebody has its keys. They take the place of those in n.
func (n Needs) BlackHole() []Need {
	if n.Domain == "" {
		return nil
	}
	out := []Need{
		{Purpose: SPF, Name: n.Domain, Type: "TXT", Value: "v=spf1 -all", exact: true},
		{Purpose: Bounces, Name: n.Domain, Type: "MX", Value: "0 .", only: true},
		{Purpose: DMARC, Name: "_dmarc." + n.Domain, Type: "TXT", Value: "v=DMARC1; p=reject; sp=reject; adkim=s; aspf=s", author: n.Domain, exact: true},
		// For every selector that has no record of its own.
		{Purpose: DKIM, Name: "*._domainkey." + n.Domain, Type: "TXT", Value: withdrawn, ask: "no-such-selector._domainkey." + n.Domain},
	}
	for _, r := range n.Records {
		switch {
		case !within(r.Name, n.Domain) || r.hasPlaceholder():
		case isSelector(r.Name) && r.Type == "CNAME":
			out = append(out, Need{Purpose: DKIM, Name: r.Name, Type: "CNAME", absent: true})
		case isSelector(r.Name):
			out = append(out, Need{Purpose: DKIM, Name: r.Name, Type: "TXT", Value: withdrawn})
		case r.Type == "CNAME":
			out = append(out, Need{Purpose: r.Purpose, Name: r.Name, Type: "CNAME", absent: true})
		case r.Purpose == SPF && r.Name != n.Domain:
			out = append(out, Need{Purpose: SPF, Name: r.Name, Type: "TXT", Value: "v=spf1 -all", exact: true})
		}
	}
	return slices.CompactFunc(out, func(a, b Need) bool { return a.Name == b.Name && a.Type == b.Type })
}

// withdrawn is a DKIM record without a key (RFC 6376 3.6.1).
const withdrawn = "v=DKIM1; p="
