package webhook

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
)

// Refusal is what devices were told no for, once or several times.
type Refusal struct {
	Step     string    `json:"step"` // AUTH, MAIL, RCPT, DATA: of the first
	Code     int       `json:"code"` // RFC 5321
	Enhanced string    `json:"enhanced,omitempty"`
	PRCode   string    `json:"prCode,omitempty"` // docs/replies.md
	Text     string    `json:"text,omitempty"`   // the rest of the reply to the first
	Cause    string    `json:"cause,omitempty"`  // what the device was not told
	Count    int       `json:"count"`
	Last     time.Time `json:"last"`
	// Gathered says of what Count is, where there were too many to tell each: "device", of
	// the device, whoever it sent as and to; "relay", of all devices. Empty: of the same
	// sender and recipient.
	Gathered string `json:"gathered,omitempty"`
}

// Bounds of the refusals of one interval. Beyond each the next wider scope counts: whoever
// tries all that there is makes few events, and is left out of none.
const (
	exactOfDevice = 10
	exactOfAll    = 200
	refusalsOfAll = 300 // those of devices among them; behind that there is one for each code
)

// scope is of what the refusals of one event are.
type scope int

const (
	exact scope = iota
	ofDevice
	ofRelay
)

var scopes = [...]string{exact: "", ofDevice: "device", ofRelay: "relay"}

type refusalKey struct {
	scope      scope
	device     netip.Prefix
	user       string
	code       string
	sender, to envelope.Address
}

// refusals gathers what devices are refused over an interval, in bounds.
type refusals struct {
	bell chan struct{} // something is gathered

	mu    sync.Mutex
	same  map[refusalKey]*gathered
	exact map[netip.Prefix]int // entries of each device
	all   int                  // of them
}

// gathered is the first of several refusals.
type gathered struct {
	history.RefusedCommand
	refusalKey
	count int
	last  time.Time
}

func newRefusals() *refusals {
	g := &refusals{bell: make(chan struct{}, 1)}
	g.take()
	return g
}

// take gives what was gathered, the first first, and begins anew.
func (g *refusals) take() []*gathered {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []*gathered
	for _, e := range g.same {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *gathered) int { return a.At.Compare(b.At) })
	g.same, g.exact, g.all = map[refusalKey]*gathered{}, map[netip.Prefix]int{}, 0
	return out
}

