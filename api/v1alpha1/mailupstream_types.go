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
	// dkim signs as sender.domain.
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

// CredentialsType is where a credential comes from.
// +kubebuilder:validation:Enum=Ambient;Secret;WorkloadIdentity
type CredentialsType string

// Where credentials come from.
const (
	CredentialsAmbient          CredentialsType = "Ambient"
	CredentialsSecret           CredentialsType = "Secret"
	CredentialsWorkloadIdentity CredentialsType = "WorkloadIdentity"
)

// Endpoint is the URL of a provider's API.
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule=`self.matches('^https?://[^\\s/?#@]+(/[^\\s?#]*)?$')`,message="must be a URL without user, query and fragment, such as https://api.example.com"
type Endpoint string

// SESUpstream sends by Amazon SES (API v2).
type SESUpstream struct {
	// region of SES: eu-central-1.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]{2,8}(-[a-z]+)+-[0-9]+$')",message="must be an AWS region, such as eu-central-1"
	Region string `json:"region"`
	// endpoint in place of the region's own, for a VPC endpoint.
	// +optional
	Endpoint Endpoint `json:"endpoint,omitempty"`
	// configurationSet to send with.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ConfigurationSet string `json:"configurationSet,omitempty"`
	// fromIdentityARN of an identity that another account shares.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	FromIdentityARN string `json:"fromIdentityARN,omitempty"`
	// roleARN to assume before sending.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	RoleARN string `json:"roleARN,omitempty"`
	// tags on each message, for SES's event publishing.
	// +optional
	// +kubebuilder:validation:MaxProperties=20
	Tags map[string]string `json:"tags,omitempty"`
	// credentials: Ambient (IRSA, Pod Identity, instance role) or Secret.
	// +optional
	// +kubebuilder:default={type: Ambient}
	Credentials SESCredentials `json:"credentials,omitempty"`
}

