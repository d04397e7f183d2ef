package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SenderPolicy says who may send as whom, to whom, how much and over what
// connection. What no rule matches passes to the relay's next policy; what no
// policy matches is refused.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories={mail,printer-relay}
// +kubebuilder:printcolumn:name="Enforcement",type=string,JSONPath=`.spec.enforcement`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SenderPolicy struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what the policy allows.
	// +required
	Spec SenderPolicySpec `json:"spec"`
	// status is what the operator sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status SenderPolicyStatus `json:"status,omitempty"`
}

// SenderPolicyList is a list of SenderPolicies.
//
// +kubebuilder:object:root=true
type SenderPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SenderPolicy `json:"items"`
}

// Enforcement says whether a policy decides or only reports.
// +kubebuilder:validation:Enum=Enforce;DryRun
type Enforcement string

// The enforcements.
const (
	EnforcementEnforce Enforcement = "Enforce"
	EnforcementDryRun  Enforcement = "DryRun"
)

// SenderPolicySpec is what a policy allows.
type SenderPolicySpec struct {
	// rules in order: the first match is fixed at MAIL for the whole message.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Rules []Rule `json:"rules"`
	// enforcement: Enforce, or DryRun to decide nothing and report what the
	// policy would have decided.
	// +optional
	// +kubebuilder:default=Enforce
	Enforcement Enforcement `json:"enforcement,omitempty"`
}

// RuleAction is what a rule does with what it matches.
// +kubebuilder:validation:Enum=Allow;Reject;Hold
type RuleAction string

// The actions.
const (
	ActionAllow  RuleAction = "Allow"
	ActionReject RuleAction = "Reject"
	ActionHold   RuleAction = "Hold"
)

// Rule is one rule of a policy.
//
// +kubebuilder:validation:XValidation:rule="self.action == 'Reject' || size(self.match.users) > 0 || size(self.recipients.allowed) > 0",message="recipients.allowed is required where match.users is empty: a network alone may not send to everybody"
type Rule struct {
	// name of the rule, for logs, metrics and replies.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and hyphens, such as floor-3"
	Name string `json:"name"`
	// match selects messages. Networks or users are required.
	// +required
	Match RuleMatch `json:"match"`
	// action: Allow, Reject, or Hold (250, kept in the queue until released).
	// +optional
	// +kubebuilder:default=Allow
	Action RuleAction `json:"action,omitempty"`
	// connection is what a matched connection must fulfil; otherwise it is
	// refused, with the reason.
	// +optional
	Connection RuleConnection `json:"connection,omitempty"`
	// senders are the addresses that a message may come from.
	// +optional
	// +kubebuilder:default={}
	Senders RuleSenders `json:"senders,omitempty"`
	// identity is as whom the upstream sends, under the upstream's domain.
	// +optional
	Identity RuleIdentity `json:"identity,omitempty"`
	// recipients are the addresses that a message may go to.
	// +optional
	// +kubebuilder:default={}
	Recipients RuleRecipients `json:"recipients,omitempty"`
	// content is what a message may hold.
	// +optional
	Content RuleContent `json:"content,omitempty"`
	// rateLimit bounds how much may be sent.
	// +optional
	RateLimit *RateLimit `json:"rateLimit,omitempty"`
}

// RuleMatch selects messages at MAIL. Each list that is given must match.
//
// +kubebuilder:validation:XValidation:rule="size(self.clientNetworks) > 0 || size(self.users) > 0",message="clientNetworks or users is required: an empty match would be an open relay"
// +kubebuilder:validation:XValidation:rule="size(self.users) > 0 || self.clientNetworks.all(n, !n.endsWith('/0'))",message="a /0 network matches everybody: name the networks, or name users too"
type RuleMatch struct {
	// clientNetworks hold the client's address. IPv4-mapped IPv6 addresses count
	// as IPv4.
	// +optional
	// +kubebuilder:default={}
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	ClientNetworks []CIDR `json:"clientNetworks,omitempty"`
	// users are logins of the listener's secretRef.
	// +optional
	// +kubebuilder:default={}
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=254
	Users []string `json:"users,omitempty"`
	// senders are patterns of MAIL FROM.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Senders []AddressPattern `json:"senders,omitempty"`
}

// Requirement says whether something must be there.
// +kubebuilder:validation:Enum=Optional;Required
type Requirement string

// The requirements.
const (
	RequirementOptional Requirement = "Optional"
	RequirementRequired Requirement = "Required"
)

// RuleConnection is what a connection must fulfil.
type RuleConnection struct {
	// tls: Required refuses clear text with 530.
	// +optional
	TLS Requirement `json:"tls,omitempty"`
	// minimumTLSVersion refuses older TLS.
	// +optional
	// +kubebuilder:validation:Enum="1.0";"1.1";"1.2";"1.3"
	MinimumTLSVersion string `json:"minimumTLSVersion,omitempty"`
	// authentication: Required refuses clients that did not authenticate with 530.
	// +optional
	Authentication Requirement `json:"authentication,omitempty"`
}

