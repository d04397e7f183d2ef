package transcript

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// FuzzRecorder: whatever is recorded, in whatever order, stays within its bound,
// is printable, and shows nothing of a password that the relay holds or that was
// sent to log in. In the input \x01 stands for a password, \x02 for it in base64;
// the first octet of each line says what it is.
func FuzzRecorder(f *testing.F) {
	const canary = "Canary-7Qx2w"
	for _, s := range []string{
		"Cehlo m\nCMAIL FROM:<\x01@x>\nS5.1.7 \x01\nB\x01\nSx", "CAUTH PLAIN \x02\nCehlo \x01", "R\x01\nCrcpt to:\x01", "CAUTH \x01 \x02\nBmechanism \x01\nSx", "R\x02\nM\nA\nF\x01",
		"Cmail from:\"\\\x01\"<a> \x01=\x01\nS5.7.1 PR-031 \x01", "C\x01\x00\xff\nR=\nR*\nR",
	} {
		f.Add([]byte(s), true, byte(1))
		f.Add([]byte(s), false, byte(40))
	}
	expand := strings.NewReplacer("\x01", canary, "\x02", b64("mfp:"+canary))
	f.Fuzz(func(t *testing.T, in []byte, held bool, times byte) {
		r := New(time.Now())
		about := About{Login: func(name string) bool { return name == "mfp" }}
		if held {
			about.Secrets = []*Secrets{NewSecrets([]string{"another", canary})}
		} else {
			r.Response(b64("\x00mfp\x00" + canary))
		}
		for range times {
			for line := range strings.SplitSeq(expand.Replace(string(in)), "\n") {
				record(r, line)
				if len(r.buf) > maxRecorded+maxArgument || r.size > maxSecrets {
					t.Fatalf("%d octets, and %d of secrets", len(r.buf), r.size)
				}
			}
		}
		r.Reply("550 5.7.1 PR-030 Device may not send here", true)
		s := r.Finish(about).decode()
		var out bytes.Buffer
		if err := WriteText(&out, []Session{s}); err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&out).Encode(s); err != nil {
			t.Fatal(err)
		}
		for _, c := range out.Bytes() {
			if c != '\n' && (c < ' ' || c > 0x7e) {
				t.Fatalf("octet %#x in %q", c, &out)
			}
		}
		low := strings.ToLower(out.String())
		for _, bad := range []string{canary, b64("mfp:" + canary)[6:20]} {
			if strings.Contains(low, strings.ToLower(bad)) {
				t.Fatalf("%q is in\n%s", bad, &out)
			}
		}
		if len(s.Lines) == 0 || s.Lines[len(s.Lines)-1].From == Client {
			t.Fatalf("the last line is not the refusal:\n%s", &out)
		}
	})
}

func record(r *Recorder, line string) {
	if line == "" {
		return
	}
	text := line[1:]
	switch line[0] {
	case 'C':
		r.Command([]byte(text))
	case 'R':
		r.Response(text)
	case 'B':
		r.Because(text, true)
	case 'S':
		r.Reply("550 "+text, true)
	case 'M':
		r.Message(int64(len(text)))
	case 'A':
		r.MailAccepted()
	case 'F':
		r.Fail(BrokenOff, "the device hung up")
	}
}

// FuzzWhy: whatever octets come in place of a ClientHello, there is a line to say
// of it.
func FuzzWhy(f *testing.F) {
	f.Add([]byte{0xc0, 0x2f, 0, 5}, []byte{3, 1}, uint16(0x0303), "tls: x")
	f.Add([]byte{0x0a, 0x0a, 0xff, 0xff}, []byte{}, uint16(0x0304), "remote error: tls: bad certificate")
	f.Fuzz(func(t *testing.T, suites, versions []byte, minimum uint16, text string) {
		o := Offer{came: true}
		for i := 1; i < len(suites); i += 2 {
			o.Suites = append(o.Suites, uint16(suites[i-1])<<8|uint16(suites[i]))
		}
		for i := 1; i < len(versions); i += 2 {
			o.Versions = append(o.Versions, uint16(versions[i-1])<<8|uint16(versions[i]))
		}
		lines := append(o.Lines(), o.Why(errorText(text), minimum))
		for _, l := range lines[:2] {
			if l == "" || len(l) > 4000 {
				t.Fatalf("%d octets: %.100q", len(l), l)
			}
		}
	})
}

type errorText string

func (e errorText) Error() string { return string(e) }
