//go:build soak

package soak

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/printerrelay/printer-relay/test/ledger"
)

// profile is a kind of copier, or of misuse.
type profile struct {
	name     string // with the ledger's kind before the dot
	from, to int    // octets of a scan
	pause    time.Duration
	helo     bool // says HELO, not EHLO
	startTLS bool
	implicit bool // TLS
	login    bool
	bareLF   bool
	session  int // scans in a session; 0: 1
	hangUp   bool
	sender   string // "": one that may send
	outside  bool   // the recipient is nobody that the policy names
	size     int    // octets that MAIL announces: too many
}

// refused tells whether no scan of it may be taken.
func (p profile) refused() bool { return p.sender != "" || p.outside || p.size > 0 }

const kB, mB = 1 << 10, 1 << 20

// profiles are what each relay is sent, one copier each. Sizes and pauses leave two
// processors room for the cluster.
var profiles = []profile{
	{name: "now.small", from: 2 * kB, to: 40 * kB, pause: 150 * time.Millisecond},
	{name: "now.session", from: 2 * kB, to: 12 * kB, pause: 500 * time.Millisecond, session: 5, helo: true},
	{name: "now.fax", from: 20 * kB, to: 200 * kB, pause: 500 * time.Millisecond, helo: true, bareLF: true},
	{name: "now.starttls", from: 20 * kB, to: 800 * kB, pause: 500 * time.Millisecond, startTLS: true},
	{name: "now.login", from: 20 * kB, to: 800 * kB, pause: 500 * time.Millisecond, startTLS: true, login: true},
	{name: "now.implicit", from: 20 * kB, to: 800 * kB, pause: 700 * time.Millisecond, implicit: true},
	{name: "now.large", from: 4 * mB, to: 14 * mB, pause: 4 * time.Second},
	{name: "later.small", from: 2 * kB, to: 100 * kB, pause: time.Second},
	{name: "never.small", from: 2 * kB, to: 100 * kB, pause: time.Second},
	{name: "now.hangup", from: 2 * kB, to: 2 * mB, pause: time.Second, hangUp: true},
	{name: "now.stranger", from: 2 * kB, to: 4 * kB, pause: time.Second, sender: "boss@elsewhere.test"},
	{name: "now.outside", from: 2 * kB, to: 4 * kB, pause: time.Second, outside: true},
	{name: "now.toolarge", from: 2 * kB, to: 4 * kB, pause: time.Second, size: 200 * mB},
}

// tally is what became of a profile's scans.
type tally struct{ sent, acknowledged, refused, cut int }

// load is the copiers, and what they were told.
type load struct {
	site   *site
	ledger ledger.Copiers
	text   string // of which bodies are pieces

	password  atomic.Pointer[string] // of the logins
	rotations atomic.Int64           // of it: odd while one is under way

	stop chan struct{}
	done sync.WaitGroup

	mu       sync.Mutex
	tallies  map[string]*tally
	taken    map[string]int  // by relay
	refusals map[string]int  // 4xx, by text
	faults   map[string]bool // answers that nobody may get
}

const lineOctets = 78

func newLoad(s *site, rng *rand.Rand) *load {
	l := &load{site: s, tallies: map[string]*tally{}, taken: map[string]int{}, refusals: map[string]int{}, faults: map[string]bool{}}
	first := "first"
	l.password.Store(&first)
	raw := make([]byte, 57*(16*mB/lineOctets))
	for i := range raw {
		raw[i] = byte(rng.Uint32())
	}
	var b strings.Builder
	for ; len(raw) > 0; raw = raw[57:] {
		b.WriteString(base64.StdEncoding.EncodeToString(raw[:57]) + "\r\n")
	}
	l.text = b.String()
	for _, p := range profiles {
		l.tallies[p.name] = &tally{}
	}
	return l
}

// body is a piece of random text.
func (l *load) body(p profile) string {
	lines := (p.from + rand.IntN(p.to-p.from)) / lineOctets       //nolint:gosec // nobody guesses it
	begin := rand.IntN(len(l.text)/lineOctets-lines) * lineOctets //nolint:gosec // nobody guesses it
	return l.text[begin : begin+lines*lineOctets]
}

// start has copiers of all profiles send to all relays until end.
func (l *load) start() {
	l.stop = make(chan struct{})
	for _, relay := range relays {
		for _, p := range profiles {
			l.done.Go(func() {
				for {
					select {
					case <-l.stop:
						return
					case <-time.After(p.pause/2 + rand.N(p.pause)): //nolint:gosec // nobody guesses it
						l.visit(relay, p)
					}
				}
			})
		}
	}
}

// end stops the copiers and waits for them.
func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}

// visit is one session of a copier.
func (l *load) visit(relay string, p profile) {
	rotation := l.rotations.Load()
	s, err := l.site.session(relay, p)
	if err != nil {
		l.note(p, func(t *tally) { t.sent, t.cut = t.sent+1, t.cut+1 })
		if invalid := (*tls.CertificateVerificationError)(nil); errors.As(err, &invalid) || strings.HasPrefix(err.Error(), "STARTTLS") {
			l.fault(p, err.Error())
		}
		return
	}
	defer s.Close()
	if p.login {
		answer, err := s.LogIn("mfp1", *l.password.Load())
		if err != nil || answer[:3] != "235" {
			if err == nil && !(answer[:3] == "535" && (rotation%2 == 1 || l.rotations.Load() != rotation)) {
				l.answered(p, answer)
			}
			l.note(p, func(t *tally) { t.sent, t.refused = t.sent+1, t.refused+1 })
			return
		}
	}
	for range max(p.session, 1) {
		if !l.scan(relay, p, s) {
			return
		}
	}
	if !p.hangUp {
		_, _ = s.Ask("QUIT") //nolint:errcheck // the answers that count were read
	}
}

// scan sends one; false: the session is over.
func (l *load) scan(relay string, p profile, s *ledger.Session) bool {
	scan := l.ledger.New(p.name+"."+relay, l.body(p))
	scan.BareLF = p.bareLF
	switch {
	case p.login:
		scan.Sender = "mfp@login.test"
	case p.sender != "":
		scan.Sender = p.sender
	case p.size > 0:
		scan.Announced = p.size
	}
	if p.outside {
		scan.Recipient = scan.ID + "@elsewhere.test"
	}
	give := l.ledger.Give
	if p.hangUp {
		give = l.ledger.HangUp
	}
	answer, err := give(s, scan)
	l.note(p, func(t *tally) {
		t.sent++
		switch {
		case err != nil || p.hangUp && answer[0] == '3':
			t.cut++
		case answer[0] == '2':
			t.acknowledged++
			l.taken[relay]++
		default:
			t.refused++
		}
	})
	if err != nil || p.hangUp {
		return false
	}
	if answer[0] == '2' && p.refused() || answer[0] == '5' && !p.refused() {
		l.fault(p, answer)
	}
	if answer[0] == '4' {
		l.answered(p, answer)
	}
	return answer[0] == '2'
}

func (l *load) note(p profile, f func(*tally)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.tallies[p.name])
}

// answered keeps a refusal; one for good is a fault.
func (l *load) answered(p profile, answer string) {
	if answer[0] == '5' {
		l.fault(p, answer)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals[answer]++
}

func (l *load) fault(p profile, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) < 20 {
		l.faults[time.Now().UTC().Format(time.TimeOnly)+" "+p.name+": "+what] = true
	}
}

// acknowledged is how many scans a relay has taken.
func (l *load) acknowledged(relay string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken[relay]
}
