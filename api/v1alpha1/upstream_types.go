package v1alpha1

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

// ProviderEndpoint is where a provider that is spoken to by SMTP or by its API is:
// the URL of its API, or smtp://HOST:PORT (STARTTLS; the port is 587 if left out)
// or smtps://HOST:PORT (TLS from the start; 465).
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule=`self.matches('^https?://[^\\s/?#@]+(/[^\\s?#]*)?$') || self.matches('^smtps?://([A-Za-z0-9_.-]+|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]{0,4})?/?$')`,message="must be a URL without user, query and fragment, such as https://api.example.com, smtp://smtp.example.com:587 or smtps://smtp.example.com:465"
type ProviderEndpoint string

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
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_-]+$')",message="must be the name of a configuration set: letters, digits, - and _"
	ConfigurationSet string `json:"configurationSet,omitempty"`
	// fromIdentityARN of an identity that another account shares.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^arn:aws[a-z-]*:ses:[a-z0-9-]+:[0-9]+:identity/[^ ]+$')",message="must be the ARN of an SES identity, such as arn:aws:ses:eu-central-1:123456789012:identity/example.com"
	FromIdentityARN string `json:"fromIdentityARN,omitempty"`
	// roleARN to assume before sending.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^arn:aws[a-z-]*:iam::[0-9]+:role/[^ ]+$')",message="must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/scans"
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
	UpstreamMechanismOAuthBearer UpstreamMechanism = "OAuthBearer" //nolint:gosec // a name
)

// SMTPUpstreamAuthentication is how the relay authenticates at a smarthost.
//
// +kubebuilder:validation:XValidation:rule="(self.mechanism in ['XOAuth2', 'OAuthBearer']) == has(self.oauth2)",message="oauth2 is required for XOAuth2 and OAuthBearer, and forbidden otherwise"
type SMTPUpstreamAuthentication struct {
	// mechanism: Auto takes the best of those that the server offers.
	// +optional
	// +kubebuilder:default=Auto
	Mechanism UpstreamMechanism `json:"mechanism,omitempty"`
	// secretRef with username and password; for OAuth 2 with username and
	// clientSecret, or username, tls.crt and tls.key.
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
	// caSecretRef with ca.crt: the authorities to trust at the token URL in place of
	// the system's.
	// +optional
	CASecretRef *LocalReference `json:"caSecretRef,omitempty"`
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
//
// +kubebuilder:validation:XValidation:rule="!has(self.endpoint) || (self.transport == 'SMTP') == self.endpoint.startsWith('smtp')",message="with transport SMTP endpoint is smtp://HOST:PORT or smtps://HOST:PORT, and with API https://HOST"
type SendGridUpstream struct {
	// transport: SMTP carries the message as it is; API translates it.
	// +optional
	// +kubebuilder:default=SMTP
	Transport ProviderTransport `json:"transport,omitempty"`
	// endpoint in place of the provider's own: https://api.eu.sendgrid.com or
	// smtp://smtp.eu.sendgrid.net for its EU region.
	// +optional
	Endpoint ProviderEndpoint `json:"endpoint,omitempty"`
	// secretRef with apiKey.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// MailgunUpstream sends by Mailgun.
//
// +kubebuilder:validation:XValidation:rule="!has(self.endpoint) || (self.transport == 'SMTP') == self.endpoint.startsWith('smtp')",message="with transport SMTP endpoint is smtp://HOST:PORT or smtps://HOST:PORT, and with API https://HOST"
type MailgunUpstream struct {
	// transport: API takes the message as it is.
	// +optional
	// +kubebuilder:default=API
	Transport ProviderTransport `json:"transport,omitempty"`
	// endpoint in place of the provider's own: https://api.eu.mailgun.net or
	// smtp://smtp.eu.mailgun.org for its EU region.
	// +optional
	Endpoint ProviderEndpoint `json:"endpoint,omitempty"`
	// domain that is set up at Mailgun.
	// +required
	Domain DomainName `json:"domain"`
	// requireTLS: Mailgun hands messages on only by TLS with a certificate that it
	// could verify. Without it the domain's own setting at Mailgun counts.
	// +optional
	RequireTLS bool `json:"requireTLS,omitempty"`
	// secretRef with apiKey, best a domain sending key; for SMTP with username and
	// password, the SMTP credentials of the domain.
	// +required
	SecretRef LocalReference `json:"secretRef"`
}

// PostmarkUpstream sends by Postmark.
//
// +kubebuilder:validation:XValidation:rule="!has(self.endpoint) || (self.transport == 'SMTP') == self.endpoint.startsWith('smtp')",message="with transport SMTP endpoint is smtp://HOST:PORT or smtps://HOST:PORT, and with API https://HOST"
type PostmarkUpstream struct {
	// transport: SMTP carries the message as it is; API translates it.
	// +optional
	// +kubebuilder:default=SMTP
	Transport ProviderTransport `json:"transport,omitempty"`
	// endpoint in place of the provider's own.
	// +optional
	Endpoint ProviderEndpoint `json:"endpoint,omitempty"`
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
//
// +kubebuilder:validation:XValidation:rule="!has(self.endpoint) || (self.transport == 'SMTP') == self.endpoint.startsWith('smtp')",message="with transport SMTP endpoint is smtp://HOST:PORT or smtps://HOST:PORT, and with Graph https://HOST"
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
	// authorityHost of a sovereign cloud: https://login.microsoftonline.us,
	// https://login.partner.microsoftonline.cn. Mail server and scope follow from it.
	// http is for a private or loopback address only.
	// +optional
	AuthorityHost Endpoint `json:"authorityHost,omitempty"`
	// endpoint in place of the cloud's own. With transport SMTP it is
	// smtp://host:port (STARTTLS; the default port is 587) or smtps://host:port
	// (TLS from the start; 465), with Graph https://host.
	// +optional
	Endpoint ProviderEndpoint `json:"endpoint,omitempty"`
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
