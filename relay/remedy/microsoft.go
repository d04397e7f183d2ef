package remedy

// Where the words of Microsoft's services are documented.
const (
	ndrExchange = "https://learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online/non-delivery-reports-in-exchange-online"
	smtpAuth    = "https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission"
	multiDevice = "https://learn.microsoft.com/exchange/mail-flow-best-practices/how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365"
	basicEnds   = "https://techcommunity.microsoft.com/blog/exchange/exchange-online-to-retire-basic-auth-for-client-submission-smtp-auth/4114750"
	directSend  = "https://techcommunity.microsoft.com/blog/exchange/introducing-more-control-over-direct-send-in-exchange-online/4408790"
	senderRules = "https://techcommunity.microsoft.com/blog/microsoftdefenderforoffice365blog/strengthening-email-ecosystem-outlook%E2%80%99s-new-requirements-for-high%E2%80%90volume-senders/4399730"
	graphErrors = "https://learn.microsoft.com/graph/errors"
	graphSend   = "https://learn.microsoft.com/graph/api/user-sendmail"
	graphLimits = "https://learn.microsoft.com/graph/throttling-limits"
	entraErrors = "https://learn.microsoft.com/entra/identity-platform/reference-error-codes"
	federation  = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations"
	principals  = "https://learn.microsoft.com/entra/identity-platform/app-objects-and-service-principals"
	clientFlow  = "https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow"
)

const useOAuth = "send with OAuth (MailUpstream type: Microsoft365), which this setting does not stop"

