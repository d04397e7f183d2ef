package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MailUpstream is where mail goes, with which credential, and as whom.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories={mail,printer-relay}
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Domain",type=string,JSONPath=`.spec.sender.domain`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type MailUpstream struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is where mail goes.
	// +required
	Spec MailUpstreamSpec `json:"spec"`
	// status is what the operator sees.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status MailUpstreamStatus `json:"status,omitempty"`
}

// MailUpstreamList is a list of MailUpstreams.
//
// +kubebuilder:object:root=true
type MailUpstreamList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MailUpstream `json:"items"`
}

// UpstreamType is a kind of way out.
// +kubebuilder:validation:Enum=SES;SMTP;MX;SendGrid;Mailgun;Postmark;Microsoft365;Maildir
type UpstreamType string

// The upstream types.
const (
	UpstreamSES          UpstreamType = "SES"
	UpstreamSMTP         UpstreamType = "SMTP"
	UpstreamMX           UpstreamType = "MX"
	UpstreamSendGrid     UpstreamType = "SendGrid"
	UpstreamMailgun      UpstreamType = "Mailgun"
	UpstreamPostmark     UpstreamType = "Postmark"
	UpstreamMicrosoft365 UpstreamType = "Microsoft365"
	UpstreamMaildir      UpstreamType = "Maildir"
)

