package message

import (
	"fmt"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// The envelope alone decides: what the header names beside it is dropped, what it
// does not name is a blind copy, nobody is there twice.
func TestPending(t *testing.T) {
	for name, c := range map[string]struct{ header, envelope, want string }{
		"as named":               {"To: A <a@x.test>\r\nCc: b@x.test\r\n", "a@x.test b@x.test", "to A/a@x.test cc /b@x.test bcc"},
		"named and not pending":  {"To: a@x.test, z@x.test\r\nCc: y@x.test\r\n", "a@x.test", "to /a@x.test cc bcc"},
		"pending and not named":  {"To: z@x.test\r\n", "a@x.test b@x.test", "to cc bcc a@x.test b@x.test"},
		"twice in the header":    {"To: a@x.test, a@x.test\r\nCc: A@X.test\r\n", "a@x.test", "to /a@x.test cc bcc"},
		"twice in the envelope":  {"", "a@x.test A@x.test", "to cc bcc a@x.test"},
		"the envelope's writing": {"To: Ann <A@X.TEST>\r\n", "a@x.test", "to Ann/a@x.test cc bcc"},
		"two fields":             {"To: a@x.test\r\nTo: b@x.test\r\n", "b@x.test a@x.test", "to /a@x.test /b@x.test cc bcc"},
		"a group":                {"To: undisclosed-recipients:;\r\n", "a@x.test", "to cc bcc a@x.test"},
		"unreadable":             {"To: <a@x.test\r\nCc: b@x.test\r\n", "a@x.test b@x.test", "to cc /b@x.test bcc a@x.test"},
		"resent":                 {"Resent-To: a@x.test\r\n", "a@x.test", "to cc bcc a@x.test"},
		"blind in the header":    {"Bcc: z@x.test\r\n", "a@x.test", "to cc bcc a@x.test"},
		"encoded name":           {"To: =?utf-8?q?J=C3=B6rg?= <a@x.test>\r\n", "a@x.test", "to Jörg/a@x.test cc bcc"},
		"quoted local part":      {"To: \"a b\"@x.test\r\n", `"a_b"@x.test`, `to cc bcc a_b@x.test`},
		"nobody":                 {"To: a@x.test\r\n", "", "to cc bcc"},
	} {
		t.Run(name, func(t *testing.T) {
			var pending []envelope.Address
			for s := range strings.FieldsSeq(c.envelope) {
				a, err := envelope.ParseAddress(s)
				if err != nil {
					t.Fatal(err)
				}
				pending = append(pending, a)
			}
			r := ParseHeader([]byte(c.header)).Pending(pending)
			got := "to"
			for _, m := range r.To {
				got += fmt.Sprintf(" %s/%s", m.Display(), m.Address)
			}
			got += " cc"
			for _, m := range r.Cc {
				got += fmt.Sprintf(" %s/%s", m.Display(), m.Address)
			}
			got += " bcc"
			for _, a := range r.Bcc {
				got += " " + a.String()
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
