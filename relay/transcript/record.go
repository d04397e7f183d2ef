package transcript

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of the recording of one session, in octets. The beginning tells what
// device it is, the end what went wrong: what is between gives way.
const (
	firstBuffer = 256     // what most idle sessions hold
	maxRecorded = 4 << 10 // of entries
	maxHead     = 1 << 10 // of them at the beginning
	slack       = 512     // dropped at once, so that not every line moves all others
	maxArgument = 320     // of a command: a path has 256, a name 255 (RFC 5321 4.5.3.1)
	maxRemark   = 600
	maxSecrets  = 1 << 10 // of what was sent to log in
	maxShown    = 128     // of a name in a Session's fields
	overhead    = 16      // of an entry
)

// Recorder takes the dialogue of one session. It is not safe for concurrent use.
// A nil Recorder takes nothing.
type Recorder struct {
	began   time.Time
	buf     []byte
	head    int  // where buf[head:] gives way
	out     int  // entries that did
	mark    int  // where the transaction under way begins; -1: there is none
	spoilt  bool // something was refused in it
	because string
	echoes  bool // in because may be what the client said

	failure  Failure
	reply    string
	cause    string
	helo     string
	user     string
	accepted int
	known    bool // a rule or a login let the client in

	secrets []string // what was sent to log in: it may come again where it does not belong
	size    int      // of them
	noted   int      // of size when something was noted last, plus one; 0: nothing was
	blind   bool     // more of it came than is kept: nothing of the client is shown
}

// New makes a Recorder of a session that began then.
func New(began time.Time) *Recorder { return &Recorder{began: began, mark: -1} }

// verbs are the words that are shown of a client, as they are shown. Whatever
// else it sends may be a password.
var verbs = func() map[string]string {
	out := map[string]string{}
	for _, v := range []string{
		"HELO", "EHLO", "MAIL", "RCPT", "AUTH", "DATA", "RSET", "NOOP", "QUIT", "STARTTLS", "VRFY",
		"BDAT", "EXPN", "HELP", "TURN", "ETRN", "ATRN", "SEND", "SOML", "SAML", "BURL", "LHLO", "XCLIENT", "XFORWARD", "XEXCH50",
		"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH", "PROXY",
	} {
		out[v] = v
	}
	return out
}()

// Command takes a command line as the client sent it.
func (r *Recorder) Command(line []byte) {
	if r == nil {
		return
	}
	line = bytes.TrimSpace(line)
	word, arg := line, []byte(nil)
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		word, arg = line[:i], bytes.TrimSpace(line[i:])
	}
	var upper [8]byte
	verb := ""
	if len(word) <= len(upper) {
		n := copy(upper[:], word)
		for i, c := range upper[:n] {
			if c >= 'a' && c <= 'z' {
				upper[i] = c - 'a' + 'A'
			}
		}
		verb = verbs[string(upper[:n])]
	}
	switch verb {
	case "":
		r.add(told, "[a line that is no command]")
	case "AUTH":
		r.auth(string(arg))
	case "HELO", "EHLO":
		name, _, _ := bytes.Cut(arg, []byte{' '})
		r.helo = string(name[:min(len(name), maxArgument)])
		r.keep(verb, line, arg)
	case "MAIL":
		r.mark, r.spoilt = len(r.buf), false
		r.keep(verb, line, arg)
	case "RCPT":
		r.keep(verb, line, arg)
	default:
		if len(arg) > 0 {
			verb += " [not shown]"
		}
		r.add(told, verb)
	}
}

// keep takes a command whose argument is shown. What of it is seen when the
// session has failed.
func (r *Recorder) keep(verb string, line, arg []byte) {
	switch {
	case len(arg) == 0:
		r.add(told, verb)
	case len(arg) > maxArgument:
		r.add(told, verb+" [too long to be shown]")
	default:
		r.room(len(line))
		r.buf = appendEntry(r.buf, command, time.Since(r.began).Milliseconds(), line)
	}
}

