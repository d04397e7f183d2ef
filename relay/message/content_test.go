package message

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/printerrelay/printer-relay/relay/message/disguise"
)

// scans takes a message where a rule names what scanners make.
func scans(t *testing.T, message string) error {
	t.Helper()
	o := options()
	o.Attachments = disguise.Types
	_, _, err := take(t, message, o)
	return err
}

// What a mail client may show or save, though a parser of another mind does not
// see it. test/mailreaders asks clients.
func TestAttachmentsInDisguise(t *testing.T) {
	for name, message := range disguise.Disguised() {
		if err := scans(t, message); err == nil || !strings.Contains(err.Error(), " PR-054 ") && !strings.Contains(err.Error(), " PR-055 ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What copiers and people send passes.
func TestOrdinaryMailPasses(t *testing.T) {
	for name, message := range disguise.Ordinary() {
		if err := scans(t, message); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzContent: where types are named, no message makes Intake panic or write
// more than came in and a header's repair adds; what passes as a PDF scan is the
// message that came, and passes again; and it is judged alike in any pieces.
func FuzzContent(f *testing.F) {
	for _, table := range []map[string]string{disguise.Disguised(), disguise.Ordinary()} {
		for _, m := range table {
			f.Add([]byte(m))
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		in := string(message)
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

// Archives and other files pass by the type that is listed, under any of its names,
// if they are what they say.
func TestTypesThatAreListed(t *testing.T) {
	const (
		zip  = "PK\x03\x04\x14\x00\x00\x00"
		docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	)
	for name, tc := range map[string]struct {
		listed, declared, file, octets string
		ok                             bool
	}{
		"a ZIP":                          {"application/zip", "application/zip", "a.zip", zip, true},
		"a ZIP by its other name":        {"application/zip", "application/x-zip-compressed", "a.zip", zip, true},
		"a ZIP listed by its other name": {"application/x-zip-compressed", "application/zip", "a.zip", zip, true},
		"a ZIP of no type":               {"application/zip", "application/octet-stream", "", zip, true},
		"a ZIP that is none":             {"application/zip", "application/zip", "a.zip", "hello", false},
		"a JAR":                          {"application/zip", "application/zip", "a.jar", zip, false},
		"a document where a ZIP may":     {"application/zip", docx, "a.docx", zip, false},
		"a document":                     {docx, docx, "a.docx", zip, true},
		"a document as a ZIP":            {docx, "application/zip", "a.docx", zip, true},
		"a document of no type":          {docx, "application/octet-stream", "a.docx", zip, true},
		"a ZIP where a document may":     {docx, "application/zip", "a.zip", zip, false},
		"a ZIP without a name, likewise": {docx, "application/zip", "", zip, false},
		"a document that is a script":    {docx, docx, "a.docx", "WScript.Echo", false},
		"a document that is old":         {docx, docx, "a.docx", "\xd0\xcf\x11\xe0", false},
		"XPS":                            {"application/oxps", "application/vnd.ms-xpsdocument", "a.xps", zip, true},
		"a RAR":                          {"application/vnd.rar", "application/x-rar-compressed", "a.rar", "Rar!\x1a\x07\x00", true},
		"a RAR that is a ZIP":            {"application/vnd.rar", "application/vnd.rar", "a.rar", zip, false},
		"a 7-Zip":                        {"application/x-7z-compressed", "application/octet-stream", "a.7z", "7z\xbc\xaf\x27\x1c", true},
		"gzip":                           {"application/gzip", "application/x-gzip", "a.tgz", "\x1f\x8b\x08", true},
		"gzip that is a program":         {"application/gzip", "application/gzip", "a.gz", "MZ", false},
		"a JPEG listed by its old name":  {"image/jpg", "image/jpeg", "a.jpg", "\xff\xd8\xff\xe0\x00\x10JFIF", true},
		"a text":                         {"text/plain", "text/plain", "a.txt", "hello\n", true},
		"a text that is a page":          {"text/plain", "text/plain", "a.txt", "<html><script>", false},
		"a text that is no text":         {"text/plain", "text/plain", "a.txt", "\x00\x01\x02\x03", false},
		"a text that is rich":            {"text/plain", "text/plain", "a.txt", "{\\rtf1 x}", false},
		"a list":                         {"text/csv", "application/octet-stream", "a.csv", "a;b\n", true},
		"a page":                         {"text/html", "text/html", "a.html", "<html>", true},
		"XML":                            {"text/xml", "application/xml", "a.xml", "<?xml version=\"1.0\"?><a/>", true},
		"a mail that nobody looked into": {"message/rfc822", "application/octet-stream", "a.eml", "Subject: x\n", false},
		"a part of a message":            {"message/partial", "message/partial", "", "x", false},
		"a body that is elsewhere":       {"message/external-body", "message/external-body", "", "x", false},
		"octets, of which none are told": {"application/octet-stream", "application/octet-stream", "a.bin", "hello", false},
		"an unknown type, as it is":      {"application/x-mine", "application/x-mine", "", "hello", true},
		"an unknown type, a program":     {"application/x-mine", "application/x-mine", "", "MZ", false},
	} {
		file := ""
		if tc.file != "" {
			file = "Content-Disposition: attachment; filename=" + tc.file + "\n"
		}
		in := disguise.Mixed("Content-Type: " + tc.declared + "\n" + file + "Content-Transfer-Encoding: base64\n\n" + disguise.Wrapped(tc.octets) + "\n")
		o := options()
		o.Attachments = []string{tc.listed}
		if _, _, err := take(t, strings.ReplaceAll(in, "\n", "\r\n"), o); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each bound holds, and what is within it passes.
func TestContentIsBounded(t *testing.T) {
	multipart := func(depth, parts int) string {
		var b strings.Builder
		for i := range depth {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=d%dx\n\n--d%dx\n", i, i)
		}
		b.WriteString("\nx\n")
		b.WriteString(strings.Repeat(fmt.Sprintf("--d%dx\n\nx\n", depth-1), parts-1))
		for i := range depth {
			fmt.Fprintf(&b, "--d%dx--\n", depth-1-i)
		}
		return disguise.From + b.String()
	}
	messages := func(n int) string {
		return disguise.From + strings.Repeat("Content-Type: message/rfc822\n\n", n) + "Subject: x\n\nx\n"
	}
	boundary := func(n int) string {
		b := strings.Repeat("z", n)
		return disguise.From + "Content-Type: multipart/mixed; boundary=" + b + "\n\n--" + b + "\n\nx\n--" + b + "--\n"
	}
	header := func(n int) string {
		return disguise.Mixed(strings.Repeat("X: "+strings.Repeat("x", 95)+"\n", n) + "\nx\n")
	}
	parameters := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ";\n x%d=y", i)
		}
		return disguise.Mixed("Content-Type: text/plain" + b.String() + "\n\nx\n")
	}
	for name, tc := range map[string]struct {
		in string
		ok bool
	}{
		"nested":                    {multipart(maxDepth, 1), true},
		"nested too deeply":         {multipart(maxDepth+1, 1), false},
		"parts":                     {multipart(1, maxParts-1), true}, // the message counts too
		"too many parts":            {multipart(1, maxParts), false},
		"messages in one another":   {messages(maxParts - 1), true},
		"too many of them":          {messages(maxParts), false},
		"a boundary":                {boundary(maxBoundary), true},
		"a boundary too long":       {boundary(maxBoundary + 1), false},
		"the header of a part":      {header(maxPartHeader / 100), true},
		"one that is too large":     {header(maxPartHeader/100 + 1), false},
		"parameters":                {parameters(maxParameters), true},
		"too many parameters":       {parameters(maxParameters + 1), false},
		"a line of a part's header": {disguise.Mixed("X: " + strings.Repeat("x", maxLine-3) + "\n\nx\n"), true},
		"one that is too long":      {disguise.Mixed("X: " + strings.Repeat("x", maxLine-2) + "\n\nx\n"), false},
	} {
		err := scans(t, strings.ReplaceAll(tc.in, "\n", "\r\n"))
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), " PR-055 ") {
			t.Errorf("%s: %v", name, err)
		}
	}
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
		if held := cap(s.line1) + cap(s.head) + cap(s.leaf.first) + cap(s.leaf.text.current) + cap(s.leaf.text.group) + cap(s.long.tail); held > 128<<10 {
			t.Errorf("%s: %d octets are held", name, held)
		}
	}
}

func BenchmarkIntakeTypesNamed(b *testing.B) {
	o := options()
	o.Attachments = []string{"application/pdf"}
	for name, header := range map[string]string{"pdf": "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n", "text": "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n"} {
		msg := []byte(head + header + "\r\n" + strings.ReplaceAll(disguise.Wrapped("%PDF-1.4\n"+strings.Repeat("x", 5<<20)), "\n", "\r\n") + "\r\n")
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
