package interop

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
	"github.com/printerrelay/printer-relay/test/rig"
)

// decodes prints the parts of a message as Python's email package has them.
const decodes = `import email, hashlib, sys
for part in email.message_from_bytes(open(sys.argv[1], "rb").read()).walk():
    if not part.is_multipart():
        print(part.get_content_type(), hashlib.sha256(part.get_payload(decode=True)).hexdigest())`

// A Postfix that takes no 8-bit text gets what a device sent in 7-bit text, signed as
// it arrives, and what is in it is the same by Python's standard library.
func TestEightBitForAServerWithout8BITMIME(t *testing.T) {
	t.Parallel()
	mx, k := postfix.Start(t, postfix.Options{Extra: "smtpd_discard_ehlo_keywords = 8bitmime\nstrict_8bitmime_body = yes\n"}), newKeys(t)
	r := startRelay(t, head+"  upstreamRef: {name: both}\n"+signing("both", mx.Port, "both.example", "both")+k.secret(t, "both", "both.example", "rsa.pem", "ed25519.pem"), "CLEAR")
	const text = "Gr\xc3\xbc\xc3\x9fe vom Drucker, \xe2\x82\xac 5 = f\xc3\xbcnf  \r\n.\r\nEnde"
	pdf := "%PDF-1.4\r\n\xff\xfe\r\n%%EOF"
	mail := "From: <" + sender + ">\r\nTo: it@corp.example\r\nSubject: Scan\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xyz\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		"--xyz\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + strings.Replace(text, "\r\n.", "\r\n..", 1) +
		"\r\n--xyz\r\nContent-Type: application/pdf; name=\"Pr\xc3\xbcfung.pdf\"\r\nContent-Transfer-Encoding: binary\r\n\r\n" + pdf + "\r\n--xyz--"
	if got := rig.Connect(t, r.ports["CLEAR"]).Send(sender, []string{"it@corp.example"}, mail); !strings.HasPrefix(got, "250 ") {
		t.Fatal(got)
	}
	raw := onWire(mx.MailFor(t, "it@corp.example"))
	if i := bytes.IndexFunc(raw, func(c rune) bool { return c > '~' }); i >= 0 {
		t.Errorf("8-bit text arrived: %q", raw[i:min(i+40, len(raw))])
	}
	k.want(t, raw, "both.example", 2)
	file := filepath.Join(t.TempDir(), "mail.eml")
	env.WriteFile(t, file, string(raw))
	want := fmt.Sprintf("text/plain %x\napplication/pdf %x\n", sha256.Sum256([]byte(text)), sha256.Sum256([]byte(pdf)))
	if got := env.MustRun(t, "", "/usr/bin/python3", "-c", decodes, file); got != want {
		t.Errorf("Python decodes\n%s\nwant\n%s\n%s", got, want, raw)
	}
}
