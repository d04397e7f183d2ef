package console

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/boombuler/barcode/qr"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// card is what to type into a copier for one listener.
type card struct {
	Listener string
	Name     string // of the relay
	Lines    []line
	QR       qrCode
}

// line is one setting: what a copier calls it, what to enter, and what to know.
type line struct {
	Label, Value, Note string
	list               []string // what Value is made of; nil: it is one
}

// Items are the value, each part of which keeps together.
func (l line) Items() []string {
	if l.list != nil {
		return l.list
	}
	return []string{l.Value}
}

// ruleRow is who may send by a rule, in words.
type ruleRow struct {
	Name, Action, Who, From, To, Needs string
	DryRun                             bool
}

// setup is the page of the cards.
func (c *Console) setup(_ *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "setup", "Set up a copier: "+v.Relay.Key(), "setup"
	if v.Relay.Plan == nil {
		return fmt.Errorf("the manifests of %s make no plan: see its first page", v.Relay.Key())
	}
	var out struct {
		Cards []card
		Rules []ruleRow
	}
	for i := range v.Relay.Plan.Listeners {
		out.Cards = append(out.Cards, cardOf(v.Relay, &v.Relay.Plan.Listeners[i]))
	}
	out.Rules = rulesOf(v.Relay.Plan)
	v.Body = out
	return nil
}

func cardOf(r *Relay, l *plan.Listener) card {
	c := card{Listener: l.Name, Name: r.Key()}
	add := func(label, value, note string) {
		c.Lines = append(c.Lines, line{Label: label, Value: value, Note: note})
	}
	server := slices.Clone(r.Addresses)
	if len(server) == 0 {
		server = []string{r.Plan.Hostname}
	}
	add("SMTP server", server[0], also(r.Plan.Hostname, server))
	add("Port", strconv.Itoa(l.Port), "")
	c.encryption(l)
	c.login(l)
	c.addresses(r.Plan)
	add("Largest scan", megabytes(l.AdvertisedSize), "as the copier sends it; the file itself may have three quarters of that")
	c.QR = qrOf(c.text())
	return c
}

// also names the other ways in which the server can be entered.
func also(hostname string, addresses []string) string {
	others := slices.DeleteFunc(append(slices.Clone(addresses[1:]), hostname), func(s string) bool { return s == addresses[0] })
	if len(others) == 0 {
		return ""
	}
	slices.Sort(others)
	return "or " + strings.Join(slices.Compact(others), ", ")
}

// oldest is the oldest TLS of a profile.
var oldest = map[string]string{"Modern": "TLS 1.3", "Intermediate": "TLS 1.2", "Legacy": "TLS 1.0"}

// encryption is in the words of copiers, of which each has its own.
func (c *card) encryption(l *plan.Listener) {
	version := oldest[l.TLS.Profile] + " or newer. "
	check := "Switch the certificate check off: the relay made its certificate itself"
	if len(l.TLS.Certificates) > 0 {
		check = "The copier must trust who issued the certificate, or its check be off"
	}
	set := line{Label: "Encryption", Value: "None", Note: "SSL, TLS and STARTTLS off"}
	switch l.TLS.Mode {
	case plan.TLSImplicit:
		set.Value, set.Note = "SSL/TLS", "also called SMTPS, SMTP over SSL, or TLS from the start. "+version+check
	case plan.TLSStartTLS:
		set.Value, set.Note = "STARTTLS", "also called TLS, explicit TLS, or TLS if available. "+version+check
	case plan.TLSNone, plan.TLSOpportunistic:
	}
	c.Lines = append(c.Lines, set)
}

// methods are SASL mechanisms as copiers call them.
var methods = map[string]string{"PLAIN": "PLAIN", "LOGIN": "LOGIN", "CRAM-MD5": "CRAM-MD5"}

func (c *card) login(l *plan.Listener) {
	if l.Auth.Mode == plan.AuthNone {
		c.Lines = append(c.Lines, line{Label: "Login (SMTP AUTH)", Value: "Off", Note: "no user name, no password"})
		return
	}
	var names []string
	for _, m := range l.Auth.Mechanisms {
		if methods[m] != "" {
			names = append(names, methods[m])
		}
	}
	value, note := "On", "user name and password from your administrator, who has them in the Secret "+l.Auth.Secret+". Method: "+strings.Join(names, ", ")+", or automatic"
	if l.Auth.Mode == plan.AuthOptional {
		value = "On, if this copier has a login"
	}
	if !l.Auth.Plaintext && l.TLS.Mode != plan.TLSImplicit {
		note += ". Only with encryption"
	}
	c.Lines = append(c.Lines, line{Label: "Login (SMTP AUTH)", Value: value, Note: note})
}

// maxShown senders or recipients are on a card.
const maxShown = 6

