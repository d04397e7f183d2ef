package plan

// Upstream is one compiled MailUpstream. Exactly one of the blocks SMTP to
// Maildir is set: the program that carries its mail. A provider that is spoken
// to by SMTP has the block SMTP.
type Upstream struct {
	Name        string        `json:"name"`
	Type        string        `json:"type"`
	SMTP        *SMTP         `json:"smtp,omitempty"`
	MX          *MX           `json:"mx,omitempty"`
	SES         *SES          `json:"ses,omitempty"`
	SendGrid    *SendGrid     `json:"sendGrid,omitempty"`
	Mailgun     *Mailgun      `json:"mailgun,omitempty"`
	Postmark    *Postmark     `json:"postmark,omitempty"`
	Graph       *Graph        `json:"graph,omitempty"`
	Maildir     *Maildir      `json:"maildir,omitempty"`
	Header      []HeaderField `json:"header,omitempty"`   // put on top of what leaves here, above signatures
	Reserved    []string      `json:"reserved,omitempty"` // header fields that a device's message must not carry there; a name that ends in "-" stands for all that begin so
	Sender      *Sender       `json:"sender,omitempty"`
	DKIM        *DKIM         `json:"dkim,omitempty"`        // what leaves here is signed; nil: it is not
	DNS         *DNS          `json:"dns,omitempty"`         // about the records of the sender domain; nil: the manifest says nothing
	Connections int           `json:"connections"`           // at most at once
	PerMinute   int           `json:"perMinute,omitempty"`   // messages; 0: no limit
	MessageSize int64         `json:"messageSize,omitempty"` // octets; 0: no known limit
	Sharers     int           `json:"sharers,omitempty"`     // instances that send by it; the limits above are one's share already; 0: 1
	Private     bool          `json:"private,omitempty"`     // may connect to loopback and private addresses
	Suspend     bool          `json:"suspend,omitempty"`
}

// HeaderField is one field of a header.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// SMTP is an upstream spoken to by SMTP.
type SMTP struct {
	Host       string    `json:"host"`
	Port       int       `json:"port"`
	TLS        TLSMode   `json:"tls"`
	ServerName string    `json:"serverName,omitempty"` // empty: Host
	CASecret   string    `json:"caSecret,omitempty"`   // ca.crt; empty: the system's
	CertSecret string    `json:"certSecret,omitempty"` // tls.crt, tls.key
	MinimumTLS uint16    `json:"minimumTLS,omitempty"`
	Auth       *SMTPAuth `json:"auth,omitempty"` // nil: no AUTH
	HeloName   string    `json:"heloName,omitempty"`
}

// SMTPAuth is how an SMTP upstream is logged in to.
type SMTPAuth struct {
	Mechanism   string `json:"mechanism,omitempty"`   // SASL name; empty: the best that is offered
	Secret      string `json:"secret,omitempty"`      // with the keys below; empty where OAuth needs none
	User        string `json:"user,omitempty"`        // the user name itself; empty: it is in the Secret
	UserKey     string `json:"userKey,omitempty"`     // key of the user name; empty: username
	PasswordKey string `json:"passwordKey,omitempty"` // key of the password; empty: password
	OAuth       *OAuth `json:"oauth,omitempty"`       // the password is a token of it
}

// OAuth is a client-credentials grant (RFC 6749 4.4). The client proves itself
// by what the Secret has: clientSecret, or tls.crt and tls.key (RFC 7523); without
// a Secret by the Pod's own identity (workload identity federation).
type OAuth struct {
	TokenURL string   `json:"tokenURL"`
	ClientID string   `json:"clientID"`
	Scopes   []string `json:"scopes,omitempty"`
	Secret   string   `json:"secret,omitempty"`
	CASecret string   `json:"caSecret,omitempty"` // ca.crt, of the token URL; empty: the system's
	Entra    bool     `json:"entra,omitempty"`    // the server is Microsoft Entra ID, or stands in for it
	// AuthorityOfPod says that the manifest names no authority: the one that the
	// Pod's environment names takes the place of the host in TokenURL.
	AuthorityOfPod bool `json:"authorityOfPod,omitempty"`
}

// MX is delivery to the recipients' own mail servers.
type MX struct {
	Verified bool     `json:"verified,omitempty"` // DANE, else MTA-STS, else WebPKI on the MX's name; never clear
	Hosts    []string `json:"hosts,omitempty"`    // in place of the MX records, in order
	HeloName string   `json:"heloName"`
}

// SES is Amazon SES, API v2.
type SES struct {
	Region           string            `json:"region"`
	Endpoint         string            `json:"endpoint,omitempty"` // empty: the region's own
	ConfigurationSet string            `json:"configurationSet,omitempty"`
	FromIdentityARN  string            `json:"fromIdentityARN,omitempty"`
	RoleARN          string            `json:"roleARN,omitempty"`
	Tags             map[string]string `json:"tags,omitempty"`
	Secret           string            `json:"secret,omitempty"` // accessKeyID, secretAccessKey, sessionToken; empty: ambient
}

// SendGrid is SendGrid's API.
type SendGrid struct {
	Endpoint string `json:"endpoint"` // URL without a path
	Secret   string `json:"secret"`   // apiKey
}

// Mailgun is Mailgun's API.
type Mailgun struct {
	Endpoint string `json:"endpoint"`
	Domain   string `json:"domain"`
	// RequireTLS lets Mailgun hand messages on by verified TLS only.
	RequireTLS bool   `json:"requireTLS,omitempty"`
	Secret     string `json:"secret"` // apiKey
}

// Postmark is Postmark's API.
type Postmark struct {
	Endpoint string `json:"endpoint"`
	Stream   string `json:"stream,omitempty"`
	Secret   string `json:"secret"` // apiKey
}

// Graph is Exchange Online by Microsoft Graph.
type Graph struct {
	Endpoint string `json:"endpoint"`
	Mailbox  string `json:"mailbox"`
	OAuth    OAuth  `json:"oauth"`
}

// Maildir is an upstream that writes to a folder.
type Maildir struct {
	Path string `json:"path"`
}