// mechanisms are those that a client may name (IANA's registry, and LOGIN).
var mechanisms = map[string]bool{
	"PLAIN": true, "LOGIN": true, "CRAM-MD5": true, "DIGEST-MD5": true, "NTLM": true, "GSSAPI": true, "EXTERNAL": true, "ANONYMOUS": true,
	"SCRAM-SHA-1": true, "SCRAM-SHA-256": true, "XOAUTH2": true, "OAUTHBEARER": true, "KERBEROS_V4": true, "SKEY": true, "OTP": true,
}

// auth takes the argument of AUTH: a mechanism, and perhaps a first response.
func (r *Recorder) auth(arg string) {
	mechanism, response, has := strings.Cut(strings.ReplaceAll(arg, "\t", " "), " ")
	switch m := strings.ToUpper(mechanism); {
	case arg == "":
		r.add(told, "AUTH")
		return
	case mechanisms[m]:
		mechanism = m
	default:
		r.Secret(mechanism)
		mechanism = "[not shown]"
	}
	if !has {
		r.add(told, "AUTH "+mechanism)
		return
	}
	r.add(told, "AUTH "+mechanism+" "+r.response(response))
}

// Response takes a line of an AUTH exchange.
func (r *Recorder) Response(line string) {
	if r != nil {
		r.add(told, r.response(line))
	}
}

// response keeps what was sent to log in for comparison, and says as much of it
// as may be shown.
func (r *Recorder) response(line string) string {
	line = strings.TrimSpace(line)
	switch line {
	case "":
		return "[an empty response]"
	case "=", "*":
		return line
	}
	decoded, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		if decoded, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(line, "=")); err != nil {
			for word := range strings.FieldsSeq(line) {
				r.Secret(word)
			}
			r.Secret(line)
			return "[login, not shown; it is not base64]"
		}
	}
	r.Secret(line)
	for part := range strings.SplitSeq(string(decoded), "\x00") {
		r.Secret(part)
	}
	if i := bytes.LastIndexByte(decoded, ' '); i >= 0 { // a user and a digest (CRAM-MD5), perhaps
		r.Secret(string(decoded[:i]))
	}
	return "[login, not shown]"
}

// Secret names what must not be seen in the transcript.
func (r *Recorder) Secret(s string) {
	switch {
	case r == nil || s == "" || r.blind:
	case r.size+len(s) > maxSecrets:
		r.blind, r.secrets = true, nil
	default:
		r.secrets = append(r.secrets, strings.Clone(s))
		r.size += len(s)
	}
}

// Told takes something about what the client sent, in the relay's own words.
func (r *Recorder) Told(text string) {
	if r != nil {
		r.add(told, text)
	}
}

// Remark takes a remark in the relay's own words.
func (r *Recorder) Remark(text string) {
	if r != nil {
		r.add(remark, cut(text, maxRemark))
	}
}

// Because says why the refusal that comes next is given; echoes tells that
// words of the client may be in it. What is said first counts.
func (r *Recorder) Because(cause string, echoes bool) {
	if r != nil && r.because == "" { // who says it first knows best
		r.because, r.echoes = cut(cause, maxRemark), echoes
	}
}

// Reply takes a reply of ours, its lines joined. failure tells that it is one
// that makes the session a failed one.
func (r *Recorder) Reply(line string, failure bool) {
	if r == nil || line == "" {
		return
	}
	if line[0] != '4' && line[0] != '5' {
		r.add(answer, cut(line, maxRemark))
		r.because = ""
		return
	}
	r.add(echo, cut(line, maxRemark))
	r.spoilt = true
	if failure && !(r.failure == Refused && follows(line)) {
		r.failure, r.reply, r.cause = Refused, line, r.because
	}
	if r.because != "" {
		k := remark
		if r.echoes {
			k = evidence
		}
		r.add(k, r.because)
		r.because = ""
	}
}

