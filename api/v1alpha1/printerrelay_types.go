package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PrinterRelay is the endpoint that copiers talk to.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="must be at most 50 lower-case letters, digits and hyphens, with a letter first: the Service has that name"
// +kubebuilder:resource:categories={mail,printer-relay}
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.addresses[0].value`
// +kubebuilder:printcolumn:name="Upstream",type=string,JSONPath=`.spec.upstreamRef.name`
// +kubebuilder:printcolumn:name="Queue",type=integer,JSONPath=`.status.queue.messages`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PrinterRelay struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what the relay does.
	// +required
	Spec PrinterRelaySpec `json:"spec"`
	// status is what the operator sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status PrinterRelayStatus `json:"status,omitempty"`
}

// PrinterRelayList is a list of PrinterRelays.
//
// +kubebuilder:object:root=true
type PrinterRelayList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PrinterRelay `json:"items"`
}

// IntakeMode says what a relay does with new mail.
// +kubebuilder:validation:Enum=Accept;Hold;Refuse
type IntakeMode string

// What a relay does with new mail.
const (
	IntakeAccept IntakeMode = "Accept"
	IntakeHold   IntakeMode = "Hold"
	IntakeRefuse IntakeMode = "Refuse"
)

// AcknowledgeMode says when the final dot is answered.
// +kubebuilder:validation:Enum=Queued;Relayed
type AcknowledgeMode string

// When the final dot is answered.
const (
	AcknowledgeQueued  AcknowledgeMode = "Queued"
	AcknowledgeRelayed AcknowledgeMode = "Relayed"
)

// PrinterRelaySpec is what a relay does.
//
// +kubebuilder:validation:XValidation:rule="self.spool.type != 'Ephemeral' || self.acknowledge == 'Relayed'",message="an Ephemeral spool needs acknowledge: Relayed: what is only queued would be lost with the Pod"
// +kubebuilder:validation:XValidation:rule="self.listeners.all(l, self.listeners.exists_one(m, m.port == l.port))",message="each listener needs a port of its own"
type PrinterRelaySpec struct {
	// replicas is the number of instances, each with a volume of its own.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Replicas *int32 `json:"replicas,omitempty"`
	// hostname in the banner, EHLO and Received.
	// +required
	Hostname DomainName `json:"hostname"`
	// upstreamRef is the MailUpstream for what no route takes.
	// +required
	UpstreamRef LocalReference `json:"upstreamRef"`
	// fallbackUpstreamRefs in order, when the one before is down, refuses for its
	// own reasons, or cannot carry the message.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	FallbackUpstreamRefs []LocalReference `json:"fallbackUpstreamRefs,omitempty"`
	// routes send some mail to other upstreams: the first match, else upstreamRef.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Routes []Route `json:"routes,omitempty"`
	// senderPolicyRefs in order; what none of them matches is refused.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	SenderPolicyRefs []LocalReference `json:"senderPolicyRefs"`
	// intake: Accept; Hold (250, kept in the queue until released); Refuse (421).
	// +optional
	// +kubebuilder:default=Accept
	Intake IntakeMode `json:"intake,omitempty"`
	// holds keep the mail of some devices, logins or senders in the queue: it is
	// taken (250), and waits until a person releases it. What waits already is held
	// too. What was held stays so when the hold is taken away.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Holds []Hold `json:"holds,omitempty"`
	// acknowledge: Queued says 250 once the message is on stable storage;
	// Relayed waits for the upstream first.
	// +optional
	// +kubebuilder:default=Queued
	Acknowledge AcknowledgeMode `json:"acknowledge,omitempty"`
	// acknowledgeTimeoutSeconds is how long Relayed waits.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=300
	AcknowledgeTimeoutSeconds *int32 `json:"acknowledgeTimeoutSeconds,omitempty"`
	// addresses are rewritten before policy and routes.
	// +optional
	Addresses AddressRules `json:"addresses,omitempty"`
	// copies add recipients to some messages.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Copies []CopyRule `json:"copies,omitempty"`
	// listeners that copiers connect to.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Listeners []Listener `json:"listeners"`
	// delivery is what becomes of mail that is not accepted at once.
	// +optional
	// +kubebuilder:default={}
	Delivery Delivery `json:"delivery,omitempty"`
	// spool is where the relay keeps mail.
	// +optional
	// +kubebuilder:default={}
	Spool Spool `json:"spool,omitempty"`
	// history is what the relay keeps of mail that it took or refused.
	// +optional
	// +kubebuilder:default={}
	History History `json:"history,omitempty"`
	// console is where people reach the web pages about the relay.
	// +optional
	Console Console `json:"console,omitzero"`
	// webhooks are told what becomes of mail.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=4
	Webhooks []Webhook `json:"webhooks,omitempty"`
	// service in front of the instances.
	// +optional
	// +kubebuilder:default={}
	Service Service `json:"service,omitempty"`
	// pod of each instance.
	// +optional
	Pod PodTemplate `json:"pod,omitempty"`
}

// Route sends some mail to another upstream. Lists that are not given match all.
//
// +kubebuilder:validation:XValidation:rule="(has(self.recipientDomains) && size(self.recipientDomains) > 0) || (has(self.clientNetworks) && size(self.clientNetworks) > 0) || (has(self.senders) && size(self.senders) > 0)",message="a route needs recipientDomains, clientNetworks or senders: what matches all is upstreamRef"
type Route struct {
	// name of the route.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// recipientDomains; "*.corp.example" is every subdomain of corp.example.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule=`self.matches('^([*][.])?[^@\\s*/:<>.]+([.][^@\\s*/:<>.]+)*$')`,message="must be a domain, such as corp.example, or *.corp.example"
	RecipientDomains []string `json:"recipientDomains,omitempty"`
	// clientNetworks that hold the client's address.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	ClientNetworks []CIDR `json:"clientNetworks,omitempty"`
	// senders are patterns of MAIL FROM.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Senders []AddressPattern `json:"senders,omitempty"`
	// upstreamRef is the MailUpstream of the route.
	// +required
	UpstreamRef LocalReference `json:"upstreamRef"`
}

// Hold keeps mail in the queue until a person releases it. Each list that is given
// must match.
//
// +kubebuilder:validation:XValidation:rule="(has(self.clientNetworks) && size(self.clientNetworks) > 0) || (has(self.users) && size(self.users) > 0) || (has(self.senders) && size(self.senders) > 0)",message="a hold needs clientNetworks, users or senders: what holds all mail is intake: Hold"
type Hold struct {
	// name of the hold, for the queue, logs and metrics.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and hyphens, such as stolen-copier"
	Name string `json:"name"`
	// clientNetworks that hold the device's address. A device whose address is
	// hidden may be in any of them, and is held.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	ClientNetworks []CIDR `json:"clientNetworks,omitempty"`
	// users that the device logged in as.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=254
	Users []string `json:"users,omitempty"`
	// senders are patterns of MAIL FROM: *@corp.example is a sender domain.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Senders []AddressPattern `json:"senders,omitempty"`
	// reason is shown with each message that is held.
	// +optional
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[^\\x00-\\x1f\\x7f]*$')`,message="must be one line without control characters"
	Reason string `json:"reason,omitempty"`
}

