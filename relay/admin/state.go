package admin

import (
	"cmp"
	"time"

	"github.com/printerrelay/printer-relay/relay/senderdns"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

// PhaseDrained is the Phase of an instance that the operator drains.
const PhaseDrained = "drained by the operator"

// State is the document of GET /state: what `queue`, the operator and a person
// read. Names and times only, no Secret; an address of a sender or recipient only
// where the reply that refused a device names it.
type State struct {
	Version string       `json:"version"`
	Started time.Time    `json:"started"`
	Phase   string       `json:"phase,omitempty"` // of Config.Phase
	Relays  []RelayState `json:"relays"`
}

// RelayState is one relay of the process.
type RelayState struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	PlanHash  string   `json:"planHash"`
	Ready     bool     `json:"ready"`
	Intake    string   `json:"intake"`             // what is done with new mail now: Accept, Hold or Refuse
	Holds     []string `json:"holds,omitempty"`    // names of those that are in force
	Problems  []string `json:"problems,omitempty"` // what keeps it from being ready, or from being wholly well
	// MissingSecrets are the names of those that the plan refers to and that are not there.
	MissingSecrets []string `json:"missingSecrets,omitempty"`
	// OpenRelay are the names of listeners that would relay for anybody, as the relay found by trying.
	OpenRelay []string        `json:"openRelay,omitempty"`
	Listeners []ListenerState `json:"listeners"`
	Upstreams []UpstreamState `json:"upstreams"`
	Queue     QueueState      `json:"queue"`
	Spool     SpoolState      `json:"spool"`
	Webhooks  []webhook.State `json:"webhooks,omitempty"`
	Copiers   []CopierState   `json:"copiers,omitempty"` // the newest; all of them: GET /copiers
}

// StateCopiers is how many devices stand in a RelayState.
const StateCopiers = 50

// CopierState is a device that was seen.
type CopierState struct {
	Device      string    `json:"device"` // address, or IPv6 /64
	Name        string    `json:"name,omitempty"`
	User        string    `json:"user,omitempty"`
	TLSVersion  string    `json:"tlsVersion,omitempty"` // empty: clear text
	Last        time.Time `json:"last"`                 // connection
	LastScan    time.Time `json:"lastScan,omitzero"`
	LastRefusal string    `json:"lastRefusal,omitempty"` // empty: a scan was accepted since
}

// copierStates are the newest devices as a RelayState has them.
func copierStates(c Copiers) (out []CopierState) {
	if c == nil {
		return nil
	}
	newest := c.Newest(StateCopiers)
	for i := range newest {
		d := &newest[i]
		s := CopierState{Device: d.Device, Name: d.Name(), TLSVersion: d.TLS.Version, Last: d.Last}
		if d.Auth.OK {
			s.User = d.Auth.User
		}
		if d.LastScan != nil {
			s.LastScan = d.LastScan.At
		}
		if d.Refusing() {
			s.LastRefusal = cmp.Or(d.LastRefusal.Reply, d.LastRefusal.Kind+": "+d.LastRefusal.Why)
		}
		out = append(out, s)
	}
	return out
}

// ListenerState is one listener of a relay.
type ListenerState struct {
	Name        string `json:"name"`
	Address     string `json:"address,omitempty"` // bound to; empty: not open
	Error       string `json:"error,omitempty"`
	Connections int    `json:"connections"`
}

// UpstreamState is one upstream as the queue sees it.
type UpstreamState struct {
	Name      string    `json:"name"`
	Circuit   string    `json:"circuit"` // Closed | Open | HalfOpen
	Suspended bool      `json:"suspended,omitempty"`
	Pending   int       `json:"pending"`
	Deferred  int       `json:"deferred"` // messages that wait for another try
	Active    int       `json:"active"`
	LastError string    `json:"lastError,omitempty"`
	Remedy    string    `json:"remedy,omitempty"` // what LastError means, and what to do
	Since     time.Time `json:"since,omitzero"`   // when the circuit last changed
	Health    *Health   `json:"health,omitempty"` // what the last preflight check found; null: there was none
	// DKIM are the public records of the keys that it signs with.
	DKIM []senderdns.Key `json:"dkim,omitempty"`
}

// Health is what was found of an upstream without sending mail.
type Health struct {
	Reachable   string    `json:"reachable"`        // Good | Bad | Unknown
	Credentials string    `json:"credentials"`      // Good | Bad | Unknown
	Text        string    `json:"text,omitempty"`   // the reason of what is Bad, or what was seen
	Remedy      string    `json:"remedy,omitempty"` // what Text means, and what to do
	Warnings    []string  `json:"warnings,omitempty"`
	Expires     time.Time `json:"expires,omitzero"` // of the credential; zero: not known, or never
	Quota       Quota     `json:"quota,omitzero"`
	Checked     time.Time `json:"checked"`
}

// Quota is what a provider tells of its limits; 0: not told.
type Quota struct {
	PerSecond  float64 `json:"perSecond,omitempty"`
	DailyLimit int64   `json:"dailyLimit,omitempty"`
	DailyUsed  int64   `json:"dailyUsed,omitempty"`
}

// QueueState counts the messages of a relay by state.
type QueueState struct {
	Pending  int `json:"pending"`
	Deferred int `json:"deferred"`
	Held     int `json:"held"`
	Failed   int `json:"failed"`
	// HeldBy are those of Held that a hold of the manifests keeps, by its name: all that
	// there are, and others of which messages are left.
	HeldBy        map[string]int `json:"heldBy,omitempty"`
	OldestSeconds float64        `json:"oldestSeconds"` // of what still waits for an upstream
}

// SpoolState is what the store holds.
type SpoolState struct {
	Entries int   `json:"entries"`
	Bytes   int64 `json:"bytes"`
	Free    int64 `json:"free"`
}
