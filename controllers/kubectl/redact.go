package kubectl

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// redactor takes out of a text what is nobody else's business: always what looks like
// a credential; addresses of people and devices by stand-ins, the same one for the same
// address, so that what belongs together still shows.
type redactor struct {
	addresses bool // are replaced
	mail      map[string]string
	network   map[string]string
}

func newRedactor(addresses bool) *redactor {
	return &redactor{addresses: addresses, mail: map[string]string{}, network: map[string]string{}}
}

const removed = "REMOVED"

// credentials are what no bundle holds. The last group of each is taken out.
var credentials = []*regexp.Regexp{
	regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`),
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+`), // a JSON Web Token
	regexp.MustCompile(`\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}`),                   // bcrypt
	regexp.MustCompile(`(?:AKIA|ASIA)[A-Z0-9]{16}`),
	regexp.MustCompile(`SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`),
	regexp.MustCompile(`\bkey-[0-9a-f]{32}\b|\b[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}\b`), // Mailgun
	regexp.MustCompile(`\b[A-Za-z0-9_.~-]{3,4}8Q~[A-Za-z0-9_.~-]{30,}`),                 // client secrets of Microsoft Entra ID
	regexp.MustCompile(`\bwhsec_[A-Za-z0-9+/=_-]{16,}`),                                 // keys of webhooks
	regexp.MustCompile(`(?i)(?:bearer|basic) +[A-Za-z0-9+/_.~=-]{8,}`),
	regexp.MustCompile(`://[^/\s:@"']+:[^/\s@"']+@`), // of a URL
}

// named are fields whose value is a credential wherever they come up. Those of the
// kinds name Secrets and keys: they end in Ref, or hold an object. Quotes may be those of
// a text within a text.
var named = regexp.MustCompile(`(?i)(\\*"?\b(?:[a-z0-9]+[_-])*(?:password|passwd|pwd|secret|clientsecret|apikey|api[_-]key|private[_-]key|secretaccesskey|sessiontoken|accesskeyid|access[_-]key[_-]id|authorization|token)\\*"?\s*[:=]\s*)(\\+"[^"\\{}\[\]]+\\+"|"[^"{}\[\]]+"|'[^']+'|[^\s"'\\{}\[\],]+)`)

var (
	// A local part may be in quotes, a domain an address, and the sign between them escaped. What
	// ends at an equals sign is taken for a name in a log or a query.
	mailAddress = regexp.MustCompile(`(?:\\*"[^"\n]{1,64}"|[A-Za-z0-9.!#$%'*+/^_{|}~\x80-\x{10ffff}-]+)(?:@|%40)(?:[A-Za-z0-9\x80-\x{10ffff}](?:[A-Za-z0-9.\x80-\x{10ffff}-]*[A-Za-z0-9\x80-\x{10ffff}])?|\[[^\]\s]{1,60}\])`)
	mapped      = regexp.MustCompile(`(?i)::ffff:(\d{1,3}(?:\.\d{1,3}){3})\b`)
	ipv4        = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}\b`)
	ipv6        = regexp.MustCompile(`(?i)\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}\b`)
)

func (r *redactor) bytes(b []byte) []byte { return []byte(r.text(string(b))) }

func (r *redactor) text(s string) string {
	for _, c := range credentials {
		s = c.ReplaceAllString(s, removed)
	}
	s = named.ReplaceAllString(s, "${1}"+removed)
	if !r.addresses {
		return s
	}
	s = mailAddress.ReplaceAllStringFunc(s, r.person)
	s = ipv4.ReplaceAllStringFunc(mapped.ReplaceAllString(s, "$1"), r.device)
	return ipv6.ReplaceAllStringFunc(s, r.device)
}

// person is the stand-in of a mail address. The domain keeps what tells domains apart.
func (r *redactor) person(a string) string {
	a = strings.Replace(a, "%40", "@", 1)
	i := strings.LastIndexByte(a, '@')
	local, domain := strings.ToLower(strings.ReplaceAll(a[:i], `\`, "")), strings.ToLower(a[i+1:])
	d := standIn(r.mail, "@"+domain, "domain-%d.invalid")
	if local == "*" {
		return "*@" + d
	}
	return standIn(r.mail, local+"@"+domain, "person-%d") + "@" + d
}

// device is the stand-in of an IP address. Those that are the same everywhere stay.
func (r *redactor) device(s string) string {
	a, err := netip.ParseAddr(s)
	if err != nil || a.IsLoopback() || a.IsUnspecified() {
		return s
	}
	return standIn(r.network, a.Unmap().String(), "address-%d")
}

func standIn(of map[string]string, key, format string) string {
	if s, ok := of[key]; ok {
		return s
	}
	s := fmt.Sprintf(format, len(of)+1)
	of[key] = s
	return s
}

// useless of an object is left out: the one is of no use, the other a second copy of
// the object in one string.
var useless = []string{"managedFields", "kubectl.kubernetes.io/last-applied-configuration"}

// sensitive tells the name of a field, or of a variable, whose value is a credential.
var sensitive = regexp.MustCompile(`(?i)(password|passwd|secret|apikey|api_key|api-key|accesskey|token|credential|private)`)

// value redacts what an object holds below a field.
func (r *redactor) value(field string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		name, _ := v["name"].(string)
		for k, x := range v {
			switch {
			case slices.Contains(useless, k):
			case k == "value" && sensitive.MatchString(name): // of an environment variable
				out[k] = removed
			default:
				out[r.text(k)] = r.value(k, x)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = r.value(field, x)
		}
		return out
	case string:
		if credential(field) {
			return removed
		}
		return r.text(v)
	}
	return v
}

// credential tells a field whose own value is one, and not the name of what holds it.
func credential(field string) bool {
	switch strings.ToLower(field) {
	case "password", "passwd", "clientsecret", "apikey", "secretaccesskey", "sessiontoken", "accesskeyid", "authorization", "token":
		return true
	}
	return false
}
