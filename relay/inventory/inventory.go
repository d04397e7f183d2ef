package inventory

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
)

// Bounds of what is kept of a device.
const (
	maxNames      = 3
	maxListeners  = 8
	maxSenders    = 6
	maxRecipients = 8
	maxDryRun     = 4

	maxName   = 128 // octets of one
	maxText   = 128
	maxWhy    = 200
	maxSender = 254

	// Remember is how long a device is remembered that does not come.
	Remember = 90 * 24 * time.Hour
)

// Visit is what is known of a connection when something is noted of it. Text in it
// is as the device gave it.
type Visit struct {
	At       time.Time
	Client   netip.Addr
	Hidden   bool // the address is not the client's own
	Listener string
	Name     string // HELO; empty: none yet
	TLS      uint16 // version; 0: clear text
	Cipher   uint16
	Offered  bool // STARTTLS was offered
	Auth     Auth // the zero Auth: it did not try
	Session  string
	Guard    Guard // nil: nothing is hidden
	Scrub    bool  // Guard knows more than it did when the session was last noted
}

// Store is the inventory of one relay. Its methods are safe for concurrent use; those
// that note something do nothing on a nil Store.
type Store struct {
	// Expected tells whether a rule names a client; nil: none does. It must not
	// block, nor use the Store.
	Expected func(client netip.Addr) bool

	mu      sync.Mutex
	devices map[netip.Prefix]*device
	rooms   [ranks]room
	dirty   bool // something is not saved yet
	words   map[string]string
}

// device is a Copier with its place.
type device struct {
	Copier
	key     netip.Prefix
	address netip.Addr // Copier.Address
	cipher  uint16     // TLS.Cipher
	version uint16     // TLS.Version
	rank    rank
	size    int
	leaf    *node
}

// New makes an empty one.
func New() *Store {
	return &Store{devices: map[netip.Prefix]*device{}}
}

// Seen notes that a connection was there: what it was like.
func (s *Store) Seen(v *Visit) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(s.visit(v))
}

// Message is what is noted of a message that was accepted.
type Message struct {
	ID         string
	Sender     string // as it stands in a command; empty: the null sender
	Octets     int64
	Recipients int      // how many the client named
	Domains    []string // of theirs, each once (envelope.DomainKey)
}

// AddDomain adds a recipient's domain, if it is not there yet and there is room
// without an allocation.
func (m *Message) AddDomain(d string) {
	if len(m.Domains) < cap(m.Domains) && !slices.Contains(m.Domains, d) {
		m.Domains = append(m.Domains, d)
	}
}

// Accepted notes a message that was accepted.
func (s *Store) Accepted(v *Visit, m *Message) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.visit(v)
	d.Accepted++
	sender := d.count(&d.Senders, maxSenders, v, m.Sender, true)
	for _, to := range m.Domains[:min(len(m.Domains), maxRecipients)] {
		d.count(&d.Recipients, maxRecipients, v, to, true)
	}
	if d.LastScan == nil {
		d.LastScan = &Scan{}
	}
	*d.LastScan = Scan{At: v.At, ID: m.ID, Sender: sender, Octets: m.Octets, Listener: s.word(v.Listener)}
	d.Peak.add(v.At, m.Recipients)
	s.settle(d)
}

// add counts a message.
func (p *Peak) add(at time.Time, recipients int) {
	minute := at.Unix() / 60
	if minute != p.Minute {
		p.Minute, p.Messages = minute, 0
	}
	if day := minute / (24 * 60); day != p.Day {
		p.Day, p.Count = day, 0
	}
	p.Messages++
	p.Count += recipients
	p.MessagesPerMinute, p.RecipientsPerDay = max(p.MessagesPerMinute, p.Messages), max(p.RecipientsPerDay, p.Count)
}

// Attempt is what a device tried when it was refused.
type Attempt struct {
	Kind, Reply, Code, Step, Why string
	Sender                       *string // as in Message; nil: it did not get so far
	Domain                       string  // of the recipient; empty: it did not get so far
	Follows                      bool    // only from those before, which say why
	Ours                         bool    // Reply and Why are the relay\'s own words: none of the device\'s are in them
}

// Refused notes that a device was refused, or failed otherwise.
func (s *Store) Refused(v *Visit, a *Attempt) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.visit(v)
	switch a.Kind {
	case Tried:
	case Refused, NoTLS:
		d.Refused++
	default:
		d.Aborted++
	}
	last := d.LastRefusal
	same := last != nil && last.Session == v.Session && v.Session != ""
	switch {
	case a.Follows || same && last.Kind == Refused && (a.Kind == TimedOut || a.Kind == LoginLeft):
		if same && a.Domain != "" && last.RecipientDomain == "" {
			last.RecipientDomain = d.count(&d.Recipients, maxRecipients, v, a.Domain, false)
		}
	default:
		r := &Refusal{At: v.At, Kind: a.Kind, Code: a.Code, Step: a.Step, Session: v.Session, Listener: s.word(v.Listener)}
		if r.Reply, r.Why = clean(a.Reply, maxText), clean(a.Why, maxWhy); !a.Ours {
			r.Reply, r.Why = v.reply(a.Reply), v.text(a.Why, maxWhy)
		}
		r.ours = a.Ours
		if a.Kind == NoTLS {
			d.TLS.Failed = r.Why
		}
		if a.Sender != nil {
			sender := d.count(&d.Senders, maxSenders, v, *a.Sender, false)
			r.Sender = &sender
		}
		if a.Domain != "" {
			r.RecipientDomain = d.count(&d.Recipients, maxRecipients, v, a.Domain, false)
		}
		d.LastRefusal = r
	}
	s.settle(d)
}

