// Package plan is the compiled form of one PrinterRelay with the MailUpstreams
// and SenderPolicies that it names: plain data, with no Secret's value in it,
// that the relay runs and the operator renders. Compile is pure, so both see
// the same plan, with the same Hash.
//
// It may import api/v1alpha1, relay/envelope, relay/policy and
// apimachinery's resource quantities; no client and no I/O.
package plan

import (
	"net/netip"
	"time"

	"github.com/printerrelay/printer-relay/relay/envelope"
	"github.com/printerrelay/printer-relay/relay/policy"
)

// Plan is everything that one relay does.
type Plan struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Hash      string `json:"hash"` // of all the rest, hexadecimal

	Hostname   string               `json:"hostname"` // banner, EHLO, Received
	Intake     Intake               `json:"intake"`
	Holds      []Hold               `json:"holds,omitempty"`
	Ack        Ack                  `json:"ack"`
	Addresses  Addresses            `json:"addresses,omitzero"`
	Copies     []Copy               `json:"copies,omitempty"`
	Listeners  []Listener           `json:"listeners"`
	Policies   policy.Set           `json:"policies"`
	Routes     []Route              `json:"routes"`              // first match; the last one matches all
	Fallbacks  []string             `json:"fallbacks,omitempty"` // names in Upstreams, in order
	Upstreams  map[string]*Upstream `json:"upstreams"`
	Delivery   Delivery             `json:"delivery"`
	Spool      Spool                `json:"spool"`
	History    History              `json:"history"`
	Webhooks   []Webhook            `json:"webhooks,omitempty"`
	SecretRefs []string             `json:"secretRefs,omitempty"` // every Secret that the plan names, sorted

	HiddenClients HiddenClients `json:"hiddenClients,omitzero"`
}

// Intake is the kill switch.
type Intake string

// What a relay does with new mail.
const (
	IntakeAccept Intake = "Accept"
	IntakeHold   Intake = "Hold"
	IntakeRefuse Intake = "Refuse"
)

