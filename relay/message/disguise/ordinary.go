package disguise

import (
	"encoding/base64"
	"strings"
)

// ordinary is what copiers and people send.
var ordinary = map[string]string{
	"text only":              From + "\nhello\n",
	"a scan":                 From + "Content-Type: multipart/mixed; boundary=\"----=_Part_0\"\n\nThis is a multi-part message.\n------=_Part_0\nContent-Type: text/plain; charset=utf-8\n\nScan\n------=_Part_0\nContent-Type: application/pdf; name=scan.pdf\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=scan.pdf\n\n" + PDF + "\n------=_Part_0--\n",
	"a name in UTF-8":        From + "Content-Type: application/pdf; name=\"=?utf-8?b?QsO8cm8ucGRm?=\"\nContent-Disposition: attachment; filename*=utf-8''B%C3%BCro.pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"a name in pieces":       From + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*0*=utf-8''B%C3%BC; filename*1=ro.pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"a name in Latin-1":      From + "Content-Type: application/pdf; name=\"=?iso-8859-1?Q?B=FCro.pdf?=\"\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"a name in Shift_JIS":    From + "Content-Type: application/pdf; name=\"=?shift_jis?B?g1iDTYODg5MucGRm?=\"\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"octet-stream":           From + "Content-Type: application/octet-stream; name=scan.pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"alternative in mixed":   From + "Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/alternative; boundary=inner\n\n--inner\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nhello =E4\n--inner\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("<p>hello</p>\n")) + "\n--inner--\n\n--outer\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n--outer--\n\n",
	"dashes in the text":     From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\n-- \nregards\n--\n---- Forwarded ----\nbegin with that\n--b0--\n",
	"space at the boundary":  From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0 \n\nx\n--b0-- \n",
	"a forwarded message":    From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: message/rfc822; name=\"Re: scan.eml\"\n\nSubject: x\n\nhello\n--b0--\n",
	"a name by RFC 2231":     From + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*=iso-8859-1'de'B%FCro.pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"the same in pieces":     From + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*0*=windows-1252''B%FCro; filename*1*=%20%2D; filename*2=1.pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"a name in windows-1252": From + "Content-Type: application/pdf; name=\"=?windows-1252?Q?B=FCro.pdf?=\"\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"a raw name in a part":   From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: application/pdf;\n\tname=\"B\xfcro\n\t1.pdf\"\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n--b0--\n",
	"a PDF behind a BOM":     From + "Content-Type: application/pdf\n\n\n \xef\xbb\xbf%PDF-1.4\n",
	"a PDF late in base64":   From + "Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + Wrapped(strings.Repeat(" \n", 500)+"%PDF-1.4\n"+strings.Repeat("x", 9000)) + "\n",
	"a PDF with dashes":      From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: application/pdf\n\n%PDF-1.4\n--\nbegin x\n--b0--\n",
	"a TIFF and a JPEG":      From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: image/tif; name=1.tif\nContent-Transfer-Encoding: base64\n\n" + Wrapped("II*\x00\x08\x00\x00\x00") + "\n--b0\nContent-Type: image/jpeg; name=1.JPG\nContent-Transfer-Encoding: base64\n\n" + Wrapped("\xff\xd8\xff\xe0\x00\x10JFIF") + "\n--b0--\n",
	"related in alternative": From + "Content-Type: multipart/alternative; boundary=\"=_a\"\n\n--=_a\nContent-Type: text/plain; charset=us-ascii (Plain text)\n\nx\n--=_a\nContent-Type: multipart/related; type=\"text/html\";\n boundary=\"=_b\"\n\n--=_b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p class=3D\"x\">y=\n</p>=20\nbegin with 3 words =3D 1 =\n2\n--=_b\nContent-Type: image/jpeg; name=\"logo.jpg\"\nContent-ID: <1>\nContent-Disposition: inline; filename=\"logo.jpg\"\nContent-Transfer-Encoding: base64\n\n" + Wrapped("\xff\xd8\xff\xe0\x00\x10JFIF") + "\n--=_b--\n--=_a--\n",
	"text in base64":         From + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + Wrapped(strings.Repeat("hello\r\n", 50)) + "\n\n",
	"a boundary of Domino":   From + "Content-Type: multipart/mixed; boundary=\"=_mixed 004A1C2DC1257F2B_=\"\n\n--=_mixed 004A1C2DC1257F2B_=\nContent-Type: multipart/alternative; boundary=\"=_alternative 004A1C2FC1257F2B_=\"\n\n--=_alternative 004A1C2FC1257F2B_=\nContent-Type: text/plain\n\nx\n--=_alternative 004A1C2FC1257F2B_=\nContent-Type: text/html\n\n<p>x\n--=_alternative 004A1C2FC1257F2B_=--\n--=_mixed 004A1C2DC1257F2B_=\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n--=_mixed 004A1C2DC1257F2B_=--\n",
	"a description":          From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Description: Scan of 3.11. and v1.2\nContent-Type: application/pdf; name=a.pdf\nContent-Description: Scan.pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n--b0--\n",
	"a name with a time":     From + "Content-Type: application/pdf; name=\"Scan 12:30.pdf\"\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n",
	"a page and a logo":      From + "Content-Type: multipart/related; boundary=b0\n\n--b0\nContent-Type: text/html\n\n<img src=\"logo.jpg\">\n--b0\nContent-Type: image/jpeg\nContent-Location: logo.jpg\nContent-Transfer-Encoding: base64\n\n" + Wrapped("\xff\xd8\xff\xe0\x00\x10JFIF") + "\n--b0--\n",
	"a page and a scan":      From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: text/html\n\n<p>x\n--b0\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + PDF + "\n--b0--\n",
	"an encrypted PDF":       From + "Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n" + Wrapped("%PDF-1.7\n1 0 obj<</Filter/Standard/V 5/R 6>>endobj\ntrailer<</Encrypt 1 0 R>>\n") + "\n",
	"one long line":          From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\n" + strings.Repeat("begin with x-- ", 3000) + "\n--b0\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("%PDF-1.4\n"+strings.Repeat("x", 90000))) + "\n--b0--\n",
	"a page in a message":    From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\nx\n--b0\nContent-Type: message/rfc822\n\nContent-Type: text/html\n\n<p>x\n--b0--\n",
	"a Japanese text":        From + "Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B%9%-%c%s\x1b(B\nbegin\n",
	"an open end":            From + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\nx\n",
}
