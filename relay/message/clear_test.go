package message

import (
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/message/disguise"
)

// Each of these is refused for itself, whatever else the message holds.
func TestFieldsThatProgramsReadDifferently(t *testing.T) {
	for name, tc := range map[string]struct {
		fields string
		ok     bool
	}{
		"a multipart":                       {"Content-Type: multipart/mixed; boundary=zz\r\n", true},
		"every character of a boundary":     {"Content-Type: multipart/mixed; boundary=\"=_a'b+c-d.e/f:g?h$i#j@k&l*m!n~o^p|q{r}\"\r\n", true},
		"a space in it":                     {"Content-Type: multipart/mixed; boundary=\"=_mixed 00\"\r\n", true},
		"angle brackets":                    {"Content-Type: multipart/mixed; boundary=\"<zz>\"\r\n", false},
		"parentheses":                       {"Content-Type: multipart/mixed; boundary=\"zz(x)\"\r\n", false},
		"a semicolon":                       {"Content-Type: multipart/mixed; boundary=\"zz;y\"\r\n", false},
		"a comma":                           {"Content-Type: multipart/mixed; boundary=\"zz,y\"\r\n", false},
		"percent":                           {"Content-Type: multipart/mixed; boundary=\"%7A\"\r\n", false},
		"a single quote ahead":              {"Content-Type: multipart/mixed; boundary='zz\r\n", false},
		"a single quote behind":             {"Content-Type: multipart/mixed; boundary=zz'\r\n", false},
		"a space behind":                    {"Content-Type: multipart/mixed; boundary=\"zz \"\r\n", false},
		"an encoded word":                   {"Content-Type: multipart/mixed; boundary=\"=?utf-8?q?z?=\"\r\n", false},
		"a fold in it":                      {"Content-Type: multipart/mixed; boundary=\"zz\r\n yy\"\r\n", false},
		"a fold ahead of it":                {"Content-Type: multipart/mixed;\r\n\tboundary=\"zz yy\"\r\n", true},
		"a space ahead of =":                {"Content-Type: multipart/mixed; boundary =zz\r\n", false},
		"a boundary of a text":              {"Content-Type: text/plain; boundary=zz\r\n", false},
		"a boundary of a disposition":       {"Content-Disposition: inline; boundary=zz\r\n", false},
		"a control":                         {"Content-Type: text/plain;\x0bcharset=utf-8\r\n", false},
		"a control in quotes":               {"Content-Type: text/plain; x=\"\x0b\"\r\n", false},
		"octets outside of quotes":          {"Content-Type: text/plain;\xc2\xa0charset=utf-8\r\n", false},
		"octets within quotes":              {"Content-Type: application/pdf; name=\"B\xfcro.pdf\"\r\n", true},
		"a comment of an encoding":          {"Content-Transfer-Encoding: 7bit (x)\r\n", false},
		"a semicolon behind an encoding":    {"Content-Transfer-Encoding: 7bit;\r\n", false},
		"an encoding":                       {"Content-Transfer-Encoding:  7BIT \r\n", true},
		"a field twice":                     {"Content-Type: text/plain\r\nContent-Type: text/plain\r\n", false},
		"a name that ends as a field does":  {"X-Content-Type: text/plain\r\n", false},
		"a name that begins as one does":    {"Content-Disposition2: inline\r\n", false},
		"a field that the next goes on":     {"Content-Type: text/plain\r\nX: y; name=z\r\n", false},
		"a name in another field":           {"Content-Type: text/plain\r\nX: y\r\nX: y; FileName*0 = z\r\n", false},
		"a field that a content's goes on":  {"Content-Type: text/plain\r\nContent-Disposition: inline; filename=a.txt\r\n", true},
		"an encoded word in a charset":      {"Content-Type: text/plain; charset=\"=?x\"\r\n", false},
		"an encoded word in a name":         {"Content-Type: text/plain; name=\"=?utf-8?q?a.txt?=\"\r\n", true},
		"a parameter that begins as a name": {"Content-Type: text/plain; name1=a.txt\r\n", false},
		"percent in a plain piece":          {"Content-Type: text/plain; name*0*=utf-8''a; name*1=%41\r\n", false},
	} {
		h := ParseHeader([]byte(tc.fields))
		_, params, encoding, err := contentOf(h)
		if err == nil {
			_, _, err = fileNames(h, params)
		}
		if _, multipart := params["boundary"]; err == nil && multipart {
			err = new(nesting).push(params["boundary"], encoding)
		}
		ok := err == nil && (encoding == "" || encoding == "7bit")
		if ok != tc.ok {
			t.Errorf("%s: %v, encoding %q", name, err, encoding)
		}
	}
}