// Ack says when the final dot is answered.
type Ack struct {
	Relayed bool          `json:"relayed,omitempty"` // wait for the upstream; else 250 once on stable storage
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Addresses are the rewrites before policy and routes.
type Addresses struct {
	DefaultDomain string             `json:"defaultDomain,omitempty"` // completes addresses without one
	Recipients    []RecipientRewrite `json:"recipients,omitempty"`    // first match
}

// RecipientRewrite replaces a recipient by others; a star in To takes what the
// star in From stood for.
type RecipientRewrite struct {
	From envelope.Pattern   `json:"from"`
	To   []envelope.Pattern `json:"to"`
}

// Copy adds recipients to the messages of some senders.
type Copy struct {
	Name    string             `json:"name"`
	Senders []envelope.Pattern `json:"senders"`
	To      []envelope.Address `json:"to"`
}

// TLSMode is how a listener or an upstream begins TLS.
type TLSMode string

// The TLS modes; Opportunistic is for upstreams only.
const (
	TLSNone          TLSMode = "None"
	TLSStartTLS      TLSMode = "StartTLS"
	TLSImplicit      TLSMode = "Implicit"
	TLSOpportunistic TLSMode = "Opportunistic"
)

// Listener is one port that copiers talk to.
type Listener struct {
	Name           string           `json:"name"`
	Port           int              `json:"port"`
	TLS            ListenerTLS      `json:"tls"`
	Auth           ListenerAuth     `json:"auth"`
	Compat         Compat           `json:"compat"`
	Overrides      []ClientOverride `json:"overrides,omitempty"`     // first whose networks hold the client
	ProxyNetworks  []netip.Prefix   `json:"proxyNetworks,omitempty"` // peers that must send a PROXY header
	RedactReceived bool             `json:"redactReceived,omitempty"`
	MessageSize    int64            `json:"messageSize"`    // octets
	AdvertisedSize int64            `json:"advertisedSize"` // EHLO SIZE: the smaller of MessageSize and what the largest reachable upstream takes, less header room
	Recipients     int              `json:"recipients"`
	Connections    int              `json:"connections"`
	ConnsPerClient int              `json:"connectionsPerClient"`
	IdleTimeout    time.Duration    `json:"idleTimeout"`
}

// ListenerTLS is a listener's side of TLS. With no Certificates it is a
// self-signed one that the relay makes and keeps with its state.
type ListenerTLS struct {
	Mode         TLSMode  `json:"mode"`
	Profile      string   `json:"profile"`                // Modern | Intermediate | Legacy
	Certificates []string `json:"certificates,omitempty"` // Secrets with tls.crt and tls.key
}

// AuthMode says whether clients may or must authenticate.
type AuthMode string

// The modes of a listener's AUTH.
const (
	AuthNone     AuthMode = "None"
	AuthOptional AuthMode = "Optional"
	AuthRequired AuthMode = "Required"
)

// ListenerAuth is a listener's AUTH.
type ListenerAuth struct {
	Mode       AuthMode `json:"mode"`
	Mechanisms []string `json:"mechanisms,omitempty"` // SASL names: PLAIN, LOGIN, CRAM-MD5
	Plaintext  bool     `json:"plaintext,omitempty"`  // AUTH is offered without TLS too
	Secret     string   `json:"secret,omitempty"`     // the copier logins
}

// Compat is what a listener forgives.
type Compat struct {
	LineEndings string `json:"lineEndings"` // Normalize | Reject | BareLF
	Lenient     bool   `json:"lenient,omitempty"`
}

// ClientOverride changes a listener for named devices. Nil and empty fields
// leave the listener's own value.
type ClientOverride struct {
	Name         string         `json:"name"`
	Networks     []netip.Prefix `json:"networks"`
	HideStartTLS bool           `json:"hideStartTLS,omitempty"`
	Mechanisms   []string       `json:"mechanisms,omitempty"`
	LineEndings  string         `json:"lineEndings,omitempty"`
	Lenient      *bool          `json:"lenient,omitempty"`
}

// Route sends the recipients it matches to one upstream. Empty lists match all.
type Route struct {
	Name             string             `json:"name,omitempty"`             // empty: the relay's upstreamRef
	RecipientDomains []string           `json:"recipientDomains,omitempty"` // DomainKeys; "*.d" is every subdomain of d
	Networks         []netip.Prefix     `json:"networks,omitempty"`
	Senders          []envelope.Pattern `json:"senders,omitempty"`
	Upstream         string             `json:"upstream"`
}

// Sender is as whom an upstream sends.
type Sender struct {
	Domain      string `json:"domain"`
	LocalPart   string `json:"localPart"`
	DisplayName string `json:"displayName,omitempty"` // template: {original}, {device}
	ReplyTo     bool   `json:"replyTo,omitempty"`     // OriginalIfAllowed
	Rewrite     string `json:"rewrite"`               // Always | OutsideDomain | Never
}

// DKIM is as what an upstream's mail is signed.
type DKIM struct {
	Domain   string `json:"domain"` // of the sender, in ASCII
	Selector string `json:"selector"`
	Secret   string `json:"secret"`             // rsa.pem, ed25519.pem, or both
	Reissued bool   `json:"reissued,omitempty"` // the provider replaces Message-ID and Date
	Single   bool   `json:"single,omitempty"`   // it takes one DKIM-Signature: the RSA key's, where there are two keys
}

// Delivery is what becomes of mail that is not accepted at once.
type Delivery struct {
	Expire     time.Duration `json:"expire"`
	Warn       time.Duration `json:"warn"` // 0: never
	KeepFailed time.Duration `json:"keepFailed"`
	OnUnknown  string        `json:"onUnknown"` // RetrySame | Hold | FailOver
	RetryFirst time.Duration `json:"retryFirst"`
	RetryMax   time.Duration `json:"retryMax"`
	Bounce     Bounce        `json:"bounce"`
}

// Bounce says who hears of failed mail.
type Bounce struct {
	To         string           `json:"to"` // Postmaster | OriginalSender | None
	Postmaster envelope.Address `json:"postmaster,omitzero"`
	From       envelope.Address `json:"from,omitzero"`
	Upstream   string           `json:"upstream,omitempty"` // empty: by the routes
}

// History is what is kept of messages and refusals.
type History struct {
	Keep     time.Duration `json:"keep"`               // 0: nothing is kept
	Size     int64         `json:"size"`               // octets
	Subjects bool          `json:"subjects,omitempty"` // of messages are kept too
}

// Spool is where the relay keeps mail.
type Spool struct {
	Ephemeral bool  `json:"ephemeral,omitempty"`
	Size      int64 `json:"size,omitempty"` // octets; 0: what the volume has
}
