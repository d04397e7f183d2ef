// Package simulate plays the client's side of an SMTP dialogue that is written
// down in a file: what a known copier says, in its own way. test/dialogs plays
// the files against our listener and compares every octet; `simulate` plays them
// against any server, so that an administrator can test without walking to the
// device.
//
// It imports the standard library and test/dialogs/copiers, which holds the
// files.
package simulate

import (
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
)

// Dialogue is one file.
type Dialogue struct {
	Name   string
	Device string   // whose it is, in words; of the line `device:`
	About  []string // its remarks before the first step
	Steps  []Step

	Header map[string][]string // further lines `key: value`, for those who play it in a test
	TLS    TLS
}

// TLS is what the device can do.
type TLS struct {
	Max    uint16   // version; 0: the newest
	Suites []uint16 // of TLS 1.2 and before; nil: those of crypto/tls
}

// Kind is what a step does.
type Kind uint8

// The kinds of steps.
const (
	Send      Kind = iota // text and CRLF (C:)
	SendRaw               // a quoted string as it is (C+:)
	SendSlow              // text and CRLF, an octet a write (C1:)
	Expect                // one line of a reply (S:)
	Handshake             // TLS
	End                   // no more is sent, and the rest read (EOF)
)

// Step is one line of a dialogue.
type Step struct {
	Line int // in the file, from 1
	Kind Kind
	Text string
}

// keys are those of a header, with what has a place of its own.
var keys = map[string]bool{"relay": true, "listener": true, "rule": true, "messages": true, "contains": true, "lacks": true, "login": true, "device": true, "tls": true}

// Parse reads a dialogue. README.md of test/dialogs says how it is written.
func Parse(name, text string) (*Dialogue, error) {
	d := &Dialogue{Name: name, Header: map[string][]string{}}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if err := d.add(i+1, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	return d, nil
}

func (d *Dialogue) add(n int, line string) error {
	if remark, ok := strings.CutPrefix(line, "#"); ok {
		if len(d.Steps) == 0 {
			d.About = append(d.About, strings.TrimSpace(remark))
		}
		return nil
	}
	key, text, _ := strings.Cut(line, ": ")
	step := Step{Line: n, Text: text}
	switch key {
	case "C":
		step.Kind = Send
	case "C+":
		raw, err := strconv.Unquote(text)
		if err != nil {
			return fmt.Errorf("want a quoted string: %w", err)
		}
		step.Kind, step.Text = SendRaw, raw
	case "C1":
		step.Kind = SendSlow
	case "S":
		step.Kind = Expect
	case "TLS":
		step.Kind = Handshake
	case "EOF":
		step.Kind = End
	case "":
		return nil
	default:
		if !keys[key] {
			return fmt.Errorf("a line begins with C:, C+:, C1:, S:, EOF, TLS, # or a key of the header: %q", line)
		}
		return d.header(key, text)
	}
	d.Steps = append(d.Steps, step)
	return nil
}

func (d *Dialogue) header(key, text string) error {
	switch key {
	case "device":
		d.Device = text
	case "tls":
		return d.TLS.parse(text)
	}
	d.Header[key] = append(d.Header[key], text)
	return nil
}

var versions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// parse reads "1.0 TLS_RSA_WITH_AES_128_CBC_SHA ...": the newest version, then the
// cipher suites by their names in the IANA registry.
func (t *TLS) parse(text string) error {
	words := strings.Fields(text)
	if len(words) == 0 || versions[words[0]] == 0 {
		return fmt.Errorf("tls: want the newest version, such as 1.0, then cipher suites: %q", text)
	}
	t.Max = versions[words[0]]
	known := map[string]uint16{}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		known[s.Name] = s.ID
	}
	for _, w := range words[1:] {
		id, ok := known[w]
		if !ok {
			return fmt.Errorf("tls: cipher suite %q is not known to crypto/tls", w)
		}
		t.Suites = append(t.Suites, id)
	}
	return nil
}

// Config is the client's side of a handshake: like the devices it verifies
// nothing.
func (t *TLS) Config(serverName string) *tls.Config {
	return &tls.Config{ServerName: serverName, InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: t.Max, CipherSuites: t.Suites} //nolint:gosec // as devices do; nothing secret is sent that the device would not send
}
