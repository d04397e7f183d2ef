package importpostfix

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// table is what a lookup table holds.
type table struct {
	name    string // hash:/etc/postfix/access, as Postfix knows it
	kind    string
	entries []entry
	err     error // why it cannot be carried
}

type entry struct {
	key, value string
	network    netip.Prefix // of cidr
	not        bool         // of cidr: ! before the network
	file       string
	line       int
}

func (e entry) where() string {
	if e.file == "" {
		return "in line"
	}
	return fmt.Sprintf("%s:%d", e.file, e.line)
}

// isTable tells a table from a word: type:name.
func isTable(word string) bool {
	kind, rest, ok := strings.Cut(word, ":")
	if !ok || rest == "" || kind == "" {
		return false
	}
	for i := range len(kind) {
		if !wordByte(kind[i]) && kind[i] != '-' {
			return false
		}
	}
	return true
}

// table reads a table that has its source as text in the folder.
func (c *config) table(name string) table {
	t := table{name: name}
	kind, rest, ok := strings.Cut(name, ":")
	if !ok { // the default type
		kind, rest = c.scope().get("default_database_type"), name
	}
	for kind == "proxy" {
		kind, rest, _ = strings.Cut(rest, ":")
	}
	t.kind = kind
	switch kind {
	case "hash", "btree", "lmdb", "dbm", "sdbm", "cdb", "texthash":
		t.text(c, rest)
	case "cidr":
		t.cidr(c, rest)
	case "static":
		value := rest
		if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
			value = strings.TrimSpace(value[1 : len(value)-1])
		}
		t.entries = []entry{{value: value}}
	case "inline":
		t.inline(rest)
	case "regexp", "pcre":
		t.patterns(c, rest)
	default:
		t.err = fmt.Errorf("a table of type %s has no text to read", kind)
	}
	return t
}

// text reads lines of key and value. Keys are in lower case, as postmap makes them.
func (t *table) text(c *config, name string) {
	file, text, err := c.find(name)
	if err != nil {
		t.err = err
		return
	}
	for _, l := range lines(text) {
		key, value := cutSpace(l.text)
		t.entries = append(t.entries, entry{key: strings.ToLower(strings.Trim(key, `"`)), value: value, file: file, line: l.number})
	}
}

func cutSpace(s string) (key, value string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:])
	}
	return s, ""
}

func (t *table) inline(in string) {
	in = strings.TrimSpace(in)
	if !strings.HasPrefix(in, "{") || !strings.HasSuffix(in, "}") {
		t.err = errors.New("inline: wants { name = value, ... }")
		return
	}
	for _, w := range words(strings.ReplaceAll(strings.ReplaceAll(in[1:len(in)-1], " =", "="), "= ", "=")) {
		if strings.HasPrefix(w, "{") && strings.HasSuffix(w, "}") {
			w = strings.TrimSpace(w[1 : len(w)-1])
		}
		key, value, ok := strings.Cut(w, "=")
		if !ok {
			t.err = errors.New("inline: wants { name = value, ... }")
			return
		}
		t.entries = append(t.entries, entry{key: strings.ToLower(strings.TrimSpace(key)), value: strings.TrimSpace(value)})
	}
}

// cidr reads a cidr_table(5). Its first line that fits decides.
func (t *table) cidr(c *config, name string) {
	var err error
	file, text := "in line", ""
	if strings.HasPrefix(name, "{") { // cidr:{ {network value}, ... }
		for _, w := range words(strings.Trim(name, "{} \t") + "}") {
			text += strings.Trim(w, "{}") + "\n"
		}
	} else if file, text, err = c.find(name); err != nil {
		t.err = err
		return
	}
	for _, l := range lines(text) {
		key, value := cutSpace(strings.TrimSpace(l.text))
		switch strings.ToLower(key) {
		case "if", "endif":
			t.err = fmt.Errorf("%s:%d: if and endif cannot be carried", file, l.number)
			return
		}
		e := entry{key: key, value: value, file: file, line: l.number}
		e.not = strings.HasPrefix(key, "!")
		if e.network, err = prefix(strings.TrimPrefix(key, "!")); err != nil {
			t.err = fmt.Errorf("%s:%d: %w", file, l.number, err)
			return
		}
		t.entries = append(t.entries, e)
	}
}

// patterns reads of regexp: and pcre: tables the one form that has a meaning
// here: a single pattern that fits every address.
func (t *table) patterns(c *config, name string) {
	file, text, err := c.find(name)
	if err != nil {
		t.err = err
		return
	}
	all := lines(text)
	if len(all) == 1 {
		key, value := cutSpace(all[0].text)
		switch key {
		case "/.*/", "/.+/", "/^/", "/./", "/^.*$/", "/^.+$/", "/.+@.+/", "/.*@.*/":
			if !strings.Contains(value, "$") {
				t.kind, t.entries = "static", []entry{{value: value, file: file, line: all[0].number}}
				return
			}
		}
	}
	t.err = fmt.Errorf("%s holds regular expressions, of which the relay has none", file)
}

// prefix reads a network as Postfix writes it: 10.0.0.0/8, 10.0.0.1, [::1]/128.
func prefix(s string) (netip.Prefix, error) {
	s = strings.NewReplacer("[", "", "]", "").Replace(s)
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is no address", s)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no network", s)
	}
	return p.Masked(), nil
}

// networkKey reads a key of check_client_access with an indexed table: an address,
// or the first octets of one.
func networkKey(key string) (netip.Prefix, bool) {
	if p, err := prefix(key); err == nil && !strings.Contains(key, "/") {
		return p, true
	}
	octets := strings.Split(key, ".")
	if len(octets) > 3 {
		return netip.Prefix{}, false
	}
	for _, o := range octets {
		if o == "" || strings.Trim(o, "0123456789") != "" {
			return netip.Prefix{}, false
		}
	}
	p, err := prefix(key + strings.Repeat(".0", 4-len(octets)) + fmt.Sprintf("/%d", 8*len(octets)))
	return p, err == nil
}
