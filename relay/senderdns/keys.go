package senderdns

import (
	"strings"
)

// tags reads a list of tag=value (RFC 6376 3.2, RFC 7489 6.4): white space
// around them does not count. ok is false where it is none, or names a tag twice.
func tags(s string) (map[string]string, bool) {
	out := map[string]string{}
	parts := strings.Split(s, ";")
	for i, part := range parts {
		if strings.TrimSpace(part) == "" {
			if i == len(parts)-1 {
				break
			}
			return out, false
		}
		name, value, found := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		if _, twice := out[name]; !found || name == "" || twice {
			return out, false
		}
		out[name] = strings.TrimSpace(value)
	}
	return out, len(out) > 0
}

// publicKey is what a DKIM record says of its key: algorithm and octets in
// base64, without white space.
func publicKey(t map[string]string) (kind, p string) {
	kind = strings.ToLower(t["k"])
	if kind == "" {
		kind = "rsa"
	}
	return kind, strings.TrimRight(strings.Join(strings.Fields(t["p"]), ""), "=")
}

// isKey tells whether a TXT value is a DKIM record (RFC 6376 3.6.1).
func isKey(txt string) bool {
	t, ok := tags(txt)
	_, p := t["p"]
	return ok && p && (t["v"] == "" || t["v"] == "DKIM1")
}

// key compares a DKIM record by what it means.
func key(n *Need, txts []string) Record {
	observed := joined(txts)
	found := only(txts, isKey)
	switch {
	case len(txts) == 0:
		return n.missing()
	case len(found) == 0:
		return n.record(Different, observed, "it is no DKIM record: what is there was cut off, or belongs elsewhere")
	case len(found) > 1:
		return n.record(Different, observed, "there are several keys, and receivers take any of them: leave one")
	}
	have, _ := tags(found[0])
	kind, p := publicKey(have)
	want, _ := tags(n.Value)
	wantKind, wantP := publicKey(want)
	switch why := unfit(have); {
	case n.Value == "" && !n.anyKey:
		return n.record(Unknown, observed, n.Hint)
	case n.Value != "" && wantP == "":
		if p != "" {
			return n.record(Different, observed, "there is still a key")
		}
	case p == "":
		return n.record(Different, observed, "the key is withdrawn there (p= is empty)")
	case n.Value != "" && (kind != wantKind || p != wantP):
		return n.record(Different, observed, "it is another key")
	case why != "":
		return n.record(Different, observed, why)
	}
	return n.record(OK, observed, "")
}

// unfit is why a key does not do, though it is the right one.
func unfit(t map[string]string) string {
	has := func(tag, value string) bool {
		for _, v := range strings.Split(t[tag], ":") {
			if strings.EqualFold(strings.TrimSpace(v), value) {
				return true
			}
		}
		return false
	}
	switch {
	case has("t", "y"):
		return "t=y says that the domain only tries DKIM out, and receivers take its mail as not signed: publish it without"
	case t["h"] != "" && !has("h", "sha256"):
		return "h= does not allow sha256, which every signature uses: publish it without"
	case t["s"] != "" && !has("s", "*") && !has("s", "email"):
		return "s= does not allow email: publish it without"
	}
	return ""
}
