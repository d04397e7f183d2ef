package senderdns

import "strings"

// ZoneLine is the record as a line of a zone file (RFC 1035 5.1); "" where its
// value is not known.
func (r Record) ZoneLine() string {
	if r.Expected == "" {
		return ""
	}
	value := r.Expected
	switch r.Type {
	case "TXT":
		value = zoneText(value)
	case "CNAME":
		value = dotted(value)
	case "MX":
		words := strings.Fields(value)
		if len(words) == 1 {
			words = []string{"10", words[0]}
		}
		value = words[0] + " " + dotted(words[1])
	}
	return dotted(r.Name) + " 3600 IN " + r.Type + " " + value
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }

// zoneText writes a TXT value as the strings of 255 octets that it is sent in.
func zoneText(value string) string {
	const most = 255
	var out []string
	for {
		part := value[:min(len(value), most)]
		var b strings.Builder
		for _, c := range []byte(part) {
			switch {
			case c == '"' || c == '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c < ' ' || c > '~':
				b.WriteByte('\\')
				b.WriteByte('0' + c/100)
				b.WriteByte('0' + c/10%10)
				b.WriteByte('0' + c%10)
			default:
				b.WriteByte(c)
			}
		}
		out = append(out, `"`+b.String()+`"`)
		if value = value[len(part):]; value == "" {
			return strings.Join(out, " ")
		}
	}
}
