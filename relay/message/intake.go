// Package message reads, repairs, judges and rewrites Internet messages
// (RFC 5322, MIME) as streams: a header is held, within a bound, a body never.
//
// It may import relay/envelope, relay/reply, golang.org/x/text and the standard
// library.
package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// Bounds of a header, before and behind its repair. A device's has 20 fields and
// some hundred octets; Postfix takes 100 kB.
const (
	maxHeader = 100 << 10 // octets
	maxFields = 1000
	maxSender = 8 << 10  // octets of one From or Sender field
	maxRaw8   = 16 << 10 // octets of one field that is to be encoded
	maxHops   = 100      // Received fields; RFC 5321 6.3 wants at least 100
	chunk     = 32 << 10

	usualHeader = 1 << 10 // octets
)

// IntakeOptions say how one message is taken in.
type IntakeOptions struct {
	Reject   bool             // bare CR or LF is refused, not repaired
	UTF8     bool             // SMTPUTF8: the header may hold UTF-8 (RFC 6531)
	MaxSize  int64            // octets that may come in; 0: no limit
	Received string           // the whole Received field to put on top, with CRLF
	Hostname string           // of the relay, for Message-ID and for loops
	ID       string           // queue ID, for Message-ID
	Sender   envelope.Address // From of a message that has none
	Now      time.Time        // Date of a message that has none

	// Header, if set, sees the repaired header and may refuse the message.
	Header func(*Header) *reply.Reply
	// Attachments are the media types that may pass; empty: all.
	Attachments []string

	Subject bool // is wanted among the Facts
}

// Facts are what Intake learnt of a message.
type Facts struct {
	Size       int64 // octets written
	HeaderSize int64 // of them the header and the empty line
	EightBit   bool  // the body holds octets over 127
	UTF8       bool  // the header does
	MaxLine    int   // octets of the longest line, without CRLF
	MessageID  string
	Subject    string // decoded, as far as it can be; empty where it was not asked for
	Repairs    int    // places where line ends or the header were repaired
}

// SourceError wraps an error of the source: the client is gone, and nothing
// behind the message can be read.
type SourceError struct{ Err error }