// AddressRules rewrite addresses before policy and routes.
type AddressRules struct {
	// defaultDomain completes addresses without a domain, which some copiers send.
	// +optional
	DefaultDomain DomainName `json:"defaultDomain,omitempty"`
	// recipients are replaced, by the first match.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Recipients []RecipientRewrite `json:"recipients,omitempty"`
}

// RecipientRewrite replaces a recipient.
type RecipientRewrite struct {
	// from is the pattern of the recipients to replace.
	// +required
	From AddressPattern `json:"from"`
	// to are the recipients in its place; a * is what the * of from stood for.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	To []AddressPattern `json:"to"`
}

// CopyRule adds recipients to some messages.
type CopyRule struct {
	// name of the rule.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// senders are patterns of MAIL FROM.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Senders []AddressPattern `json:"senders"`
	// to are the recipients to add.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	To []MailAddress `json:"to"`
}

// BounceTo says who hears of failed mail.
// +kubebuilder:validation:Enum=Postmaster;OriginalSender;None
type BounceTo string

// Who hears of failed mail.
const (
	BouncePostmaster     BounceTo = "Postmaster"
	BounceOriginalSender BounceTo = "OriginalSender"
	BounceNone           BounceTo = "None"
)

// UnknownMode says what to do when nobody knows whether an upstream took a message.
// +kubebuilder:validation:Enum=RetrySame;Hold;FailOver
type UnknownMode string

// What to do when nobody knows whether an upstream took a message.
const (
	UnknownRetrySame UnknownMode = "RetrySame"
	UnknownHold      UnknownMode = "Hold"
	UnknownFailOver  UnknownMode = "FailOver"
)

