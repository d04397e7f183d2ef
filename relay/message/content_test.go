package message

import (
	"bytes"
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// scans takes a message where a rule names what scanners make.
func scans(t *testing.T, message string) error {
	t.Helper()
	o := options()
	o.Attachments = []string{"application/pdf", "image/tiff", "image/jpeg"}
	_, _, err := take(t, strings.ReplaceAll(strings.ReplaceAll(message, "\r\n", "\n"), "\n", "\r\n"), o)
	return err
}

const from = "From: a@b.example\nMIME-Version: 1.0\n"

// exe is a part that no rule for PDF lets pass.
const exe = "Content-Type: application/x-msdownload; name=evil.exe\nContent-Disposition: attachment; filename=evil.exe\n\nMZ\n"

var pdf = base64.StdEncoding.EncodeToString([]byte("%PDF-1.7\n" + strings.Repeat("x", 100)))

// wrapped is base64 in lines of 76 octets.
func wrapped(s string) string {
	var b strings.Builder
	for enc := base64.StdEncoding.EncodeToString([]byte(s)); len(enc) > 0; enc = enc[min(76, len(enc)):] {
		b.WriteString(enc[:min(76, len(enc))] + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func parameters(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("; x" + strconv.Itoa(i) + "=y")
	}
	return b.String()
}

// What a mail client may show or save, though a parser of another mind does not
// see it.
func TestAttachmentsInDisguise(t *testing.T) {
	mixed := func(part string) string {
		return from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part + "--b--\n"
	}
	for name, message := range map[string]string{
		"a space before the colon":       mixed("Content-Type : application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\nM\nend\n"),
		"control":                        mixed(exe),
		"digest":                         from + "Content-Type: multipart/digest; boundary=b\n\n--b\n\n" + exe + "--b--\n",
		"boundary in two forms":          from + "Content-Type: multipart/mixed; boundary=b; boundary*=us-ascii''zz\n\n--zz\n\nx\n--b\n" + exe + "--b--\n--zz--\n",
		"boundary in two forms, back":    from + "Content-Type: multipart/mixed; boundary*=us-ascii''zz; boundary=b\n\n--zz\n\nx\n--b\n" + exe + "--b--\n--zz--\n",
		"boundary in pieces":             from + "Content-Type: multipart/mixed; boundary=b; boundary*0=z; boundary*1=z\n\n--zz\n\nx\n--b\n" + exe + "--b--\n--zz--\n",
		"an endless closing line":        from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--" + strings.Repeat(" ", 17000) + "X\n--b\n" + exe + "--b--\n",
		"a charset nobody knows":         mixed("Content-Type: text/plain; name*=klingon''evil.exe\nContent-Disposition: inline; filename*=klingon''evil.exe\n\nMZ\n"),
		"a name in windows-1252":         mixed("Content-Type: application/pdf; name=\"=?windows-1252?q?evil=2Ehta?=\"\n\n%PDF-1.4\n"),
		"a name in no charset":           mixed("Content-Type: application/pdf; name=\"=?klingon?q?evil=2Ehta?=\"\n\n%PDF-1.4\n"),
		"markup before the PDF":          mixed("Content-Type: application/pdf\n\n<!-- %PDF-1.4 --><script>\n"),
		"a message with a name":          mixed("Content-Type: message/rfc822; name=evil.hta\nContent-Disposition: attachment; filename=evil.hta\n\nSubject: x\n\n<script>\n"),
		"a boundary with a tail":         mixed("\nx\n--bX\n" + exe),
		"behind the last boundary":       from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b\n" + exe + "--b--\n",
		"boundaries that look alike":     mixed("Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n" + exe + "--b----\n"),
		"uuencode":                       mixed("\nbegin 644 evil.exe\nM\nend\n"),
		"uuencode, quoted":               mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nbegin=20644 evil.exe\nM\nend\n"),
		"uuencode, quoted, soft":         mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nbeg=\nin 644 evil.exe\nM\nend\n"),
		"uuencode, quoted line ends":     mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nhi=0Abegin 644 evil.exe=0AM\n"),
		"uuencode, quoted bare CR":       mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nhi=0Dbegin 644 evil.exe=0DM\n"),
		"uuencode in base64":             mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("hello\r\nbegin 644 evil.exe\r\nM\r\nend\r\n")) + "\n"),
		"uuencode in the preamble":       from + "Content-Type: multipart/mixed; boundary=b\n\nbegin 644 evil.exe\nM\nend\n--b\n\nx\n--b--\n",
		"uuencode in the epilogue":       mixed("\nx\n") + "begin 644 evil.exe\nM\nend\n",
		"yEnc":                           mixed("\n=ybegin line=128 size=2 name=evil.exe\nxx\n"),
		"a slash in the name":            mixed("Content-Type: application/pdf; name=\"evil.exe/\"\n\n%PDF-1.4\n"),
		"a backslash in the name":        mixed("Content-Type: application/pdf; name=\"evil.exe\\\\\"\n\n%PDF-1.4\n"),
		"a digest, all its parts said":   from + "Content-Type: Multipart/Digest; boundary=b\n\n--b\nContent-Type: text/plain\n\nx\n--b--\n",
		"a boundary in a comment":        from + "Content-Type: multipart/mixed; boundary=b(x)c\n\n--bc\n\nx\n--bc--\n",
		"a boundary with a quoted pair":  from + "Content-Type: multipart/mixed; boundary=\"b\\=c\"\n\n--b=c\n\nx\n--b=c--\n",
		"a boundary with a space ahead":  from + "Content-Type: multipart/mixed; boundary=\" b\"\n\n-- b\n\nx\n-- b--\n",
		"a boundary that never comes":    from + "Content-Type: multipart/mixed; boundary=zz\n\n--b\n" + exe + "--b--\n",
		"an inner one that never comes":  mixed("Content-Type: multipart/mixed; boundary=zz\n\n--yy\n" + exe + "--yy--\n"),
		"a long line like a boundary":    from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b" + strings.Repeat(" ", 17000) + "\n" + exe + "--b--\n",
		"a prefix of the outer boundary": from + "Content-Type: multipart/mixed; boundary=bcd\n\n--bcd\nContent-Type: multipart/mixed; boundary=bc\n\n--bc\n\nx\n--bc--\n--bcd--\n",
		"a boundary used again":          mixed("Content-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\n"),
		"a name in a comment":            mixed("Content-Type: application/pdf (; name=evil.hta; x=)\n\n%PDF-1.4\n"),
		"a name behind an open comment":  mixed("Content-Type: application/pdf; name=a.pdf(x.hta\n\n%PDF-1.4\n"),
		"a name with a quoted pair":      mixed("Content-Type: application/pdf; name=\"evil.hta\\\".pdf\"\n\n%PDF-1.4\n"),
		"a name in two forms":            mixed("Content-Type: application/pdf\nContent-Disposition: attachment; filename=a.pdf; filename*=utf-8''evil.exe\n\n%PDF-1.4\n"),
		"RFC 2231, windows-1252":         mixed("Content-Type: text/plain; name*=windows-1252''evil.exe\nContent-Disposition: inline; filename*=windows-1252''evil.exe\n\nMZ\n"),
		"RFC 2231 in pieces":             mixed("Content-Type: text/plain; name*0*=windows-1252''ev%69l; name*1=.exe\n\nMZ\n"),
		"RFC 2231, not percent":          mixed("Content-Type: application/pdf; name*=utf-8''a%zz.exe\n\n%PDF-1.4\n"),
		"too many parameters":            mixed("Content-Type: text/plain" + parameters(maxParameters+1) + "\n\nx\n"),
		"a line that is no field":        mixed("garbage\nX: y\nbegin 644 evil.exe\nM: x\n\nx\n"),
		"a blank fold":                   mixed("X: y\n \nContent-Type: application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\n"),
		"a blank fold on top":            from + "X: y\n \nContent-Type: application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\n",
		"a fold of nothing":              mixed(" Content-Type: application/x-msdownload; name=evil.exe\n\nMZ\n"),
		"markup behind dashes":           mixed("Content-Type: application/pdf\n\n--<script>\n%PDF-1.4\n"),
		"a script before the PDF":        mixed("Content-Type: application/pdf; name=a.pdf\n\nvar x = 1; /* %PDF-1.4 */\n"),
		"markup in UTF-7 before the PDF": mixed("Content-Type: application/pdf\n\n+ADw-script+AD4- %PDF-1.4\n"),
		"a PDF behind a kilobyte":        mixed("Content-Type: application/pdf\n\n" + strings.Repeat(" ", 1100) + "%PDF-1.4\n"),
		"a disposition nobody knows":     mixed("Content-Type: text/html\nContent-Disposition: x-save\n\n<script>\n"),
		"uuencode in base64 of its own":  mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("begin-base64 644 evil.exe\n")) + "\n"),
		"uuencode, long mode":            mixed("\nbegin 100644 evil.exe\nM\nend\n"),
		"uuencode in base64 with junk":   mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nYmVn!aW4gNjQ0IGV2aWwuZXhlCk0=\n"),
		"uuencode behind padding":        mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\neAo=\n" + base64.StdEncoding.EncodeToString([]byte("begin 644 evil.exe\nM\n")) + "\n"),
		"uuencode in base64 behind -":    mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n-" + base64.StdEncoding.EncodeToString([]byte("begin 644 evil.exe\nM\n")) + "\n"),
		"uuencode, soft and spaces":      mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nbeg=  \nin 644 evil.exe\nM\n"),
		"uuencode, soft, endless spaces": mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nbeg=" + strings.Repeat(" ", 17000) + "\nin 644 evil.exe\nM\n"),
		"uuencode in a text of any type": mixed("Content-Type: text/html\n\nbegin 644 evil.exe\nM\n"),
		"uuencode under a field's name":  mixed("Content-Type: text/plain\nContent-Transfer-Encoding : base64\n\nbegin 644 evil.exe\nM\n"),
		"yEnc, quoted":                   mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=3Dybegin line=3D128 size=3D2 name=3Devil.exe\n"),
		"yEnc, not quoted":               mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n=ybegin line=128 size=2 name=evil.exe\n"),
		"BinHex":                         mixed("\n(This file must be converted with BinHex 4.0)\n:\n"),
		"yEnc in the epilogue":           mixed("\nx\n") + "=ybegin line=128 size=2 name=evil.exe\nxx\n",
		"too many parts":                 mixed(strings.Repeat("\nx\n--b\n", maxParts) + "\nx\n"),
		"RFC 2231, cut extension":        mixed("Content-Type: application/pdf; name*0*=windows-1252''evil.h; name*1=ta\n\n%PDF-1.4\n"),
		"RFC 2231, unknown, in pieces":   mixed("Content-Type: application/pdf; name*0*=klingon''evil.h; name*1=ta\n\n%PDF-1.4\n"),
		"RFC 2231, a piece not percent":  mixed("Content-Type: application/pdf; name*0*=utf-8''evil; name*1*=%zz.hta\n\n%PDF-1.4\n"),
		"RFC 2231, a piece missing":      mixed("Content-Type: application/pdf; name*0=evil; name*2=.hta\n\n%PDF-1.4\n"),
		"RFC 2231, a piece numbered 01":  mixed("Content-Type: application/pdf; name*0=evil; name*01=.hta\n\n%PDF-1.4\n"),
		"RFC 2231, UTF-16":               mixed("Content-Type: application/pdf; name*0*=utf-16''evil; name*1=.hta\n\n%PDF-1.4\n"),
		"RFC 2231, a charset given up":   mixed("Content-Type: application/pdf; name*=hz-gb-2312''evil.hta\n\n%PDF-1.4\n"),
		"RFC 2231, no charset":           mixed("Content-Type: application/pdf; name*=''evil.hta\n\n%PDF-1.4\n"),
		"RFC 2231, quoted":               mixed("Content-Type: application/pdf; name*0*=\"windows-1252''evil.h\"; name*1=ta\n\n%PDF-1.4\n"),
		"an encoded word given up":       mixed("Content-Type: application/pdf; name=\"=?hz-gb-2312?q?evil=2Ehta?=\"\n\n%PDF-1.4\n"),
		"a control in the name":          mixed("Content-Type: application/pdf; name=\"evil.hta\x01.pdf\"\n\n%PDF-1.4\n"),
		"uuencode in UTF-16":             mixed("Content-Type: text/plain; charset=UTF-16LE\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("b\x00e\x00g\x00i\x00n\x00 \x006\x004\x004\x00 \x00x\x00\n\x00")) + "\n"),
	} {
		if err := scans(t, message); err == nil || !strings.Contains(err.Error(), " PR-054 ") && !strings.Contains(err.Error(), " PR-055 ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What copiers and people send passes.
func TestOrdinaryMailPasses(t *testing.T) {
	for name, message := range map[string]string{
		"text only":              from + "\nhello\n",
		"a scan":                 from + "Content-Type: multipart/mixed; boundary=\"----=_Part_0\"\n\nThis is a multi-part message.\n------=_Part_0\nContent-Type: text/plain; charset=utf-8\n\nScan\n------=_Part_0\nContent-Type: application/pdf; name=scan.pdf\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=scan.pdf\n\n" + pdf + "\n------=_Part_0--\n",
		"a name in UTF-8":        from + "Content-Type: application/pdf; name=\"=?utf-8?b?QsO8cm8ucGRm?=\"\nContent-Disposition: attachment; filename*=utf-8''B%C3%BCro.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a name in pieces":       from + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*0*=utf-8''B%C3%BC; filename*1=ro.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a name in Latin-1":      from + "Content-Type: application/pdf; name=\"=?iso-8859-1?Q?B=FCro.pdf?=\"\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a name in Shift_JIS":    from + "Content-Type: application/pdf; name=\"=?shift_jis?B?g1iDTYODg5MucGRm?=\"\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"octet-stream":           from + "Content-Type: application/octet-stream; name=scan.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"alternative in mixed":   from + "Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/alternative; boundary=inner\n\n--inner\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nhello =E4\n--inner\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("<p>hello</p>\n")) + "\n--inner--\n\n--outer\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n--outer--\n\n",
		"dashes in the text":     from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\n-- \nregards\n--\n---- Forwarded ----\nbegin with that\n--b0--\n",
		"space at the boundary":  from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0 \n\nx\n--b0-- \n",
		"a forwarded message":    from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: message/rfc822; name=\"Re: scan.eml\"\n\nSubject: x\n\nhello\n--b0--\n",
		"a name by RFC 2231":     from + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*=iso-8859-1'de'B%FCro.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"the same in pieces":     from + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*0*=windows-1252''B%FCro; filename*1*=%20%2D; filename*2=1.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a name in windows-1252": from + "Content-Type: application/pdf; name=\"=?windows-1252?Q?B=FCro.pdf?=\"\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a raw name in a part":   from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: application/pdf;\n\tname=\"B\xfcro\n\t1.pdf\"\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n--b0--\n",
		"a PDF behind a BOM":     from + "Content-Type: application/pdf\n\n\n \xef\xbb\xbf%PDF-1.4\n",
		"a PDF late in base64":   from + "Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + wrapped(strings.Repeat(" \n", 500)+"%PDF-1.4\n"+strings.Repeat("x", 9000)) + "\n",
		"a PDF with dashes":      from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: application/pdf\n\n%PDF-1.4\n--\nbegin 644 x\n--b0--\n",
		"a TIFF and a JPEG":      from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: image/tif; name=1.tif\nContent-Transfer-Encoding: base64\n\n" + wrapped("II*\x00\x08\x00\x00\x00") + "\n--b0\nContent-Type: image/jpeg; name=1.JPG\nContent-Transfer-Encoding: base64\n\n" + wrapped("\xff\xd8\xff\xe0\x00\x10JFIF") + "\n--b0--\n",
		"related in alternative": from + "Content-Type: multipart/alternative; boundary=\"=_a\"\n\n--=_a\nContent-Type: text/plain; charset=us-ascii (Plain text)\n\nx\n--=_a\nContent-Type: multipart/related; type=\"text/html\";\n boundary=\"=_b\"\n\n--=_b\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<p class=3D\"x\">y=\n</p>=20\nbegin with 3 words =3D 1 =\n2\n--=_b\nContent-Type: image/jpeg; name=\"logo.jpg\"\nContent-ID: <1>\nContent-Disposition: inline; filename=\"logo.jpg\"\nContent-Transfer-Encoding: base64\n\n" + wrapped("\xff\xd8\xff\xe0\x00\x10JFIF") + "\n--=_b--\n--=_a--\n",
		"text in base64":         from + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + wrapped(strings.Repeat("hello\r\n", 50)) + "\n\n",
		"an open end":            from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\nx\n",
	} {
		if err := scans(t, message); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzContent: where types are named, no message makes Intake panic or write
// more than came in and a header's repair adds; what passes as a PDF scan is the
// message that came, and passes again; and it is judged alike in any pieces.
func FuzzContent(f *testing.F) {
	f.Add([]byte("multipart/mixed; boundary=b"), []byte("--b\n"+exe+"--b--\nx\n"))
	f.Add([]byte("multipart/mixed; boundary=b"), []byte("--b\nContent-Type: application/pdf; name*0*=iso-8859-1''a; name*1=.pdf\n\n%PDF-1.4\n--b--\n"))
	f.Add([]byte("text/plain; name=\"=?windows-1252?q?a?=\"\nContent-Transfer-Encoding: quoted-printable"), []byte("beg=\nin=20644 x=\n"))
	f.Add([]byte("text/plain\nContent-Transfer-Encoding: base64"), []byte("YmVnaW4gNjQ0IHgK\n"))
	f.Add([]byte("message/rfc822 (x)"), []byte("Content-Type: multipart/mixed; boundary=\"c\"\n\n--c\n\nx\n--c--\n"))
	f.Fuzz(func(t *testing.T, contentType, body []byte) {
		in := from + "Content-Type: " + string(contentType) + "\n\n" + string(body)
		o := options()
		o.Attachments = []string{"application/pdf"}
		var out, slow, again bytes.Buffer
		_, err := Intake(&out, strings.NewReader(in), o)
		// A bare line end is two octets for one; an octet over 127 in the header
		// is an encoded word of its own.
		if out.Len() > 40*len(in)+1000 {
			t.Fatalf("%d octets made %d", len(in), out.Len())
		}
		_, slowErr := Intake(&slow, iotest.OneByteReader(strings.NewReader(in)), o)
		if (err == nil) != (slowErr == nil) || err == nil && slow.String() != out.String() {
			t.Fatalf("at once %v, octet by octet %v: %q", err, slowErr, in)
		}
		if err != nil {
			return
		}
		if _, err := Intake(&again, strings.NewReader(out.String()), o); err != nil || again.String() != out.String() {
			t.Fatalf("a second intake: %v: %q", err, out.String())
		}
	})
}

// What the scanner holds does not grow with the message.
func TestScannerMemory(t *testing.T) {
	for name, header := range map[string]string{
		"text":    "Content-Type: text/plain\r\n",
		"base64":  "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n",
		"pdf":     "Content-Type: application/pdf\r\n",
		"parts":   "Content-Type: multipart/mixed; boundary=b\r\n",
		"message": "Content-Type: message/rfc822\r\n",
	} {
		s := newScanner([]string{"application/pdf"})
		if err := s.begin(ParseHeader([]byte(header))); err != nil {
			t.Fatal(err)
		}
		piece := bytes.Repeat([]byte("A"), 4<<10)
		for i := range 4 << 10 { // a line of 1 MB, then lines of 4 kB
			if err := s.line(piece, i >= 256); err != nil {
				break // so a header too large, and what is no PDF
			}
		}
		if held := cap(s.line1) + cap(s.head) + cap(s.leaf.first) + cap(s.leaf.text.current) + cap(s.leaf.text.group); held > 128<<10 {
			t.Errorf("%s: %d octets are held", name, held)
		}
	}
}

func BenchmarkIntakeTypesNamed(b *testing.B) {
	o := options()
	o.Attachments = []string{"application/pdf"}
	for name, header := range map[string]string{"pdf": "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n", "text": "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n"} {
		msg := []byte(head + header + "\r\n" + strings.ReplaceAll(wrapped("%PDF-1.4\n"+strings.Repeat("x", 5<<20)), "\n", "\r\n") + "\r\n")
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Intake(io.Discard, bytes.NewReader(msg), o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
