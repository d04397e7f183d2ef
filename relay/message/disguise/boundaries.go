package disguise

import "strings"

// boundaries are messages whose parts begin elsewhere for some programs.
var boundaries = map[string]string{
	"a boundary in angle brackets":           bounded(`"<zz>"`, "<zz>", "zz"),
	"a boundary in single quotes":            bounded(`'zz'`, "'zz'", "zz"),
	"a boundary in single quotes, quoted":    bounded(`"'zz'"`, "'zz'", "zz"),
	"a boundary with a semicolon":            bounded(`"zz;yy"`, "zz;yy", "zz"),
	"a boundary with a semicolon, cut":       bounded(`"zz;yy"`, "zz;yy", `"zz`),
	"a boundary with a comma":                bounded(`"zz,yy"`, "zz,yy", "zz,"),
	"a boundary with a comment in quotes":    bounded(`"zz(x)"`, "zz(x)", "zz"),
	"a boundary with a space":                bounded(`"zz yy"`, "zz yy", "zz"),
	"a boundary in an encoded word":          bounded(`"=?us-ascii?q?zz?="`, "=?us-ascii?q?zz?=", "zz"),
	"a boundary in percent":                  bounded(`"%7A%7A"`, "%7A%7A", "zz"),
	"a boundary that is folded":              bounded("\"zz\n yy\"", "zz yy", "zzyy"),
	"a boundary behind a fold":               bounded("\"zz\n\tyy\"", "zz\tyy", "zz yy"),
	"a boundary with a vertical tab":         bounded("zz\x0b", "zz", "zz\x0b"),
	"a boundary with a form feed":            bounded("zz\x0c", "zz", "zz\x0c"),
	"a boundary with a no-break space":       inner("zz\xc2\xa0", "zz", "zz\xc2\xa0"),
	"a boundary with a next-line":            inner("zz\xc2\x85", "zz", "zz\xc2\x85"),
	"a boundary twice":                       bounded("zz; boundary=yy", "zz", "yy"),
	"a boundary twice, other case":           bounded("zz; Boundary=yy", "zz", "yy"),
	"a boundary twice, the first empty":      bounded("; boundary=zz", "zz", "yy"),
	"a boundary without an end quote":        bounded(`"zz`, "zz", `"zz`),
	"a boundary with a quote inside":         bounded(`zz"yy`, `zz"yy`, "zz"),
	"a boundary with two strings":            bounded(`"zz""yy"`, "zz", "zzyy"),
	"a boundary in a name":                   From + "Content-Type: multipart/mixed; name=\"x; boundary=yy\"; boundary=zz\n\n--zz\n\nx\n--zz--\n--yy\n" + Exe + "--yy--\n",
	"a boundary in a comment before":         From + "Content-Type: multipart/mixed (; boundary=yy); boundary=zz\n\n--zz\n\nx\n--yy\n" + Exe + "--yy--\n--zz--\n",
	"a boundary with a space ahead of =":     From + "Content-Type: multipart/mixed; boundary =zz\n\n--zz\nContent-Type: text/plain\n\nx\n--zz--\n",
	"a boundary in the disposition":          Mixed("Content-Type: text/plain\nContent-Disposition: inline; boundary=yy\n\nx\n--yy\n" + Exe + "--yy--\n"),
	"a boundary at a plain text":             From + "Content-Type: text/plain; boundary=zz\n\nx\n--zz\n" + Exe + "--zz--\n",
	"a boundary at a PDF":                    From + "Content-Type: application/pdf; boundary=zz\n\n%PDF-1.4\n--zz\n" + Exe + "--zz--\n",
	"a boundary at a plain text, inside":     Mixed("Content-Type: text/plain; boundary=zz\n\nx\n--zz\n" + Exe + "--zz--\n"),
	"a boundary at a message":                Mixed("Content-Type: message/rfc822; boundary=zz\n\nSubject: x\n\nx\n--zz\n" + Exe + "--zz--\n"),
	"a boundary before the type":             From + "Content-Type: boundary=zz; multipart/mixed\n\n--zz\n" + Exe + "--zz--\n",
	"a boundary without a type":              From + "Content-Type: ; boundary=zz\n\n--zz\n" + Exe + "--zz--\n",
	"a boundary and half a type":             From + "Content-Type: multipart; boundary=zz\n\n--zz\n" + Exe + "--zz--\n",
	"a boundary and no subtype":              From + "Content-Type: multipart/; boundary=zz\n\n--zz\n" + Exe + "--zz--\n",
	"a boundary without a semicolon":         From + "Content-Type: multipart/mixed boundary=zz\n\n--zz\n" + Exe + "--zz--\n",
	"a boundary behind a comma":              From + "Content-Type: multipart/mixed, boundary=zz\n\n--zz\n" + Exe + "--zz--\n",
	"a boundary with a colon for =":          From + "Content-Type: multipart/mixed; boundary:zz\n\n--zz\n" + Exe + "--zz--\n",
	"a boundary in a second field":           From + "Content-Type: multipart/mixed\nContent-Type: multipart/mixed; boundary=zz\n\n--zz\n" + Exe + "--zz--\n",
	"no boundary":                            From + "Content-Type: multipart/mixed\n\n--zz\n" + Exe + "--zz--\n",
	"an empty boundary":                      From + "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n" + Exe + "----\n",
	"a boundary of a kilobyte":               bounded(strings.Repeat("z", 1000), strings.Repeat("z", 1000), "zz"),
	"a boundary that begins as another does": From + "Content-Type: multipart/mixed; boundary=zz\n\n--zz\nContent-Type: multipart/mixed; boundary=zzz\n\n--zzz\n\nx\n--zzz--\n--zz\n" + Exe + "--zz--\n",
	"an inner multipart that does not end":   Mixed("Content-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--b\nContent-Type: application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\nM\nend\n"),
	"a boundary in a long line":              From + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("x", 998) + "--b" + strings.Repeat(" ", 995) + "Content-Type: application/x-msdownload; name=evil.exe\n--b--\n",
	"a boundary deep in a long line":         From + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("x", 40000) + "--b" + strings.Repeat("x", 40000) + "\n--b--\n",
	"a field in a long line":                 Mixed("X: " + strings.Repeat("x", 995) + "Content-Type: application/x-msdownload; name=evil.exe\n\nMZ\n"),
	"a field in a long line on top":          From + "X: " + strings.Repeat("x", 995) + "Content-Type: application/x-msdownload; name=evil.exe\n\nMZ\n",
	"uuencode in a long line":                Mixed("\n" + strings.Repeat("x", 998) + "begin 644 evil.exe\nM\nend\n"),
	"a boundary in base64 that is text":      From + "Content-Type: multipart/mixed; boundary=aGVsbG8\nContent-Transfer-Encoding: base64\n\n--aGVsbG8\n" + Exe + "--aGVsbG8--\n",
}

// bounded has a harmless part between the boundaries that one program reads, and
// another part between those that another does.
func bounded(parameter, one, other string) string {
	return From + "Content-Type: multipart/mixed; boundary=" + parameter + "\n\n--" + one + "\nContent-Type: text/plain\n\nx\n--" + other + "\n" + Exe + "--" + other + "--\n--" + one + "--\n"
}

// inner is bounded within another multipart: the header of a message is
// repaired, that of a part is not.
func inner(parameter, one, other string) string {
	return Mixed(strings.TrimPrefix(bounded(parameter, one, other), From))
}