// SESCredentials is where the AWS credential comes from.
//
// +kubebuilder:validation:XValidation:rule="self.type in ['Ambient', 'Secret']",message="type must be Ambient or Secret"
// +kubebuilder:validation:XValidation:rule="(self.type == 'Secret') == has(self.secretRef)",message="secretRef is required when type is Secret, and forbidden otherwise"
type SESCredentials struct {
	// type: Ambient or Secret.
	// +optional
	// +kubebuilder:default=Ambient
	Type CredentialsType `json:"type,omitempty"`
	// secretRef with accessKeyID, secretAccessKey and, if needed, sessionToken.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// UpstreamTLSMode is how TLS begins.
// +kubebuilder:validation:Enum=StartTLS;Implicit;Opportunistic;None
type UpstreamTLSMode string

// How TLS begins at an upstream.
const (
	UpstreamTLSStartTLS      UpstreamTLSMode = "StartTLS"
	UpstreamTLSImplicit      UpstreamTLSMode = "Implicit"
	UpstreamTLSOpportunistic UpstreamTLSMode = "Opportunistic"
	UpstreamTLSNone          UpstreamTLSMode = "None"
)

// SMTPUpstream sends to a smarthost.
//
// +kubebuilder:validation:XValidation:rule="!has(self.authentication) || self.tls.mode in ['StartTLS', 'Implicit'] || self.authentication.mechanism == 'CRAMMD5'",message="authentication sends a password: use tls.mode StartTLS or Implicit"
type SMTPUpstream struct {
	// host name or address of the server.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_.:-]+$')",message="must be a host name or an IP address, without brackets and port"
	Host string `json:"host"`
	// port of the server: 587 (StartTLS), 465 (Implicit), 25.
	// +optional
	// +kubebuilder:default=587
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// tls of the connection.
	// +optional
	// +kubebuilder:default={}
	TLS SMTPUpstreamTLS `json:"tls,omitempty"`
	// authentication at the server; without it none.
	// +optional
	Authentication *SMTPUpstreamAuthentication `json:"authentication,omitempty"`
}

// SMTPUpstreamTLS is the TLS of a connection to a smarthost.
//
// +kubebuilder:validation:XValidation:rule="self.mode != 'None' || !(has(self.serverName) || has(self.caSecretRef) || has(self.clientCertificateRef) || has(self.minimumVersion))",message="with mode None nothing else of tls may be set"
type SMTPUpstreamTLS struct {
	// mode: StartTLS and Implicit verify the certificate and never send in
	// clear; Opportunistic takes what the server offers and verifies nothing;
	// None is for servers on the same machine or network.
	// +optional
	// +kubebuilder:default=StartTLS
	Mode UpstreamTLSMode `json:"mode,omitempty"`
	// serverName that the certificate must name; the default is the host.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
	// caSecretRef with ca.crt: the authorities to trust in place of the system's.
	// +optional
	CASecretRef *LocalReference `json:"caSecretRef,omitempty"`
	// clientCertificateRef with tls.crt and tls.key.
	// +optional
	ClientCertificateRef *LocalReference `json:"clientCertificateRef,omitempty"`
	// minimumVersion of TLS; the default is 1.2.
	// +optional
	// +kubebuilder:validation:Enum="1.0";"1.1";"1.2";"1.3"
	MinimumVersion string `json:"minimumVersion,omitempty"`
}

// UpstreamMechanism is how the relay authenticates at a smarthost.
// +kubebuilder:validation:Enum=Auto;Plain;Login;CRAMMD5;XOAuth2;OAuthBearer
type UpstreamMechanism string

// The mechanisms at a smarthost.
const (
	UpstreamMechanismAuto        UpstreamMechanism = "Auto"
	UpstreamMechanismPlain       UpstreamMechanism = "Plain"
	UpstreamMechanismLogin       UpstreamMechanism = "Login"
	UpstreamMechanismCRAMMD5     UpstreamMechanism = "CRAMMD5"
	UpstreamMechanismXOAuth2     UpstreamMechanism = "XOAuth2"
	UpstreamMechanismOAuthBearer UpstreamMechanism = "OAuthBearer"
)

// SMTPUpstreamAuthentication is how the relay authenticates at a smarthost.
//
// +kubebuilder:validation:XValidation:rule="(self.mechanism in ['XOAuth2', 'OAuthBearer']) == has(self.oauth2)",message="oauth2 is required for XOAuth2 and OAuthBearer, and forbidden otherwise"
type SMTPUpstreamAuthentication struct {
	// mechanism: Auto takes the best of those that the server offers.
	// +optional
	// +kubebuilder:default=Auto
	Mechanism UpstreamMechanism `json:"mechanism,omitempty"`
	// secretRef with username and password, or clientSecret for OAuth 2.
	// +required
	SecretRef LocalReference `json:"secretRef"`
	// oauth2 client credentials.
	// +optional
	OAuth2 *OAuth2 `json:"oauth2,omitempty"`
}

// OAuth2 is a client-credentials grant (RFC 6749 4.4).
type OAuth2 struct {
	// tokenURL of the authorization server.
	// +required
	TokenURL Endpoint `json:"tokenURL"`
	// clientID of the application.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClientID string `json:"clientID"`
	// scopes to ask for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	Scopes []string `json:"scopes,omitempty"`
}

// MXSecurity is what an MX must prove.
// +kubebuilder:validation:Enum=Verified;Opportunistic
type MXSecurity string

// What an MX must prove.
const (
	MXVerified      MXSecurity = "Verified"
	MXOpportunistic MXSecurity = "Opportunistic"
)

// MXUpstream delivers to the recipients' own mail servers.
type MXUpstream struct {
	// security: Verified wants DANE, else MTA-STS, else a valid certificate for
	// the MX's name, and never sends in clear.
	// +optional
	// +kubebuilder:default=Verified
	Security MXSecurity `json:"security,omitempty"`
	// hosts in place of the MX records: company-com.mail.protection.outlook.com.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Hosts []DomainName `json:"hosts,omitempty"`
	// heloName; the default is the relay's hostname.
	// +optional
	HeloName DomainName `json:"heloName,omitempty"`
}

// ProviderTransport is how a provider is spoken to.
// +kubebuilder:validation:Enum=SMTP;API
type ProviderTransport string

// How a provider is spoken to.
const (
	TransportSMTP ProviderTransport = "SMTP"
	TransportAPI  ProviderTransport = "API"
)

// SendGridUpstream sends by Twilio SendGrid.
type SendGridUpstream struct {
	// transport: SMTP carries the message as it is; API translates it.
	// +optional
	// +kubebuilder:default=SMTP
	Transport ProviderTransport `json:"transport,omitempty"`
	// endpoint in place of the provider's own.
	// +optional
	Endpoint Endpoint `json:"endpoint,omitempty"`
	// secretRef with apiKey.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// MailgunUpstream sends by Mailgun.
type MailgunUpstream struct {
	// transport: API takes the message as it is.
	// +optional
	// +kubebuilder:default=API
	Transport ProviderTransport `json:"transport,omitempty"`
	// endpoint in place of the provider's own, for its EU region.
	// +optional
	Endpoint Endpoint `json:"endpoint,omitempty"`
	// domain that is set up at Mailgun.
	// +required
	Domain DomainName `json:"domain"`
	// secretRef with apiKey, best a domain sending key.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// PostmarkUpstream sends by Postmark.
type PostmarkUpstream struct {
	// transport: SMTP carries the message as it is; API translates it.
	// +optional
	// +kubebuilder:default=SMTP
	Transport ProviderTransport `json:"transport,omitempty"`
	// endpoint in place of the provider's own.
	// +optional
	Endpoint Endpoint `json:"endpoint,omitempty"`
	// messageStream to send in.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MessageStream string `json:"messageStream,omitempty"`
	// secretRef with apiKey, the server token.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// Microsoft365Transport is how Exchange Online is spoken to.
// +kubebuilder:validation:Enum=SMTP;Graph
type Microsoft365Transport string

// How Exchange Online is spoken to.
const (
	Microsoft365SMTP  Microsoft365Transport = "SMTP"
	Microsoft365Graph Microsoft365Transport = "Graph"
)

// Microsoft365Upstream sends by Exchange Online with OAuth 2.
type Microsoft365Upstream struct {
	// tenantID of the directory.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	TenantID string `json:"tenantID"`
	// clientID of the application.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ClientID string `json:"clientID"`
	// transport: SMTP (SMTP.SendAsApp) or Graph (Mail.Send).
	// +optional
	// +kubebuilder:default=SMTP
	Transport Microsoft365Transport `json:"transport,omitempty"`
	// mailbox to send from.
	// +required
	Mailbox MailAddress `json:"mailbox"`
	// authorityHost of a sovereign cloud.
	// +optional
	AuthorityHost Endpoint `json:"authorityHost,omitempty"`
	// endpoint in place of the cloud's own.
	// +optional
	Endpoint Endpoint `json:"endpoint,omitempty"`
	// credentials of the application.
	// +required
	Credentials Microsoft365Credentials `json:"credentials"`
}

// Microsoft365Credentials is where the application's credential comes from.
//
// +kubebuilder:validation:XValidation:rule="self.type in ['Secret', 'WorkloadIdentity']",message="type must be Secret or WorkloadIdentity"
// +kubebuilder:validation:XValidation:rule="(self.type == 'Secret') == has(self.secretRef)",message="secretRef is required when type is Secret, and forbidden otherwise"
type Microsoft365Credentials struct {
	// type: Secret or WorkloadIdentity.
	// +optional
	// +kubebuilder:default=Secret
	Type CredentialsType `json:"type,omitempty"`
	// secretRef with clientSecret, or tls.crt and tls.key.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// MaildirUpstream writes mail to a folder.
type MaildirUpstream struct {
	// path of the Maildir; a relative one is below the relay's state folder.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.split('/').exists(p, p == '..')",message="must not contain .."
	Path string `json:"path"`
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

// DKIM signs as sender.domain (RFC 6376).
type DKIM struct {
	// selector of the key's DNS record.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$')",message="must be letters, digits, dots and hyphens, such as scans1"
	Selector string `json:"selector"`
	// secretRef with rsa.pem, ed25519.pem, or both.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// UpstreamDNS is what no program can find out by itself.
type UpstreamDNS struct {
	// egressAddresses that mail leaves from, for SPF.
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
	// name of the record.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// type of the record.
	// +required
	// +kubebuilder:validation:Enum=TXT;CNAME;MX;A;AAAA
	Type string `json:"type"`
	// value of the record.
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
