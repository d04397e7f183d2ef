package disguise

// types are contents that are not what they are said to be.
var types = map[string]string{
	"a program as a PDF":                content("application/pdf", "a.pdf", "MZ\x90\x00"),
	"a PDF as a program":                content("application/x-msdownload", "a.exe", "%PDF-1.4\n"),
	"a PDF as a program by type":        content("application/x-msdownload", "a.pdf", "%PDF-1.4\n"),
	"a PDF as a program by name":        content("application/pdf", "a.exe", "%PDF-1.4\n"),
	"a PDF as a JPEG":                   content("image/jpeg", "a.jpg", "%PDF-1.4\n"),
	"a JPEG as a PDF":                   content("application/pdf", "a.pdf", "\xff\xd8\xff\xe0\x00\x10JFIF"),
	"a JPEG named as a PDF":             content("image/jpeg", "a.pdf", "\xff\xd8\xff\xe0\x00\x10JFIF"),
	"a page as a PDF":                   content("application/pdf", "a.pdf", "<html><script>"),
	"a page before a PDF":               content("application/pdf", "a.pdf", "<html><script></script>%PDF-1.4\n"),
	"an archive before a PDF":           content("application/pdf", "a.pdf", "PK\x03\x04\x14\x00\x00\x00%PDF-1.4\n"),
	"an archive as a PDF":               content("application/pdf", "a.pdf", "PK\x03\x04\x14\x00\x00\x00"),
	"an archive":                        content("application/zip", "a.zip", "PK\x03\x04\x14\x00\x00\x00"),
	"an archive of no type":             content("application/octet-stream", "", "PK\x03\x04\x14\x00\x00\x00"),
	"an archive, by RAR":                content("application/octet-stream", "a.pdf", "Rar!\x1a\x07\x00"),
	"an archive, by 7-Zip":              content("application/octet-stream", "a.pdf", "7z\xbc\xaf\x27\x1c"),
	"an archive, as a cabinet":          content("application/octet-stream", "a.pdf", "MSCF\x00\x00\x00\x00"),
	"a document of Word":                content("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a.docx", "PK\x03\x04\x14\x00\x00\x00"),
	"a document of Word as an archive":  content("application/zip", "a.docx", "PK\x03\x04\x14\x00\x00\x00"),
	"an old document as a PDF":          content("application/pdf", "a.pdf", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
	"a rich text as a PDF":              content("application/pdf", "a.pdf", "{\\rtf1 %PDF-1.4\n"),
	"a program of Linux":                content("application/pdf", "a.pdf", "\x7fELF\x02"),
	"a script as a TIFF":                content("image/tiff", "a.tif", "#!/bin/sh\n"),
	"a drawing with a script":           content("image/svg+xml", "a.svg", "<svg onload=\"x\">"),
	"nothing as a PDF":                  content("application/pdf", "a.pdf", ""),
	"of no type, without a name":        content("application/octet-stream", "", "hello"),
	"of no type, with a PDF's name":     content("application/octet-stream", "a.pdf", "hello"),
	"a type that is a word":             Mixed("Content-Type: pdf; name=a.pdf\n\n%PDF-1.4\n"),
	"text, and no more":                 Mixed("Content-Type: text\n\n<script>\n"),
	"a type with a slash too many":      Mixed("Content-Type: application/pdf/x; name=a.pdf\n\n%PDF-1.4\n"),
	"a type with a space":               Mixed("Content-Type: application/pdf x; name=a.pdf\n\n%PDF-1.4\n"),
	"a type with a space at the slash":  Mixed("Content-Type: text / html; name=a.pdf\n\n<script>\n"),
	"two types with a comma":            Mixed("Content-Type: text/plain, application/hta\n\n<script>\n"),
	"a type in quotes":                  Mixed("Content-Type: \"application/hta\"\n\n<script>\n"),
	"a calendar":                        Mixed("Content-Type: text/calendar\n\nBEGIN:VCALENDAR\n"),
	"a card":                            Mixed("Content-Type: text/x-vcard\n\nBEGIN:VCARD\n"),
	"a mail by name alone":              content("application/octet-stream", "a.eml", "Subject: x\r\n"+Exe),
	"a PDF behind a line of text":       content("application/pdf", "a.pdf", "hello\n%PDF-1.4\n"),
	"a TIFF that is none":               content("image/tiff", "a.tif", "II+\x00\x08\x00"),
	"a link of Windows as a JPEG":       content("image/jpeg", "a.jpg", "L\x00\x00\x00\x01\x14\x02\x00"),
	"a PDF in an attachment as text":    Mixed("Content-Type: text/plain; name=a.pdf\n\nhello\n"),
	"a text as an attachment":           Mixed("Content-Type: text/plain; name=a.txt\n\nhello\n"),
	"a text as an attachment, no name":  Mixed("Content-Type: text/plain\nContent-Disposition: attachment\n\nhello\n"),
	"a PDF in capitals that is a page":  content("APPLICATION/PDF", "A.PDF", "<HTML>"),
	"a program in capitals":             content("APPLICATION/X-MSDOWNLOAD", "EVIL.EXE", "MZ"),
	"a PDF in an application of octets": content("application/octet-stream; type=hta", "evil.hta", "%PDF-1.4\n"),
}

// content is a part with a type and a name, its content in base64.
func content(media, name, octets string) string {
	if name != "" {
		name = "Content-Disposition: attachment; filename=" + name + "\n"
	}
	return Mixed("Content-Type: " + media + "\n" + name + "Content-Transfer-Encoding: base64\n\n" + Wrapped(octets) + "\n")
}
