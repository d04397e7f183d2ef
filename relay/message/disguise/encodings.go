package disguise

import "encoding/base64"

// encodings are contents that programs decode differently.
var encodings = map[string]string{
	"an encoding twice":                   encoded("base64\nContent-Transfer-Encoding: 7bit", Wrapped("%PDF-1.4\n")),
	"an encoding twice, in a text":        Mixed("Content-Transfer-Encoding: 7bit\nContent-Transfer-Encoding: base64\n\nYmVnaW4gNjQ0IHgK\n"),
	"an encoding nobody knows":            encoded("x-mine", "%PDF-1.4"),
	"an encoding nobody knows, in a text": Mixed("Content-Type: text/plain\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 evil.exe\nM\nend\n"),
	"uuencode as the encoding":            encoded("uuencode", "begin 644 evil.exe\n#35H`\n`\nend"),
	"x-uue as the encoding":               encoded("x-uue", "begin 644 evil.exe\n#35H`\n`\nend"),
	"yEnc as the encoding":                encoded("yenc", "=ybegin line=128 size=2 name=evil.exe\nwo\n=yend size=2"),
	"an encoding in quotes":               encoded(`"base64"`, Wrapped("%PDF-1.4\n")),
	"an encoding with a comment":          encoded("base64 (x)", Wrapped("%PDF-1.4\n")),
	"an encoding in a comment":            encoded("(x) base64", Wrapped("%PDF-1.4\n")),
	"an encoding with a tail":             encoded("base64 x", Wrapped("%PDF-1.4\n")),
	"an encoding with a semicolon":        encoded("base64;", Wrapped("%PDF-1.4\n")),
	"an encoding with a parameter":        encoded("base64; x=y", Wrapped("%PDF-1.4\n")),
	"an encoding with a comma":            encoded("base64, 7bit", Wrapped("%PDF-1.4\n")),
	"an encoding with a hyphen":           encoded("base-64", Wrapped("%PDF-1.4\n")),
	"an encoding with a control":          encoded("base64\x0b", Wrapped("%PDF-1.4\n")),
	"an encoding as an encoded word":      encoded("=?us-ascii?q?base64?=", Wrapped("%PDF-1.4\n")),
	"an encoding folded in itself":        encoded("base\n 64", Wrapped("%PDF-1.4\n")),
	"a multipart in base64":               From + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n" + Wrapped("--b\r\n"+Exe+"--b--\r\n") + "\n",
	"a multipart in base64, both":         From + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n" + Wrapped("--b\r\n"+Exe+"--b--\r\n") + "\n--b\n\nx\n--b--\n",
	"a multipart, quoted":                 From + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: quoted-printable\n\n--b\n\nx\n=2D-b\n" + Exe + "--b--\n",
	"a multipart in no encoding":          From + "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: x-none\n\n--b\n\nx\n--b--\n",
	"a message in base64":                 Mixed("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + Wrapped("Subject: x\r\n"+Exe) + "\n"),
	"a message, quoted":                   Mixed("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\nSubject: x\nContent-Type=3A application/hta\n\n<script>\n"),
	"a PDF and junk in base64":            encoded("base64", "JVBE!Ri0xLjQK"),
	"a PDF behind junk in base64":         encoded("base64", "!!!!"+Wrapped("%PDF-1.4\n")),
	"a PDF behind padding in base64":      encoded("base64", "PHNjcmlwdD4=\n"+Wrapped("%PDF-1.4\n")),
	"a PDF behind padding alone":          encoded("base64", "====\n"+Wrapped("%PDF-1.4\n")),
	"a PDF in base64 of URLs":             encoded("base64", "JVBERi0xLjQK-_-_"),
	"a script behind a quoted PDF":        encoded("quoted-printable", "=ZZ<script>=25PDF-1.4"),
	"a PDF, quoted wrongly":               encoded("quoted-printable", "=XX%PDF-1.4"),
	"a PDF in base64 that says 7bit":      encoded("7bit", Wrapped("%PDF-1.4\n")),
	"a PDF in base64 that says nothing":   Mixed("Content-Type: application/pdf; name=a.pdf\n\n" + Wrapped("%PDF-1.4\n") + "\n"),
	"a PDF that says base64":              encoded("base64", "%PDF-1.4\n<script>"),
	"BinHex as a type":                    Mixed("Content-Type: application/mac-binhex40; name=a.pdf\n\n(This file must be converted with BinHex 4.0)\n:\n"),
	"uuencode as a type":                  Mixed("Content-Type: application/x-uuencode; name=a.pdf\n\nbegin 644 evil.exe\nM\nend\n"),
	"gzip around it":                      encoded("base64", Wrapped("\x1f\x8b\x08\x00%PDF-1.4")),
	"uuencode with spaces":                Mixed("\n  begin  644   evil.exe\nM\nend\n"),
	"uuencode of an encoded name":         Mixed("\nbegin-base64-encoded 644 ZXZpbC5leGU=\nTVo=\n====\n"),
	"uuencode of an encoded name, old":    Mixed("\nbegin-encoded 644 ZXZpbC5leGU=\nM\nend\n"),
	"uuencode cut by ISO-2022":            Mixed("Content-Type: text/plain; charset=iso-2022-jp\n\nbe\x1b(Bgin 644 evil.exe\nM\nend\n"),
	"uuencode with a form feed":           Mixed("\nbegin\x0c 644 evil.exe\n#35H`\n`\nend\n"),
	"uuencode without a space":            Mixed("\nbegin 644evil.exe\n#35H`\n`\nend\n"),
	"uuencode with a semicolon":           Mixed("\nbegin 6; evil.exe\n#35H`\n`\nend\n"),
	"BinHex of another version":           Mixed("\n(This file must be converted with Hex)\n:\n"),
	"base64 behind the padding":           encoded("base64", "JVBERi0xLjQ=\nTVoA \n"),
	"junk late in base64":                 encoded("base64", Wrapped("%PDF-1.4\n")+"\n!!!!\n"+Wrapped("x")),
	"two streams of base64":               encoded("base64", Wrapped("%PDF-1.4 \n")+"=\n"+Wrapped("MZ")),
	"uuencode without a name":             Mixed("\nbegin 644\n#35H`\n`\nend\n"),
	"uuencode in a PDF":                   Mixed("Content-Type: application/pdf\n\n%PDF-1.4\nbegin 644 evil.exe\n#35H`\n`\nend\n"),
	"uuencode at the end of a text":       Mixed("\nhello\n\nbegin 644 evil.exe\n#35H`\n`\nend\n"),
	"uuencode in two parts":               Mixed("Content-Type: text/plain\n\nbegin 644 evil.exe\n#35H`\n--b\nContent-Type: text/plain\n\n`\nend\n"),
	"uuencode in a second encoding":       Mixed("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + base64.StdEncoding.EncodeToString([]byte("begin-base64 644 evil.exe\nTVo=\n====\n")) + "\n"),
	"uuencode in a body of no MIME":       "From: a@b.example\n\nhello\n\nbegin 644 evil.exe\n#35H`\n`\nend\n",
	"a part of a yEnc file":               Mixed("\n=ypart begin=1 end=2\nwo\n=yend size=2\n"),
	"a charset of two octets":             charset("ucs-2"),
	"a charset of two octets, Windows":    charset("cp1200"),
	"a charset of two octets, bare":       charset("unicode"),
	"a charset of two octets, ISO":        charset("ISO-10646-UCS-2"),
	"a charset of two octets, no hyphen":  charset("UTF16"),
	"a charset of seven bits":             charset("unicode-1-1-utf-7"),
}

func encoded(encoding, content string) string {
	return Mixed("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: " + encoding + "\n\n" + content + "\n")
}

func charset(name string) string {
	return Mixed("Content-Type: text/plain; charset=" + name + "\nContent-Transfer-Encoding: base64\n\n" + Wrapped("b\x00e\x00g\x00i\x00n\x00 \x006\x004\x004\x00 \x00x\x00\n\x00") + "\n")
}