// exchange are the replies of Exchange Online by SMTP.
var exchange = []row{
	{
		enhanced: []string{"7.139"}, says: []string{"SmtpClientAuthentication is disabled for the Tenant"},
		Advice: Advice{"SMTP AUTH is switched off for the whole Microsoft 365 tenant", "switch it on for this mailbox alone (Set-CASMailbox -SmtpClientAuthenticationDisabled $false), or send with transport: Graph", true},
		source: smtpAuth,
	},
	{
		enhanced: []string{"7.139"}, says: []string{"SmtpClientAuthentication is disabled for the Mailbox"},
		Advice: Advice{"SMTP AUTH is switched off for this mailbox", "switch it on (Set-CASMailbox -SmtpClientAuthenticationDisabled $false), or send with transport: Graph", true},
		source: smtpAuth,
	},
	{
		enhanced: []string{"7.139"}, says: []string{"security defaults policy"},
		Advice: Advice{"the tenant's security defaults forbid a password for SMTP AUTH", useOAuth, true},
		source: multiDevice,
	},
	{
		enhanced: []string{"7.139"}, says: []string{"basic authentication is disabled"},
		Advice: Advice{"Basic authentication (user name and password) is disabled in the tenant", useOAuth, true},
		source: basicEnds,
	},
	{
		enhanced: []string{"7.139"}, says: []string{"did not meet the criteria to be authenticated successfully"},
		Advice: Advice{"a Conditional Access or authentication policy of the tenant stopped the login", "look at the mailbox's sign-in log in Entra for the policy, and let this client pass it, or " + useOAuth, true},
		source: multiDevice,
	},
	{
		enhanced: []string{"7.139"}, says: []string{"the user credentials were incorrect"},
		Advice: Advice{"user name or password is wrong", "correct username and password in the Secret; with OAuth check that the mailbox is the user, and that the app may send as it (SMTP.SendAsApp)", true},
		source: smtpAuth,
	},
	{
		enhanced: []string{"7.139"},
		Advice:   Advice{"a policy of the Microsoft 365 tenant refuses SMTP AUTH", "see the mailbox's sign-in log in Entra; allow SMTP AUTH for the mailbox, or send with type: Microsoft365 and transport: Graph", true},
		source:   smtpAuth,
	},
	{
		codes: []int{535}, enhanced: []string{"7.3"}, says: []string{"Authentication unsuccessful"},
		Advice: Advice{"Exchange did not take the login", "check user name, password or token; with OAuth that the app has SMTP.SendAsApp and, in Exchange, full access to this mailbox, and that the mailbox exists", true},
		source: smtpAuth,
	},
	{
		enhanced: []string{"7.30"},
		Advice:   Advice{"Microsoft has ended Basic authentication for SMTP", "use MailUpstream type: Microsoft365 (OAuth), or another provider", true},
		source:   basicEnds,
	},
	{
		enhanced: []string{"7.57"},
		Advice:   Advice{"Exchange wants a login, and none was made", "set smtp.authentication (with OAuth: type Microsoft365), or use port 25 of the tenant's MX with a connector", true},
		source:   multiDevice,
	},
	{
		enhanced: []string{"7.60"},
		Advice:   Advice{"the mailbox that logs in may not send as this sender", "set sender.domain and sender.localPart so that mail leaves as the mailbox, or give the mailbox Send As for that address in Exchange", false},
		source:   multiDevice,
	},
	{
		says:   []string{"SendAsDenied", "SendAsDeniedException", "MapiExceptionSendAsDenied"},
		Advice: Advice{"the mailbox that logs in may not send as the address in From", "set sender.domain and sender.localPart so that mail leaves as the mailbox, or give the mailbox Send As for that address in Exchange", false},
		source: ndrExchange,
	},
	{
		enhanced: []string{"7.64"},
		Advice:   Advice{"no inbound connector of the tenant matches the address or certificate that the relay comes from", "correct the connector's sending server IP addresses (the cluster's public egress address) or its certificate name in the Exchange admin center", true},
		source:   multiDevice,
	},
	{
		enhanced: []string{"7.68"},
		Advice:   Advice{"the tenant rejects Direct Send: anonymous mail that claims to be from one of its own domains", "use an inbound connector for the relay's address, a sender.domain that is no accepted domain of the tenant, or type: Microsoft365", true},
		source:   directSend,
	},
	{
		codes: []int{432}, says: []string{"Concurrent connections limit exceeded", "sender thread limit exceeded"},
		Advice: Advice{"more than three connections at once use this mailbox", "nothing, it is tried again more slowly; lower limits.connections, and see that nothing else sends by the mailbox", false},
		source: smtpAuth,
	},
	{
		codes: []int{432}, enhanced: []string{"3.2"},
		Advice: Advice{"too many connections at once use this account", "nothing, it is tried again more slowly; lower limits.connections if it stays so", false},
		source: smtpAuth,
	},
	{
		says:   []string{"Submission quota exceeded", "SubmissionQuotaExceededException"},
		Advice: Advice{"the mailbox has sent to as many recipients as it may in a day", "it is tried again; spread the copiers over several mailboxes or another upstream", false},
		source: ndrExchange,
	},
	{
		enhanced: []string{"1.90"},
		Advice:   Advice{"the mailbox has reached its daily limit of recipients", "it goes on within 24 hours; add fallbackUpstreamRefs, or spread the copiers over several mailboxes", false},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"7.232", "7.233"},
		Advice:   Advice{"the tenant has reached its daily limit of recipients outside of it", "it goes on within 24 hours; add fallbackUpstreamRefs. The limit grows with the tenant's licences", false},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"7.500", "7.650", "7.651"},
		Advice:   Advice{"Exchange Online slows mail from this address down", "nothing, it is tried again; if it stays so, the address has no good name: use authenticated sending in place of port 25", false},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"7.708"},
		Advice:   Advice{"Microsoft takes no mail from this IP address", "send with a login or a provider in place of a direct connection, or ask Microsoft to lift it", true},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"7.750"},
		Advice:   Advice{"Microsoft has blocked the tenant for mail from domains that are not registered in it", "verify sender.domain in the tenant, correct the connector, then ask Microsoft's support to lift the block", true},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"7.705"},
		Advice:   Advice{"Microsoft has blocked the tenant for sending too much or spam", "find what sent it, then ask Microsoft's support to lift the block; meanwhile use a fallback upstream", true},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"1.8"}, says: []string{"bad outbound sender"},
		Advice: Advice{"Microsoft has blocked the mailbox for sending spam", "see Restricted entities in the Microsoft Defender portal: change the password, then unblock it", true},
		source: ndrExchange,
	},
	{
		enhanced: []string{"7.124", "7.133"},
		Advice:   Advice{"the recipient takes mail from some senders only", "let the group or mailbox take mail from sender.domain in Exchange, or from outside senders", false},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"7.1"}, says: []string{"RESOLVER.RST.AuthRequired", "RESOLVER.RST.NotAuthorized", "SenderNotAuthenticatedForGroup", "recipient not authorized", "recipient not authorised"},
		Advice: Advice{"the recipient takes mail from some senders only", "let the group or mailbox take mail from sender.domain in Exchange, or from outside senders", false},
		source: ndrExchange,
	},
	{
		enhanced: []string{"7.509"},
		Advice:   Advice{"the domain in From does not pass DMARC, and its policy is reject", "publish SPF and DKIM for sender.domain so that one of them aligns with it: `printer-relay dns` shows the records", false},
		source:   ndrExchange,
	},
	{
		enhanced: []string{"7.515"},
		Advice:   Advice{"Outlook wants SPF, DKIM and DMARC of the domain in From", "publish all three for sender.domain: `printer-relay dns` shows the records", false},
		source:   senderRules,
	},
	{
		enhanced: []string{"4.1"}, says: []string{"Recipient address rejected: Access denied"},
		Advice: Advice{"the tenant knows no such recipient", "check the address; in a hybrid or new tenant, that the mailbox is synchronised", false},
		source: ndrExchange,
	},
	{
		enhanced: []string{"7.54"},
		Advice:   Advice{"the server passes on only mail for its own domains to who is not logged in", "set smtp.authentication, or let the relay's address relay at that server", true},
		source:   ndrExchange,
	},
}

