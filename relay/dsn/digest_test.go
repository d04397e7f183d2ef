package dsn

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"
)

func digest() Digest {
	scan := func(n int) Scan {
		return Scan{QueueID: fmt.Sprintf("8DqSCAN%d", n), Arrived: at.Add(time.Duration(n-60) * time.Minute), Size: 1234567, Recipients: []string{"gone@corp.example"}}
	}
	return Digest{
		ID: "8DqSCAN1-0a1b2c3d", At: at, Hostname: "relay.corp.example", From: "relay@corp.example", To: "it@corp.example",
		Device: "Finance MFP: mfp-3 [10.20.3.7]", Client: "10.20.3.7", Since: at.Add(-time.Hour), Alone: 6, Until: at.Add(7 * 24 * time.Hour),
		Causes: []Cause{{
			Cause: "the server knows no such recipient", Remedy: "correct the address at the device or in its address book",
			Words: "550 5.1.1 no such user here (mx.corp.example)", Count: 494, Scans: []Scan{scan(1), scan(2)},
		}},
	}
}

var digests = map[string]func(*Digest){
	"failed": func(*Digest) {},
	"one":    func(d *Digest) { d.Causes[0].Count, d.Causes[0].Scans, d.Alone = 1, d.Causes[0].Scans[:1], 0 },
	"all that is known": func(d *Digest) {
		s := &d.Causes[0].Scans[0]
		s.Subject, s.Files, s.Words = "Invoice 4711", Files{Names: []string{"scan0001.pdf", "Rückgabe.tif"}, More: true}, "550 5.1.1 unknown (mx2.corp.example)"
		for n := range 8 {
			s.Recipients = append(s.Recipients, fmt.Sprintf("r%d@corp.example", n))
		}
		d.Console = "https://printers.corp.example/console/relays/default/office/messages?client=10.20.3.7"
	},
	"failed and delayed": func(d *Digest) {
		late := d.Causes[0].Scans[1]
		late.QueueID = "8DqSCAN9"
		d.Causes = append(d.Causes,
			Cause{Words: "550 5.7.1 no", Count: 1, Scans: []Scan{d.Causes[0].Scans[1]}},
			Cause{Delayed: true, Cause: "the host cannot be reached", Remedy: "check host and port of the MailUpstream", Count: 3, Scans: []Scan{late}},
			Cause{Delayed: true, Count: 1})
	},
	"reasons that differ": func(d *Digest) {
		known, other := d.Causes[0].Scans[0], d.Causes[0].Scans[1]
		known.Cause, known.Remedy, known.Words = "the mailbox is full", "have it emptied", "552 5.2.2 full (mx.corp.example)"
		other.Words = "550 5.9.9 no (mx.corp.example)"
		d.Causes = append(d.Causes, Cause{Mixed: true, Count: 3, Scans: []Scan{known, other}})
	},
	"lost": func(d *Digest) {
		d.Causes = append(d.Causes, Cause{Lost: true, Cause: "the scan is lost", Remedy: "scan it again", Count: 1, Scans: []Scan{d.Causes[0].Scans[1]}})
	},
	"delayed": func(d *Digest) { d.Causes[0].Delayed = true },
	"hostile words": func(d *Digest) {
		evil := "x\r\n\r\nBcc: victim@elsewhere.example\u202e\u2028" + strings.Repeat("<b>", 500)
		d.Device, d.Client, d.Until = evil, "it's; $(reboot)", time.Time{}
		c := &d.Causes[0]
		c.Cause, c.Words, c.Scans[0].Subject, c.Scans[0].Recipients, c.Scans[0].Words = "", evil, evil, []string{evil}, evil
		c.Scans[0].Files.Names = []string{evil}
	},
	"to an address beyond ASCII": func(d *Digest) {
		d.To, d.Device = "jürgen@copier.example", "Büro-MFP "+strings.Repeat("Кабинет ", 20)
	},
}