// follows tells a refusal that only follows from those before: they say why.
func follows(line string) bool {
	return strings.Contains(line, "PR-043 ") || strings.Contains(line, "PR-004 ")
}

// Fail says that the session failed, and why, in the relay's own words.
func (r *Recorder) Fail(f Failure, why string) {
	if r != nil {
		r.failure, r.reply, r.cause, r.spoilt = f, "", cut(why, maxRemark), true
		r.add(remark, r.cause)
	}
}

// MailAccepted says that a message was acknowledged. What was said about it is
// of no interest any more, unless something else was refused in between.
func (r *Recorder) MailAccepted() {
	if r == nil {
		return
	}
	r.accepted++
	r.known = true
	if r.mark >= 0 && !r.spoilt {
		r.buf = r.buf[:r.mark]
	}
	r.mark = -1
}

// Accepted counts the messages that were acknowledged.
func (r *Recorder) Accepted() int {
	if r == nil {
		return 0
	}
	return r.accepted
}

// LoggedIn says that the client is a user.
func (r *Recorder) LoggedIn(user string) {
	if r != nil {
		r.user, r.known = user, true
	}
}

// Tried says that the client tried to log in as a user that there is.
func (r *Recorder) Tried(user string) {
	if r != nil {
		r.user = user
	}
}

// Named says that a rule names the client.
func (r *Recorder) Named() {
	if r != nil {
		r.known = true
	}
}

// Failed tells whether the session is worth keeping.
func (r *Recorder) Failed() bool { return r != nil && r.failure != "" }

// Noted says that something of the session was noted elsewhere, by what was known then
// of what must not be seen.
func (r *Recorder) Noted() {
	if r != nil {
		r.noted = r.size + 1
	}
}

// Stale tells whether more has come to be known since Noted.
func (r *Recorder) Stale() bool { return r != nil && r.noted > 0 && (r.blind || r.size+1 > r.noted) }

// Failure tells how the session failed, if it did, and why.
func (r *Recorder) Failure() (f Failure, cause string) {
	if r == nil {
		return "", ""
	}
	return r.failure, r.cause
}

// HELO is the name that the client gave last.
func (r *Recorder) HELO() string {
	if r == nil {
		return ""
	}
	return r.helo
}

// Greeting takes what the relay said when the session began.
func (r *Recorder) Greeting(line string) {
	if r != nil {
		r.room(len(line))
		r.buf = appendEntry(r.buf, answer, 0, cut(line, maxRemark))
	}
}

// Message takes a message that came, of which only the octets are told.
func (r *Recorder) Message(octets int64) {
	if r == nil {
		return
	}
	var b [48]byte
	text := strconv.AppendInt(append(b[:0], "[a message of "...), octets, 10)
	r.room(len(b))
	r.buf = appendEntry(r.buf, told, time.Since(r.began).Milliseconds(), append(text, " octets, not shown]"...))
}

// add takes one entry.
func (r *Recorder) add(k kind, text string) {
	r.room(len(text))
	r.buf = appendEntry(r.buf, k, time.Since(r.began).Milliseconds(), text)
}

// room makes room for an entry. Where there is none the oldest behind the
// beginning give way.
func (r *Recorder) room(size int) {
	if r.buf == nil {
		r.buf = make([]byte, 0, firstBuffer)
	}
	if r.out == 0 && len(r.buf) <= maxHead {
		r.head = len(r.buf)
	}
	over := len(r.buf) + size + overhead - maxRecorded
	if over <= 0 {
		return
	}
	drop := 0
	for drop < over+slack {
		_, _, _, n := entry(r.buf[r.head+drop:])
		if n == 0 {
			break
		}
		drop += n
		r.out++
	}
	r.buf = append(r.buf[:r.head], r.buf[r.head+drop:]...)
	if r.mark -= drop; r.mark < r.head {
		r.mark = -1
	}
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n-3] + "..."
	}
	return s
}

func leftOut(n int) string { return fmt.Sprintf("(%d lines are left out)", n) }
