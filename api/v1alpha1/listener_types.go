package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// Listener is one port that copiers connect to.
//
// +kubebuilder:validation:XValidation:rule="self.authentication.mode == 'None' || has(self.authentication.secretRef)",message="authentication.secretRef is required when authentication.mode is Optional or Required"
// +kubebuilder:validation:XValidation:rule="self.authentication.mode == 'None' || self.tls.mode != 'None' || self.authentication.plaintext == 'Allow' || self.authentication.mechanisms == ['CRAMMD5']",message="without TLS a password passes in clear: set authentication.plaintext to Allow if the network is trusted, or tls.mode to StartTLS"
type Listener struct {
	// name of the listener, for logs, metrics and the Service's port.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and hyphens, such as floor-3"
	Name string `json:"name"`
	// port that copiers connect to.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=55535
	Port int32 `json:"port"`
	// tls of the listener.
	// +optional
	// +kubebuilder:default={}
	TLS ListenerTLS `json:"tls,omitempty"`
	// authentication of copiers.
	// +optional
	// +kubebuilder:default={}
	Authentication ListenerAuthentication `json:"authentication,omitempty"`
	// compatibility is what the listener forgives.
	// +optional
	// +kubebuilder:default={}
	Compatibility Compatibility `json:"compatibility,omitempty"`
	// clientOverrides for the quirks of named devices.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	ClientOverrides []ClientOverride `json:"clientOverrides,omitempty"`
	// proxyProtocol of a load balancer in front.
	// +optional
	ProxyProtocol ProxyProtocol `json:"proxyProtocol,omitempty"`
	// receivedHeader: Full, or Redacted to leave out inside addresses.
	// +optional
	// +kubebuilder:default=Full
	ReceivedHeader ReceivedHeader `json:"receivedHeader,omitempty"`
	// limits of the listener.
	// +optional
	// +kubebuilder:default={}
	Limits ListenerLimits `json:"limits,omitempty"`
}

// ListenerTLSMode is how TLS begins at a listener.
// +kubebuilder:validation:Enum=None;StartTLS;Implicit
type ListenerTLSMode string

// How TLS begins at a listener.
const (
	ListenerTLSNone     ListenerTLSMode = "None"
	ListenerTLSStartTLS ListenerTLSMode = "StartTLS"
	ListenerTLSImplicit ListenerTLSMode = "Implicit"
)

// TLSProfile is how old TLS may be.
// +kubebuilder:validation:Enum=Modern;Intermediate;Legacy
type TLSProfile string

// How old TLS may be.
const (
	TLSModern       TLSProfile = "Modern"
	TLSIntermediate TLSProfile = "Intermediate"
	TLSLegacy       TLSProfile = "Legacy"
)

// ListenerTLS is the TLS of a listener. Without certificateRefs and issuerRef
// the relay makes a self-signed certificate and keeps it on its volume.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.certificateRefs) && has(self.issuerRef))",message="certificateRefs and issuerRef exclude each other"
// +kubebuilder:validation:XValidation:rule="self.mode != 'None' || !(has(self.certificateRefs) || has(self.issuerRef))",message="with mode None there is no certificate"
type ListenerTLS struct {
	// mode: StartTLS offers TLS, Implicit begins with it, None has none.
	// +optional
	// +kubebuilder:default=StartTLS
	Mode ListenerTLSMode `json:"mode,omitempty"`
	// profile: Modern (TLS 1.3), Intermediate (1.2 with forward secrecy) or
	// Legacy (1.0, RSA key exchange, CBC) for old copiers.
	// +optional
	// +kubebuilder:default=Intermediate
	Profile TLSProfile `json:"profile,omitempty"`
	// certificateRefs are Secrets with tls.crt and tls.key. Old copiers need an
	// RSA key.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	CertificateRefs []LocalReference `json:"certificateRefs,omitempty"`
	// issuerRef asks cert-manager for a certificate with an RSA key.
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`
}

// IssuerReference names an issuer of cert-manager.
type IssuerReference struct {
	// name of the issuer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// kind of the issuer.
	// +optional
	// +kubebuilder:default=Issuer
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`
	// group of the issuer.
	// +optional
	// +kubebuilder:default=cert-manager.io
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
}

// AuthenticationMode says whether copiers may or must authenticate.
// +kubebuilder:validation:Enum=None;Optional;Required
type AuthenticationMode string

// Whether copiers may or must authenticate.
const (
	AuthenticationNone     AuthenticationMode = "None"
	AuthenticationOptional AuthenticationMode = "Optional"
	AuthenticationRequired AuthenticationMode = "Required"
)

// PlaintextMode says whether a password may pass in clear.
// +kubebuilder:validation:Enum=Deny;Allow
type PlaintextMode string