// Delivery is what becomes of mail that is not accepted at once.
type Delivery struct {
	// expireAfterSeconds gives a message up.
	// +optional
	// +kubebuilder:default=432000
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2592000
	ExpireAfterSeconds *int32 `json:"expireAfterSeconds,omitempty"`
	// warnAfterSeconds tells once that a message is late; 0 never.
	// +optional
	// +kubebuilder:default=14400
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	WarnAfterSeconds *int32 `json:"warnAfterSeconds,omitempty"`
	// keepFailedSeconds keeps failed mail: the paper is gone, so a failed scan can
	// be sent again by hand.
	// +optional
	// +kubebuilder:default=604800
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	KeepFailedSeconds *int32 `json:"keepFailedSeconds,omitempty"`
	// onUnknown: when the connection broke after the final dot a retry may
	// duplicate. RetrySame, Hold (until released) or FailOver.
	// +optional
	// +kubebuilder:default=RetrySame
	OnUnknown UnknownMode `json:"onUnknown,omitempty"`
	// retry is the back-off between attempts.
	// +optional
	// +kubebuilder:default={initialSeconds: 30, maximumSeconds: 3600}
	Retry Retry `json:"retry,omitempty"`
	// bounce says who hears of failed mail.
	// +optional
	// +kubebuilder:default={}
	Bounce Bounce `json:"bounce,omitempty"`
}

// Retry is the back-off between attempts, doubled each time, with jitter.
//
// +kubebuilder:validation:XValidation:rule="self.initialSeconds <= self.maximumSeconds",message="initialSeconds must not be more than maximumSeconds"
type Retry struct {
	// initialSeconds before the second attempt.
	// +optional
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	InitialSeconds *int32 `json:"initialSeconds,omitempty"`
	// maximumSeconds between two attempts.
	// +optional
	// +kubebuilder:default=3600
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	MaximumSeconds *int32 `json:"maximumSeconds,omitempty"`
}

// Bounce says who hears of failed mail.
type Bounce struct {
	// to: Postmaster; OriginalSender, if the rule's allowed senders name it; None.
	// Without a postmaster address nobody hears of failed mail by mail.
	// +optional
	// +kubebuilder:default=Postmaster
	To BounceTo `json:"to,omitempty"`
	// postmaster hears of what the sender may not.
	// +optional
	Postmaster *MailAddress `json:"postmaster,omitempty"`
	// from is the sender of notifications; the default is postmaster@hostname.
	// +optional
	From *MailAddress `json:"from,omitempty"`
	// upstreamRef sends notifications; the default is by the routes.
	// +optional
	UpstreamRef *LocalReference `json:"upstreamRef,omitempty"`
	// maximumPerHour is how many notifications about one device whoever hears of it
	// gets in an hour on their own. What is more comes as one digest at the end of the
	// hour; with 0 all comes so.
	// +optional
	// +kubebuilder:default=6
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	MaximumPerHour *int32 `json:"maximumPerHour,omitempty"`
}

// Console is where people reach the web pages about the relay.
type Console struct {
	// url of the console, without a path: notifications link to it.
	// +optional
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule=`self.matches('^https://[A-Za-z0-9._:\\[\\]-]+/?$')`,message="must be https:// and a host, with a port or without, such as https://printers.corp.example: the console's pages begin with /console/ there"
	URL string `json:"url,omitempty"`
}

// SpoolType is where mail is kept.
// +kubebuilder:validation:Enum=PersistentVolume;Ephemeral
type SpoolType string

// Where mail is kept.
const (
	SpoolPersistentVolume SpoolType = "PersistentVolume"
	SpoolEphemeral        SpoolType = "Ephemeral"
)

// ReclaimPolicy says what becomes of an instance's volume.
// +kubebuilder:validation:Enum=Retain;Delete
type ReclaimPolicy string

// What becomes of an instance's volume.
const (
	ReclaimRetain ReclaimPolicy = "Retain"
	ReclaimDelete ReclaimPolicy = "Delete"
)

// Spool is where the relay keeps mail.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'PersistentVolume' || !has(self.persistentVolume)",message="persistentVolume is for type PersistentVolume"
type Spool struct {
	// type: PersistentVolume, or Ephemeral, which needs acknowledge: Relayed.
	// +optional
	// +kubebuilder:default=PersistentVolume
	Type SpoolType `json:"type,omitempty"`
	// persistentVolume of each instance.
	// +optional
	PersistentVolume *SpoolVolume `json:"persistentVolume,omitempty"`
}

// SpoolVolume is the volume of an instance.
//
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="storageClassName of a volume cannot change: keep it, or make another PrinterRelay"
type SpoolVolume struct {
	// size of the volume; also the most that the spool takes.
	// +optional
	// +kubebuilder:default="5Gi"
	// +kubebuilder:validation:XValidation:rule="!quantity(string(self)).isLessThan(quantity(string(oldSelf)))",message="a volume cannot shrink: keep its size, or make another PrinterRelay"
	Size *resource.Quantity `json:"size,omitempty"`
	// storageClassName; the default is the cluster's.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	StorageClassName *string `json:"storageClassName,omitempty"`
	// reclaimPolicy: Retain keeps the volume when the instance goes.
	// +optional
	// +kubebuilder:default=Retain
	ReclaimPolicy ReclaimPolicy `json:"reclaimPolicy,omitempty"`
}