// graph are the error codes of Microsoft Graph.
var graph = []row{
	{
		types: []string{"Microsoft365"}, says: []string{"ErrorSendAsDenied"},
		Advice: Advice{"the mailbox may not send as the address in From", "set sender.domain and sender.localPart so that mail leaves as the mailbox (an alias does not count), or give it Send As in Exchange", false},
		source: graphSend,
	},
	{
		types: []string{"Microsoft365"}, says: []string{"ErrorAccessDenied", "Authorization_RequestDenied"},
		Advice: Advice{"the app may not send by this mailbox", "grant it Mail.Send for this mailbox (`printer-relay least-privilege` shows how); a new grant takes up to two hours to count", true},
		source: graphErrors,
	},
	{
		types: []string{"Microsoft365"}, says: []string{"ErrorMimeContentInvalidBase64String"},
		Advice: Advice{"Graph could not read the message", "export it (printer-relay queue export) and report it as a bug; transport: SMTP carries it meanwhile", false},
		source: graphSend,
	},
	{
		types: []string{"Microsoft365"}, says: []string{"ErrorMessageSizeExceeded", "RequestEntityTooLarge"},
		Advice: Advice{"the scan is larger than Graph or the mailbox takes", "scan with a lower resolution, grant Mail.ReadWrite so that large files can be uploaded, use transport: SMTP, or name a fallback upstream", false},
		source: graphSend,
	},
	{
		types: []string{"Microsoft365"}, codes: []int{413},
		Advice: Advice{"the scan is larger than Graph takes in one request", "scan with a lower resolution, grant Mail.ReadWrite so that large files can be uploaded, use transport: SMTP, or name a fallback upstream", false},
		source: graphSend,
	},
	{
		says:   []string{"MailboxNotEnabledForRESTAPI"},
		Advice: Advice{"the mailbox is not in Exchange Online: it is inactive, deleted, or on premises", "set microsoft365.mailbox to a mailbox of the cloud; one without a licence must be a shared mailbox", true},
		source: graphErrors,
	},
	{
		types: []string{"Microsoft365"}, says: []string{"ErrorInvalidUser", "ResourceNotFound", "Request_ResourceNotFound"},
		Advice: Advice{"there is no such mailbox in the tenant", "correct microsoft365.mailbox, and check tenantID", true},
		source: graphErrors,
	},
	{
		types: []string{"Microsoft365"}, says: []string{"InvalidAuthenticationToken"},
		Advice: Advice{"Graph did not take the token", "check authorityHost, endpoint and tenantID: they must be of the same cloud", true},
		source: graphErrors,
	},
	{
		types: []string{"Microsoft365"}, codes: []int{429}, says: []string{"ApplicationThrottled", "TooManyRequests", "ErrorExceededMessageLimit", "MailboxConcurrency"},
		Advice: Advice{"Graph slows this mailbox or app down", "nothing, it is tried again when Graph says; lower limits.messagesPerMinute if it stays so", false},
		source: graphLimits,
	},
}