func TestGoldenDigests(t *testing.T) {
	for name, change := range digests {
		t.Run(name, func(t *testing.T) {
			d := digest()
			change(&d)
			b := golden(t, "digests/"+name, func(w io.Writer) (int64, error) { return WriteDigest(w, d) })
			clean(t, b, d.To)
			m, err := mail.ReadMessage(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if m.Header.Get("Bcc") != "" || m.Header.Get("Auto-Submitted") != "auto-generated" || len(m.Header) != 10 {
				t.Errorf("header %v", m.Header)
			}
			text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(text), "\r\n")
			if strings.ContainsAny(string(text), "\u202e\u2028") || slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Bcc") }) {
				t.Errorf("the text %s", text)
			}
		})
	}
}

// message is one with parts of these headers.
func parts(headers ...string) string {
	b := "Subject: scan\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
	for _, h := range headers {
		b += "--x\r\n" + h + "\r\n\r\ncontent\r\n"
	}
	return b + "--x--\r\n"
}

func TestNamesOfFiles(t *testing.T) {
	pdf := func(disposition string) string {
		return "Content-Type: application/pdf\r\nContent-Disposition: attachment; " + disposition
	}
	var many []string
	for n := range maxFiles + 1 {
		many = append(many, pdf(fmt.Sprintf("filename=%d.pdf", n)))
	}
	for name, c := range map[string]struct {
		message string
		limit   int64
		want    string
	}{
		"one":              {parts("Content-Type: text/plain", pdf(`filename="scan 1.pdf"`)), 1000, "scan 1.pdf"},
		"of the type":      {parts("Content-Type: image/tiff; name=scan.tif"), 1000, "scan.tif"},
		"no multipart":     {"Content-Type: application/pdf; name=scan.pdf\r\n\r\n%PDF", 1000, "scan.pdf"},
		"RFC 2231":         {parts(pdf("filename*=utf-8''R%C3%BCckgabe.pdf")), 1000, "Rückgabe.pdf"},
		"RFC 2231, pieces": {parts(pdf("filename*0=scan; filename*1=1.pdf")), 1000, "scan1.pdf"},
		"RFC 2047":         {parts(pdf(`filename="=?iso-8859-1?Q?R=FCckgabe.pdf?="`)), 1000, "Rückgabe.pdf"},
		"none":             {parts("Content-Type: text/plain"), 1000, ""},
		"no header":        {"", 1000, ""},
		"direction":        {parts(pdf("filename*=utf-8''scan%E2%80%AEfdp.exe")), 1000, "scan fdp.exe"},
		"long":             {parts(pdf("filename=" + strings.Repeat("a", 200) + ".pdf")), 1000, strings.Repeat("a", maxFile)},
		"two readings":     {parts(pdf("filename=a.pdf"), pdf("filename=a.pdf; filename=b.exe")), 1000, "a.pdf, ..."},
		"behind the limit": {parts(pdf("filename=a.pdf"), pdf("filename=b.pdf")), 150, "a.pdf, ..."},
		"too many":         {parts(many...), 10000, "0.pdf, 1.pdf, 2.pdf, 3.pdf, 4.pdf, 5.pdf, 6.pdf, 7.pdf, 8.pdf, 9.pdf, ..."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := FilesOf(strings.NewReader(c.message), c.limit).String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A copier's name is text: what it hides in an encoded word stays hidden.
func TestSubjectsAreNotDecoded(t *testing.T) {
	for _, evil := range []string{"=?utf-8?q?=E2=80=AEevil?=", "==??utf-8?b?4oCuZXZpbA==?=", "B\u00fcro =?utf-8?q?=E2=80=AEevil?="} {
		d := digest()
		d.Device = evil
		var b bytes.Buffer
		if _, err := WriteDigest(&b, d); err != nil {
			t.Fatal(err)
		}
		m, err := mail.ReadMessage(&b)
		if err != nil {
			t.Fatal(err)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(subject, "\u202e") || strings.Contains(subject, "=?") {
			t.Errorf("%q is read as %q", evil, subject)
		}
	}
}