// WouldHave notes what a policy in DryRun would have changed of a message that is
// noted besides.
func (s *Store) WouldHave(v *Visit, w DryRun) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.visit(v)
	i := slices.IndexFunc(d.DryRun, func(o DryRun) bool {
		return o.Policy == w.Policy && o.Rule == w.Rule && o.Now == w.Now && o.Would == w.Would
	})
	if i < 0 {
		w.Policy, w.Rule = s.word(w.Policy), s.word(w.Rule)
		d.DryRun = slices.Insert(d.DryRun[:min(len(d.DryRun), maxDryRun-1)], 0, w)
		i = 0
	}
	o := &d.DryRun[i]
	o.Count++
	o.Last, o.Reply = v.At, v.reply(w.Reply)
	s.settle(d)
}

// visit finds or makes the device of a connection, and notes what the connection is
// like. It wants mu held; settle must follow.
func (s *Store) visit(v *Visit) *device {
	s.dirty = true
	key := envelope.Device(v.Client)
	d := s.devices[key]
	if d == nil {
		d = &device{key: key, Copier: Copier{First: v.At, Device: show(key)}}
		s.devices[key] = d
	}
	if a := v.Client.Unmap().WithZone(""); a != d.address {
		d.address, d.Address = a, a.String()
	}
	if v.At.After(d.Last) {
		d.Last = v.At
	}
	d.Hidden = d.Hidden || v.Hidden
	if !slices.Contains(d.Listeners, v.Listener) && len(d.Listeners) < maxListeners && v.Listener != "" {
		d.Listeners = append(d.Listeners, s.word(v.Listener))
	}
	d.named(v)
	switch {
	case v.TLS != 0:
		if v.TLS != d.version || v.Cipher != d.cipher {
			d.TLS.Version, d.TLS.Cipher = versionName(v.TLS), tls.CipherSuiteName(v.Cipher)
		}
		d.TLS.Offered, d.TLS.Failed = false, ""
	default:
		d.TLS.Version, d.TLS.Cipher, d.TLS.Offered = "", "", v.Offered
	}
	d.version, d.cipher = v.TLS, v.Cipher
	if v.Scrub && v.Guard != nil {
		d.scrub(v)
	}
	if v.Auth.Mechanism != "" && v.Auth != d.Auth {
		d.Auth = Auth{Mechanism: s.word(v.Auth.Mechanism), User: clean(v.Auth.User, maxSender), OK: v.Auth.OK}
	}
	return d
}

// named puts a name that a device gives before the others.
func (d *device) named(v *Visit) {
	if v.Name == "" || len(d.Names) > 0 && d.Names[0] == v.Name {
		return
	}
	name := v.Name
	i := slices.Index(d.Names, name)
	if i < 0 {
		name = v.text(name, maxName)
		i = slices.Index(d.Names, name)
	}
	switch {
	case i == 0 || name == "":
		return
	case i > 0:
		name = d.Names[i]
		d.Names = slices.Delete(d.Names, i, i+1)
	case len(d.Names) >= maxNames:
		d.Names = d.Names[:maxNames-1]
	}
	d.Names = slices.Insert(d.Names, 0, name)
}

// count counts a value in a list, before the others, and gives it as it is kept. Of a
// list that is full that goes which was refused, and came last the longest time ago:
// who tries a thousand senders has his own forgotten first.
func (d *device) count(list *[]Counted, most int, v *Visit, value string, accepted bool) string {
	l := *list
	i := slices.IndexFunc(l, func(c Counted) bool { return c.Value == value })
	if i < 0 {
		value = v.text(value, maxSender)
		i = slices.IndexFunc(l, func(c Counted) bool { return c.Value == value })
	}
	var c Counted
	switch {
	case i >= 0:
		c = l[i]
		l = slices.Delete(l, i, i+1)
	case len(l) >= most:
		out := len(l) - 1
		for k := out; k >= 0; k-- {
			if l[k].Accepted == 0 {
				out = k
				break
			}
		}
		l = slices.Delete(l, out, out+1)
		c.Value = value
	default:
		c.Value = value
	}
	if accepted {
		c.Accepted++
	} else {
		c.Refused++
	}
	c.Last = v.At
	*list = slices.Insert(l, 0, c)
	return c.Value
}

func show(key netip.Prefix) string {
	if key.IsSingleIP() {
		return key.Addr().String()
	}
	return key.String()
}

func versionName(v uint16) string { return strings.TrimPrefix(tls.VersionName(v), "TLS ") }
