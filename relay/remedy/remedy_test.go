package remedy

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write docs/failures.md anew")

// answers are what servers said, word for word but for names and addresses, with
// words of the cause that the table must give.
var answers = []struct {
	f    Failure
	want string
}{
	// Exchange Online
	{Failure{"SMTP", 535, "5.7.139", "AUTH LOGIN as the user of secret \"o365\": Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [FR2P281CA0115.DEUP281.PROD.OUTLOOK.COM 2024-10-01T10:00:00.000Z 08DCE1]"}, "switched off for the whole"},
	{Failure{"SMTP", 535, "5.7.139", "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information."}, "switched off for this mailbox"},
	{Failure{"SMTP", 535, "5.7.139", "Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator."}, "security defaults"},
	{Failure{"SMTP", 535, "5.7.139", "Authentication unsuccessful, basic authentication is disabled. [LO4P123CA0001.GBRP123.PROD.OUTLOOK.COM]"}, "Basic authentication (user name and password) is disabled"},
	{Failure{"SMTP", 535, "5.7.139", "Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator."}, "Conditional Access"},
	{Failure{"SMTP", 535, "5.7.139", "Authentication unsuccessful, the user credentials were incorrect. [AM0PR02CA0001.eurprd02.prod.outlook.com]"}, "user name or password is wrong"},
	{Failure{"SMTP", 535, "5.7.139", "Authentication unsuccessful, account is locked"}, "a policy of the Microsoft 365 tenant"},
	{Failure{"Microsoft365", 535, "5.7.3", "Authentication unsuccessful [VI1PR0102CA0001.eurprd01.prod.exchangelabs.com]"}, "Exchange did not take the login"},
	{Failure{"SMTP", 550, "5.7.30", "Basic authentication is not supported for Client Submission."}, "ended Basic authentication"},
	{Failure{"SMTP", 530, "5.7.57", "Client not authenticated to send mail. [AM9P195CA0015.EURP195.PROD.OUTLOOK.COM]"}, "wants a login"},
	{Failure{"SMTP", 550, "5.7.60", "SMTP; Client does not have permissions to send as this sender"}, "may not send as this sender"},
	{Failure{"SMTP", 554, "5.2.0", "STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception with message Cannot submit message."}, "may not send as the address in From"},
	{Failure{"Microsoft365", 554, "5.2.252", "SendAsDenied; mfp@corp.example not allowed to send as ceo@corp.example; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied"}, "may not send as the address in From"},
	{Failure{"MX", 550, "5.7.64", "TenantAttribution; Relay Access Denied [AM4PEPF00027A65.eurprd04.prod.outlook.com]"}, "no inbound connector"},
	{Failure{"MX", 550, "5.7.68", "TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources"}, "rejects Direct Send"},
	{Failure{"Microsoft365", 432, "4.3.2", "Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information. [Hostname=AM0PR02MB]"}, "more than three connections"},
	{Failure{"Microsoft365", 432, "4.3.2", "STOREDRV.ClientSubmit; sender thread limit exceeded"}, "more than three connections"},
	{Failure{"SMTP", 432, "4.3.2", "Try again"}, "too many connections at once"},
	{Failure{"Microsoft365", 554, "5.2.0", "STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception with message The message can't be submitted because the sender's submission quota was exceeded."}, "as many recipients as it may in a day"},
	{Failure{"Microsoft365", 550, "5.7.233", "Your message can't be sent because your tenant has exceeded its daily limit for sending email to external recipients (tenant external recipient rate limit)"}, "recipients outside of it"},
	{Failure{"Microsoft365", 550, "5.1.90", "Your message can't be sent because you've reached your daily limit for message recipients"}, "daily limit of recipients"},
	{Failure{"MX", 451, "4.7.500", "Server busy. Please try again later from [192.0.2.1]. (S77719)"}, "slows mail from this address down"},
	{Failure{"MX", 451, "4.7.651", "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation."}, "slows mail from this address down"},
	{Failure{"MX", 550, "5.7.708", "Service unavailable. Access denied, traffic not accepted from this IP."}, "no mail from this IP"},
	{Failure{"MX", 550, "5.7.750", "Service unavailable. Client blocked from sending from unregistered domains."}, "not registered"},
	{Failure{"MX", 550, "5.7.705", "Service unavailable. Access denied, tenant has exceeded threshold."}, "blocked the tenant for sending too much"},
	{Failure{"Microsoft365", 550, "5.1.8", "Access denied, bad outbound sender AS(42004)"}, "blocked the mailbox"},
	{Failure{"Microsoft365", 550, "5.7.124", "RESOLVER.RST.NotAuthorized; sender not in allowed-senders list"}, "from some senders only"},
	{Failure{"MX", 550, "5.7.133", "RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group"}, "from some senders only"},
	{Failure{"SMTP", 550, "5.7.1", "RESOLVER.RST.AuthRequired; authentication required"}, "from some senders only"},
	{Failure{"MX", 550, "5.7.509", "Access denied, sending domain CORP.EXAMPLE does not pass DMARC verification and has a DMARC policy of reject."}, "does not pass DMARC"},
	{Failure{"MX", 550, "5.7.515", "Access denied, sending domain CORP.EXAMPLE does not meet the required authentication level."}, "Outlook wants SPF, DKIM and DMARC"},
	{Failure{"MX", 550, "5.4.1", "Recipient address rejected: Access denied. [DB8EUR05FT035.eop-eur05.prod.protection.outlook.com]"}, "knows no such recipient"},
	{Failure{"SMTP", 550, "5.7.54", "SMTP; Unable to relay recipient in non-accepted domain"}, "only mail for its own domains"},

	// Microsoft Graph
	{Failure{"Microsoft365", 403, "", "ErrorSendAsDenied: The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account., Cannot submit message."}, "may not send as the address in From"},
	{Failure{"Microsoft365", 403, "", "ErrorAccessDenied: Access is denied. Check credentials and try again."}, "may not send by this mailbox"},
	{Failure{"Microsoft365", 400, "", "ErrorMimeContentInvalidBase64String: Invalid base64 string for MIME content."}, "could not read the message"},
	{Failure{"Microsoft365", 413, "", "ErrorMessageSizeExceeded: The message exceeds the maximum supported size., Cannot submit message."}, "larger than Graph or the mailbox"},
	{Failure{"Microsoft365", 413, "", "Request Entity Too Large"}, "larger than Graph takes in one request"},
	{Failure{"Microsoft365", 404, "", "MailboxNotEnabledForRESTAPI: The mailbox is either inactive, soft-deleted, or is hosted on-premise."}, "not in Exchange Online"},
	{Failure{"Microsoft365", 404, "", "ErrorInvalidUser: The requested user 'mfp@corp.example' is invalid."}, "no such mailbox"},
	{Failure{"Microsoft365", 401, "", "InvalidAuthenticationToken: Access token validation failure. Invalid audience."}, "did not take the token"},
	{Failure{"Microsoft365", 429, "", "ApplicationThrottled: Application is over its MailboxConcurrency limit."}, "slows this mailbox or app down"},

	// Microsoft Entra
	{Failure{"Microsoft365", 401, "", "invalid_client: AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '0000'."}, "client secret is wrong"},
	{Failure{"SMTP", 0, "", "AUTH XOAUTH2: no token: AADSTS7000222: The provided client secret keys for app '0000' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security."}, "client secret has expired"},
	{Failure{"Microsoft365", 400, "", "unauthorized_client: AADSTS700016: Application with identifier '0000' was not found in the directory 'Corp'."}, "no such app"},
	{Failure{"Microsoft365", 400, "", "AADSTS90002: Tenant '0000' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."}, "no such tenant"},
	{Failure{"SMTP", 400, "", "AADSTS900023: Specified tenant identifier 'x' is neither a valid DNS name, nor a valid external domain."}, "neither the ID of a tenant"},
	{Failure{"Microsoft365", 401, "", "AADSTS700027: The certificate with identifier used to sign the client assertion is not registered on application."}, "certificate is not registered"},
	{Failure{"Microsoft365", 401, "", "AADSTS700024: Client assertion is not within its valid time range."}, "not valid at this time"},
	{Failure{"Microsoft365", 400, "", "AADSTS70021: No matching federated identity record found for presented assertion."}, "no federated credential"},
	{Failure{"Microsoft365", 400, "", "AADSTS700211: No matching federated identity record found for presented assertion issuer 'https://oidc.cluster.example'."}, "no federated credential"},
	{Failure{"Microsoft365", 400, "", "AADSTS700212: No matching federated identity record found for presented assertion audience 'kubernetes'."}, "no federated credential"},
	{Failure{"Microsoft365", 400, "", "AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:mail:relay'."}, "no federated credential"},
	{Failure{"Microsoft365", 0, "", "no token: AADSTS700222: AAD-issued tokens may not be used for federated identity flows."}, "one of Entra's own"},
	{Failure{"Microsoft365", 400, "", "AADSTS53003: Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."}, "Conditional Access policy for workload identities"},
	{Failure{"Microsoft365", 401, "", "AADSTS7000112: Application '0000'(printer-relay) is disabled."}, "app is disabled"},
	{Failure{"Microsoft365", 0, "", "no token: AADSTS7000229: The client application 0000 is missing service principal in the tenant 0000. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"}, "no service principal"},
	{Failure{"Microsoft365", 400, "", "AADSTS500011: The resource principal named https://graph.microsoft.example was not found in the tenant named Corp."}, "service that the scope is of"},
	{Failure{"SMTP", 0, "", "no token: AADSTS1002012: The provided value for scope https://outlook.office365.com/SMTP.Send is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}, "wrong for client credentials"},
	{Failure{"SMTP", 0, "", "invalid_scope: AADSTS70011: The provided value for the input parameter 'scope' is not valid. The scope https://foo.microsoft.com/.default is not valid."}, "wrong for client credentials"},

	// any authorization server; the words without its code are those of relay/oauth
	{Failure{"SMTP", 0, "", "AUTH XOAUTH2: no token: invalid_client: Invalid client or Invalid client credentials"}, "the client and its credential"},
	{Failure{"SMTP", 0, "", "no token: unauthorized_client: Client not enabled to retrieve service account"}, "may not use the client-credentials grant"},
	{Failure{"SMTP", 0, "", "no token: unsupported_grant_type: Unsupported grant_type"}, "has no client-credentials grant"},
	{Failure{"SMTP", 0, "", "no token: invalid_scope: Invalid scopes: mail"}, "does not give the scope"},
	{Failure{"SMTP", 0, "", "no token: access_denied: no"}, "gives no token"},
	{Failure{"Microsoft365", 0, "", "no token: AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}, "gives no token"},
	{Failure{"SMTP", 0, "", "no token: the authorization server answered with a redirect, which is not followed"}, "no token is given at the token URL"},
	{Failure{"SMTP", 0, "", "no token: the authorization server knows no such URL (HTTP 404)"}, "no token is given at the token URL"},
	{Failure{"SMTP", 0, "", "no token: the authorization server refused with HTTP 403 and did not say why"}, "does not say why"},
	{Failure{"SMTP", 0, "", "no token: the authorization server was asked too often: it is asked again later"}, "no more tokens for a while"},
	{Failure{"Microsoft365", 0, "", "no token: the authorization server has trouble of its own (HTTP 503): it is asked again later"}, "trouble of its own"},
	{Failure{"Microsoft365", 0, "", "no token: connecting to login.microsoftonline.com:443: connect: connection refused"}, "nothing listens"},

	// Amazon SES
	{Failure{"SES", 429, "", "TooManyRequestsException: Maximum sending rate exceeded."}, "no more messages a second"},
	{Failure{"SMTP", 454, "", "Throttling failure: Maximum sending rate exceeded."}, "no more messages a second"},
	{Failure{"SES", 429, "", "ThrottlingException: Daily message quota exceeded"}, "in 24 hours"},
	{Failure{"SES", 400, "", "MessageRejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: mfp@copier.example"}, "not verified in this region"},
	{Failure{"SMTP", 554, "", "Message rejected: Email address is not verified. The following identities failed the check in region US-EAST-1: a@corp.example"}, "not verified in this region"},
	{Failure{"SES", 400, "", "SendingPausedException: Sending is paused for this account. For more information, please check the inbox of the email address associated with your AWS account."}, "paused sending"},
	{Failure{"SES", 400, "", "AccountSuspendedException: The message can't be sent because the account's ability to send email has been permanently restricted."}, "shut the account's sending down"},
	{Failure{"SES", 400, "", "MailFromDomainNotVerifiedException: The message can't be sent because the sending domain isn't verified."}, "MAIL FROM domain"},
	{Failure{"SES", 403, "", "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."}, "secret access key does not belong"},
	{Failure{"SES", 403, "", "InvalidSignatureException: Signature expired: 20261125T101010Z is now earlier than 20261125T111010Z"}, "secret access key does not belong"},
	{Failure{"SES", 400, "", "RequestExpired: The request reached the service more than 15 minutes after the date stamp on the request."}, "clock is wrong"},
	{Failure{"SES", 403, "", "ExpiredTokenException: The security token included in the request is expired"}, "temporary credential has expired"},
	{Failure{"SES", 403, "", "UnrecognizedClientException: The security token included in the request is invalid."}, "no such access key"},
	{Failure{"SES", 403, "", "AccessDeniedException: User: arn:aws:iam::000000000000:user/relay is not authorized to perform: ses:SendEmail on resource: arn:aws:ses:eu-west-1:000000000000:identity/copier.example"}, "IAM policy does not let"},
	{Failure{"SMTP", 554, "", "Access denied: User `arn:aws:iam::000000000000:user/relay' is not authorized to perform `ses:SendRawEmail' on resource `arn:aws:ses:eu-west-1:000000000000:identity/copier.example'"}, "IAM policy does not let"},
	{Failure{"SES", 404, "", "NotFoundException: Configuration set <copiers> does not exist."}, "no such configuration set"},
	{Failure{"SMTP", 535, "", "Authentication Credentials Invalid"}, "SES did not take the SMTP credential"},
	{Failure{"SES", 0, "", "get identity: get credentials: failed to refresh cached credentials, no EC2 IMDS role found"}, "no AWS credential"},

	// SendGrid
	{Failure{"SendGrid", 403, "", "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity requirements"}, "verified with SendGrid"},
	{Failure{"SendGrid", 550, "", "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved."}, "verified with SendGrid"},
	{Failure{"SendGrid", 401, "", "The provided authorization grant is invalid, expired, or revoked"}, "does not take the API key"},
	{Failure{"SendGrid", 0, "", "SendGrid does not take the API key: 401 authorization required"}, "does not take the API key"},
	{Failure{"SendGrid", 401, "", "Permission denied, wrong credentials"}, "does not take the API key"},
	{Failure{"SendGrid", 451, "", "Authentication failed: Maximum credits exceeded"}, "messages are used up"},
	{Failure{"SendGrid", 403, "", "access forbidden"}, "API key may not send"},
	{Failure{"SendGrid", 413, "", "Payload Too Large"}, "30 MB"},
	{Failure{"SendGrid", 535, "", "Authentication failed: Bad username / password"}, "does not take the API key"},

	// Mailgun
	{Failure{"Mailgun", 401, "", "Forbidden"}, "does not take the key"},
	{Failure{"Mailgun", 404, "", "Domain not found: copier.example"}, "no such domain in this region"},
	{Failure{"Mailgun", 404, "", "Not Found"}, "no such domain in this region"},
	{Failure{"Mailgun", 403, "", "Domain sandbox123.mailgun.org is not allowed to send: Free accounts are for test purposes only. Please upgrade or add the address to authorized recipients in Account Settings."}, "sandbox domain"},
	{Failure{"Mailgun", 400, "", "Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings."}, "sandbox domain"},
	{Failure{"Mailgun", 403, "", "Domain copier.example is not allowed to send: The domain is unverified and requires DNS configuration. Log in to your control panel to view required DNS records."}, "does not let the domain send"},
	{Failure{"Mailgun", 413, "", "Request Entity Too Large"}, "25 MB"},
	{Failure{"Mailgun", 535, "5.7.0", "Mailgun is not loving your login or password"}, "does not take the SMTP login"},

	// Postmark
	{Failure{"Postmark", 401, "", "error 10: The Server Token you provided in the X-Postmark-Server-Token request header was invalid. Please verify that you are using a valid token."}, "does not take the token"},
	{Failure{"Postmark", 401, "", "Unauthorized"}, "does not take the token"},
	{Failure{"Postmark", 535, "5.7.8", "Error: authentication failed"}, "does not take the token"},
	{Failure{"Postmark", 422, "", "ErrorCode 300: Error parsing 'To': Illegal email domain 'x' in address 'a@x'."}, "cannot take a message"},
	{Failure{"Postmark", 422, "", "The 'From' address you supplied (mfp@copier.example) is not a Sender Signature on your account. Please add and confirm this address in order to be able to use it in the 'From' field of your messages."}, "confirmed with Postmark"},
	{Failure{"Postmark", 422, "", "error 400: sender"}, "confirmed with Postmark"},
	{Failure{"Postmark", 422, "", "error 405: You've run out of credits."}, "messages are used up"},
	{Failure{"Postmark", 422, "", "ErrorCode 406: You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: a@corp.example. Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."}, "no longer sends to this recipient"},
	{Failure{"Postmark", 422, "", "error 411: Attachment scan.exe has a forbidden file type"}, "attachments of this type"},
	{Failure{"Postmark", 422, "", "error 412: While your account is pending approval, all recipient addresses must share the same domain as the 'From' address."}, "waits for Postmark's approval"},
	{Failure{"Postmark", 422, "", "error 413: Account May Not Send"}, "stopped the account"},
	{Failure{"Postmark", 429, "", "Rate Limit Exceeded"}, "takes no more requests"},
	{Failure{"Postmark", 413, "", "Payload Too Large"}, "10 MB"},

	// Google
	{Failure{"MX", 550, "5.7.26", "Your email has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM."}, "Gmail wants SPF or DKIM"},
	{Failure{"MX", 421, "4.7.28", "Gmail has detected an unusual rate of mail originating from your IP address."}, "Gmail slows mail"},
	{Failure{"MX", 421, "4.7.0", "[192.0.2.1 15] Our system has detected an unusual rate of unsolicited mail originating from your IP address. To protect our users from spam, mail sent from your IP address has been temporarily rate limited."}, "Gmail slows mail"},
	{Failure{"MX", 421, "4.7.0", "Try again later, closing connection. (EHLO) 5b1f17b1804b1-4318a0"}, "takes nothing from this address for a while"},
	{Failure{"SMTP", 550, "5.7.1", "Invalid credentials for relay [192.0.2.1]. The IP address you've registered in your Workspace SMTP Relay service doesn't match the domain of the account this email is being sent from."}, "not registered with the SMTP relay service"},
	{Failure{"SMTP", 535, "5.7.8", "Username and Password not accepted. For more information, go to https://support.google.com/mail/?p=BadCredentials"}, "Google did not take the login"},
	{Failure{"SMTP", 534, "5.7.9", "Application-specific password required. For more information, go to https://support.google.com/mail/?p=InvalidSecondFactor"}, "app password"},

	// block lists
	{Failure{"MX", 554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.1"}, "on a block list"},
	{Failure{"MX", 550, "5.7.1", "Service unavailable, Client host [192.0.2.1] blocked using Spamhaus. To request removal from this list see https://www.spamhaus.org/query/ip/192.0.2.1 AS(1410)"}, "on a block list"},
	{Failure{"MX", 554, "5.7.1", "Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org; https://www.spamhaus.org/pbl/query/PBL123456"}, "no mail server should have"},

	// any server
	{Failure{"SMTP", 550, "5.1.1", "<nobody@corp.example>: Recipient address rejected: User unknown in virtual mailbox table"}, "knows no such recipient"},
	{Failure{"SMTP", 550, "5.1.1", "The email account that you tried to reach does not exist."}, "knows no such recipient"},
	{Failure{"SMTP", 550, "", "No such user here"}, "knows no such recipient"},
	{Failure{"SMTP", 450, "4.1.2", "<a@corp.exmaple>: Recipient address rejected: Domain not found"}, "recipient's domain is not to be found"},
	{Failure{"SMTP", 550, "5.1.10", "RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"}, "not to be found"},
	{Failure{"SMTP", 450, "4.1.8", "<mfp@copier.invalid>: Sender address rejected: Domain not found"}, "sender's address or domain"},
	{Failure{"SMTP", 550, "5.2.1", "The email account that you tried to reach is disabled."}, "mailbox is disabled"},
	{Failure{"SMTP", 552, "5.2.2", "<a@corp.example>: user is over quota"}, "mailbox is full"},
	{Failure{"MX", 554, "5.2.2", "mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded"}, "mailbox is full"},
	{Failure{"SMTP", 552, "5.3.4", "Message size exceeds fixed limit"}, "larger than the server takes"},
	{Failure{"SMTP", 552, "", "message exceeds fixed maximum message size"}, "or the mailbox"},
	{Failure{"SMTP", 452, "4.3.1", "Insufficient system storage"}, "disk is full"},
	{Failure{"SMTP", 554, "5.4.6", "Too many hops"}, "loop"},
	{Failure{"SMTP", 554, "5.7.1", "<a@corp.example>: Relay access denied"}, "passes on no mail"},
	{Failure{"SMTP", 550, "", "relay not permitted"}, "passes on no mail"},
	{Failure{"MX", 450, "4.2.0", "<a@corp.example>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/corp.example.html"}, "greylists"},
	{Failure{"SMTP", 530, "5.7.0", "Must issue a STARTTLS command first"}, "wants TLS first"},
	{Failure{"SMTP", 530, "5.7.0", "Authentication required"}, "wants a login, or TLS"},
	{Failure{"SMTP", 535, "5.7.8", "AUTH PLAIN as the user of secret \"smarthost\": Error: authentication failed: UGFzc3dvcmQ6"}, "does not take user name and password"},
	{Failure{"SMTP", 534, "5.7.9", "Authentication mechanism is too weak"}, "this way to log in"},
	{Failure{"SMTP", 454, "4.7.0", "Temporary authentication failure: Connection lost to authentication server"}, "cannot check logins"},
	{Failure{"SMTP", 554, "5.7.1", "Message content rejected"}, "by a rule of its own"},
	{Failure{"SMTP", 421, "4.3.2", "Service not available, closing transmission channel"}, "takes nothing for the moment"},
	{Failure{"SendGrid", 429, "", "too many requests"}, "takes no more for a while"},
	{Failure{"Mailgun", 503, "", "Service Unavailable"}, "trouble of its own"},
	{Failure{"SES", 401, "", "Unauthorized"}, "does not take the credential"},

	// no answer; the words are those of relay/upstream
	{Failure{"SMTP", 0, "", "TLS: the server's certificate is from an authority that is not trusted: set tls.caSecretRef if it is your own"}, "not trusted"},
	{Failure{"SMTP", 0, "", "TLS: x509: certificate is valid for mail.corp.example, not smtp.corp.example: set tls.serverName to a name that it has, if that is the server meant"}, "for another name"},
	{Failure{"SendGrid", 0, "", "api.sendgrid.com: TLS: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-11-25T10:00:00Z is after 2026-11-24T10:00:00Z"}, "has expired, or a clock"},
	{Failure{"SMTP", 0, "", "the server does not offer STARTTLS, and nothing is sent in clear: check host and port, and whether something in between removes it"}, "offers no TLS"},
	{Failure{"SMTP", 0, "", "TLS: tls: first record does not look like a TLS handshake"}, "does not speak TLS from the start"},
	{Failure{"SMTP", 0, "", "TLS: remote error: tls: protocol version not supported"}, "no version of TLS in common"},
	{Failure{"SMTP", 0, "", "the server offers no AUTH here: check host, port and tls.mode, or remove authentication"}, "takes no login at this port"},
	{Failure{"SMTP", 0, "", "without TLS with a verified certificate only CRAM-MD5 keeps the password, and it cannot be used here (the server offers PLAIN): use tls.mode StartTLS or Implicit"}, "no way to log in"},
	{Failure{"SMTP", 0, "", `secret "smarthost": not found`}, "is not there"},
	{Failure{"SMTP", 0, "", `secret "smarthost" has no key "password": not found`}, "is not there"},
	{Failure{"MX", 0, "", "10.0.0.1 is a private address: set allowPrivateHosts in the MailUpstream if that is meant"}, "not public"},
	{Failure{"MX", 0, "", "connecting to mx.corp.example:25: the server did not answer in time"}, "nothing can be reached at port 25"},
	{Failure{"SMTP", 0, "", "connecting to smtp.corp.example:25: connect: connection refused"}, "nothing can be reached at port 25"},
	{Failure{"SMTP", 0, "", "connecting to smtp.corp.example:587: connect: connection refused"}, "nothing listens"},
	{Failure{"SMTP", 0, "", "connecting to smtp.corp.example:587: the server did not answer in time"}, "cannot be reached"},
	{Failure{"SMTP", 0, "", "connecting to smtp.corp.example:587: connect: no route to host"}, "cannot be reached"},
	{Failure{"SMTP", 0, "", "EHLO: the server did not answer in time"}, "does not answer"},
	{Failure{"SMTP", 0, "", "connecting to smtp.corp.exmaple:587: lookup smtp.corp.exmaple: no such host"}, "not to be found in DNS"},
	{Failure{"SMTP", 0, "", "greeting: the server closed the connection"}, "ended the connection"},
	{Failure{"SendGrid", 302, "", "the API answered with a redirect, which is not followed: correct the upstream's endpoint"}, "not the provider's API"},
	{Failure{"SMTP", 550, "5.7.1", "a sender (MAIL FROM, From or Sender) is not in the upstream's domain, and sender.rewrite is Never"}, "not to be rewritten"},
}

// Every answer gets the row that was meant for it, and every row has an answer.
func TestAnswers(t *testing.T) {
	met := make([]bool, len(table))
	for _, a := range answers {
		i := find(a.f)
		if i < 0 {
			t.Errorf("nothing is known of %+v", a.f)
			continue
		}
		met[i] = true
		if !strings.Contains(table[i].Cause, a.want) {
			t.Errorf("%+v\n  is said to be %q, want %q", a.f, table[i].Cause, a.want)
		}
	}
	for i, ok := range met {
		if !ok {
			t.Errorf("no answer has the row %q: test it with a server's own words", table[i].Cause)
		}
	}
}

// A reply in which the codes are part of the text is known as well.
func TestCodesInTheText(t *testing.T) {
	for _, text := range []string{
		"550 5.7.30 Basic authentication is not supported for Client Submission.",
		"5.7.30: no", "<smtp.office365.com> #5.7.30 smtp;550", "AUTH: 535: 5.7.30",
	} {
		if a, ok := Find(Failure{Text: text}); !ok || !strings.Contains(a.Cause, "ended Basic") {
			t.Errorf("%s: %v", text, a)
		}
	}
	for text, want := range map[string]string{"535 AUTH PLAIN: no": "does not take the SMTP login", "401 Forbidden": "does not take the key", "4010 x": "", "235 x": "", "40": ""} {
		if a, _ := Find(Failure{Type: "Mailgun", Text: text}); want == "" && a.Cause != "" || !strings.Contains(a.Cause, want) {
			t.Errorf("%s: %v", text, a)
		}
	}
	for _, text := range []string{"5.7.30.1 is an address", "5.7 30", "relay 4.7.9999 x", "a b c d 5.7.30", "2.7.30 ok", ""} {
		if a, ok := Find(Failure{Text: text}); ok {
			t.Errorf("%s: %v", text, a)
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, f := range []Failure{{}, {Type: "SES"}, {Type: "SMTP", Code: 599, Enhanced: "5.9.9", Text: "what?"}, {Code: 550, Text: "apbl carbluxe XAADSTS700016"}} {
		if a, ok := Find(f); ok || a.String() != "" {
			t.Errorf("%+v: %v", f, a)
		}
	}
}

func TestCredential(t *testing.T) {
	for _, c := range []struct {
		f    Failure
		want bool
	}{
		{Failure{Type: "SMTP", Code: 535, Enhanced: "5.7.8"}, true},
		{Failure{Type: "SMTP", Code: 535, Enhanced: "5.7.139", Text: "x"}, true},
		{Failure{Type: "X", Code: 401, Text: "who are you"}, true}, // by the code alone
		{Failure{Type: "SMTP", Code: 432, Enhanced: "4.3.2"}, false},
		{Failure{Type: "SMTP", Code: 550, Enhanced: "5.1.1"}, false},
		{Failure{Type: "SES", Code: 403, Text: "ExpiredTokenException: x"}, true},
		{Failure{Type: "SES", Code: 429, Text: "Maximum sending rate exceeded"}, false},
		{Failure{Type: "SMTP", Text: "connecting to a:587: connect: connection refused"}, false},
		{Failure{}, false},
	} {
		if got := Credential(c.f); got != c.want {
			t.Errorf("%+v: %t", c.f, got)
		}
	}
}

// What passes by itself is never the credential.
func TestPasses(t *testing.T) {
	n := 0
	for _, r := range table {
		if !r.Passes() {
			continue
		}
		if n++; r.Credential {
			t.Errorf("%q passes, and is the credential's", r.Cause)
		}
	}
	if n < 10 {
		t.Errorf("%d lines are of trouble that passes", n)
	}
}

// A phrase is met as whole words, in its order.
func TestSays(t *testing.T) {
	for _, c := range []struct {
		text, phrase string
		want         bool
	}{
		{"error 10: bad", "error 10", true},
		{"error 100: bad", "error 10", false},
		{"terror 10", "error 10", false},
		{"error 100, then error 10", "error 10", true},
		{`secret "a": not found`, "secret * not found", true},
		{"not found is secret", "secret * not found", false},
		{"host:25: connection refused", ":25: connection refused", true},
		{"host:587: connection refused", ":25: connection refused", false},
		{"", "x", false},
	} {
		if got := says(c.text, c.phrase); got != c.want {
			t.Errorf("%q in %q: %t", c.phrase, c.text, got)
		}
	}
}

// The table is written for people: a line each, in one style, with where it is from.
func TestStyle(t *testing.T) {
	for _, r := range table {
		for _, text := range []string{r.Cause, r.Remedy} {
			if text == "" || len(text) > 220 || strings.ContainsAny(text, "\r\n") || strings.HasSuffix(text, ".") || strings.TrimSpace(text) != text {
				t.Errorf("%q: want one line without a full stop, at most 220 octets", text)
			}
		}
		if c := rune(r.Cause[0]); unicode.IsUpper(c) && !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(r.Cause, n) }) {
			t.Errorf("%q begins in upper case", r.Cause)
		}
		if r.source == "" {
			t.Errorf("%q has no source", r.Cause)
		}
		if len(r.says)+len(r.enhanced)+len(r.codes) == 0 {
			t.Errorf("%q asks for nothing", r.Cause)
		}
	}
}

var names = []string{"SMTP", "Basic", "Microsoft", "Exchange", "Graph", "AWS", "SES", "SendGrid", "Mailgun", "Postmark", "Gmail", "Google", "Outlook"}

// line is a row of docs/failures.md.
func (r *row) line() string {
	cell := strings.NewReplacer("|", `\|`, "<", `\<`, "*", "...").Replace
	who := "any"
	if len(r.types) > 0 {
		who = strings.Join(r.types, ", ")
	}
	var codes, answer []string
	for _, c := range r.codes {
		codes = append(codes, fmt.Sprint(c))
	}
	for _, e := range r.enhanced {
		codes = append(codes, "x."+e)
	}
	if len(codes) > 0 {
		answer = append(answer, strings.Join(codes, ", "))
	}
	for _, s := range r.says {
		answer = append(answer, `"`+s+`"`)
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", who, cell(strings.Join(answer, "; ")), cell(r.Cause), cell(r.Remedy))
}

// sections are the table as docs/failures.md shows it.
var sections = []struct {
	title string
	rows  []row
}{
	{"Microsoft 365: Exchange Online", exchange},
	{"Microsoft 365: Graph", graph},
	{"Microsoft Entra ID", entra},
	{"Any authorization server (OAuth 2)", slices.Concat(oauth, noToken)},
	{"Amazon SES", ses},
	{"SendGrid", sendGrid},
	{"Mailgun", mailgun},
	{"Postmark", postmark},
	{"Google", google},
	{"Block lists", reputation},
	{"Any mail server", general},
	{"Connection, TLS, DNS and Secrets", connection},
}

// docs/failures.md is the table.
func TestDocs(t *testing.T) {
	var b bytes.Buffer
	fmt.Fprint(&b, `# Failures in plain words

What errors of mail servers and providers mean, and what to do.
The relay gives the cause and the remedy with each failure:

- in `+"`printer-relay queue list` and `queue show ID`, and on the [console](console.md)"+`;
- in the conditions of a MailUpstream (`+"`kubectl describe mailupstream`"+`);
- in [notices](notices.md) of failure, in the log (attribute `+"`remedy`"+`), at `+"`/state` and `/readyz`"+`.

## What the relay does
| what fails | the relay |
|---|---|
| a recipient: no such user, mailbox full, greylisting | tries again later if the refusal is temporary; otherwise that recipient has failed, and [a notice](notices.md) says so |
| the message: too large, content refused | takes the next upstream that can carry it (`+"`fallbackUpstreamRefs`"+`); without one the message has failed |
| the upstream: login, quota, not reachable, its own trouble | keeps the mail, or takes the next upstream. Nothing bounces at once. After several failures the circuit breaker opens: the relay tries only now and then until one message passes |
| nobody knows: the connection broke after the whole message was sent | does what `+"`delivery.onUnknown`"+` says: `+"`RetrySame`"+` (the default; the mail may arrive twice), `+"`Hold` or `FailOver`"+` |

By default it tries again after 30 seconds, then less and less often, at least hourly (`+"`delivery.retry`"+`).
It tells of a delay after 4 hours (`+"`delivery.warnAfterSeconds`"+`), gives up after 5 days (`+"`delivery.expireAfterSeconds`"+`), and keeps what failed for 7 days (`+"`delivery.keepFailedSeconds`"+`): `+"`printer-relay queue retry ID`"+` sends it again.

## How to find an error
Search this page for a code or for a few of the server's words.
"any" is every type of upstream, and `+"`x.`"+` is 4 or 5.
If several lines fit, the most specific counts: words before codes.
These tables are written by `+"`go test ./relay/remedy -update`"+` from relay/remedy, where each line has its source.
`)
	rows := 0
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n| upstream | answer | cause | what to do |\n|---|---|---|---|\n", s.title)
		for i := range s.rows {
			b.WriteString(s.rows[i].line())
		}
		rows += len(s.rows)
	}
	if rows != len(table) {
		t.Errorf("the page has %d lines, the table %d", rows, len(table))
	}
	path := filepath.Join("..", "..", "docs", "failures.md")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is, b.Bytes()) {
		t.Error("docs/failures.md is not the table: go test ./relay/remedy -update")
	}
}

func FuzzFind(f *testing.F) {
	for _, a := range answers {
		f.Add(a.f.Type, a.f.Code, a.f.Enhanced, a.f.Text)
	}
	f.Fuzz(func(t *testing.T, kind string, code int, enhanced, text string) {
		a, ok := Find(Failure{kind, code, enhanced, text})
		if ok != (a.String() != "") {
			t.Errorf("%t, %q", ok, a)
		}
		if s := a.String(); s != "" && !slices.ContainsFunc(table, func(r row) bool { return r.String() == s }) {
			t.Errorf("%q is not in the table", s) // nothing of what the server said
		}
	})
}

// What is found by words is what a look at every row finds.
func TestWordsLeadToEveryRow(t *testing.T) {
	whole := func(f Failure, enhanced, text string) int {
		best, found := 0, -1
		for i := range table {
			if n := table[i].fits(f, enhanced, text); n > best {
				best, found = n, i
			}
		}
		return found
	}
	phrases := 0
	for i := range table {
		r := &table[i]
		for _, phrase := range append(slices.Clone(r.says), "nothing that is known") {
			phrases++
			for _, around := range []string{"%", "before: (%) behind", "x%", "%x", "Überlauf %"} {
				f := Failure{Text: strings.Replace(around, "%", strings.ReplaceAll(phrase, "*", " and more "), 1), Code: 999, Enhanced: "9.9.9"}
				if len(r.codes) > 0 {
					f.Code = r.codes[0]
				}
				if len(r.types) > 0 {
					f.Type = r.types[0]
				}
				if len(r.enhanced) > 0 {
					f.Enhanced = "5." + r.enhanced[0]
				}
				_, enhanced, _ := strings.Cut(f.Enhanced, ".")
				if got, want := find(f), whole(f, enhanced, strings.ToLower(f.Text)); got != want {
					t.Errorf("%+v: row %d, want %d", f, got, want)
				}
			}
		}
	}
	if phrases < len(table) {
		t.Errorf("%d phrases", phrases)
	}
}
