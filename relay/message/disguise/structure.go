package disguise

import "strings"

// structure is parts that some programs find elsewhere.
var structure = map[string]string{
	"two types":                          Mixed("Content-Type: text/plain\nContent-Type: application/x-msdownload; name=evil.exe\n\nMZ\n"),
	"two types, back":                    Mixed("Content-Type: application/x-msdownload; name=evil.exe\nContent-Type: text/plain\n\nMZ\n"),
	"two types on top":                   From + "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n--b\n" + Exe + "--b--\n",
	"a header behind an empty line":      Mixed("\n" + Exe),
	"a header behind two empty lines":    Mixed("\n\n" + Exe),
	"a header behind a blank line":       Mixed(" \n" + Exe),
	"a header behind a fold":             Mixed("\t\n" + Exe),
	"a header behind text":               Mixed("hello\n" + Exe),
	"a header behind a mailbox line":     Mixed("From a@b Thu Jan  1 00:00:00 1970\n" + Exe),
	"a header behind a quoted one":       Mixed(">From a@b\n" + Exe),
	"a header in the body":               From + "\n\n" + Exe,
	"a header in the preamble":           From + "Content-Type: multipart/mixed; boundary=b\n\n" + Exe + "--b\n\nx\n--b--\n",
	"a header in the epilogue":           Mixed("\nx\n") + Exe,
	"a header in a text":                 Mixed("Content-Type: text/plain\n\nhello\n\n--c\n" + Exe),
	"a header in a text, in base64":      Mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + Wrapped("hello\r\n\r\n"+Exe) + "\n"),
	"a header in a PDF":                  Mixed("Content-Type: application/pdf\n\n%PDF-1.4\n--c\n" + Exe),
	"a header in a text, no colon":       Mixed("\nContent-Type application/hta; name=evil.hta\n\n<script>\n"),
	"a header in a text, a colon later":  Mixed("\nContent-Type; x=y: application/hta\n\n<script>\n"),
	"a header in a text, not at once":    Mixed("X: y\n\nhelloContent-Type: application/hta; name=evil.hta\n\n<script>\n"),
	"a header in a text, in two lines":   Mixed("\nX: y\nContent-Disposition\n\t: attachment; filename=evil.hta\n\n<script>\n"),
	"a header in a text, anywhere":       Mixed("\n>> Content-Type\n\tapplication/hta; name=evil.hta\n\n<script>\n"),
	"a header in a text, both":           Mixed("\nbContent-Type application/hta; name=evil.hta\n\n<script>\n"),
	"a field that goes on, no semicolon": Mixed("Content-Type: application/pdf; name=a.pdf\nContent-Disposition: att\nX: y; filename=evil.hta\n\n%PDF-1.4\n"),
	"a field that ends in another":       Mixed("X-Content-Type: application/hta; name=evil.hta\n\n<script>\n"),
	"a field that goes on":               Mixed("Content-Type2: application/hta; name=evil.hta\n\n<script>\n"),
	"a field in an encoded word":         Mixed("Content=?utf-8?q?-Type: application/hta; name=evil.hta\n\n<script>\n"),
	"a field that the next goes on":      Mixed("Content-Type: application/pdf;\nX: name=evil.hta\n\n%PDF-1.4\n"),
	"a quote that does not end":          Mixed("X: \"\n\nhello Content-Type: application/hta; name=\"evil.hta\"\n\n<script>\n"),
	"an empty type":                      Mixed("Content-Type:\n\n<script>\n"),
	"an empty part":                      From + "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b--\n",
	"nothing behind a boundary":          From + "Content-Type: multipart/mixed; boundary=b\n\n--b\n",
	"a header in the body at once":       From + "\n" + Exe,
	"a message that begins blank":        Mixed("Content-Type: message/rfc822\n\n\n" + Exe),
	"a message that begins with text":    Mixed("Content-Type: message/rfc822\n\nhello\n" + Exe),
	"a message with a mailbox line":      Mixed("Content-Type: message/rfc822\n\nFrom a@b Thu Jan  1 00:00:00 1970\n" + Exe),
	"a message in a message":             Mixed("Content-Type: message/rfc822\n\nContent-Type: message/rfc822\n\nSubject: x\n" + Exe),
	"a multipart in a message":           Mixed("Content-Type: message/rfc822\n\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=c\n\n--c\n" + Exe + "--c--\n"),
	"a message of news":                  Mixed("Content-Type: message/news\n\nSubject: x\n" + Exe),
	"a message in global form":           Mixed("Content-Type: message/global\n\nSubject: x\n" + Exe),
	"a message of no kind":               Mixed("Content-Type: message/x-mine\n\nSubject: x\n" + Exe),
	"a part of a message":                From + "Content-Type: message/partial; id=\"x@y\"; number=1; total=2\n\nSubject: x\n" + Exe,
	"a body that is elsewhere":           From + "Content-Type: message/external-body; access-type=URL; URL=\"http://example.test/evil.exe\"\n\nContent-Type: application/pdf\n\n",
	"no MIME version that is known":      "From: a@b.example\nMIME-Version: 7.0\nContent-Type: application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\n#35H`\n`\nend\n",
	"two MIME versions":                  "From: a@b.example\nMIME-Version: 1.0\nMIME-Version: 9.9\nContent-Type: application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\n#35H`\n`\nend\n",
	"an inner message without MIME":      Mixed("Content-Type: message/rfc822\n\nContent-Type: application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\n#35H`\n`\nend\n"),
	"a page behind the text":             From + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nhello\n--b\nContent-Type: text/html\n\n<form action=\"http://example.test/\">\n--b--\n",
	"a page behind a page":               From + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>hello\n--b\nContent-Type: text/html\n\n<form action=\"http://example.test/\">\n--b--\n",
	"a page behind an alternative":       From + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/plain\n\nhello\n--c--\n--b\nContent-Type: text/html\n\n<form>\n--b--\n",
	"a page that is related":             From + "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>hello\n--b\nContent-Type: text/html\nContent-ID: <1>\n\n<form>\n--b--\n",
	"a page as an attachment":            Mixed("Content-Type: text/html\nContent-Disposition: attachment\n\n<form>\n"),
	"a page with a name":                 Mixed("Content-Type: text/html; name=a.html\n\n<form>\n"),
	"a page behind a message":            From + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nSubject: x\n\nhello\n--b\nContent-Type: text/html\n\n<form>\n--b--\n",
	"nested too deeply":                  From + nested(9),
	"messages nested too deeply":         From + "Content-Type: message/rfc822\n\n" + strings.Repeat("Content-Type: message/rfc822\n\n", 200) + Exe,
	"a header that is too large":         Mixed(strings.Repeat("X: "+strings.Repeat("x", 900)+"\n", 20) + Exe),
	"a header of one endless line":       Mixed("X: " + strings.Repeat("x", 20000) + "\n" + Exe),
	"an appended message":                Mixed("\nx\n") + "Content-Type: multipart/mixed; boundary=c\n\n--c\n" + Exe + "--c--\nbegin 644 evil.exe\nM\nend\n",
	"a field behind a tab":               Mixed("Content-Type\t: application/x-msdownload; name=evil.exe\n\nMZ\n"),
	"a field behind a control":           Mixed("Content-Type\x0b: application/x-msdownload; name=evil.exe\n\nMZ\n"),
	"a field with a no-break space":      Mixed("Content-Type\xa0: application/x-msdownload; name=evil.exe\n\nMZ\n"),
	"a part that ends in its header":     From + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n" + strings.TrimSuffix(Exe, "\n\nMZ\n") + "\n",
	"a part without an empty line":       From + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + strings.TrimSuffix(Exe, "\n\nMZ\n") + "\n--b\n\nx\n--b--\n",
	"form data":                          From + "Content-Type: multipart/form-data; boundary=b\n\n--b\nContent-Disposition: form-data; name=x; filename=evil.exe\n\nMZ\n--b--\n",
	"a report":                           From + "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nx\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nContent-Type: application/hta\n\n<script>\n--b--\n",
	"something encrypted":                From + "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\n\n--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b\nContent-Type: application/octet-stream\n\n-----BEGIN PGP MESSAGE-----\n--b--\n",
	"something signed, opaque":           From + "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\n" + Wrapped("0\x80\x06\x09") + "\n",
	"Outlook's own format":               Mixed("Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n" + Wrapped("\x78\x9f\x3e\x22") + "\n"),
	"Outlook's own format, as a PDF":     Mixed("Content-Type: application/pdf; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n" + Wrapped("\x78\x9f\x3e\x22") + "\n"),
	"a file of two forks":                Mixed("Content-Type: multipart/appledouble; boundary=c\n\n--c\nContent-Type: application/applefile; name=evil\n\nx\n--c\nContent-Type: application/octet-stream; name=evil.exe\n\nMZ\n--c--\n"),
}

// nested is so many multiparts within one another.
func nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		c := string(rune('a' + i))
		b.WriteString("Content-Type: multipart/mixed; boundary=" + c + "\n\n--" + c + "\n")
	}
	return b.String() + Exe
}
