package remedy

// Where general replies are defined.
const (
	rfc3463 = "RFC 3463, RFC 5321 4.2"
	rfc4954 = "RFC 4954 6"
	rfc6749 = "RFC 6749 5.2"
	postfix = "https://www.postfix.org/SMTPD_ACCESS_README.html"
	exim    = "https://www.exim.org/exim-html-current/doc/html/spec_html/ch-access_control_lists.html"
	ours    = "this program: relay/upstream"
	status  = "RFC 9110 15"
)

// general are the replies that any server gives.
var general = []row{
	{
		enhanced: []string{"1.1"},
		Advice:   Advice{"the server knows no such recipient", "correct the address at the device or in its address book", false},
		source:   rfc3463,
	},
	{
		says:   []string{"user unknown", "no such user", "unknown user", "mailbox unavailable", "does not exist here", "recipient not found"},
		Advice: Advice{"the server knows no such recipient", "correct the address at the device or in its address book", false},
		source: rfc3463,
	},
	{
		enhanced: []string{"1.2"},
		Advice:   Advice{"the recipient's domain is not to be found", "correct what stands behind the @ at the device or in its address book", false},
		source:   rfc3463,
	},
	{
		enhanced: []string{"1.10"},
		Advice:   Advice{"the recipient is not to be found", "correct the address at the device or in its address book", false},
		source:   rfc3463,
	},
	{
		enhanced: []string{"1.7", "1.8"},
		Advice:   Advice{"the server does not take the sender's address or domain", "set sender.domain of the MailUpstream to a domain that exists and that may send there", false},
		source:   rfc3463,
	},
	{
		enhanced: []string{"2.1"},
		Advice:   Advice{"the recipient's mailbox is disabled", "ask the recipient, or correct the address", false},
		source:   rfc3463,
	},
	{
		enhanced: []string{"2.2"},
		Advice:   Advice{"the recipient's mailbox is full", "the recipient has to make room; then: printer-relay queue retry", false},
		source:   rfc3463,
	},
	{
		enhanced: []string{"3.4", "2.3"},
		Advice:   Advice{"the scan is larger than the server takes", "scan with a lower resolution, or name a fallback upstream that takes more; set limits.messageSize so that copiers are told at once", false},
		source:   rfc3463,
	},
	{
		codes:  []int{552},
		Advice: Advice{"the scan is larger than the server, or the mailbox, takes", "scan with a lower resolution, or name a fallback upstream that takes more", false},
		source: "RFC 1870 6.1, RFC 5321 4.2.2",
	},
	{
		enhanced: []string{"3.1"},
		Advice:   Advice{"the server's disk is full", "it is tried again; its administrator has to make room", false},
		source:   rfc3463,
	},
	{
		enhanced: []string{"4.6"},
		Advice:   Advice{"the mail goes round in a loop", "see that the upstream, or a server behind it, does not send mail back to this relay", false},
		source:   rfc3463,
	},
	{
		says:   []string{"Relay access denied", "relay not permitted", "relaying denied", "Unable to relay", "Relay denied"},
		Advice: Advice{"the server passes on no mail for who comes from this address without a login", "set smtp.authentication, or let the relay's address relay at that server (Postfix: mynetworks)", true},
		source: postfix + ", " + exim,
	},
	{
		codes: []int{450, 451}, says: []string{"greylist", "greylisted", "greylisting", "graylisted"},
		Advice: Advice{"the server greylists: it wants to be asked again", "nothing, it is tried again within minutes", false},
		source: "RFC 6647",
	},
	{
		says:   []string{"Must issue a STARTTLS command first"},
		Advice: Advice{"the server wants TLS first", "set smtp.tls.mode: StartTLS", true},
		source: "RFC 3207 4",
	},
	{
		codes:  []int{530},
		Advice: Advice{"the server wants a login, or TLS, first", "set smtp.authentication, and smtp.tls.mode: StartTLS", true},
		source: rfc4954,
	},
	{
		codes:  []int{535},
		Advice: Advice{"the server does not take user name and password", "correct username and password in the Secret: a change is used without a restart", true},
		source: rfc4954,
	},
	{
		codes:  []int{534, 538},
		Advice: Advice{"the server does not take this way to log in", "set smtp.authentication.mechanism to another that it offers, and use TLS", true},
		source: rfc4954,
	},
	{
		codes:  []int{454},
		Advice: Advice{"the server cannot check logins, or TLS, for the moment", "it is tried again; if it stays so, tell its administrator", false},
		source: rfc4954,
	},
	{
		codes: []int{550, 554}, enhanced: []string{"7.1"},
		Advice: Advice{"the server refuses this mail by a rule of its own", "see its words: it may be the sender (set sender.domain), the recipient, the content, or the relay's address", false},
		source: rfc3463,
	},
	{
		codes:  []int{421},
		Advice: Advice{"the server takes nothing for the moment", "nothing, it is tried again; if it stays so, lower limits.connections or tell its administrator", false},
		source: rfc3463,
	},
	{
		types: []string{"SES", "SendGrid", "Mailgun", "Postmark", "Microsoft365"}, codes: []int{429},
		Advice: Advice{"the provider takes no more for a while", "nothing, it is tried again when it says; lower limits.messagesPerMinute if it stays so", false},
		source: "RFC 6585 4",
	},
	{
		types: []string{"SES", "SendGrid", "Mailgun", "Postmark", "Microsoft365"}, codes: []int{500, 502, 503, 504},
		Advice: Advice{"the provider's API has trouble of its own", "nothing, it is tried again; see its status page", false},
		source: status,
	},
	{
		types: []string{"SES", "SendGrid", "Mailgun", "Postmark", "Microsoft365"}, codes: []int{401},
		Advice: Advice{"the provider does not take the credential", "correct it in the Secret that the MailUpstream names: a change is used without a restart", true},
		source: status,
	},
}

