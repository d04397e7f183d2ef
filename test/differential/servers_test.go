package differential

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/postfix"
	"github.com/printerrelay/printer-relay/test/rig"
)

// limit is the largest message that both take.
const limit = 64 << 10

// server is one of the two that are compared.
type server struct {
	name string
	port int
	ack  *regexp.Regexp // the reply to a message that was taken, with its queue ID
	mail func(t *testing.T) [][]byte
	log  func() string
}

// startPostfix starts Debian's Postfix as it is installed, but that bare line feeds
// are normalised, which is what its documentation advises against smuggling, and that
// what it takes is kept.
func startPostfix(t *testing.T) *server {
	t.Helper()
	s := postfix.Start(t, postfix.Options{MessageSize: limit, Extra: strings.Join([]string{
		"smtpd_forbid_bare_newline = normalize", "smtpd_forbid_bare_newline_exclusions =", "smtpd_tls_security_level = none",
		"enable_long_queue_ids = yes", // short ones are used again
	}, "\n")})
	return &server{"Postfix", s.Port, regexp.MustCompile(`(?m)^250 2\.0\.0 Ok: (?:[0-9]+ bytes )?queued as (\w+)\r$`), func(t *testing.T) [][]byte { return s.Raw(t) }, s.Log}
}

const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office}
spec:
  hostname: relay.test
  upstreamRef: {name: folder}
  senderPolicyRefs: [{name: office}]
  addresses: {defaultDomain: corp.example}
  listeners:
  - name: smtp
    port: {{PORT}}
    tls: {mode: None}
    compatibility: {lineEndings: Normalize, commandSyntax: Lenient}
    limits: {messageSize: 64Ki}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: folder}
spec: {type: Maildir, maildir: {path: FOLDER}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office}
spec:
  rules:
  - name: lan
    match: {clientNetworks: [127.0.0.0/8]}
    recipients: {allowed: ["*@corp.example"]}
`

// startRelay starts a relay that writes to a folder.
func startRelay(t *testing.T) *server {
	t.Helper()
	folder := t.TempDir()
	r := rig.Start(t, strings.Replace(manifests, "FOLDER", folder, 1))
	return &server{"the relay", r.Port, regexp.MustCompile(`(?m)^250 2\.0\.0 Queued as (\w+)\r$`), func(t *testing.T) [][]byte {
		files, err := filepath.Glob(folder + "/new/*")
		if err != nil {
			t.Fatal(err)
		}
		all := make([][]byte, len(files))
		for i, f := range files {
			if all[i], err = os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}, r.Log.String}
}

// talk sends all octets at once behind the greeting and gives what was answered. cut
// says that the server closed while more was coming: TCP may drop its last replies then.
func (s *server) talk(in []byte) (said string, cut bool, err error) {
	conn, err := net.DialTimeout("tcp", env.Loopback(s.port), env.Wait)
	if err != nil {
		return "", false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(env.Wait)); err != nil {
		return "", false, err
	}
	greeting := make([]byte, 512)
	n, err := conn.Read(greeting)
	if err != nil || greeting[0] != '2' {
		return "", false, fmt.Errorf("greeting %q: %w", greeting[:n], err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn.Write(in)                   //nolint:errcheck // a server that closed before has said why
		conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // likewise
	}()
	rest, err := io.ReadAll(conn)
	<-done
	return string(greeting[:n]) + string(rest), err != nil, nil
}

// taken is one message that a server took.
type taken struct {
	id, head, body string // lines end in LF
}

// run sends every case, some at once, and gives what was taken of each, in the order
// of the session, what was answered, and which were cut.
func (s *server) run(t *testing.T, cases [][]byte) (out [][]taken, said []string, cut []bool) {
	t.Helper()
	said, cut = make([]string, len(cases)), make([]bool, len(cases))
	errs := make([]error, len(cases))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 4 {
		wg.Go(func() {
			for i := range next {
				said[i], cut[i], errs[i] = s.talk(cases[i])
			}
		})
	}
	for i := range cases {
		next <- i
	}
	close(next)
	wg.Wait()
	var acks []string
	for i, err := range errs {
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		for _, ack := range s.ack.FindAllStringSubmatch(said[i], -1) {
			acks = append(acks, ack[1])
		}
	}
	byID := map[string]taken{}
	env.Eventually(t, "all that "+s.name+" took arrives", s.log, func() bool {
		for _, raw := range s.mail(t) {
			if m := read(raw); m.id != "" {
				byID[m.id] = m
			} else if len(raw) > 0 {
				t.Fatalf("%s: no queue ID in\n%q", s.name, raw)
			}
		}
		return !slices.ContainsFunc(acks, func(id string) bool { _, ok := byID[id]; return !ok })
	})
	out = make([][]taken, len(cases))
	for i := range cases {
		for _, ack := range s.ack.FindAllStringSubmatch(said[i], -1) {
			out[i] = append(out[i], byID[ack[1]])
			delete(byID, ack[1])
		}
	}
	for id, m := range byID {
		if slices.Contains(cut, true) {
			break // it may be of one of those
		}
		t.Errorf("%s: %s arrived and nobody was told of it:\n%q", s.name, id, m)
	}
	return out, said, cut
}

var hop = regexp.MustCompile(`(?m)\b(?:E?SMTP) id (\w+)`)

// read reads what lies in a Maildir.
func read(raw []byte) taken {
	head, body, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	m := taken{head: string(head), body: string(body)}
	if id := hop.FindStringSubmatch(m.head); id != nil {
		m.id = id[1]
	}
	return m
}
