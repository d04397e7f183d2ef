// Package status says, of what was seen, whether the three kinds do what their
// specs say, and if not, what to change. It is pure: it takes the time and
// the status as it was, and gives the status as it is to be.
//
// It may import api/v1alpha1, relay/plan, k8s.io/api, apimachinery and
// client-go's apply configurations; no client and no I/O.
package status

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Relay is what was seen of one PrinterRelay.
type Relay struct {
	Object *v1alpha1.PrinterRelay // with its status as it is
	Now    time.Time

	Upstreams   map[string]*v1alpha1.MailUpstream // of the namespace, by name; at least those that are named
	Policies    map[string]*v1alpha1.SenderPolicy
	Diagnostics plan.Diagnostics // of Compile
	Failures    []Failure        // what could not be rendered or applied
	CertManager bool             // the kind Certificate of cert-manager is installed
	Clients     Clients

	Plan          *plan.Plan      // what every instance is to run (render.Set); nil: nothing can run
	Service       *corev1.Service // nil: not there
	ClusterDomain string          // empty: cluster.local
	Instances     []Instance      // by number: those that are to be, and those that go
}

// Failure is something that could not be rendered or applied.
type Failure struct {
	Reason  string // empty: ReasonApplyFailed
	Message string // names the object and field, and says what to do
	// Temporary: it may go away by itself, such as a conflict.
	Temporary bool
}

// Instance is what was seen of one instance.
type Instance struct {
	Name       string
	Draining   bool
	Deployment *appsv1.Deployment            // nil: not there
	Outdated   bool                          // its Deployment is not as rendered yet
	Volume     *corev1.PersistentVolumeClaim // nil: not there, or the spool is Ephemeral
	Report     *Report                       // nil: it was not asked, or did not answer
	ReportErr  string                        // why it did not answer
}

// Report is what an instance says of itself on its admin port.
type Report struct {
	PlanHash       string
	Ready          bool
	Drained        bool     // it takes no new mail, since the operator drains it
	Connections    int      // open at its listeners
	Problems       []string // for people
	MissingSecrets []string // names
	OpenRelay      []string // listeners that would relay for anybody
	Listeners      []ListenerReport
	Upstreams      []UpstreamReport
	Queue          QueueReport
	Copiers        []CopierReport // the newest
}

// CopierReport is a device that an instance has seen.
type CopierReport struct {
	Address     string // or IPv6 /64
	Name        string
	User        string
	TLSVersion  string // empty: clear text
	Last        time.Time
	LastScan    time.Time // zero: none
	LastRefusal string    // empty: a scan was accepted since
}

// ListenerReport is one listener of an instance.
type ListenerReport struct {
	Name    string
	Open    bool
	Problem string
}

// UpstreamReport is one MailUpstream as an instance sees it.
type UpstreamReport struct {
	Name      string
	Down      bool   // its circuit is not closed
	LastError string // why
	Remedy    string // what LastError means, and what to do; empty: not known
	Check     Check  // the zero Check: it was not checked yet
	DKIM      []DKIMKey
}

// Check is what an instance found of an upstream without sending mail.
type Check struct {
	Done                   bool
	Reachable, Credentials Finding
	Text                   string // the reason of what is Bad
	Remedy                 string // what Text means, and what to do; empty: not known
	Warnings               []string
	Expires                time.Time // of the credential; zero: not known, or never
	PerSecond              float64   // messages that the provider takes; 0: not told
	DailyLimit, DailyUsed  int64     // recipients; a limit of 0: not told
}

// Finding is a part of a Check.
type Finding string

// The findings; any other is that nobody can tell.
const (
	Good Finding = "Good"
	Bad  Finding = "Bad"
)

// QueueReport counts the messages of an instance.
type QueueReport struct {
	Waiting int // for an upstream, or for its next try
	Held    int
	Failed  int
	Oldest  time.Duration // age of the oldest that waits
}

// Empty tells whether nothing at all is left.
func (q QueueReport) Empty() bool { return q.Waiting == 0 && q.Held == 0 && q.Failed == 0 }
