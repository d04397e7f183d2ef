package message

import (
	"encoding/base64"
	"strings"
	"testing"
)

// pdfOnly takes a message where a rule names PDF.
func pdfOnly(t *testing.T, message string) error {
	t.Helper()
	o := options()
	o.Attachments = []string{"application/pdf"}
	_, _, err := take(t, strings.ReplaceAll(strings.ReplaceAll(message, "\r\n", "\n"), "\n", "\r\n"), o)
	return err
}

const from = "From: a@b.example\nMIME-Version: 1.0\n"

// exe is a part that no rule for PDF lets pass.
const exe = "Content-Type: application/x-msdownload; name=evil.exe\nContent-Disposition: attachment; filename=evil.exe\n\nMZ\n"

var pdf = base64.StdEncoding.EncodeToString([]byte("%PDF-1.7\n" + strings.Repeat("x", 100)))

// What a mail client may show or save, though a parser of another mind does not
// see it.
func TestAttachmentsInDisguise(t *testing.T) {
	mixed := func(part string) string {
		return from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part + "--b--\n"
	}
	for name, message := range map[string]string{
		"control":                     mixed(exe),
		"digest":                      from + "Content-Type: multipart/digest; boundary=b\n\n--b\n\n" + exe + "--b--\n",
		"boundary in two forms":       from + "Content-Type: multipart/mixed; boundary=b; boundary*=us-ascii''zz\n\n--zz\n\nx\n--b\n" + exe + "--b--\n--zz--\n",
		"boundary in two forms, back": from + "Content-Type: multipart/mixed; boundary*=us-ascii''zz; boundary=b\n\n--zz\n\nx\n--b\n" + exe + "--b--\n--zz--\n",
		"boundary in pieces":          from + "Content-Type: multipart/mixed; boundary=b; boundary*0=z; boundary*1=z\n\n--zz\n\nx\n--b\n" + exe + "--b--\n--zz--\n",
		"an endless closing line":     from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--" + strings.Repeat(" ", 17000) + "X\n--b\n" + exe + "--b--\n",
		"a charset nobody knows":      mixed("Content-Type: text/plain; name*=klingon''evil.exe\nContent-Disposition: inline; filename*=klingon''evil.exe\n\nMZ\n"),
		"a name in windows-1252":      mixed("Content-Type: application/pdf; name=\"=?windows-1252?q?evil=2Ehta?=\"\n\n%PDF-1.4\n"),
		"a name in no charset":        mixed("Content-Type: application/pdf; name=\"=?klingon?q?evil=2Ehta?=\"\n\n%PDF-1.4\n"),
		"markup before the PDF":       mixed("Content-Type: application/pdf\n\n<!-- %PDF-1.4 --><script>\n"),
		"a message with a name":       mixed("Content-Type: message/rfc822; name=evil.hta\nContent-Disposition: attachment; filename=evil.hta\n\nSubject: x\n\n<script>\n"),
		"a boundary with a tail":      mixed("\nx\n--bX\n" + exe),
		"behind the last boundary":    from + "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b\n" + exe + "--b--\n",
		"boundaries that look alike":  mixed("Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n" + exe + "--b----\n"),
		"uuencode":                    mixed("\nbegin 644 evil.exe\nM\nend\n"),
		"uuencode, quoted":            mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nbegin=20644 evil.exe\nM\nend\n"),
		"uuencode, quoted, soft":      mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nbeg=\nin 644 evil.exe\nM\nend\n"),
		"uuencode, quoted line ends":  mixed("Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nhi=0Abegin 644 evil.exe=0AM\n"),
		"uuencode in base64":          mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("hello\r\nbegin 644 evil.exe\r\nM\r\nend\r\n")) + "\n"),
		"uuencode in the preamble":    from + "Content-Type: multipart/mixed; boundary=b\n\nbegin 644 evil.exe\nM\nend\n--b\n\nx\n--b--\n",
		"uuencode in the epilogue":    mixed("\nx\n") + "begin 644 evil.exe\nM\nend\n",
		"yEnc":                        mixed("\n=ybegin line=128 size=2 name=evil.exe\nxx\n"),
		"a slash in the name":         mixed("Content-Type: application/pdf; name=\"evil.exe/\"\n\n%PDF-1.4\n"),
		"a backslash in the name":     mixed("Content-Type: application/pdf; name=\"evil.exe\\\\\"\n\n%PDF-1.4\n"),
	} {
		if err := pdfOnly(t, message); err == nil || !strings.Contains(err.Error(), " PR-05") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What copiers and people send passes.
func TestOrdinaryMailPasses(t *testing.T) {
	for name, message := range map[string]string{
		"text only":             from + "\nhello\n",
		"a scan":                from + "Content-Type: multipart/mixed; boundary=\"----=_Part_0\"\n\nThis is a multi-part message.\n------=_Part_0\nContent-Type: text/plain; charset=utf-8\n\nScan\n------=_Part_0\nContent-Type: application/pdf; name=scan.pdf\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=scan.pdf\n\n" + pdf + "\n------=_Part_0--\n",
		"a name in UTF-8":       from + "Content-Type: application/pdf; name=\"=?utf-8?b?QsO8cm8ucGRm?=\"\nContent-Disposition: attachment; filename*=utf-8''B%C3%BCro.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a name in pieces":      from + "Content-Type: application/pdf\nContent-Disposition: attachment; filename*0*=utf-8''B%C3%BC; filename*1=ro.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a name in Latin-1":     from + "Content-Type: application/pdf; name=\"=?iso-8859-1?Q?B=FCro.pdf?=\"\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"a name in Shift_JIS":   from + "Content-Type: application/pdf; name=\"=?shift_jis?B?g1iDTYODg5MucGRm?=\"\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"octet-stream":          from + "Content-Type: application/octet-stream; name=scan.pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n",
		"alternative in mixed":  from + "Content-Type: multipart/mixed; boundary=outer\n\n--outer\nContent-Type: multipart/alternative; boundary=inner\n\n--inner\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nhello =E4\n--inner\nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("<p>hello</p>\n")) + "\n--inner--\n\n--outer\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + pdf + "\n--outer--\n\n",
		"dashes in the text":    from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\n\n-- \nregards\n--\n---- Forwarded ----\nbegin with that\n--b0--\n",
		"space at the boundary": from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0 \n\nx\n--b0-- \n",
		"a forwarded message":   from + "Content-Type: multipart/mixed; boundary=b0\n\n--b0\nContent-Type: message/rfc822; name=\"Re: scan.eml\"\n\nSubject: x\n\nhello\n--b0--\n",
	} {
		if err := pdfOnly(t, message); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