func (c *card) addresses(p *plan.Plan) {
	var from, to []envelope.Pattern
	anyFrom, anyTo := false, false
	for r := range rules(p) {
		if r.Action == policy.Reject {
			continue
		}
		from, to = append(from, r.Senders.Allowed...), append(to, r.Recipients.Allowed...)
		anyFrom = anyFrom || len(r.Senders.Allowed) == 0 || r.Senders.Rewrite
		anyTo = anyTo || len(r.Recipients.Allowed) == 0
	}
	c.Lines = append(c.Lines,
		lineOf("Sender address (From)", anyOf(from, anyFrom), "the copier's own address; some menus call it device or administrator e-mail"),
		lineOf("May send to", anyOf(to, anyTo), "what holds for this copier, the rules say"))
}

func lineOf(label string, list []string, note string) line {
	return line{label, strings.Join(list, ", "), note, list}
}

func orAny(list []envelope.Pattern) string { return strings.Join(anyOf(list, false), ", ") }

// anyOf are patterns for people; all: some may use any address.
func anyOf(list []envelope.Pattern, all bool) []string {
	switch {
	case len(list) == 0:
		return []string{"any address"}
	case all:
		return append(patternList(list), "some copiers any address")
	}
	return patternList(list)
}

func patterns(list []envelope.Pattern) string { return strings.Join(patternList(list), ", ") }

func patternList(list []envelope.Pattern) (out []string) {
	for _, p := range list {
		if s := strings.Replace(p.String(), "*@", "anything@", 1); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) > maxShown {
		out = append(out[:maxShown], fmt.Sprintf("and %d more", len(out)-maxShown))
	}
	return out
}

// rules are all of a plan that count, in their order.
func rules(p *plan.Plan) func(func(*policy.Rule) bool) {
	return func(yield func(*policy.Rule) bool) {
		for i := range p.Policies {
			for k := range p.Policies[i].Rules {
				if !p.Policies[i].DryRun && !yield(&p.Policies[i].Rules[k]) {
					return
				}
			}
		}
	}
}

func rulesOf(p *plan.Plan) (out []ruleRow) {
	for i := range p.Policies {
		for k := range p.Policies[i].Rules {
			r := &p.Policies[i].Rules[k]
			row := ruleRow{
				Name: r.Policy + "/" + r.Name, Action: actions[r.Action], DryRun: p.Policies[i].DryRun,
				Who: whoOf(&r.Match), From: orAny(r.Senders.Allowed), To: orAny(r.Recipients.Allowed),
			}
			if r.Senders.Rewrite {
				row.From += "; others are replaced"
			}
			if r.Action == policy.Reject {
				row.From, row.To = "", ""
			}
			var needs []string
			if r.Connection.TLSRequired || r.Connection.MinimumTLS != 0 {
				needs = append(needs, "encryption")
			}
			if r.Connection.Authenticated {
				needs = append(needs, "login")
			}
			row.Needs = strings.Join(needs, ", ")
			out = append(out, row)
		}
	}
	return out
}

var actions = map[policy.Action]string{policy.Allow: "sends", policy.Reject: "is refused", policy.Hold: "is held for release"}

func whoOf(m *policy.Match) string {
	var parts []string
	if len(m.Networks) > 0 {
		var list []string
		for _, n := range m.Networks {
			list = append(list, n.String())
		}
		parts = append(parts, "from "+strings.Join(list, ", "))
	}
	if len(m.Users) > 0 {
		parts = append(parts, "logged in as "+strings.Join(m.Users, ", "))
	}
	if len(m.Senders) > 0 {
		parts = append(parts, "as "+patterns(m.Senders))
	}
	return strings.Join(parts, ", ")
}

// text is the card as the QR code has it: a phone shows it, beside the copier.
func (c *card) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", c.Name, c.Listener)
	for _, l := range c.Lines {
		fmt.Fprintf(&b, "%s: %s\n", l.Label, l.Value)
	}
	return b.String()
}

// qrCode is a QR code as an SVG path, of squares with a side of 1.
type qrCode struct {
	Size int // with the quiet zone that a scanner needs; 0: what is to be said is too long
	Path string
}

const quiet = 4

func qrOf(text string) qrCode {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return qrCode{}
	}
	n := code.Bounds().Dx()
	var b strings.Builder
	dark := func(x, y int) bool { r, _, _, _ := code.At(x, y).RGBA(); return r == 0 }
	for y := range n {
		for x := 0; x < n; x++ {
			width := 0
			for x+width < n && dark(x+width, y) {
				width++
			}
			if width > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, width, width)
				x += width
			}
		}
	}
	return qrCode{Size: n + 2*quiet, Path: b.String()}
}

// megabytes is a size as copiers ask for it.
func megabytes(n int64) string {
	switch {
	case n <= 0:
		return "no limit"
	case n < 1<<20:
		return fmt.Sprintf("%d kB", n>>10)
	}
	return fmt.Sprintf("%d MB", n>>20)
}
