package dsn

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files; read the difference")

var at = time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)

func report() Report {
	return Report{
		ID: "8DqDSN", At: at, Hostname: "relay.corp.example", From: "relay@corp.example", To: "it@corp.example",
		MessageQueueID: "8DqSCAN", Arrived: at.Add(-time.Hour), Device: "mfp-3 (10.20.3.7)", Sender: "mfp3@copier.example", Size: 1234567,
		Recipients: []Recipient{{Address: "gone@corp.example", Code: 550, Status: "5.1.1", Text: "no such user here", Remote: "mx.corp.example", At: at.Add(-time.Minute)}},
		Header:     []byte("From: mfp3@copier.example\r\nTo: gone@corp.example\r\nSubject: Scan\r\n"),
	}
}

var cases = map[string]func(*Report){
	"failed": func(*Report) {},
	"delayed": func(r *Report) {
		r.Delayed, r.Until = true, at.Add(96*time.Hour)
		r.Recipients[0].Code, r.Recipients[0].Status, r.Recipients[0].Text = 450, "4.2.0", "greylisted"
	},
	"what it means": func(r *Report) {
		r.Recipients[0].Cause, r.Recipients[0].Remedy = "the server knows no such recipient", "correct the address at the device"
	},
	"what a delay means": func(r *Report) {
		r.Delayed, r.Until = true, at.Add(96*time.Hour)
		r.Recipients[0] = Recipient{Address: "a@corp.example", Code: 454, Status: "4.7.0", Text: "no", Cause: "the server cannot check logins for the moment", Remedy: "tell its administrator"}
	},
	"rewritten recipient": func(r *Report) { r.Recipients[0].Original = "gone@old.example" },
	"two recipients": func(r *Report) {
		r.Recipients = append(r.Recipients, Recipient{Address: "full@corp.example", Code: 552, Status: "5.2.2", Text: "mailbox full", Remote: "mx.corp.example", At: at})
	},
	"no reply at all": func(r *Report) {
		r.Recipients[0] = Recipient{Address: "a@corp.example", Text: "gave up after 5 days", At: at}
	},
	"all that is known": func(r *Report) {
		r.Device, r.Rule, r.Subject, r.Until = "Finance MFP: mfp-3 MFP3 [10.20.3.7]", "office/finance-mfps", "Invoice 4711", at.Add(7*24*time.Hour)
		r.Recipients[0].Attempts, r.Size = 12, 4711
		r.Files = Files{Names: []string{"scan0001.pdf", "Rückgabe.tif"}, More: true}
		r.Console = "https://printers.corp.example/console/relays/default/office/messages/8DqSCAN"
	},
	"lost": func(r *Report) {
		r.Lost = true
		r.Recipients[0] = Recipient{Address: "a@corp.example", Cause: "the scan is lost", Remedy: "scan it again", At: at}
	},
	"null sender": func(r *Report) { r.Sender = "" },
	"beyond ASCII": func(r *Report) {
		r.Device, r.Sender, r.Recipients[0].Address, r.Recipients[0].Text = "Büro-MFP", "jürgen@copier.example", "bjørn@corp.example", "finnes ikke: bjørn"
		r.Header = []byte("From: jürgen@copier.example\r\nSubject: Rückgabe\r\n")
	},
	"hostile words": func(r *Report) {
		r.Recipients[0].Text = "no\r\n\r\n--report\r\nContent-Type: text/html\r\n\r\n<script>" + strings.Repeat("x", 2000)
		r.Device = "mfp\r\nBcc: victim@elsewhere.example \u202egnp.nacs"
		r.Recipients[0].Address = strings.Repeat("y", 300) + "@corp.example"
		r.Subject, r.Files = "a\r\nTo: x@y\u2028z", Files{Names: []string{"a\r\n.\r\nb"}}
		r.Header = []byte("Subject: x\r\n--boundary\r\nno header: \x00\xff\r\n" + strings.Repeat("y", 5000) + "\r\n\r\nthe body: a secret\r\n")
	},
	"to an address beyond ASCII": func(r *Report) {
		r.To, r.Sender = "jürgen@copier.example", "jürgen@copier.example"
		r.Recipients[0].Address = `"bjørn "b" x+y"@corp.example`
	},
	"long words": func(r *Report) {
		r.Recipients[0].Text = strings.Repeat("Ваше сообщение отклонено. ", 20)
		r.Recipients[0].Remote = "mx.corp.example [2001:db8::1]:25"
		r.Device = strings.Repeat("Кабинет ", 20)
		r.Header = []byte("Subject: x\r\n" + strings.Repeat("X-Long: "+strings.Repeat("y", 90)+"\r\n", 400))
	},
	"more recipients than it names": func(r *Report) {
		r.Recipients = nil
		for i := range maxRecipients + 20 {
			r.Recipients = append(r.Recipients, Recipient{Address: fmt.Sprintf("r%d@corp.example", i), Code: 550, Status: "5.1.1", Text: "no", Remote: "mx.corp.example", At: at})
		}
	},
}