// MailUpstreamSpec is where mail goes. Exactly the block of its type is set.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'SES' ? has(self.ses) : !has(self.ses)",message="ses is required when type is SES, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'SMTP' ? has(self.smtp) : !has(self.smtp)",message="smtp is required when type is SMTP, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'MX' ? has(self.mx) : !has(self.mx)",message="mx is required when type is MX, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'SendGrid' ? has(self.sendGrid) : !has(self.sendGrid)",message="sendGrid is required when type is SendGrid, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Mailgun' ? has(self.mailgun) : !has(self.mailgun)",message="mailgun is required when type is Mailgun, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Postmark' ? has(self.postmark) : !has(self.postmark)",message="postmark is required when type is Postmark, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Microsoft365' ? has(self.microsoft365) : !has(self.microsoft365)",message="microsoft365 is required when type is Microsoft365, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="self.type == 'Maildir' ? has(self.maildir) : !has(self.maildir)",message="maildir is required when type is Maildir, and forbidden otherwise"
// +kubebuilder:validation:XValidation:rule="!has(self.dkim) || self.type in ['SMTP', 'MX', 'SES', 'Maildir']",message="dkim is for SMTP, MX, SES and Maildir: the other types sign themselves"
// +kubebuilder:validation:XValidation:rule="!has(self.dkim) || has(self.sender)",message="dkim signs as sender.domain: sender is required"
type MailUpstreamSpec struct {
	// type of the upstream; the block of the same name is required.
	// +required
	// +unionDiscriminator
	Type UpstreamType `json:"type"`
	// ses sends by Amazon SES (API v2).
	// +optional
	// +unionMember
	SES *SESUpstream `json:"ses,omitempty"`
	// smtp sends to a smarthost.
	// +optional
	// +unionMember
	SMTP *SMTPUpstream `json:"smtp,omitempty"`
	// mx delivers to the recipients' own mail servers.
	// +optional
	// +unionMember
	MX *MXUpstream `json:"mx,omitempty"`
	// sendGrid sends by Twilio SendGrid.
	// +optional
	// +unionMember
	SendGrid *SendGridUpstream `json:"sendGrid,omitempty"`
	// mailgun sends by Mailgun.
	// +optional
	// +unionMember
	Mailgun *MailgunUpstream `json:"mailgun,omitempty"`
	// postmark sends by Postmark.
	// +optional
	// +unionMember
	Postmark *PostmarkUpstream `json:"postmark,omitempty"`
	// microsoft365 sends by Exchange Online with OAuth 2.
	// +optional
	// +unionMember
	Microsoft365 *Microsoft365Upstream `json:"microsoft365,omitempty"`
	// maildir writes mail to a folder, for try-outs, tests and air gaps.
	// +optional
	// +unionMember
	Maildir *MaildirUpstream `json:"maildir,omitempty"`
	// sender is as whom mail leaves here. Without it mail leaves as it came.
	// +optional
	Sender *UpstreamSender `json:"sender,omitempty"`
	// dkim signs as sender.domain; for the types that do not sign themselves.
	// +optional
	DKIM *DKIM `json:"dkim,omitempty"`
	// dns is what no program can find out by itself.
	// +optional
	DNS UpstreamDNS `json:"dns,omitempty"`
	// limits hold for all instances of all relays together.
	// +optional
	Limits UpstreamLimits `json:"limits,omitempty"`
	// allowPrivateHosts lets the upstream be on a private or loopback address;
	// the default is true for SMTP and false for all else.
	// +optional
	AllowPrivateHosts *bool `json:"allowPrivateHosts,omitempty"`
	// suspend keeps mail for this upstream in the queue.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ReplyToMode says whether a rewritten message names its own sender.
// +kubebuilder:validation:Enum=OriginalIfAllowed;None
type ReplyToMode string

// Whether a rewritten message names its own sender in Reply-To.
const (
	ReplyToOriginalIfAllowed ReplyToMode = "OriginalIfAllowed"
	ReplyToNone              ReplyToMode = "None"
)

// RewriteMode says which senders are rewritten.
// +kubebuilder:validation:Enum=Always;OutsideDomain;Never
type RewriteMode string

// Which senders are rewritten.
const (
	RewriteAlways        RewriteMode = "Always"
	RewriteOutsideDomain RewriteMode = "OutsideDomain"
	RewriteNever         RewriteMode = "Never"
)

// UpstreamSender is as whom mail leaves an upstream.
type UpstreamSender struct {
	// domain that may be black-holed: what leaves here is from here.
	// +required
	Domain DomainName `json:"domain"`
	// localPart when a message's own sender is not in the domain, or the rule
	// says so.
	// +optional
	// +kubebuilder:default=scans
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[A-Za-z0-9!#$%&'*+/=?^_{|}~-]+([.][A-Za-z0-9!#$%&'*+/=?^_{|}~-]+)*$")`,message="must be what stands before the @ of an address, such as scans"
	LocalPart string `json:"localPart,omitempty"`
	// displayName of a rewritten From: text, {original} and {device}.
	// +optional
	// +kubebuilder:default="{original} via {device}"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`self.matches('^[^\\x00-\\x1f\\x7f]*$')`,message="must be one line without control characters"
	DisplayName string `json:"displayName,omitempty"`
	// replyTo: OriginalIfAllowed puts the message's own sender there if the rule
	// allows it.
	// +optional
	// +kubebuilder:default=OriginalIfAllowed
	ReplyTo ReplyToMode `json:"replyTo,omitempty"`
	// rewrite: Always, OutsideDomain, or Never (what does not fit is refused at
	// MAIL).
	// +optional
	// +kubebuilder:default=OutsideDomain
	Rewrite RewriteMode `json:"rewrite,omitempty"`
}

// DKIM signs as sender.domain (RFC 6376). Without a key that can be used mail
// waits; it never leaves unsigned.
type DKIM struct {
	// selector of the RSA key's DNS record, SELECTOR._domainkey.DOMAIN. That of an
	// Ed25519 key is SELECTOR-ed25519._domainkey.DOMAIN, also where it is the only
	// key: two keys cannot share a record.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=55
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')",message="must be letters, digits, dots and hyphens, such as scans1"
	Selector string `json:"selector"`
	// secretRef with rsa.pem, ed25519.pem, or both, which sign both then: private
	// keys in PEM, RSA of 1024 to 4096 bits. A key that changes is used at once.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// UpstreamDNS is what no program can find out by itself.
type UpstreamDNS struct {
	// egressAddresses that mail leaves from, as the Internet sees them, for SPF.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	EgressAddresses []CIDR `json:"egressAddresses,omitempty"`
	// vendorRecords that the provider's console asks for.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	VendorRecords []DNSRecord `json:"vendorRecords,omitempty"`
}

// DNSRecord is one DNS record to publish.
type DNSRecord struct {
	// name of the record, whole; @, a single label, and what ends in _domainkey are
	// below sender.domain.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// type of the record.
	// +required
	// +kubebuilder:validation:Enum=TXT;CNAME;MX;A;AAAA
	Type string `json:"type"`
	// value of the record; of an MX preference and host: 10 mx.corp.example.
	// +required
	// +kubebuilder:validation:MaxLength=2048
	Value string `json:"value"`
}

// UpstreamLimits hold for all instances of all relays together: each gets its
// share, at least one.
type UpstreamLimits struct {
	// connections (or requests) at once; the default is 10.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Connections *int32 `json:"connections,omitempty"`
	// messagesPerMinute; the default is no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MessagesPerMinute *int32 `json:"messagesPerMinute,omitempty"`
	// messageSize in octets on the wire that the upstream takes.
	// +optional
	MessageSize *resource.Quantity `json:"messageSize,omitempty"`
}

// MailUpstreamStatus is what the operator sees.
type MailUpstreamStatus struct {
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready, Accepted, ResolvedRefs, CredentialsValid, DNSReady.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// dns records that the sender domain needs, and what is published.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	DNS []DNSRecordStatus `json:"dns,omitempty"`
	// quota that the provider tells.
	// +optional
	Quota *UpstreamQuota `json:"quota,omitempty"`
	// usedBy are the relays that name this upstream.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	UsedBy []UsedBy `json:"usedBy,omitempty"`
}

// DNSRecordStatus is one record that the sender domain needs.
type DNSRecordStatus struct {
	// name of the record.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// type of the record.
	// +required
	// +kubebuilder:validation:MaxLength=16
	Type string `json:"type"`
	// expected value, to paste.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Expected string `json:"expected,omitempty"`
	// observed value.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Observed string `json:"observed,omitempty"`
	// state: OK, Missing, Different or Unknown.
	// +required
	// +kubebuilder:validation:Enum=OK;Missing;Different;Unknown
	State string `json:"state"`
}

// UpstreamQuota is what a provider tells of its limits.
type UpstreamQuota struct {
	// messagesPerSecond that the provider takes, as text: "14" or "0.5".
	// +optional
	// +kubebuilder:validation:MaxLength=32
	MessagesPerSecond string `json:"messagesPerSecond,omitempty"`
	// dailyLimit of recipients.
	// +optional
	DailyLimit int64 `json:"dailyLimit,omitempty"`
	// dailyUsed of them in the last 24 hours.
	// +optional
	DailyUsed int64 `json:"dailyUsed,omitempty"`
}
