package senderdns

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// stand is how one need stands, in one line.
func stand(r Record) string {
	s := string(r.State)
	if r.Expected != "" {
		s += " | publish " + r.Expected
	}
	if r.Observed != "" {
		s += " | there is " + r.Observed
	}
	if r.Why != "" {
		s += " | " + r.Why
	}
	return s
}

func one(t *testing.T, z Resolver, n Need) Record {
	t.Helper()
	return Check(t.Context(), z, []Need{n})[0]
}

// lookups makes an SPF record that needs n of them.
func lookups(z zone, name string, n int) string {
	var b strings.Builder
	for i := range n {
		at := fmt.Sprintf("i%d.%s", i, name)
		z["TXT "+at] = []string{"v=spf1 ip4:192.0.2.1 -all"}
		b.WriteString(" include:" + at)
	}
	return "v=spf1" + b.String() + " -all"
}

func TestSPF(t *testing.T) {
	mailgun := []string{"include:mailgun.org"}
	vendors := zone{"TXT mailgun.org": {"v=spf1 include:_spf.mailgun.org ~all"}, "TXT _spf.mailgun.org": {"v=spf1 ip4:198.51.100.0/24 ~all"}}
	for name, tc := range map[string]struct {
		z     zone
		terms []string
		want  string
	}{
		"nothing is there":  {zone{"TXT d.example": {"google-site-verification=x"}}, mailgun, "Missing | publish v=spf1 include:mailgun.org ~all"},
		"right":             {zone{"TXT d.example": {"x", "v=spf1 include:mailgun.org -all"}}, mailgun, "OK | publish v=spf1 include:mailgun.org -all | there is v=spf1 include:mailgun.org -all"},
		"in other letters":  {zone{"TXT d.example": {"V=SPF1 Include:MailGun.org. -ALL"}}, mailgun, "OK | publish V=SPF1 Include:MailGun.org. -ALL | there is V=SPF1 Include:MailGun.org. -ALL"},
		"merged":            {zone{"TXT d.example": {"v=spf1 mx include:a.example -all"}, "TXT a.example": {"v=spf1 -all"}, "MX d.example": {"10 mx.d.example"}, "IP mx.d.example": {"192.0.2.9"}}, mailgun, "Different | publish v=spf1 mx include:a.example include:mailgun.org -all | there is v=spf1 mx include:a.example -all | publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org"},
		"before a redirect": {zone{"TXT d.example": {"v=spf1 ip4:192.0.2.7 redirect=a.example"}, "TXT a.example": {"v=spf1 -all"}}, mailgun, "Different | publish v=spf1 ip4:192.0.2.7 include:mailgun.org redirect=a.example | there is v=spf1 ip4:192.0.2.7 redirect=a.example | publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org"},
		"no all":            {zone{"TXT d.example": {"v=spf1"}}, mailgun, "Different | publish v=spf1 include:mailgun.org | there is v=spf1 | publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org"},
		"by an include":     {zone{"TXT d.example": {"v=spf1 include:_spf.d.example ~all"}, "TXT _spf.d.example": {"v=spf1 include:mailgun.org -all"}}, mailgun, "OK | publish v=spf1 include:_spf.d.example ~all | there is v=spf1 include:_spf.d.example ~all"},
		"by a redirect":     {zone{"TXT d.example": {"v=spf1 redirect=_spf.d.example"}, "TXT _spf.d.example": {"v=spf1 include:mailgun.org -all"}}, mailgun, "OK | publish v=spf1 redirect=_spf.d.example | there is v=spf1 redirect=_spf.d.example"},
		"behind all":        {zone{"TXT d.example": {"v=spf1 -all include:mailgun.org"}}, mailgun, "Different | publish v=spf1 include:mailgun.org -all include:mailgun.org | there is v=spf1 -all include:mailgun.org | publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org"},
		"may not send":      {zone{"TXT d.example": {"v=spf1 -include:mailgun.org ~all"}}, mailgun, "Different | publish v=spf1 -include:mailgun.org include:mailgun.org ~all | there is v=spf1 -include:mailgun.org ~all | publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org"},
		"two records":       {zone{"TXT d.example": {"v=spf1 ip4:192.0.2.0/24 -all", "v=spf1 a ~all"}}, mailgun, "Different | publish v=spf1 a ip4:192.0.2.0/24 include:mailgun.org ~all | there is v=spf1 a ~all | v=spf1 ip4:192.0.2.0/24 -all | there are 2 SPF records, and receivers take none of several (RFC 7208 4.5): publish this one, and remove the others"},
		"everybody":         {zone{"TXT d.example": {"v=spf1 include:mailgun.org +all"}}, mailgun, "Different | publish v=spf1 include:mailgun.org ~all | there is v=spf1 include:mailgun.org +all | +all lets everybody send as the domain: put ~all or -all in its place"},
		"a word that is none": {
			zone{"TXT d.example": {"v=spf1 include:mailgun.org ipv4:192.0.2.1 -all"}},
			mailgun,
			`Different | publish v=spf1 include:mailgun.org -all | there is v=spf1 include:mailgun.org ipv4:192.0.2.1 -all | "ipv4:192.0.2.1" is no mechanism of SPF: receivers take the whole record for broken; publish it without`,
		},
		"a network holds it":   {zone{"TXT d.example": {"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"}}, []string{"ip4:192.0.2.25", "ip6:2001:db8:1::/48"}, "OK | publish v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all | there is v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"},
		"a network is smaller": {zone{"TXT d.example": {"v=spf1 ip4:192.0.2.0/25 -all"}}, []string{"ip4:192.0.2.0/24"}, "Different | publish v=spf1 ip4:192.0.2.0/25 ip4:192.0.2.0/24 -all | there is v=spf1 ip4:192.0.2.0/25 -all | publish it in the place of the record that is there, not beside it: it lacks ip4:192.0.2.0/24"},
		"an address of a":      {zone{"TXT d.example": {"v=spf1 a:relay.example/24 -all"}, "IP relay.example": {"192.0.2.1", "2001:db8::1"}}, []string{"ip4:192.0.2.25"}, "OK | publish v=spf1 a:relay.example/24 -all | there is v=spf1 a:relay.example/24 -all"},
		"an address of an mx":  {zone{"TXT d.example": {"v=spf1 mx -all"}, "MX d.example": {"10 mx.d.example"}, "IP mx.d.example": {"192.0.2.25"}}, []string{"ip4:192.0.2.25"}, "OK | publish v=spf1 mx -all | there is v=spf1 mx -all"},
		"an include is gone":   {zone{"TXT d.example": {"v=spf1 include:mailgun.org include:old.example -all"}}, mailgun, "Different | publish v=spf1 include:mailgun.org include:old.example -all | there is v=spf1 include:mailgun.org include:old.example -all | include:old.example has no SPF record"},
		"it includes itself":   {zone{"TXT d.example": {"v=spf1 include:mailgun.org include:d.example -all"}}, mailgun, "Different | publish v=spf1 include:mailgun.org include:d.example -all | there is v=spf1 include:mailgun.org include:d.example -all | d.example includes itself"},
		"too many void":        {zone{"TXT d.example": {"v=spf1 a:x1.example a:x2.example a:x3.example include:mailgun.org -all"}}, mailgun, "Different | publish v=spf1 a:x1.example a:x2.example a:x3.example include:mailgun.org -all | there is v=spf1 a:x1.example a:x2.example a:x3.example include:mailgun.org -all | 3 of its lookups find nothing, and receivers stop at 2: remove the mechanisms that name what is no more"},
		"two void":             {zone{"TXT d.example": {"v=spf1 a:x1.example mx:x2.example include:mailgun.org exists:%{i}.x.example -all"}}, mailgun, "OK | publish v=spf1 a:x1.example mx:x2.example include:mailgun.org exists:%{i}.x.example -all | there is v=spf1 a:x1.example mx:x2.example include:mailgun.org exists:%{i}.x.example -all"},
		"a macro":              {zone{"TXT d.example": {"v=spf1 include:%{d}.x.example include:mailgun.org -all"}}, mailgun, "OK | publish v=spf1 include:%{d}.x.example include:mailgun.org -all | there is v=spf1 include:%{d}.x.example include:mailgun.org -all"},
		"no answer":            {zone{"TXT d.example": {"!"}}, mailgun, "Unknown | publish v=spf1 include:mailgun.org ~all | DNS does not answer (a failure of the name server, or a time-out)"},
		"no answer of a part":  {zone{"TXT d.example": {"v=spf1 include:a.example -all"}, "TXT a.example": {"!"}}, mailgun, "Unknown | publish v=spf1 include:mailgun.org ~all | DNS does not answer (a failure of the name server, or a time-out)"},
		"no answer of a part that does not matter": {zone{"TXT d.example": {"v=spf1 include:a.example include:mailgun.org -all"}, "TXT a.example": {"!"}}, mailgun, "OK | publish v=spf1 include:a.example include:mailgun.org -all | there is v=spf1 include:a.example include:mailgun.org -all"},
		"what is to be there is not known":         {zone{"TXT d.example": {"v=spf1 -all"}}, nil, "Unknown | there is v=spf1 -all | fill it in"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range vendors {
				tc.z[k] = v
			}
			n := Need{Purpose: SPF, Name: "d.example", Type: "TXT", terms: tc.terms, Hint: "fill it in"}
			if tc.terms != nil {
				n.Value = freshSPF(tc.terms)
			}
			if got := stand(one(t, tc.z, n)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// Lookups are counted over all that is included, as it would be with the
// mechanism that lacks.
func TestSPFLookupsAreCounted(t *testing.T) {
	for _, tc := range []struct {
		have int
		why  string
	}{
		{8, "publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org"},
		{9, "publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org; and needs 11 DNS lookups, and receivers stop at 10: remove mechanisms, or name networks in their place"},
		{40, "publish it in the place of the record that is there, not beside it: it lacks include:mailgun.org; and needs more than 30 DNS lookups, and receivers stop at 10: remove mechanisms, or name networks in their place"},
	} {
		z := zone{"TXT mailgun.org": {"v=spf1 include:_spf.mailgun.org ~all"}, "TXT _spf.mailgun.org": {"v=spf1 ip4:198.51.100.0/24 ~all"}}
		z["TXT d.example"] = []string{lookups(z, "d.example", tc.have)}
		if r := one(t, z, Need{Purpose: SPF, Name: "d.example", Type: "TXT", Value: "x", terms: []string{"include:mailgun.org"}}); r.State != Different || r.Why != tc.why {
			t.Errorf("%d: %s: %s", tc.have, r.State, r.Why)
		}
	}
}

// Records that lead on and on end, and each is asked for once.
func TestSPFIsBounded(t *testing.T) {
	z := zone{}
	for i := range 100 {
		next := fmt.Sprintf("s%d.example", i+1)
		z[fmt.Sprintf("TXT s%d.example", i)] = []string{"v=spf1 include:" + next + " include:" + next + " include:" + next + " -all"}
	}
	c := &counted{Resolver: z, n: map[string]int{}}
	r := one(t, c, Need{Purpose: SPF, Name: "s0.example", Type: "TXT", terms: []string{"include:mailgun.org"}})
	if r.State != Different || !strings.Contains(r.Why, "needs more than 30") {
		t.Errorf("%s", stand(r))
	}
	for name, n := range c.n {
		if n > 1 {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
	if len(c.n) > 40 {
		t.Errorf("%d names were asked for", len(c.n))
	}
}

// A record that names many mail servers is not a way to have us ask for all.
func TestQuestionsAreBounded(t *testing.T) {
	z := zone{}
	record := "v=spf1"
	for i := range 29 {
		at := fmt.Sprintf("d%d.example", i)
		record += " mx:" + at
		for k := range 10 {
			z["MX "+at] = append(z["MX "+at], fmt.Sprintf("10 mx%d.%s", k, at))
		}
	}
	z["TXT d.example"] = []string{record + " -all"}
	c := &counted{Resolver: z, n: map[string]int{}}
	one(t, c, Need{Purpose: SPF, Name: "d.example", Type: "TXT", Value: "x", terms: []string{"ip4:192.0.2.1"}})
	if len(c.n) > maxQuestions {
		t.Errorf("%d questions", len(c.n))
	}
}

func TestDKIM(t *testing.T) {
	const right = "v=DKIM1; k=rsa; p=MIIBIjANBgkq"
	for name, tc := range map[string]struct {
		txts  []string
		value string
		want  string
	}{
		"nothing is there": {nil, right, "Missing | publish " + right},
		"right":            {[]string{right}, right, "OK | publish " + right + " | there is " + right},
		"written apart":    {[]string{"p=MIIBI jANBgkq ;v=DKIM1;"}, right, ""},
		"without v and k":  {[]string{"p=MIIBIjANBgkq="}, right, ""},
		"another":          {[]string{"v=DKIM1; p=XX"}, right, "it is another key"},
		"Ed25519":          {[]string{"v=DKIM1; k=ed25519; p=MIIBIjANBgkq"}, right, "it is another key"},
		"withdrawn":        {[]string{"v=DKIM1; p="}, right, "the key is withdrawn there (p= is empty)"},
		"a test":           {[]string{right + "; t=s:y"}, right, "t=y says that the domain only tries DKIM out, and receivers take its mail as not signed: publish it without"},
		"strict":           {[]string{right + "; t=s"}, right, ""},
		"SHA-1":            {[]string{right + "; h=sha1"}, right, "h= does not allow sha256, which every signature uses: publish it without"},
		"other services":   {[]string{right + "; s=tlsrpt"}, right, "s= does not allow email: publish it without"},
		"two":              {[]string{right, "v=DKIM1; p=XX"}, right, "there are several keys, and receivers take any of them: leave one"},
		"no record of it":  {[]string{"hello"}, right, "it is no DKIM record: what is there was cut off, or belongs elsewhere"},
		"to be withdrawn":  {[]string{right}, withdrawn, "there is still a key"},
		"it is withdrawn":  {[]string{"v=DKIM1; k=ed25519; p="}, withdrawn, ""},
	} {
		t.Run(name, func(t *testing.T) {
			z := zone{}
			if tc.txts != nil {
				z["TXT s._domainkey.d.example"] = tc.txts
			}
			r := one(t, z, Need{Purpose: DKIM, Name: "s._domainkey.d.example", Type: "TXT", Value: tc.value})
			want := map[bool]State{true: OK, false: Different}[tc.want == ""]
			if strings.HasPrefix(tc.want, "Missing") || strings.HasPrefix(tc.want, "OK") {
				if stand(r) != tc.want {
					t.Errorf("%s", stand(r))
				}
			} else if r.State != want || r.Why != tc.want {
				t.Errorf("%s, want %s %s", stand(r), want, tc.want)
			}
		})
	}
}

func TestDMARC(t *testing.T) {
	const at = "_dmarc.copier.corp.example"
	need := func(aligned ...string) Need {
		return Need{Purpose: DMARC, Name: at, Type: "TXT", Value: "v=DMARC1; p=none", author: domain, aligned: aligned}
	}
	for name, tc := range map[string]struct {
		z    zone
		need Need
		want string
	}{
		"nothing is there":     {zone{}, need(), "Missing | publish v=DMARC1; p=none | p=none changes nothing and shows that the domain is looked after; p=reject keeps others from writing as it, once its own mail passes"},
		"right":                {zone{"TXT " + at: {"v=DMARC1; p=reject"}}, need(domain), "OK | publish v=DMARC1; p=reject | there is v=DMARC1; p=reject"},
		"from above":           {zone{"TXT _dmarc.corp.example": {"v=DMARC1; p=none; sp=reject"}}, need(domain), "OK | there is at _dmarc.corp.example: v=DMARC1; p=none; sp=reject"},
		"not from the top":     {zone{"TXT _dmarc.example": {"v=DMARC1; p=reject"}}, need(), "Missing | publish v=DMARC1; p=none | p=none changes nothing and shows that the domain is looked after; p=reject keeps others from writing as it, once its own mail passes"},
		"two":                  {zone{"TXT " + at: {"v=DMARC1; p=reject", "v=DMARC1; p=none"}}, need(), "Different | publish v=DMARC1; p=none | there is v=DMARC1; p=none | v=DMARC1; p=reject | there are several DMARC records, and receivers take none of several: leave one"},
		"no policy":            {zone{"TXT " + at: {"v=DMARC1; rua=mailto:a@b.example"}}, need(), "Different | publish v=DMARC1; p=none | there is v=DMARC1; rua=mailto:a@b.example | it has no policy: p= must be none, quarantine or reject"},
		"another organization": {zone{"TXT " + at: {"v=DMARC1; p=reject"}}, need("mg.other.example"), "Different | publish v=DMARC1; p=reject | there is v=DMARC1; p=reject | mail from copier.corp.example passes it by neither SPF nor DKIM, which speak for mg.other.example: choose a spec.sender.domain of the same organization"},
		"the same":             {zone{"TXT " + at: {"v=DMARC1; p=reject; adkim=s"}}, need("mg.corp.example"), "OK | publish v=DMARC1; p=reject; adkim=s | there is v=DMARC1; p=reject; adkim=s"},
		"strict":               {zone{"TXT " + at: {"v=DMARC1; p=reject; adkim=s; aspf=s"}}, need("mg.corp.example"), "Different | publish v=DMARC1; p=reject; adkim=s; aspf=s | there is v=DMARC1; p=reject; adkim=s; aspf=s | aspf=s and adkim=s ask for the very domain, and SPF and DKIM speak for mg.corp.example: publish it without one of them"},
		"no answer":            {zone{"TXT " + at: {"!"}}, need(), "Unknown | publish v=DMARC1; p=none | DNS does not answer (a failure of the name server, or a time-out)"},
		"no answer from above": {zone{"TXT _dmarc.corp.example": {"!"}}, need(), "Unknown | publish v=DMARC1; p=none | DNS does not answer (a failure of the name server, or a time-out)"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := stand(one(t, tc.z, tc.need)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

func TestOtherTypes(t *testing.T) {
	targets := []string{"sendgrid.net"}
	for name, tc := range map[string]struct {
		z    zone
		need Need
		want string
	}{
		"CNAME":                        {zone{"CNAME a.example": {"PM.mtasv.net"}}, Need{Type: "CNAME", Value: "pm.mtasv.net"}, "OK | publish pm.mtasv.net | there is pm.mtasv.net"},
		"CNAME missing":                {zone{}, Need{Type: "CNAME", Value: "pm.mtasv.net"}, "Missing | publish pm.mtasv.net"},
		"CNAME elsewhere":              {zone{"CNAME a.example": {"b.example"}}, Need{Type: "CNAME", Value: "pm.mtasv.net"}, "Different | publish pm.mtasv.net | there is b.example | it points elsewhere"},
		"address in place of a CNAME":  {zone{"IP a.example": {"192.0.2.1"}}, Need{Type: "CNAME", Value: "pm.mtasv.net"}, "Different | publish pm.mtasv.net | an address record is there: remove it, since a CNAME cannot stand beside it"},
		"TXT in place of a CNAME":      {zone{"TXT a.example": {"x"}}, Need{Type: "CNAME", Value: "pm.mtasv.net"}, "Different | publish pm.mtasv.net | there is x | a TXT record is there: remove it, since a CNAME cannot stand beside it"},
		"CNAME to the provider":        {zone{"CNAME a.example": {"s1.domainkey.u1.wl.SendGrid.net"}}, Need{Type: "CNAME", targets: targets, Hint: "see the console"}, "OK | there is s1.domainkey.u1.wl.sendgrid.net"},
		"CNAME to somebody":            {zone{"CNAME a.example": {"notsendgrid.net"}}, Need{Type: "CNAME", targets: targets, Hint: "see the console"}, "Different | there is notsendgrid.net | it does not point to the provider: see the console"},
		"CNAME that nobody knows":      {zone{}, Need{Type: "CNAME", targets: targets, Hint: "see the console"}, "Unknown | see the console"},
		"CNAME, no answer":             {zone{"CNAME a.example": {"!"}}, Need{Type: "CNAME", Value: "b.example"}, "Unknown | publish b.example | DNS does not answer (a failure of the name server, or a time-out)"},
		"MX":                           {zone{"MX a.example": {"20 b.example", "10 Feedback-SMTP.x.amazonses.com."}}, Need{Type: "MX", Value: "10 feedback-smtp.x.amazonses.com"}, "OK | publish 10 feedback-smtp.x.amazonses.com | there is 10 feedback-smtp.x.amazonses.com | 20 b.example"},
		"MX alone":                     {zone{"MX a.example": {"20 b.example", "10 f.example"}}, Need{Type: "MX", Value: "10 f.example", only: true}, "Different | publish 10 f.example | there is 10 f.example | 20 b.example | nothing else may be there: remove the others"},
		"MX missing":                   {zone{}, Need{Type: "MX", Value: "f.example"}, "Missing | publish f.example"},
		"MX elsewhere":                 {zone{"MX a.example": {"20 b.example"}}, Need{Type: "MX", Value: "f.example"}, "Different | publish f.example | there is 20 b.example | other hosts take its mail"},
		"null MX":                      {zone{"MX a.example": {"0 ."}}, Need{Type: "MX", Value: "0 .", only: true}, "OK | publish 0 . | there is 0 ."},
		"bounces go to an MX":          {zone{"MX a.example": {"20 b.example"}}, Need{Type: "MX", Hint: "name one"}, "OK | there is 20 b.example"},
		"bounces go to the host":       {zone{"IP a.example": {"192.0.2.1"}}, Need{Type: "MX", Hint: "name one"}, "OK | there is no MX, but 192.0.2.1"},
		"bounces go nowhere":           {zone{}, Need{Type: "MX", Hint: "name one"}, "Unknown | name one"},
		"bounces are refused":          {zone{"MX a.example": {"0 ."}}, Need{Type: "MX", Hint: "name one"}, "Different | there is 0 . | the null MX says that nobody can answer, and receivers may refuse its mail for that (RFC 7505 4.2): name one"},
		"A":                            {zone{"IP a.example": {"2001:db8::1", "192.0.2.1"}}, Need{Type: "A", Value: "192.0.2.1"}, "OK | publish 192.0.2.1 | there is 192.0.2.1"},
		"AAAA elsewhere":               {zone{"IP a.example": {"2001:db8::1", "192.0.2.1"}}, Need{Type: "AAAA", Value: "2001:db8::2"}, "Different | publish 2001:db8::2 | there is 2001:db8::1 | it points elsewhere"},
		"A missing":                    {zone{"IP a.example": {"2001:db8::1"}}, Need{Type: "A", Value: "192.0.2.1"}, "Missing | publish 192.0.2.1"},
		"verification":                 {zone{"TXT a.example": {"x", "ms-domain-verification=1"}}, Need{Type: "TXT", Value: "ms-domain-verification=1"}, "OK | publish ms-domain-verification=1 | there is ms-domain-verification=1"},
		"another verification":         {zone{"TXT a.example": {"x", "ms-domain-verification=2"}}, Need{Type: "TXT", Value: "ms-domain-verification=1"}, "Different | publish ms-domain-verification=1 | there is ms-domain-verification=2 | another value is published"},
		"no verification":              {zone{"TXT a.example": {"x"}}, Need{Type: "TXT", Value: "ms-domain-verification=1"}, "Missing | publish ms-domain-verification=1"},
		"what others publish is shown": {zone{"CNAME a.example": {"b\x1b[31m.example"}}, Need{Type: "CNAME", Value: "c.example"}, "Different | publish c.example | there is b?[31m.example | it points elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.need.Name, tc.need.Purpose = "a.example", Provider
			if got := stand(one(t, tc.z, tc.need)); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// The records that make nothing of a domain, and what of it stands in the way.
func TestBlackHole(t *testing.T) {
	up := plan.Upstream{Type: "Postmark", Postmark: &plan.Postmark{}, Sender: sender(), DNS: vendor("2026pm._domainkey TXT k=rsa; p=AA", "x._domainkey CNAME x.provider.example")}
	hole := Of(&up, nil).BlackHole()
	show := func(z zone) (out []string) {
		for _, r := range Check(t.Context(), z, hole) {
			out = append(out, r.Name+" "+r.Type+": "+stand(r))
		}
		return out
	}
	got := show(zone{
		"TXT copier.corp.example": {"v=spf1 include:a.example -all"}, "MX copier.corp.example": {"10 mx.corp.example"}, "TXT _dmarc.copier.corp.example": {"v=DMARC1; p=none"},
		"TXT 2026pm._domainkey.copier.corp.example": {"k=rsa; p=AA"}, "CNAME pm-bounces.copier.corp.example": {"pm.mtasv.net"}, "CNAME x._domainkey.copier.corp.example": {"x.provider.example"},
	})
	want := []string{
		"copier.corp.example TXT: Different | publish v=spf1 -all | there is v=spf1 include:a.example -all | publish it in the place of what is there",
		"copier.corp.example MX: Different | publish 0 . | there is 10 mx.corp.example | other hosts take its mail",
		"_dmarc.copier.corp.example TXT: Different | publish v=DMARC1; p=reject; sp=reject; adkim=s; aspf=s | there is v=DMARC1; p=none | p=none lets through what it is to refuse",
		"*._domainkey.copier.corp.example TXT: Missing | publish v=DKIM1; p=",
		"pm-bounces.copier.corp.example CNAME: Different | there is pm.mtasv.net | remove it",
		"2026pm._domainkey.copier.corp.example TXT: Different | publish v=DKIM1; p= | there is k=rsa; p=AA | there is still a key",
		"x._domainkey.copier.corp.example CNAME: Different | there is x.provider.example | remove it",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, s := range show(zone{
		"TXT copier.corp.example": {"v=spf1 -all"}, "MX copier.corp.example": {"0 ."}, "TXT _dmarc.copier.corp.example": {"v=DMARC1; p=reject"},
		"TXT no-such-selector._domainkey.copier.corp.example": {"v=DKIM1; p="}, "TXT 2026pm._domainkey.copier.corp.example": {"v=DKIM1; p="},
	}) {
		if !strings.Contains(s, ": OK") {
			t.Errorf("%s", s)
		}
	}
}

// A resolver that never answers does not hold anybody up for long.
func TestCheckEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	up := plan.Upstream{Type: "Microsoft365", SMTP: smtp("smtp.office365.com"), Sender: sender()}
	for _, r := range Check(ctx, &net.Resolver{PreferGo: true}, Of(&up, nil).Records) {
		if r.State != Unknown || !r.Unanswered {
			t.Errorf("%s", stand(r))
		}
	}
}

func TestZoneLine(t *testing.T) {
	long := strings.Repeat("a", 300)
	for _, tc := range []struct {
		record Record
		want   string
	}{
		{Record{Name: "a.example", Type: "TXT", Expected: `v=spf1 "x\y" ü`}, `a.example. 3600 IN TXT "v=spf1 \"x\\y\" \195\188"`},
		{Record{Name: "a.example", Type: "TXT", Expected: long}, `a.example. 3600 IN TXT "` + long[:255] + `" "` + long[255:] + `"`},
		{Record{Name: "a.example", Type: "CNAME", Expected: "b.example"}, "a.example. 3600 IN CNAME b.example."},
		{Record{Name: "a.example", Type: "MX", Expected: "b.example"}, "a.example. 3600 IN MX 10 b.example."},
		{Record{Name: "a.example", Type: "MX", Expected: "0 ."}, "a.example. 3600 IN MX 0 ."},
		{Record{Name: "a.example", Type: "AAAA", Expected: "2001:db8::1"}, "a.example. 3600 IN AAAA 2001:db8::1"},
		{Record{Name: "a.example", Type: "TXT"}, ""},
	} {
		if got := tc.record.ZoneLine(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}