func (e *SourceError) Error() string { return "reading the message: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *SourceError) Unwrap() error { return e.Err }

var chunks = sync.Pool{New: func() any { b := make([]byte, chunk); return &b }}

// Intake streams the message of src, the octets of DATA without dot-stuffing,
// to dst: normalised, its header repaired, its content judged. A refusal is a
// *reply.Reply; a *SourceError says that src failed; any other error is dst's.
// Unless src failed it is read to its end in every case, so that the session
// stays in step.
func Intake(dst io.Writer, src io.Reader, o IntakeOptions) (Facts, error) {
	out := chunks.Get().(*[]byte)
	in := chunks.Get().(*[]byte)
	defer func() { chunks.Put(in); chunks.Put(out) }()
	k := &intake{o: o, dst: dst, buf: (*out)[:0], head: make([]byte, 0, usualHeader)}
	k.lines = lines{reject: o.Reject, out: k.line}
	var came int64
	var failed error
	for {
		n, err := src.Read(*in)
		came += int64(n)
		if failed == nil {
			if o.MaxSize > 0 && came > o.MaxSize {
				failed = errTooLarge
			} else {
				failed = k.lines.write((*in)[:n])
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return k.facts, &SourceError{err}
		}
	}
	if failed == nil {
		failed = k.finish()
	}
	switch {
	case errors.Is(failed, errTooLarge):
		failed = reply.TooLarge(came, o.MaxSize)
	case errors.Is(failed, errBareEnding):
		failed = reply.BareLineEnding()
	}
	return k.facts, failed
}

var errTooLarge = errors.New("too large")

type intake struct {
	o     IntakeOptions
	dst   io.Writer
	buf   []byte // what is not written yet
	lines lines
	facts Facts

	head     []byte // the header so far
	begun    bool   // a line of the header was seen
	fields   int
	lineOpen bool // a piece of the current line is out
	start    int  // of the current line in head
	inBody   bool
	current  int // octets of the current line of the body so far
	scanner  *scanner
}

// line takes one piece of a line of the message.
func (k *intake) line(p []byte, last bool) error {
	if k.inBody {
		return k.body(p, last)
	}
	if len(k.head)+len(p)+2 > maxHeader {
		return reply.HeaderTooLarge()
	}
	if !k.lineOpen {
		k.start = len(k.head)
	}
	k.head = append(k.head, p...)
	if k.lineOpen = !last; !last {
		return nil
	}
	line := k.head[k.start:]
	switch {
	case len(line) == 0 && !k.begun:
		return nil // empty lines before the header
	case len(line) == 0:
		return k.header()
	case !k.begun && bytes.HasPrefix(line, []byte("From ")):
		k.head = k.head[:k.start] // a mailbox separator, not a field
		k.facts.Repairs++
		return nil
	case k.begun && (line[0] == ' ' || line[0] == '\t'):
	default:
		if _, ok := fieldName(line); !ok { // the header ended without an empty line
			first := bytes.Clone(line)
			k.head = k.head[:k.start]
			k.facts.Repairs++
			if err := k.header(); err != nil {
				return err
			}
			return k.body(first, true)
		}
	}
	if line[0] != ' ' && line[0] != '\t' {
		if k.fields++; k.fields > maxFields {
			return reply.HeaderTooLarge()
		}
	}
	k.begun = true
	k.head = append(k.head, '\r', '\n')
	return nil
}

// header ends the header: repairs it, judges it and writes it.
func (k *intake) header() error {
	k.inBody = true
	h := ParseHeader(k.head)
	if err := k.loop(h); err != nil {
		return err
	}
	if err := k.repair(h); err != nil {
		return err
	}
	if k.o.Header != nil {
		if r := k.o.Header(h); r != nil {
			return r
		}
	}
	if len(k.o.Attachments) > 0 {
		k.scanner = newScanner(k.o.Attachments)
		if err := k.scanner.begin(h); err != nil {
			return err
		}
	}
	k.facts.MessageID = h.Get("Message-ID")
	if k.o.Subject {
		k.facts.Subject = h.Get("Subject")
		if text, ok := DecodeText(k.facts.Subject); ok {
			k.facts.Subject = text
		}
	}
	k.buf = append(k.buf, k.o.Received...)
	k.buf = h.Append(k.buf)
	k.buf = append(k.buf, '\r', '\n')
	k.facts.HeaderSize = int64(len(k.buf))
	for line := range bytes.Lines(k.buf) {
		k.facts.MaxLine = max(k.facts.MaxLine, len(line)-len("\r\n"))
	}
	k.lines.high = false // from here on it speaks of the body
	k.head = nil
	return k.flush()
}

// loop refuses a message that was here too often (RFC 5321 6.3).
func (k *intake) loop(h *Header) error {
	hops, own := 0, 0
	by := "by " + strings.ToLower(k.o.Hostname) + " (printer relay)"
	for _, f := range h.Fields {
		if f.Is("Received") {
			hops++
			if strings.Contains(strings.ToLower(strings.Join(strings.Fields(f.Value()), " ")), by) {
				own++
			}
		}
	}
	if hops >= maxHops || own >= 3 {
		return reply.Loop()
	}
	return nil
}

// repair strips and adds what the design says, and encodes raw 8-bit octets.
// Encoding makes a field longer: the bound holds for what comes of it too.
func (k *intake) repair(h *Header) error {
	h.Remove("Bcc", "Resent-Bcc", "Return-Path")
	h.removeEmpty("From", "Sender")
	size := 0
	for i, f := range h.Fields {
		if isSenderField(f) && len(f.Raw) > maxSender || len(f.Raw) > maxRaw8 && !isASCII(f.Raw) {
			return reply.HeaderTooLarge()
		}
		if !isASCII(f.Raw) {
			if !k.o.UTF8 {
				h.Fields[i] = encodeField(f)
				k.facts.Repairs++
			}
			k.facts.UTF8 = k.facts.UTF8 || !isASCII(h.Fields[i].Raw)
		}
		if f.Is("From") {
			k.quoteName(h, i)
		}
		if folded, ok := fold(h.Fields[i]); ok {
			h.Fields[i] = folded
			k.facts.Repairs++
		}
		if size += len(h.Fields[i].Raw); size > maxHeader {
			return reply.HeaderTooLarge()
		}
	}
	add := func(name, value string) {
		if !h.Has(name) {
			h.Fields = append(h.Fields, NewField(name, value))
			k.facts.Repairs++
		}
	}
	if !k.o.Sender.IsNull() {
		add("From", "<"+k.o.Sender.String()+">")
	} else {
		add("From", "<MAILER-DAEMON@"+k.o.Hostname+">")
	}
	add("Date", k.o.Now.Format(time.RFC1123Z))
	add("Message-ID", "<"+k.o.ID+"@"+k.o.Hostname+">")
	if h.Has("Content-Type") || h.Has("Content-Transfer-Encoding") {
		add("MIME-Version", "1.0")
	}
	return nil
}

// quoteName repairs an address that stands as its own display name without
// quotes, as some printers write it: a@b <a@b>.
func (k *intake) quoteName(h *Header, i int) {
	boxes, err := Mailboxes(h.Fields[i].Value())
	if err != nil {
		return
	}
	parts := make([]string, len(boxes))
	odd := false
	for n, m := range boxes {
		if strings.Contains(m.Name, "@") && !strings.HasPrefix(m.Name, `"`) {
			odd = true
			m.Name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.Name) + `"`
		}
		parts[n] = strings.TrimSpace(m.Name + " <" + m.Address.String() + ">")
	}
	if odd {
		h.Fields[i] = NewField(h.Fields[i].Name, strings.Join(parts, ", "))
		k.facts.Repairs++
	}
}

func (k *intake) body(p []byte, last bool) error {
	k.current += len(p)
	k.facts.MaxLine = max(k.facts.MaxLine, k.current)
	if last {
		k.current = 0
	}
	if k.scanner != nil {
		if err := k.scanner.line(p, last); err != nil {
			return err
		}
	}
	if len(k.buf)+len(p)+2 > cap(k.buf) {
		if err := k.flush(); err != nil {
			return err
		}
	}
	k.buf = append(k.buf, p...)
	if last {
		k.buf = append(k.buf, '\r', '\n')
	}
	return nil
}

func (k *intake) flush() error {
	n, err := k.dst.Write(k.buf)
	k.facts.Size += int64(n)
	k.buf = k.buf[:0]
	if err != nil {
		return fmt.Errorf("writing the message: %w", err)
	}
	return nil
}

func (k *intake) finish() error {
	if err := k.lines.close(); err != nil {
		return err
	}
	if !k.inBody {
		if err := k.header(); err != nil {
			return err
		}
	}
	if k.scanner != nil {
		if err := k.scanner.end(); err != nil {
			return err
		}
	}
	k.facts.EightBit = k.lines.high
	k.facts.Repairs += k.lines.repairs
	return k.flush()
}
