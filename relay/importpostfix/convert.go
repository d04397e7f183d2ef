package importpostfix

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
)

// Options say what the folder does not.
type Options struct {
	Name      string   // of the PrinterRelay and its SenderPolicy; default office
	Namespace string   // default: none is written
	Hostname  string   // in place of myhostname
	Users     []string // logins, which Postfix leaves to Dovecot or Cyrus
}

// Result is what came of it.
type Result struct {
	Manifests []byte // YAML, with comments that name the source
	Findings  []Finding
}

// Level says what a finding asks for.
type Level string

// The levels, the most urgent first.
const (
	Open    Level = "open"     // Postfix lets everybody send; it was not carried
	Weaker  Level = "weaker"   // Postfix checks more, of content for instance
	Decide  Level = "decide"   // what Postfix decides here is refused, until somebody writes a rule
	Create  Level = "create"   // a Secret or a name that only you have
	Differs Level = "differs"  // it works otherwise from now on
	LeftOut Level = "left out" // there is no counterpart
	NoNeed  Level = "no need"  // it is about how Postfix itself runs
)

var urgency = []Level{Open, Weaker, Decide, Create, Differs, LeftOut, NoNeed}

// Finding is one thing that was not carried, or not as it was.
type Finding struct {
	Level     Level  `json:"level"`
	Parameter string `json:"parameter"`
	Value     string `json:"value"`
	Where     string `json:"where"`
	Why       string `json:"why"`
	Remedy    string `json:"remedy"`
}

// converter is one conversion on its way.
type converter struct {
	*config
	options  Options
	services []service
	listen   []service
	taken    map[string]bool // parameters that something was made of, or said about
	tables   map[string]table
	gathered map[string]bool // tables whose keys tell clients apart
	noNull   bool
	findings []Finding
	said     map[Finding]bool
	upstream map[string]*upstream
	order    []string // names of upstreams
	secrets  []secretHint
}

// Import converts the Postfix configuration in fsys: main.cf, master.cf and the
// tables that they name.
func Import(fsys fs.FS, o Options) (*Result, error) {
	main, err := readMain(fsys)
	if err != nil {
		return nil, err
	}
	o.Name = cmp.Or(o.Name, "office")
	c := &converter{
		config: main, options: o, taken: map[string]bool{}, tables: map[string]table{}, gathered: map[string]bool{},
		said: map[Finding]bool{}, upstream: map[string]*upstream{},
	}
	if c.services, err = readMaster(main); err != nil {
		return nil, err
	}
	c.listen = listens(c.services)
	if inner, ok := behindPostscreen(c.services); ok {
		for i, s := range c.listen {
			if s.command == "postscreen" {
				c.note(LeftOut, "postscreen", s.name, s.where(), "the relay has no postscreen: clients that no rule names are refused at MAIL", "none")
				c.listen[i].scope = inner
			}
		}
	}
	relay := c.relay()
	ups := c.upstreams(relay)
	rules := c.policies(relay)
	c.checkRewrites(relay, rules)
	c.leftovers()
	slices.SortStableFunc(c.findings, func(a, b Finding) int {
		return slices.Index(urgency, a.Level) - slices.Index(urgency, b.Level)
	})
	text, err := c.write(relay, ups, rules)
	return &Result{Manifests: text, Findings: c.findings}, err
}

// take notes that a parameter was made something of.
func (c *converter) take(names ...string) {
	for _, n := range names {
		c.taken[n] = true
	}
}

// note adds a finding, once, and takes the parameter.
func (c *converter) note(level Level, parameter, value, where, why, remedy string) {
	c.take(parameter)
	if secretive[parameter] {
		value = "(not shown)"
	}
	f := Finding{level, parameter, oneLine(value, 200), where, oneLine(why, 400), oneLine(remedy, 400)}
	if !c.said[f] {
		c.said[f] = true
		c.findings = append(c.findings, f)
	}
}

// secretive are parameters whose value may hold a password.
var secretive = map[string]bool{"smtp_sasl_password_maps": true, "lmtp_sasl_password_maps": true}

// oneLine makes text safe to print: one line, no control characters, at most n.
func oneLine(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}

// lookup reads a table once.
func (c *converter) lookup(name string) table {
	t, ok := c.tables[name]
	if !ok {
		t = c.table(name)
		c.tables[name] = t
	}
	return t
}

// effective gives the parameter's value and where it stands, and takes it.
func (c *converter) effective(s scope, name string) (value, where string) {
	c.take(name)
	return s.get(name), s.where(name)
}

// leftovers says of every parameter that is set and that nothing was made of why.
func (c *converter) leftovers() {
	said := map[string]bool{}
	look := func(s scope, name string, v setting) {
		value := s.expand(v.value)
		if c.taken[name] || said[name+v.where()] {
			return
		}
		said[name+v.where()] = true
		if d, ok := defaults[name]; ok && words2(s.expand(d)) == words2(value) {
			return
		}
		if _, known := defaults[name]; !known && c.seen[name] && dispositionOf(name).why == "" {
			return // a name of the administrator's own, expanded where it is used
		}
		d := dispositionOf(name)
		level := d.level
		if d.why == "" {
			level, d.why, d.remedy = LeftOut, "the relay has no such setting", "look in docs/reference/api.md for what it was meant to do"
		}
		c.findings = append(c.findings, Finding{level, name, shown(name, value), v.where(), d.why, d.remedy})
	}
	for _, name := range sortedKeys(c.main) {
		look(c.scope(), name, c.main[name])
	}
	for _, s := range c.services {
		for _, name := range sortedKeys(s.scope.over) {
			look(s.scope, name, s.scope.over[name])
		}
	}
}

func shown(name, value string) string {
	if secretive[name] {
		return "(not shown)"
	}
	return oneLine(value, 200)
}

// words2 is a value without what commas and white space do not say.
func words2(s string) string { return strings.Join(words(s), " ") }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// dnsLabel makes a name of Kubernetes' of text.
func dnsLabel(s string, n int) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(s))
	out = strings.Trim(out, "-")
	if len(out) > n {
		out = strings.Trim(out[:n], "-")
	}
	return cmp.Or(out, "mail")
}

// unique makes name differ from those that used has.
func unique(name string, used map[string]bool) string {
	out := name
	for i := 2; used[out]; i++ {
		out = fmt.Sprintf("%s-%d", name, i)
	}
	used[out] = true
	return out
}