// Each of these would pass but for one thing.
func TestOnePlainThingIsUnclear(t *testing.T) {
	for name, in := range map[string]string{
		"a field's name in an encoded word": disguise.From + "A=?b: c\n\nx\n",
		"a message that says base64":        disguise.Mixed("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nSubject: x\n\nx\n"),
		"a message without a header":        disguise.Mixed("Content-Type: message/rfc822\n\n\nx\n"),
		"a boundary with a tail":            disguise.Mixed("\nx\n--bX\n\nx\n"),
		"a boundary cut at its space":       disguise.From + "Content-Type: multipart/mixed; boundary=\"zz yy\"\n\n--zz yy\n\nx\n--zz\n\nx\n--zz yy--\n",
		"an inner multipart does not end":   disguise.Mixed("Content-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--b\n\nx\n"),
		"a multipart without parts":         disguise.From + "Content-Type: multipart/mixed; boundary=b\n\n--b--\n",
	} {
		if err := scans(t, strings.ReplaceAll(in, "\n", "\r\n")); err == nil || !strings.Contains(err.Error(), " PR-055 ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatALineHides(t *testing.T) {
	for line, hidden := range map[string]bool{
		"begin 644 a.exe": true, "begin 644": true, "begin644 a": true, "begin\t6; a": true, "begin\x0c 644 a": true, " \x0bbegin 644 a": true, "\xa0begin 644 a": true,
		"begin-base64 644 a": true, "begin-encoded 644 a": true, "begin-base64-encoded 644 YQ==": true,
		"begin": false, "begin with 3": false, "beginning 644 a": false, "we begin 644 a": false, "Begin 644 a": false,
		"=ybegin line=128": true, "=ypart begin=1": true, "=yend": false, "(This file must be converted with BinHex 4.0)": true, "(This file is mine": false,
		"Content-Type: x": true, "content-disposition : x": true, "CONTENT-X: y": true, "xContent-Type: y": true, "Content-Type;x=y z": true, "Content-Location": true,
		"Content-Type\tx": true, "Content-Type x; name=y": true, "bContent-Type x; name = y": true, "x=?utf-8?q?y?=: z": true,
		"Content-Type and encoding": false, "Content is king: x": false, "content-wise, all is well": false, "Subject: content-type": false, "JVBERi0xLjQK": false, "": false,
		"Note: name=x": false,
	} {
		if err := hides([]byte(line)); (err != nil) != hidden {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// What a client may take for a name, and what of it may not be.
func TestNamesOfAPart(t *testing.T) {
	for name, tc := range map[string]struct {
		fields string
		want   string // the first name; empty: none
		ok     bool
	}{
		"a location":                  {"Content-Location: a/b/scan.pdf?x#y\r\n", "scan.pdf?x#y", true},
		"a location near":             {"-Content-Location: scan.pdf\r\n", "scan.pdf", true},
		"a description":               {"Content-Description: scan.pdf\r\n", "scan.pdf", true},
		"a description in words":      {"Content-Description: Page 2. of 3\r\n", "", true},
		"a description with a number": {"Content-Description: v1.25\r\n", "", true},
		"a quote":                     {"Content-Location: a\".pdf\r\n", "", false},
		"a line separator at the end": {"Content-Type: text/plain; name*=utf-8''a.pdf%E2%80%A8\r\n", "", false},
		"a paragraph separator":       {"Content-Type: text/plain; name*=utf-8''a%E2%80%A9.pdf\r\n", "", false},
		"a control":                   {"Content-Type: text/plain; name*=utf-8''a%01.pdf\r\n", "", false},
		"a control of C1":             {"Content-Type: text/plain; name*=utf-8''a%C2%85.pdf\r\n", "", false},
		"another direction":           {"Content-Type: text/plain; name*=utf-8''a%E2%80%AEb.pdf\r\n", "", false},
		"another direction, isolated": {"Content-Type: text/plain; name*=utf-8''a%E2%81%A6b.pdf\r\n", "", false},
		"a mark of direction":         {"Content-Type: text/plain; name*=utf-8''a%E2%80%8Fb.pdf\r\n", "a\u200fb.pdf", true},
		"a slash in full width":       {"Content-Type: text/plain; name*=utf-8''a%EF%BC%8Fb.pdf\r\n", "", false},
		"another form, overlooked":    {"Content-Type: text/plain; name=\"utf-8''a%2Epdf\"\r\n", "", false},
		"a name of lost octets":       {"Content-Type: text/plain; name*=utf-8''a%EF%BF%BD\r\n", "", false},
		"other extensions":            {"Content-Type: text/plain; name=a.txt\r\nContent-Disposition: inline; filename=a.pdf\r\n", "", false},
	} {
		h := ParseHeader([]byte(tc.fields))
		_, params, _, err := contentOf(h)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		names, _, err := new(scanner).namesOf(h, params)
		first := ""
		if len(names) > 0 {
			first = names[0]
		}
		if (err == nil) != tc.ok || first != tc.want {
			t.Errorf("%s: %q, %v", name, names, err)
		}
	}
}
