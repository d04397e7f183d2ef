package privilege

import (
	"fmt"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// Advice is the narrowest permission that an upstream's vendor can give for a Need.
type Advice struct {
	Upstream string `json:"upstream"` // namespace/name
	Type     string `json:"type"`
	Need     *Need  `json:"need"`
	What     string `json:"what"`     // what the document is: "IAM policy"
	Language string `json:"language"` // of the document: json, powershell, sh, text
	Document string `json:"document"`
	// Notes are what to fill in, and what the vendor cannot narrow any further.
	Notes []string `json:"notes,omitempty"`
	// Checked tells what the present credential was found to be, and Broader where it
	// may do more than this; empty: it was not asked.
	Checked string   `json:"checked,omitempty"`
	Broader []string `json:"broader,omitempty"`
}

// For gives the advice for an upstream of the plans; false: no relay sends by it.
func For(plans []*plan.Plan, name string) (*Advice, bool) {
	n, ok := NeedOf(plans, name)
	if !ok {
		return nil, false
	}
	var u *plan.Upstream
	namespace := ""
	for _, p := range plans {
		if u == nil {
			u, namespace = p.Upstreams[name], p.Namespace
		}
	}
	a := &Advice{Upstream: namespace + "/" + name, Type: u.Type, Need: n, Notes: append([]string(nil), n.Notes...)}
	switch {
	case u.SES != nil:
		a.ses(u)
	case u.Graph != nil:
		a.graph(u)
	case u.Type == "Microsoft365":
		a.exchangeSMTP(u)
	case u.MX != nil:
		a.mx(u)
	case u.Type == "SendGrid":
		a.sendGrid(u)
	case u.Type == "Mailgun":
		a.mailgun(u)
	case u.Type == "Postmark":
		a.postmark(u)
	case u.Maildir != nil:
		a.maildir(u)
	default:
		a.smtp(u)
	}
	return a, true
}

func (a *Advice) note(format string, args ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(format, args...))
}

// Text is the advice for a person to read.
func (a *Advice) Text() string {
	w := &strings.Builder{}
	recipients := "any"
	if len(a.Need.Recipients) > 0 {
		recipients = strings.Join(a.Need.Recipients, ", ")
	}
	fmt.Fprintf(w, "MailUpstream %s (%s)\n", a.Upstream, a.Type)
	fmt.Fprintf(w, "  used by     %s\n  sends as    %s\n  sends to    %s\n", strings.Join(a.Need.Relays, ", "), strings.Join(a.Need.Senders, ", "), recipients)
	fmt.Fprintf(w, "\nThe least that its credential needs: %s\n\n%s", a.What, a.Document)
	if len(a.Notes) > 0 {
		fmt.Fprintln(w, "\nNotes")
	}
	for _, n := range a.Notes {
		fmt.Fprintf(w, "  - %s\n", n)
	}
	switch {
	case a.Checked == "":
		fmt.Fprintln(w, "\nThe present credential was not looked at: --check asks the provider.")
		return w.String()
	case len(a.Broader) == 0:
		fmt.Fprintf(w, "\nThe present credential: %s\n", a.Checked)
		return w.String()
	}
	fmt.Fprintf(w, "\nThe present credential: %s. Beyond this:\n", a.Checked)
	for _, b := range a.Broader {
		fmt.Fprintf(w, "  - %s\n", b)
	}
	return w.String()
}

// name is what things are called at the vendor.
func (a *Advice) name() string {
	_, name, _ := strings.Cut(a.Upstream, "/")
	return "printer-relay " + name
}

// domains are those of a set of patterns: "corp.example", "*.corp.example", "*".
func domains(ps patterns) []string {
	whole := make(patterns, len(ps))
	for i, p := range ps {
		whole[i] = pattern{"*", p.domain}
	}
	var out []string
	for _, p := range whole.compact() {
		out = append(out, p.domain)
	}
	return out
}

// quote is a string in single quotes, for sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// quotePS is a string in single quotes, for PowerShell.
func quotePS(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
