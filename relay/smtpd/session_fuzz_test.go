package smtpd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// FuzzSession: whatever octets a client sends, in whatever pieces, to a listener
// of any profile, the whole server, from socket to spool, answers each command
// once, in one line that a panel can show; every message it says 250 to is in the
// spool once, with the octets that RFC 5321 says it has, and nothing else is;
// policy holds; and the session ends, without a panic and without a goroutine
// left. A session runs in a bubble of its own, where time passes at once: what
// waits without a deadline fails, and how fast the machine is makes no difference.
func FuzzSession(f *testing.F) {
	r := newRig(f, "correct horse")
	for _, s := range sessionSeeds(f) {
		f.Add(s.in, s.sizes, s.profile, s.hangUp)
	}
	f.Fuzz(func(t *testing.T, in, sizes []byte, profile byte, hangUp bool) {
		r.session(t, in, sizes, profile, hangUp)
	})
}

var lineEndings = []string{"Normalize", "Reject", "BareLF"}

// sessionProfiles counts the profiles of a listener: each of its settings that
// changes how it reads, with each other.
const sessionProfiles = 3 * 2 * 3 * 2

// profile is the relay with a listener of one profile.
func (r *rig) profile(number byte) *plan.Plan {
	n := int(number) % sessionProfiles
	next := func(of int) int { v := n % of; n /= of; return v }
	p := *r.plan
	l := p.Listeners[0]
	l.Compat = plan.Compat{LineEndings: lineEndings[next(3)], Lenient: next(2) == 1}
	l.Auth.Mode = []plan.AuthMode{plan.AuthNone, plan.AuthOptional, plan.AuthRequired}[next(3)]
	l.TLS.Mode = []plan.TLSMode{plan.TLSNone, plan.TLSStartTLS}[next(2)]
	p.Listeners = []plan.Listener{l}
	return &p
}

// session plays one session and judges it.
func (r *rig) session(t *testing.T, in, sizes []byte, profile byte, hangUp bool) {
	t.Helper()
	dir := t.TempDir()
	stuck := time.AfterFunc(time.Minute, func() { panic("the session goes round in circles") }) // which lets no time pass in a bubble
	defer stuck.Stop()
	synctest.Test(t, func(t *testing.T) {
		o := r.open(t, r.profile(profile), dir, r.secrets)
		said := o.talk(in, sizes, hangUp)
		o.close()
		o.judge(in, said, hangUp)
	})
}

// talk sends the octets in pieces and gives what the server said until it closed.
func (o *office) talk(in, sizes []byte, hangUp bool) []byte {
	conn := o.connect(lan)
	var sent sync.WaitGroup
	sent.Go(func() {
		for n := 0; len(in) > 0; n++ {
			piece := len(in)
			if len(sizes) > 0 && sizes[n%len(sizes)] < 255 {
				piece = min(piece, int(sizes[n%len(sizes)])+1)
			}
			if _, err := conn.Write(in[:piece]); err != nil {
				return // it has closed
			}
			in = in[piece:]
		}
		if hangUp {
			conn.Close()
		}
	})
	said, _ := io.ReadAll(conn) //nolint:errcheck // its own end, where it hung up
	sent.Wait()
	conn.Close()
	return said
}

// judge compares what was said and what is in the spool with the reference.
func (o *office) judge(in, said []byte, hangUp bool) {
	o.t.Helper()
	answers, err := answers(said)
	if err != nil && !hangUp {
		o.t.Errorf("%v\nall: %q", err, said)
	}
	acknowledged := map[string]bool{}
	for _, a := range answers {
		if id, ok := strings.CutPrefix(a.text, "250 2.0.0 Queued as "); ok {
			if acknowledged[id] {
				o.t.Errorf("%s was acknowledged twice", id)
			}
			acknowledged[id] = true
		}
	}
	stored := o.stored()
	for id := range acknowledged {
		if _, ok := stored[id]; !ok {
			o.t.Errorf("%s was acknowledged and is not in the spool", id)
		}
	}
	if hangUp { // it did not hear of all
		return
	}
	for id, m := range stored {
		if !acknowledged[id] {
			o.t.Errorf("in the spool and never acknowledged: %q", m.body)
		}
	}
	l := &o.s.Plan().Listeners[0]
	transfers, err := dialect{l.Compat.Lenient, l.Compat.LineEndings == "BareLF"}.follow(in, answers)
	if err == errUnclear { //nolint:errorlint // it is no other's
		return
	}
	if err != nil {
		o.t.Errorf("%v\nsent: %q\nsaid: %q", err, in, said)
	}
	o.compare(transfers, stored)
}

