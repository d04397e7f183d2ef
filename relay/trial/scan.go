package trial

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// page is a PDF of one page that says what it is.
const page = `%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj
4 0 obj<</Length 62>>stream
BT /F1 24 Tf 72 720 Td (Test scan of Printer Relay) Tj ET     
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R>>
%%EOF
`

// Scan is the message, without the final dot.
func Scan(r Request, messageID string, now time.Time) string {
	body := base64.StdEncoding.EncodeToString([]byte(page))
	var lines strings.Builder
	for len(body) > 76 {
		lines.WriteString(body[:76] + "\r\n")
		body = body[76:]
	}
	lines.WriteString(body)
	return strings.ReplaceAll(fmt.Sprintf(`From: <%s>
To: <%s>
Subject: Printer Relay: test scan
Date: %s
Message-ID: %s
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="printer-relay-test"

--printer-relay-test
Content-Type: text/plain; charset=us-ascii

This is a test scan. Somebody who looks after the copiers sent it to see whether
scans arrive. There is nothing to do about it.

--printer-relay-test
Content-Type: application/pdf; name="test-scan.pdf"
Content-Disposition: attachment; filename="test-scan.pdf"
Content-Transfer-Encoding: base64

`, r.From, strings.Join(r.To, ">, <"), now.Format(time.RFC1123Z), messageID), "\n", "\r\n") +
		lines.String() + "\r\n--printer-relay-test--\r\n"
}
