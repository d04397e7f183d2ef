package postfix

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// The harness is tried with swaks directly, so that a test of the relay that
// fails is about the relay.

func swaks(t *testing.T, port int, args ...string) (string, error) {
	t.Helper()
	return env.Run(t, "", "swaks", append([]string{
		"--server", "127.0.0.1", "--port", fmt.Sprint(port), "--from", "scan@copier.example", "--helo", "mfp", "--suppress-data",
	}, args...)...)
}

func TestClearTextAndAttachment(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	scan := make([]byte, 100_000)
	rand.Read(scan)
	file := filepath.Join(t.TempDir(), "scan.pdf")
	if err := os.WriteFile(file, scan, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := swaks(t, s.Port, "--to", "a@corp.example,b@corp.example", "--attach-type", "application/pdf", "--attach", "@"+file); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, to := range []string{"a@corp.example", "b@corp.example"} {
		m := s.MailFor(t, to)
		got, err := m.Attachment("scan.pdf")
		if err != nil || !bytes.Equal(got, scan) {
			t.Errorf("%s: attachment of %d octets differs (%v)", to, len(got), err)
		}
		if m.Sender != "scan@copier.example" {
			t.Errorf("%s: sender %q", to, m.Sender)
		}
	}
	if n := len(s.Mail(t)); n != 2 {
		t.Errorf("%d mails, want 2", n)
	}
}

func TestTLSAndAuthentication(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{RequireAuth: true, Users: map[string]string{"relay@corp.example": "p:w d"}})
	verify := []string{"--tls-verify", "--tls-ca-path", filepath.Join(s.CA.Dir, "ca.crt")}
	for i, c := range []struct {
		name string
		port int
		args []string
		code string // of the refusal; empty: taken
	}{
		{"STARTTLS, PLAIN", s.Port, []string{"--tls", "--auth", "PLAIN", "--auth-user", "relay@corp.example", "--auth-password", "p:w d"}, ""},
		{"STARTTLS, LOGIN", s.Port, []string{"--tls", "--auth", "LOGIN", "--auth-user", "relay@corp.example", "--auth-password", "p:w d"}, ""},
		{"STARTTLS, CRAM-MD5", s.Port, []string{"--tls", "--auth", "CRAM-MD5", "--auth-user", "relay@corp.example", "--auth-password", "p:w d"}, ""},
		{"implicit TLS, PLAIN", s.TLSPort, []string{"--tls-on-connect", "--auth", "PLAIN", "--auth-user", "relay@corp.example", "--auth-password", "p:w d"}, ""},
		{"wrong password", s.Port, []string{"--tls", "--auth", "PLAIN", "--auth-user", "relay@corp.example", "--auth-password", "wrong"}, "535"},
		{"no login", s.Port, []string{"--tls"}, "554"},
	} {
		to := fmt.Sprintf("r%d@corp.example", i)
		out, err := swaks(t, c.port, append(append([]string{"--to", to}, verify...), c.args...)...)
		if c.code != "" {
			if err == nil || !strings.Contains(out, "<~* "+c.code) {
				t.Errorf("%s: %v, want %s\n%s", c.name, err, c.code, out)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, out)
			continue
		}
		if m := s.MailFor(t, to); !strings.Contains(string(m.Raw), "Authenticated sender: relay@corp.example") {
			t.Errorf("%s: no login in Received\n%s", c.name, m.Raw)
		}
	}
	if out, err := swaks(t, s.Port, "--to", "clear@corp.example"); err == nil || !strings.Contains(out, "<** 530 5.7.0") {
		t.Errorf("without TLS: %v\n%s", err, out)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{MessageSize: 20_000})
	for to, code := range map[string]string{Unknown: "550 5.1.1", Greylisted: "450 4.7.1"} {
		if out, err := swaks(t, s.Port, "--to", to); err == nil || !strings.Contains(out, "<** "+code) {
			t.Errorf("%s: %v, want %s\n%s", to, err, code, out)
		}
	}
	if out, err := swaks(t, s.Port, "--to", "a@corp.example", "--body", strings.Repeat("x ", 20_000)); err == nil || !strings.Contains(out, "552 5.3.4") {
		t.Errorf("too large: %v\n%s", err, out)
	}
}

func TestStopAndRestart(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	s.Stop()
	if out, err := swaks(t, s.Port, "--to", "a@corp.example"); err == nil {
		t.Fatalf("it answers after Stop\n%s", out)
	}
	s.Restart(t)
	if out, err := swaks(t, s.Port, "--to", "a@corp.example"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.MailFor(t, "a@corp.example")
}

func TestSinkAndSource(t *testing.T) {
	t.Parallel()
	sink := StartSink(t, true)
	out, err := Source{Port: sink.Port, Messages: 20, Size: 4000, Sessions: 3, From: "scan@copier.example", To: "it@corp.example"}.Send(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files := sink.Files(t)
	if len(files) != 20 {
		t.Fatalf("%d files, want 20", len(files))
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("it@corp.example")) || len(b) < 4000 {
		t.Errorf("not what was sent:\n%s", b)
	}
}