// kept is one message of the spool.
type kept struct {
	*queue.Message
	body []byte
}

func (o *office) stored() map[string]kept {
	o.t.Helper()
	page, err := o.s.Queue.List(queue.Filter{All: true, Limit: 1000})
	if err != nil {
		o.t.Fatal(err)
	}
	out := map[string]kept{}
	for _, s := range page.Messages {
		d, err := o.s.Queue.Show(s.ID)
		if err != nil {
			o.t.Fatal(err)
		}
		r, err := o.s.Spool.Body(s.ID)
		if err != nil {
			o.t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			o.t.Fatal(err)
		}
		out[s.ID] = kept{d.Message, body}
	}
	if n := o.s.Spool.Usage().Entries; n != len(out) {
		o.t.Errorf("%d entries in the spool, %d in the queue", n, len(out))
	}
	files, err := os.ReadDir(filepath.Join(o.state, "spool", "messages"))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := out[f.Name()]; !ok {
			o.t.Errorf("a file is left of a message that was not taken: %s", f.Name())
		}
	}
	return out
}

var hop = regexp.MustCompile(`^Received: from [^\r\n]*\r\n\tby relay\.test \(Printer Relay\) with E?SMTPA? id [^\r\n]*;\r\n\t[^\r\n]*\r\n$`)

// compare holds the spool to what the client sent.
func (o *office) compare(transfers []transfer, stored map[string]kept) {
	o.t.Helper()
	l := &o.s.Plan().Listeners[0]
	for _, tr := range transfers {
		id, ok := strings.CutPrefix(tr.text, "250 2.0.0 Queued as ")
		if !ok {
			if tr.code[0] == '2' {
				o.t.Errorf("an end of data was answered with %q", tr.text)
			}
			continue
		}
		m, ok := stored[id]
		if !ok {
			continue // said already
		}
		delete(stored, id)
		var want bytes.Buffer
		_, err := message.Intake(&want, bytes.NewReader(tr.data), message.IntakeOptions{
			Reject: l.Compat.LineEndings == "Reject", MaxSize: l.AdvertisedSize, Hostname: o.s.Plan().Hostname, ID: id, Sender: m.Sender, Now: m.Arrived,
		})
		if err != nil || !bytes.HasSuffix(m.body, want.Bytes()) || !hop.Match(m.body[:max(0, len(m.body)-want.Len())]) {
			o.t.Errorf("sent:   %q\nstored: %q\nwant:   a Received field and %q (%v)", tr.data, m.body, want.Bytes(), err)
		}
		if head := int64(bytes.Index(m.body, []byte("\r\n\r\n")) + 4); m.Size != int64(len(m.body)) || m.HeaderSize != head || m.Held == "" {
			o.t.Errorf("size %d of %d, header %d of %d, held %q", m.Size, len(m.body), m.HeaderSize, head, m.Held)
		}
		if envelope.DomainKey(m.Sender.Domain) != "copier.example" || len(m.Recipients) == 0 || len(m.Recipients) > min(3, tr.recipients) ||
			slices.ContainsFunc(m.Recipients, func(r queue.Recipient) bool { return envelope.DomainKey(r.Address.Domain) != "corp.example" }) {
			o.t.Errorf("%s -> %v was let in; %d recipients were accepted", m.Sender, m.Recipients, tr.recipients)
		}
		if l.Auth.Mode == plan.AuthRequired && m.Client.User == "" {
			o.t.Error("a message without the login that is required")
		}
	}
	for _, m := range stored {
		o.t.Errorf("in the spool, and no message of the client's: %q", m.body)
	}
}