// connection are failures without an answer, in the transports' own words.
var connection = []row{
	{
		says:   []string{"certificate is from an authority that is not trusted", "certificate signed by unknown authority"},
		Advice: Advice{"the server's certificate is from an authority that is not trusted", "put your own authority's certificate into a Secret, key ca.crt, and name it in tls.caSecretRef", true},
		source: ours,
	},
	{
		says:   []string{"certificate is valid for", "certificate is not valid for any names", "doesn't contain any IP SANs"},
		Advice: Advice{"the server's certificate is for another name", "use the host name that is in it, or set tls.serverName to it if that is the server meant", true},
		source: ours,
	},
	{
		says:   []string{"certificate has expired or is not yet valid"},
		Advice: Advice{"the server's certificate has expired, or a clock is wrong", "its administrator has to renew it; check the node's clock", true},
		source: ours,
	},
	{
		says:   []string{"does not offer STARTTLS"},
		Advice: Advice{"the server offers no TLS where it was asked for", "check host and port (465 wants tls.mode: Implicit), and that no firewall inspects SMTP and removes STARTTLS", true},
		source: ours,
	},
	{
		says:   []string{"first record does not look like a TLS handshake"},
		Advice: Advice{"the server does not speak TLS from the start", "set tls.mode: StartTLS, or the port for implicit TLS, 465", true},
		source: ours,
	},
	{
		says:   []string{"protocol version not supported"},
		Advice: Advice{"server and relay have no version of TLS in common", "have TLS 1.2 enabled at the server; tls.minimumVersion can be lowered for one of your own", true},
		source: ours,
	},
	{
		says:   []string{"offers no AUTH here"},
		Advice: Advice{"the server takes no login at this port", "check host, port and tls.mode (submission is 587), or remove authentication", true},
		source: ours,
	},
	{
		says:   []string{"only CRAM-MD5 keeps the password", "offers no mechanism to authenticate with that we can use"},
		Advice: Advice{"the server has no way to log in that can be used here", "use tls.mode StartTLS or Implicit, or another mechanism", true},
		source: ours,
	},
	{
		says:   []string{"secret * not found", "secret * has no key"},
		Advice: Advice{"the Secret, or a key of it, is not there", "create it, with the keys that the type wants, in the namespace of the MailUpstream", true},
		source: ours,
	},
	{
		says:   []string{"allowPrivateHosts"},
		Advice: Advice{"the upstream's host is at an address that is not public", "set allowPrivateHosts: true if that is meant; if not, correct the host or the DNS", true},
		source: ours,
	},
	{
		says:   []string{":25: connect: connection refused", ":25: the server did not answer in time", ":25: connect: no route to host", ":25: connect: network is unreachable", ":25: connect: connection timed out"},
		Advice: Advice{"nothing can be reached at port 25", "most cloud providers block port 25 to the outside: use 587 or 465, a provider's API, or have it opened; check the firewall and the egress NetworkPolicy", false},
		source: ours + "; https://cloud.google.com/compute/docs/tutorials/sending-mail, https://learn.microsoft.com/azure/virtual-network/troubleshoot-outbound-smtp-connectivity, https://repost.aws/knowledge-center/ec2-port-25-throttle",
	},
	{
		says:   []string{"connection refused"},
		Advice: Advice{"nothing listens at the host and port, or a firewall says so", "check host and port of the MailUpstream, that the server runs, and the firewall", false},
		source: ours,
	},
	{
		says:   []string{"connecting to * the server did not answer in time", "no route to host", "network is unreachable", "connection timed out", "host is unreachable"},
		Advice: Advice{"the host cannot be reached", "check host and port, the egress firewall of the cluster and its NetworkPolicies", false},
		source: ours,
	},
	{
		says:   []string{"the server did not answer in time"},
		Advice: Advice{"the server does not answer, or something between holds its answers back", "it is tried again; if it stays so, check the firewall and the server's load", false},
		source: ours,
	},
	{
		says:   []string{"no such host", "server misbehaving"},
		Advice: Advice{"the host's name is not to be found in DNS", "correct the host of the MailUpstream; check that the cluster resolves names outside", false},
		source: ours,
	},
	{
		says:   []string{"the server closed the connection", "connection reset by peer", "broken pipe"},
		Advice: Advice{"the server, or a firewall between, ended the connection", "it is tried again; if it stays so, look at the server's log: it may not want this address", false},
		source: ours,
	},
	{
		says:   []string{"answered with a redirect"},
		Advice: Advice{"the endpoint is not the provider's API", "correct endpoint of the MailUpstream", true},
		source: ours,
	},
	{
		says:   []string{"sender.rewrite is Never"},
		Advice: Advice{"the sender is not of the upstream's domain, and it is not to be rewritten", "set sender.rewrite: OutsideDomain, or the device's sender to an address of sender.domain", false},
		source: ours,
	},
}