// golden is the message that write makes, which has to be that of testdata/NAME.eml.
func golden(t *testing.T, name string, write func(io.Writer) (headerSize int64, err error)) []byte {
	t.Helper()
	var b bytes.Buffer
	headerSize, err := write(&b)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(b.Bytes(), []byte("\r\n\r\n")); headerSize != int64(i+4) {
		t.Errorf("header size %d, want %d", headerSize, i+4)
	}
	path := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".eml")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil { //nolint:gosec // it is read by everybody
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is out of date: run go test ./relay/dsn -update, and read the difference. Now:\n%s", path, b.Bytes())
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			r := report()
			change(&r)
			readable(t, golden(t, name, func(w io.Writer) (int64, error) { return Write(w, r) }), r)
		})
	}
}

// readable reads a notification as RFC 3464 says.
func readable(t *testing.T, b []byte, r Report) {
	t.Helper()
	clean(t, b, r.To)
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"From", "To"} {
		if list, err := m.Header.AddressList(name); err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	if bytes.Contains(b, []byte("secret")) {
		t.Error("the notification gives the body back")
	}
	if m.Header.Get("Bcc") != "" || !strings.HasPrefix(m.Header.Get("Auto-Submitted"), "auto-") {
		t.Errorf("header %v", m.Header)
	}
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || media != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type %s %v, %v", media, params, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var types []string
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, kind)
		if kind == "message/delivery-status" {
			readStatus(t, p, r)
		}
	}
	if strings.Join(types, " ") != "text/plain message/delivery-status text/rfc822-headers" {
		t.Errorf("parts %v", types)
	}
}

// clean checks the lines of a message to an address.
func clean(t *testing.T, b []byte, to string) {
	t.Helper()
	for i, line := range strings.SplitAfter(string(b), "\n") {
		if !isASCII(to) && strings.HasPrefix(line, "To: ") {
			continue
		}
		if line != "" && (!strings.HasSuffix(line, "\r\n") || len(line) > 1000 || strings.ContainsFunc(strings.TrimRight(line, "\r\n"), func(c rune) bool { return c > '~' || c < ' ' && c != '\t' })) {
			t.Errorf("line %d is not ASCII, too long, or ends wrongly: %.100q", i+1, line)
		}
	}
}

func readStatus(t *testing.T, p io.Reader, r Report) {
	t.Helper()
	in := textproto.NewReader(bufio.NewReader(p))
	whole, err := in.ReadMIMEHeader()
	if err != nil || whole.Get("Reporting-Mta") != "dns; "+r.Hostname {
		t.Errorf("%v, %v", whole, err)
	}
	action := map[bool]string{true: "delayed", false: "failed"}[r.Delayed]
	for i := range min(len(r.Recipients), maxRecipients) {
		h, err := in.ReadMIMEHeader()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if h.Get("Action") != action || address(t, h.Get("Final-Recipient")) != r.Recipients[i].Address || len(h.Get("Status")) < 5 {
			t.Errorf("recipient %d: %v", i, h)
		}
		if want := r.Recipients[i].Status; want != "" && h.Get("Status") != want {
			t.Errorf("recipient %d: status %s, want %s", i, h.Get("Status"), want)
		}
	}
}

// address reads a typed address: rfc822, or utf-8 in xtext (RFC 6533 3).
func address(t *testing.T, typed string) string {
	t.Helper()
	kind, a, ok := strings.Cut(typed, "; ")
	if kind == "rfc822" && ok {
		return a
	}
	if kind != "utf-8" || strings.ContainsAny(a, " +=") || !isASCII(a) {
		t.Errorf("typed address %q", typed)
	}
	return regexp.MustCompile(`\\x\{([0-9A-F]{2,6})\}`).ReplaceAllStringFunc(a, func(x string) string {
		n, err := strconv.ParseInt(x[3:len(x)-1], 16, 32)
		if err != nil {
			t.Errorf("%q: %v", typed, err)
		}
		return string(rune(n))
	})
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f }) }

// FuzzWrite: whatever devices and servers say, a notification is one that others
// read, its lines are ASCII and short, and it holds nothing of the body.
func FuzzWrite(f *testing.F) {
	f.Add("no such user", "mx.corp.example", "mfp-3", "Subject: Scan\r\n\r\nsecret", "5.1.1", true)
	f.Add("nein\r\n--report\r\n\x00\xff", "\r\nmx", "Büro\u2028", "\r\nsecret\r\n", "", false)
	f.Fuzz(func(t *testing.T, text, remote, device, header, status string, delayed bool) {
		if strings.Contains(text+remote+device, "secret") || strings.Contains(strings.SplitN(header, "\n\n", 2)[0], "secret") || len(text+remote+device) > 5000 {
			return
		}
		if status != "" {
			status = "5.1.1"
			if delayed {
				status = "4.2.0"
			}
		}
		header = strings.ReplaceAll(strings.ReplaceAll(header, "\r", ""), "\n", "\r\n") // as Intake leaves it
		r := report()
		r.Delayed, r.Device, r.Header = delayed, device, []byte(header)
		x := &r.Recipients[0]
		x.Text, x.Remote, x.Status = text, remote, status
		if i := strings.Index("\r\n"+header, "\r\n\r\n"); i < 0 && strings.Contains(header, "secret") || i >= 0 && strings.Contains(("\r\n" + header)[:i], "secret") {
			return
		}
		var b bytes.Buffer
		if _, err := Write(&b, r); err != nil {
			t.Fatal(err)
		}
		readable(t, b.Bytes(), r)
	})
}
