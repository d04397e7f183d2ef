package suggest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const maxLeftOut = 100 // that are named in comments

// write writes what is proposed.
func write(rules []*rule, out []left, devices int, o *Options) Result {
	res := Result{Rules: len(rules), LeftOut: len(out)}
	var b strings.Builder
	asked := ""
	if o.Relay != "" {
		asked = " by relay " + o.Relay
	}
	comment(&b, "", "Proposed by printer-relay suggest on %s from %d devices that were seen%s. Review it before you apply it:", o.Now.UTC().Format(time.DateOnly), devices, asked)
	comment(&b, "", "it allows what was seen, and who was seen may have been nobody that should send.")
	for i := 0; i < len(rules); i += maxRules {
		name := cmp.Or(o.Name, "suggested")
		if i > 0 {
			name += "-" + strconv.Itoa(i/maxRules+1)
			b.WriteString("---\n")
		}
		res.Policies = append(res.Policies, name)
		policy(&b, name, rules[i:min(len(rules), i+maxRules)], o)
	}
	for _, r := range rules {
		res.Warnings += len(r.warnings)
	}
	if len(rules) == 0 {
		comment(&b, "", "There is nothing to propose.")
	}
	if len(out) > 0 {
		comment(&b, "", "No rule was made of:")
	}
	for i, l := range out {
		if i == maxLeftOut {
			comment(&b, "", "  and %d more", len(out)-i)
			break
		}
		comment(&b, "", "  %s %s: %s", l.copier.Device, quote(cmp.Or(l.copier.Name(), "no name")), l.why)
	}
	res.YAML = b.String()
	return res
}

func policy(b *strings.Builder, name string, rules []*rule, o *Options) {
	b.WriteString("apiVersion: printerrelay.dev/v1alpha1\nkind: SenderPolicy\nmetadata:\n  name: " + scalar(name) + "\n")
	if o.Namespace != "" {
		b.WriteString("  namespace: " + scalar(o.Namespace) + "\n")
	}
	b.WriteString("spec:\n")
	if o.Enforce {
		b.WriteString("  enforcement: Enforce\n")
	} else {
		comment(b, "  ", "It decides nothing yet: name it in senderPolicyRefs and look at `printer-relay copiers --dry-run`.")
		b.WriteString("  enforcement: DryRun\n")
	}
	b.WriteString("  rules:\n")
	for _, r := range rules {
		r.write(b)
	}
}

func (r *rule) write(b *strings.Builder) {
	for _, s := range r.seen {
		comment(b, "  ", "%s", s)
	}
	for _, w := range r.warnings {
		comment(b, "  ", "WARNING: %s", w)
	}
	fmt.Fprintf(b, "  - name: %s\n    match:\n", scalar(r.name))
	list(b, "      clientNetworks", r.networks)
	list(b, "      users", r.users)
	b.WriteString("    action: Allow\n")
	if r.tls != "" {
		fmt.Fprintf(b, "    connection: {tls: Required, minimumTLSVersion: %s%s}\n", scalar(r.tls), r.login())
	} else if len(r.users) > 0 {
		b.WriteString("    connection: {authentication: Required}\n")
	}
	b.WriteString("    senders:\n")
	list(b, "      allowed", r.senders)
	b.WriteString("    recipients:\n")
	list(b, "      allowed", r.recipients)
	fmt.Fprintf(b, "    rateLimit: {messagesPerMinute: %d, recipientsPerDay: %d, per: Client, exceeded: Pace}\n", min(r.perMinute, 100_000), min(r.perDay, 10_000_000))
}

func (r *rule) login() string {
	if len(r.users) == 0 {
		return ""
	}
	return ", authentication: Required"
}

func list(b *strings.Builder, key string, values []string) {
	if len(values) == 0 {
		return
	}
	b.WriteString(key + ":\n")
	indent := strings.Repeat(" ", len(key)-len(strings.TrimLeft(key, " ")))
	for _, v := range values {
		b.WriteString(indent + "- " + scalar(v) + "\n")
	}
}

// scalar writes a string as YAML reads it back: a JSON string is one.
func scalar(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// comment writes one line that no text of a device can end.
func comment(b *strings.Builder, indent, format string, a ...any) {
	text := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(fmt.Sprintf(format, a...), "?"))
	b.WriteString(indent + "# " + text + "\n")
}