// SenderCheck says where senders are looked for.
// +kubebuilder:validation:Enum=Envelope;EnvelopeAndHeader
type SenderCheck string

// The sender checks.
const (
	CheckEnvelope          SenderCheck = "Envelope"
	CheckEnvelopeAndHeader SenderCheck = "EnvelopeAndHeader"
)

// SenderOtherwise is what happens to a sender that is not allowed.
// +kubebuilder:validation:Enum=Reject;Rewrite
type SenderOtherwise string

// What happens to senders that are not allowed.
const (
	OtherwiseReject  SenderOtherwise = "Reject"
	OtherwiseRewrite SenderOtherwise = "Rewrite"
)

// RuleSenders are the addresses that a message may come from.
type RuleSenders struct {
	// allowed patterns; empty allows every sender. A pattern never matches the
	// null sender <>.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Allowed []AddressPattern `json:"allowed,omitempty"`
	// check: EnvelopeAndHeader looks at MAIL FROM and at every From: and Sender:
	// address, Envelope at MAIL FROM alone.
	// +optional
	// +kubebuilder:default=EnvelopeAndHeader
	Check SenderCheck `json:"check,omitempty"`
	// otherwise: Reject, or Rewrite to the upstream's identity.
	// +optional
	// +kubebuilder:default=Reject
	Otherwise SenderOtherwise `json:"otherwise,omitempty"`
}

// RuleIdentity is as whom the upstream sends, under the upstream's domain.
type RuleIdentity struct {
	// localPart of the sender address, before the upstream's domain.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+([.][A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*$")`,message="must be what stands before the @ of an address, such as scans"
	LocalPart string `json:"localPart,omitempty"`
	// displayName of the From: header: text, {original} and {device}.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[^\\x00-\\x1f\\x7f]*$')`,message="must be one line without control characters"
	DisplayName string `json:"displayName,omitempty"`
}

// RuleRecipients are the addresses that a message may go to.
type RuleRecipients struct {
	// allowed patterns. Required where match.users is empty.
	// +optional
	// +kubebuilder:default={}
	// +listType=set
	// +kubebuilder:validation:MaxItems=128
	Allowed []AddressPattern `json:"allowed,omitempty"`
	// maximum recipients of one message; the default is the listener's.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Maximum *int32 `json:"maximum,omitempty"`
}

// RuleContent is what a message may hold.
type RuleContent struct {
	// messageSize in octets on the wire, after base64.
	// +optional
	MessageSize *resource.Quantity `json:"messageSize,omitempty"`
	// attachmentTypes that may pass, as a mail client would see them; empty: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=127
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$')",message="must be a media type in lower case, such as application/pdf"
	AttachmentTypes []string `json:"attachmentTypes,omitempty"`
}

// RatePer is what a rate limit counts by.
// +kubebuilder:validation:Enum=Client;User;Rule
type RatePer string

// What a rate limit counts by.
const (
	PerClient RatePer = "Client"
	PerUser   RatePer = "User"
	PerRule   RatePer = "Rule"
)

// RateExceeded is what happens to a message over its rate.
// +kubebuilder:validation:Enum=Pace;Hold;Refuse
type RateExceeded string

// What happens to a message over its rate.
const (
	ExceededPace   RateExceeded = "Pace"
	ExceededHold   RateExceeded = "Hold"
	ExceededRefuse RateExceeded = "Refuse"
)

// RateLimit bounds how much may be sent.
//
// +kubebuilder:validation:XValidation:rule="has(self.messagesPerMinute) || has(self.recipientsPerDay)",message="messagesPerMinute or recipientsPerDay is required"
type RateLimit struct {
	// messagesPerMinute on average; as many may come at once.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MessagesPerMinute *int32 `json:"messagesPerMinute,omitempty"`
	// recipientsPerDay within 24 hours.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	RecipientsPerDay *int32 `json:"recipientsPerDay,omitempty"`
	// per: Client address, authenticated User, or Rule as a whole.
	// +optional
	// +kubebuilder:default=Client
	Per RatePer `json:"per,omitempty"`
	// exceeded: Pace (250, delivered slower), Hold (250, kept until released) or
	// Refuse (450). Copiers never try again, so Refuse loses scans.
	// +optional
	// +kubebuilder:default=Pace
	Exceeded RateExceeded `json:"exceeded,omitempty"`
}

// SenderPolicyStatus is what the operator sees.
type SenderPolicyStatus struct {
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready, Accepted.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// usedBy are the relays that name this policy.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	UsedBy []UsedBy `json:"usedBy,omitempty"`
}