// entra are the errors of Microsoft Entra's token endpoint.
var entra = []row{
	{
		says:   []string{"AADSTS7000215"},
		Advice: Advice{"the client secret is wrong", "put the secret's Value, not its ID, into key clientSecret of the Secret", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS7000222"},
		Advice: Advice{"the client secret has expired", "make a new one in the app registration (Certificates & secrets) and put its Value into key clientSecret of the Secret; a certificate or workload identity need no such change", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS700016"},
		Advice: Advice{"the tenant knows no such app", "correct clientID and tenantID, or have an administrator of the tenant consent to the app", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS90002"},
		Advice: Advice{"there is no such tenant", "correct tenantID; for a tenant of a sovereign cloud set authorityHost", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS900023"},
		Advice: Advice{"tenantID is neither the ID of a tenant nor one of its domains", "correct tenantID: it is in Entra's overview of the tenant", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS700027"},
		Advice: Advice{"the certificate is not registered with the app, or has expired", "upload tls.crt of the Secret to the app registration (Certificates & secrets)", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS700024"},
		Advice: Advice{"the proof of the relay's identity is not valid at this time", "set the clock of the machine: it must agree with Microsoft's within five minutes", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213"},
		Advice: Advice{"no federated credential of the app matches the Pod's identity", "add one with the cluster's issuer, the subject system:serviceaccount:NAMESPACE:NAME and the audience api://AzureADTokenExchange", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS700222"},
		Advice: Advice{"the Pod's token is one of Entra's own, which it does not exchange", "have the webhook of Azure Workload Identity give the Pod a token of the cluster's issuer, or use credentials.type: Secret", true},
		source: federation,
	},
	{
		says:   []string{"AADSTS53003"},
		Advice: Advice{"a Conditional Access policy for workload identities blocks the app", "exclude the app, or let it pass from the cluster's public egress address: see the service principal's sign-in log in Entra", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS7000112"},
		Advice: Advice{"the app is disabled in the tenant", "enable it: Enterprise applications, Properties, Enabled for users to sign in", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS7000229"},
		Advice: Advice{"the app has no service principal in the tenant", "give admin consent to the app in the tenant, or make its enterprise application (az ad sp create --id CLIENTID)", true},
		source: principals,
	},
	{
		says:   []string{"AADSTS500011"},
		Advice: Advice{"the tenant does not know the service that the scope is of", "it may have no Exchange Online, or be in another cloud: check tenantID, scopes, and authorityHost of a sovereign cloud", true},
		source: entraErrors,
	},
	{
		says:   []string{"AADSTS1002012", "AADSTS70011"},
		Advice: Advice{"the scope is wrong for client credentials", "let it end with /.default, and be one scope only: https://outlook.office365.com/.default for Exchange Online", true},
		source: clientFlow,
	},
}

// oauth are the errors of any authorization server, behind the codes that say more.
var oauth = []row{
	{
		says:   []string{"invalid_client"},
		Advice: Advice{"the authorization server does not take the client and its credential", "correct clientID, and clientSecret or tls.crt and tls.key in the Secret: a change is used without a restart", true},
		source: rfc6749,
	},
	{
		says:   []string{"unauthorized_client"},
		Advice: Advice{"the client may not use the client-credentials grant", "allow it for the client at the authorization server", true},
		source: rfc6749,
	},
	{
		says:   []string{"unsupported_grant_type"},
		Advice: Advice{"the authorization server has no client-credentials grant", "switch it on there, correct the token URL, or use another way to log in", true},
		source: rfc6749,
	},
	{
		says:   []string{"invalid_scope"},
		Advice: Advice{"the authorization server does not give the scope", "correct oauth2.scopes, or grant the scope to the client", true},
		source: rfc6749,
	},
	{
		says:   []string{"the authorization server answered with a redirect", "the authorization server knows no such URL"},
		Advice: Advice{"no token is given at the token URL", "correct oauth2.tokenURL; of type Microsoft365, tenantID and authorityHost", true},
		source: ours,
	},
	{
		says:   []string{"the authorization server refused with HTTP"},
		Advice: Advice{"the authorization server gives no token, and does not say why", "check the token URL (of type Microsoft365, authorityHost): what answers there may be another server", true},
		source: ours,
	},
	{
		says:   []string{"the authorization server was asked too often"},
		Advice: Advice{"the authorization server gives no more tokens for a while", "nothing, it is asked again when it says; see that no other program uses the same client", false},
		source: "RFC 6585 4",
	},
	{
		says:   []string{"the authorization server has trouble of its own"},
		Advice: Advice{"the authorization server has trouble of its own", "nothing, it is asked again; see its status page", false},
		source: status,
	},
}

// noToken is for what nothing else is known of: it stands behind all other lines.
var noToken = []row{
	{
		says:   []string{"no token:"},
		Advice: Advice{"the authorization server gives no token", "see its words; check the token URL, the client and its credential", true},
		source: rfc6749,
	},
}