// Whether a password may pass in clear.
const (
	PlaintextDeny  PlaintextMode = "Deny"
	PlaintextAllow PlaintextMode = "Allow"
)

// ListenerAuthentication is the AUTH of a listener.
type ListenerAuthentication struct {
	// mode: None, Optional or Required.
	// +optional
	// +kubebuilder:default=None
	Mode AuthenticationMode `json:"mode,omitempty"`
	// mechanisms to offer, each where it can work: CRAMMD5 needs plain passwords
	// in the Secret.
	// +optional
	// +kubebuilder:default={Plain,Login}
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Mechanisms []Mechanism `json:"mechanisms,omitempty"`
	// plaintext: Allow offers Plain and Login without TLS too.
	// +optional
	// +kubebuilder:default=Deny
	Plaintext PlaintextMode `json:"plaintext,omitempty"`
	// secretRef holds the logins: the key users with lines of
	// name:password-or-bcrypt, and any other key as one user.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// LineEndings says how bare CR and LF are taken.
// +kubebuilder:validation:Enum=Normalize;Reject;BareLF
type LineEndings string

// How bare CR and LF are taken.
const (
	LineEndingsNormalize LineEndings = "Normalize"
	LineEndingsReject    LineEndings = "Reject"
	LineEndingsBareLF    LineEndings = "BareLF"
)

// CommandSyntax says how commands are read.
// +kubebuilder:validation:Enum=Lenient;Strict
type CommandSyntax string

// How commands are read.
const (
	CommandSyntaxLenient CommandSyntax = "Lenient"
	CommandSyntaxStrict  CommandSyntax = "Strict"
)

// Compatibility is what a listener forgives.
type Compatibility struct {
	// lineEndings: Normalize makes bare LF a CRLF in the message; Reject refuses
	// it; BareLF is for devices that end every line of the session, and the
	// message itself, with LF alone.
	// +optional
	// +kubebuilder:default=Normalize
	LineEndings LineEndings `json:"lineEndings,omitempty"`
	// commandSyntax: Strict, or Lenient for copiers that write commands wrongly.
	// +optional
	// +kubebuilder:default=Strict
	CommandSyntax CommandSyntax `json:"commandSyntax,omitempty"`
}

// ClientOverride changes a listener for named devices.
type ClientOverride struct {
	// name of the override: the device.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// clientNetworks that hold the device's address.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ClientNetworks []CIDR `json:"clientNetworks"`
	// hideStartTLS from devices that take it and fail.
	// +optional
	HideStartTLS bool `json:"hideStartTLS,omitempty"`
	// mechanisms in place of the listener's.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Mechanisms []Mechanism `json:"mechanisms,omitempty"`
	// compatibility in place of the listener's.
	// +optional
	Compatibility *CompatibilityOverride `json:"compatibility,omitempty"`
}

// CompatibilityOverride is Compatibility without defaults: what is not given
// is the listener's.
type CompatibilityOverride struct {
	// lineEndings in place of the listener's.
	// +optional
	LineEndings LineEndings `json:"lineEndings,omitempty"`
	// commandSyntax in place of the listener's.
	// +optional
	CommandSyntax CommandSyntax `json:"commandSyntax,omitempty"`
}

// ProxyProtocol names the load balancers that send a PROXY header.
type ProxyProtocol struct {
	// trustedNetworks must send a PROXY header, version 1 or 2; nobody else's is
	// taken.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	TrustedNetworks []CIDR `json:"trustedNetworks,omitempty"`
}

// ReceivedHeader says what the relay's Received: field tells.
// +kubebuilder:validation:Enum=Full;Redacted
type ReceivedHeader string

// What the relay's Received: field tells.
const (
	ReceivedFull     ReceivedHeader = "Full"
	ReceivedRedacted ReceivedHeader = "Redacted"
)

// ListenerLimits bound what a listener takes.
type ListenerLimits struct {
	// messageSize in octets on the wire, after base64.
	// +optional
	// +kubebuilder:default="40Mi"
	MessageSize *resource.Quantity `json:"messageSize,omitempty"`
	// recipients of one message.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Recipients *int32 `json:"recipients,omitempty"`
	// connections at once.
	// +optional
	// +kubebuilder:default=500
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Connections *int32 `json:"connections,omitempty"`
	// connectionsPerClient at once from one address.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	ConnectionsPerClient *int32 `json:"connectionsPerClient,omitempty"`
	// idleTimeoutSeconds until a silent connection is closed.
	// +optional
	// +kubebuilder:default=300
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=3600
	IdleTimeoutSeconds *int32 `json:"idleTimeoutSeconds,omitempty"`
}