// put takes a refusal. Who calls it is in a session: it does not block.
func (g *refusals) put(r *history.RefusedCommand) {
	code := prCode(r.Reply)
	if follows(r.Step, code) {
		return
	}
	key := refusalKey{device: envelope.Device(r.Client.Addr), user: r.Client.User, code: code, sender: boundedAddress(r.Sender), to: boundedAddress(r.Recipient)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.again(key, r.At) {
		return
	}
	if g.exact[key.device] >= exactOfDevice || g.all >= exactOfAll {
		key = refusalKey{scope: ofDevice, device: key.device, user: key.user, code: code}
		if g.again(key, r.At) {
			return
		}
	}
	if len(g.same) >= refusalsOfAll {
		key = refusalKey{scope: ofRelay, code: code}
		if g.again(key, r.At) {
			return
		}
	}
	if key.scope == exact {
		g.exact[key.device]++
		g.all++
	}
	g.same[key] = &gathered{RefusedCommand: *r, refusalKey: key, count: 1, last: r.At}
	select {
	case g.bell <- struct{}{}:
	default:
	}
}

// again counts one more of a key that there is.
func (g *refusals) again(key refusalKey, at time.Time) bool {
	e := g.same[key]
	if e == nil {
		return false
	}
	e.count++
	if at.After(e.last) {
		e.last = at
	}
	return true
}

// follows tells a refusal that says nothing new: of a device that goes on though its
// sender or all of its recipients were refused.
func follows(step, code string) bool {
	return step == "RCPT" && code == "PR-007" || step == "DATA" && code == "PR-043"
}

// boundedAddress is what a device gave as an address, as far as those may be long (RFC
// 5321 4.5.3.1).
func boundedAddress(a envelope.Address) envelope.Address {
	return envelope.Address{Local: reply.Line(a.Local, 64), Domain: reply.Line(a.Domain, 255)}
}

// gatherRefusals tells the hooks what was gathered, an interval after the first of it,
// until ctx ends.
func (h *Hooks) gatherRefusals(ctx context.Context) {
	for {
		select {
		case <-h.refusals.bell:
		case <-ctx.Done():
			return
		}
		timer := time.NewTimer(h.o.pace.refusals)
		select {
		case <-timer.C:
			h.tellRefusals()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// tellRefusals hands what was gathered to the hooks that want it.
func (h *Hooks) tellRefusals() {
	all := h.refusals.take()
	if len(all) == 0 {
		return
	}
	events := make([]waiting, len(all))
	for i, e := range all {
		events[i] = waiting{At: e.At.UTC(), Type: plan.EventRefused, Event: h.refusalEvent(e)}
	}
	for _, k := range *h.live.Load() {
		if mask(k.mask.Load())&refusal != 0 {
			k.inbox.putRefusals(events)
		}
	}
}

// Refused takes a refusal. It does not block, and does nothing where no webhook is to be
// told of refusals.
func (h *Hooks) Refused(r history.RefusedCommand) {
	for _, k := range *h.live.Load() {
		if mask(k.mask.Load())&refusal != 0 {
			h.refusals.put(&r)
			return
		}
	}
}

// refusalEvent makes the event of what was gathered, as JSON. Each text in it is
// bounded, and so is it.
func (h *Hooks) refusalEvent(e *gathered) []byte {
	code, enhanced, pr, text := replyParts(e.Reply)
	x := Refusal{Step: e.Step, Code: code, Enhanced: enhanced, PRCode: pr, Count: e.count, Last: e.last.UTC(), Gathered: scopes[e.scope]}
	m := Message{Event: h.refusalID(e), At: e.At.UTC(), Recipients: []Recipient{}, Refusal: &x}
	if e.scope == ofRelay {
		return mustJSON(&m)
	}
	m.Device, m.Listener = device(&e.Client, ""), e.Listener
	x.Text, x.Cause = reply.Line(text, maxWords), reply.Line(e.Cause, maxWords)
	if e.Client.Redacted {
		x.Text, x.Cause = withoutAddress(x.Text, e.Client.Addr), withoutAddress(x.Cause, e.Client.Addr)
	}
	if e.scope == ofDevice {
		return mustJSON(&m)
	}
	m.Rule, m.Size, m.Sender = e.Rule, e.Size, e.sender.String()
	if !e.to.IsNull() {
		m.Recipients, m.RecipientCount = []Recipient{{Address: e.to.String(), Status: "refused"}}, 1
	}
	return mustJSON(&m)
}

// refusalID is of one event, over instances and restarts.
func (h *Hooks) refusalID(e *gathered) string {
	f := fnv.New64a()
	fmt.Fprintf(f, "%q", []string{h.o.Relay, h.o.Instance, scopes[e.scope], e.device.String(), e.user, e.code, e.sender.String(), e.to.String()})
	return fmt.Sprintf("refused-%x-%016x", e.At.UnixNano(), f.Sum64())
}

// prCode is the code of the catalogue that a reply has.
func prCode(line string) string {
	i := strings.Index(line, "PR-")
	if i < 0 {
		return line[:min(len(line), 3)]
	}
	return line[i:min(len(line), i+6)]
}

// replyParts takes a reply of the relay apart.
func replyParts(line string) (code int, enhanced, pr, text string) {
	first, text, _ := strings.Cut(line, " ")
	code, _ = strconv.Atoi(first) //nolint:errcheck // 0 where there is none
	if word, rest, _ := strings.Cut(text, " "); strings.Count(word, ".") == 2 {
		enhanced, text = word, rest
	}
	if word, rest, _ := strings.Cut(text, " "); strings.HasPrefix(word, "PR-") {
		pr, text = word, rest
	}
	return code, enhanced, pr, text
}

// withoutAddress takes a device's address out of a text, also where a short reply has
// cut it.
func withoutAddress(text string, a netip.Addr) string {
	const hidden, cut = "(hidden)", 4 // characters that say enough
	address := a.Unmap().WithZone("").String()
	words := strings.Fields(strings.ReplaceAll(text, address, hidden))
	for i, w := range words {
		if w = strings.TrimRight(w, "."); len(w) >= cut && strings.HasPrefix(address, w) {
			words[i] = hidden
		}
	}
	return strings.Join(words, " ")
}
