// Package inventory keeps what is known of each device that connected to a
// relay: its address, the names, TLS and logins that it uses, its last scan and its
// last refusal, and what it tried. Devices that are refused are kept too, so that an
// administrator sees whom a policy leaves out.
//
// Its memory is bounded whatever connects (room.go), and it is kept on the state
// volume (file.go). What a device says is hostile text: it is bounded and printable
// once it is in here, and never holds a password that the relay knows.
//
// It may import relay/envelope, relay/atomicfile, and relay/transcript for what stands
// in place of a password.
package inventory

import (
	"slices"
	"time"
)

// Copier is what is known of one device. Text in it that a device chose is printable
// and bounded; it is still to be escaped where it is shown (HTML, CSV).
type Copier struct {
	Device    string    `json:"device"`           // the address; with IPv6 its /64
	Address   string    `json:"address"`          // that it came from last
	Hidden    bool      `json:"hidden,omitempty"` // of a node or load balancer: many devices may be behind it
	Known     bool      `json:"known,omitempty"`  // a scan of it was accepted, it logged in, or a rule names its network
	Names     []string  `json:"names,omitempty"`  // that it gave in HELO or EHLO, the last first
	Listeners []string  `json:"listeners,omitempty"`
	TLS       TLS       `json:"tls"`
	Auth      Auth      `json:"auth"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`     // connection
	Accepted  uint64    `json:"accepted"` // scans
	Refused   uint64    `json:"refused"`  // replies 4yz and 5yz, and handshakes that failed
	Aborted   uint64    `json:"aborted"`  // messages and logins that it left in the middle

	LastScan    *Scan     `json:"lastScan,omitempty"`    // that was accepted
	LastRefusal *Refusal  `json:"lastRefusal,omitempty"` // or what else went wrong
	Senders     []Counted `json:"senders,omitempty"`     // addresses of MAIL FROM, the last first
	Recipients  []Counted `json:"recipients,omitempty"`  // domains of RCPT TO, the last first
	Peak        Peak      `json:"peak"`
	DryRun      []DryRun  `json:"dryRun,omitempty"` // what policies in DryRun would change for it

	Instances []string `json:"instances,omitempty"` // that saw it, where several were asked; none keeps this
}

// TLS is that of a device's last connection.
type TLS struct {
	Version string `json:"version,omitempty"` // "1.0" to "1.3"; empty: clear text
	Cipher  string `json:"cipher,omitempty"`
	Offered bool   `json:"offered,omitempty"` // STARTTLS was offered, and not used
	Failed  string `json:"failed,omitempty"`  // why its last handshake failed, if none has succeeded since
}

// Auth is a device's last login.
type Auth struct {
	Mechanism string `json:"mechanism,omitempty"` // empty: it never tried
	User      string `json:"user,omitempty"`      // a login that there is; nobody else's name is kept
	OK        bool   `json:"ok,omitempty"`
}

// Scan is a message that was accepted.
type Scan struct {
	At       time.Time `json:"at"`
	ID       string    `json:"id"` // queue ID
	Sender   string    `json:"sender"`
	Octets   int64     `json:"octets"`
	Listener string    `json:"listener"`
}

// Kinds of Refusal, as in package transcript.
const (
	Refused   = "Refused" // by a reply
	NoTLS     = "TLSFailed"
	TimedOut  = "TimedOut"
	LoginLeft = "LoginLeft"

	// Tried is none: it only tells what a device went on to try after it was refused.
	Tried = "Tried"
)

// Refusal is how a device failed last.
type Refusal struct {
	At              time.Time `json:"at"`
	Kind            string    `json:"kind"`            // Refused, or a way in which a session fails: TLSFailed, BrokenOff, LoginLeft, TimedOut, NotUnderstood
	Reply           string    `json:"reply,omitempty"` // the line that the device got
	Code            string    `json:"code,omitempty"`  // PR-..., of the reply
	Step            string    `json:"step,omitempty"`  // command
	Why             string    `json:"why,omitempty"`   // the rule, the setting, the remedy: for the administrator
	Session         string    `json:"session,omitempty"`
	Listener        string    `json:"listener,omitempty"`
	Sender          *string   `json:"sender,omitempty"` // that was tried; "": the null sender; null: it did not get so far
	RecipientDomain string    `json:"recipientDomain,omitempty"`

	ours bool // Reply and Why are the relay's own words
}

// Counted is a sender or a recipient domain, and how often it came.
type Counted struct {
	Value    string    `json:"value"`
	Accepted uint64    `json:"accepted,omitempty"`
	Refused  uint64    `json:"refused,omitempty"`
	Last     time.Time `json:"last"`
}

// Peak is the most that was accepted of a device within a minute and a day of the
// clock (UTC).
type Peak struct {
	MessagesPerMinute int `json:"messagesPerMinute,omitempty"`
	RecipientsPerDay  int `json:"recipientsPerDay,omitempty"`

	Minute   int64 `json:"minute,omitempty"` // of the last scan, since 1970
	Messages int   `json:"messages,omitempty"`
	Day      int64 `json:"day,omitempty"`
	Count    int   `json:"count,omitempty"` // recipients of that day
}

// Verdict is what becomes of a message.
type Verdict string

// The verdicts.
const (
	Accept Verdict = "Accept"
	Hold   Verdict = "Hold"
	Refuse Verdict = "Refuse"
)

// DryRun is what a policy with enforcement: DryRun would have changed.
type DryRun struct {
	Policy string    `json:"policy"`
	Rule   string    `json:"rule"`
	Now    Verdict   `json:"now"`             // what was decided
	Would  Verdict   `json:"would"`           // what the policy would have decided
	Reply  string    `json:"reply,omitempty"` // that of the last refusal of the two
	Count  uint64    `json:"count"`
	Last   time.Time `json:"last"`
}

// Legacy tells a device that sends in clear text, or by a TLS older than 1.2.
func (c *Copier) Legacy() bool {
	return c.TLS.Version == "" || c.TLS.Version == "1.0" || c.TLS.Version == "1.1"
}

// Refusing tells whether what happened last was that the device was refused.
func (c *Copier) Refusing() bool {
	return c.LastRefusal != nil && (c.LastScan == nil || c.LastRefusal.At.After(c.LastScan.At))
}

// Name is that which it gave last.
func (c *Copier) Name() string {
	if len(c.Names) == 0 {
		return ""
	}
	return c.Names[0]
}

// clone copies c with all that changes in place.
func (c *Copier) clone() Copier {
	out := *c
	out.Names, out.Listeners, out.Instances = slices.Clone(c.Names), slices.Clone(c.Listeners), slices.Clone(c.Instances)
	out.Senders, out.Recipients, out.DryRun = slices.Clone(c.Senders), slices.Clone(c.Recipients), slices.Clone(c.DryRun)
	if c.LastScan != nil {
		s := *c.LastScan
		out.LastScan = &s
	}
	if c.LastRefusal != nil {
		r := *c.LastRefusal
		out.LastRefusal = &r
	}
	return out
}
