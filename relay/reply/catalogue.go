package reply

import "fmt"

// The catalogue: every refusal that the relay gives a client. Each text begins
// with a code that does not change (docs/replies.md explains them), fits a
// copier's panel, and names nothing internal.

// maxLine is the octets of a whole reply, so that a panel of 80 columns shows
// the codes too.
const maxLine = 79

func refuse(code int, e1, e2, e3 int, pr int, format string, a ...any) *Reply {
	r := &Reply{Code: code, Enhanced: [3]int{e1, e2, e3}}
	head := fmt.Sprintf("PR-%03d ", pr)
	r.Text = head + fit(maxLine-len(r.String())-len(head), format, a...)
	return r
}

// fit formats within n octets. What is too long is the value that a client sent or
// an administrator chose: it is cut, and the words around it stay.
func fit(n int, format string, a ...any) string {
	text := Line(fmt.Sprintf(format, a...), maxLine)
	for i := range a {
		if value, ok := a[i].(string); ok && len(text) > n {
			a[i] = Line(value, 2*maxLine)
			over := len(fmt.Sprintf(format, a...)) - n
			a[i] = clip(a[i].(string), max(0, len(a[i].(string))-over))
			text = Line(fmt.Sprintf(format, a...), maxLine)
		}
	}
	return Line(text, n)
}

// clip cuts s to n octets, and says so.
func clip(s string, n int) string {
	const dots = "..."
	if len(s) <= n {
		return s
	}
	return Line(s, max(0, n-len(dots))) + dots[:min(n, len(dots))]
}

// Session and connection.

// TooManyConnections refuses before the greeting.
func TooManyConnections() *Reply {
	return refuse(421, 4, 7, 0, 1, "Too many connections, try again later")
}

// ShuttingDown closes an idle connection.
func ShuttingDown() *Reply { return refuse(421, 4, 3, 2, 2, "Relay is restarting, try again") }

// IdleTimeout closes a silent connection (RFC 5321 4.5.3.2.7).
func IdleTimeout() *Reply { return refuse(421, 4, 4, 2, 3, "Idle for too long, closing") }

// TooManyErrors closes a connection that makes no sense.
func TooManyErrors() *Reply { return refuse(421, 4, 7, 0, 4, "Too many errors, closing") }

// LineTooLong refuses a command line (RFC 5321 4.5.3.1.4).
func LineTooLong() *Reply { return refuse(500, 5, 5, 2, 5, "Command line too long") }

// NotImplemented refuses a command (RFC 5321 4.2.4).
func NotImplemented() *Reply { return refuse(502, 5, 5, 1, 6, "Command not implemented") }

// BadSequence refuses a command at the wrong time.
func BadSequence(what string) *Reply { return refuse(503, 5, 5, 1, 7, "%s", what) }

// Syntax refuses an argument.
func Syntax(what string) *Reply { return refuse(501, 5, 5, 4, 8, "%s", what) }

// IntakeRefused is the kill switch; the connection closes behind it.
func IntakeRefused() *Reply { return refuse(421, 4, 3, 2, 9, "Relay takes no mail now, ask your IT") }

// Unknown refuses what is no command (RFC 5321 4.2.4).
func Unknown() *Reply { return refuse(500, 5, 5, 2, 10, "Command not understood") }

// TooEarly refuses a client that talks before the greeting (RFC 5321 4.3.1).
func TooEarly() *Reply { return refuse(554, 5, 5, 0, 11, "Wait for the greeting before you send") }

// NotMail refuses another protocol, such as a browser that was lured here.
func NotMail() *Reply { return refuse(421, 4, 7, 0, 12, "This is a mail server, closing") }

// Internal closes a session that failed through a fault of ours.
func Internal() *Reply { return refuse(421, 4, 3, 0, 13, "Relay had an internal error, try again") }

// Parameter refuses a parameter of MAIL or RCPT (RFC 5321 4.1.1.11).
func Parameter() *Reply { return refuse(555, 5, 5, 4, 14, "Parameter not supported here") }

// BareLFCommand refuses a command that ends in LF alone (RFC 5321 2.3.8).
func BareLFCommand() *Reply { return refuse(500, 5, 5, 2, 15, "End each line with CR LF") }

// SettingsChanged ends a session that could not begin so now.
func SettingsChanged() *Reply {
	return refuse(421, 4, 7, 0, 16, "Relay settings were changed, connect again")
}

// TooManyCommands closes a connection that is kept alive without sending mail.
func TooManyCommands() *Reply {
	return refuse(421, 4, 7, 0, 17, "Too many commands without a scan, closing")
}

// TLS and authentication.

// TLSRequired wants STARTTLS first (RFC 3207 4).
func TLSRequired() *Reply { return refuse(530, 5, 7, 0, 20, "Turn on TLS (STARTTLS) for this server") }

// TLSTooOld wants a newer TLS.
func TLSTooOld(want string) *Reply {
	return refuse(530, 5, 7, 0, 21, "TLS %s or newer is required", want)
}

// AuthRequired wants AUTH first (RFC 4954 6).
func AuthRequired() *Reply { return refuse(530, 5, 7, 0, 22, "Set a user name and password (AUTH)") }

// AuthFailed says nothing about which of both was wrong (RFC 4954 6).
func AuthFailed() *Reply { return refuse(535, 5, 7, 8, 23, "User name or password is wrong") }

// AuthTooMany closes after repeated failures.
func AuthTooMany() *Reply { return refuse(421, 4, 7, 0, 24, "Too many failed logins, closing") }

// AuthMechanism refuses a mechanism that is not offered (RFC 4954 4).
func AuthMechanism() *Reply { return refuse(504, 5, 5, 4, 25, "Login method not offered here") }

// AuthEncoding refuses what is not base64 (RFC 4954 4).
func AuthEncoding() *Reply { return refuse(501, 5, 5, 2, 26, "Login is not valid base64") }

// TLSUnavailable says that the listener's certificate is missing (RFC 3207 4).
func TLSUnavailable() *Reply { return refuse(454, 4, 7, 0, 27, "TLS not available now, ask your IT") }

// AuthBusy says that the password could not be checked in time (RFC 4954 6).
func AuthBusy() *Reply { return refuse(454, 4, 7, 0, 28, "Login takes too long, try again") }

// AuthCancelled answers a client that gave up with * (RFC 4954 4).
func AuthCancelled() *Reply { return refuse(501, 5, 7, 0, 29, "Login cancelled") }

// Policy.

// NoRule says that no policy lets this client send.
func NoRule(client string) *Reply {
	return refuse(550, 5, 7, 1, 30, "Device %s may not send here", client)
}

// SenderRefused says that the rule does not allow the sender.
func SenderRefused(addr string) *Reply {
	return refuse(550, 5, 7, 1, 31, "Sender %s not allowed", addr)
}

// RecipientRefused says that the rule does not allow the recipient.
func RecipientRefused(addr string) *Reply {
	return refuse(550, 5, 7, 1, 32, "Recipient %s not allowed", addr)
}

// RuleRejects says that a rule rejects what it matched.
func RuleRejects(rule string) *Reply { return refuse(550, 5, 7, 1, 33, "Refused by rule %s", rule) }

// HeaderSender says that a From: or Sender: address is not allowed.
func HeaderSender(addr string) *Reply { return refuse(550, 5, 7, 1, 34, "From %s not allowed", addr) }

// HeaderUnclear says that the header's senders cannot be read for certain.
func HeaderUnclear() *Reply { return refuse(550, 5, 7, 1, 35, "From or Sender cannot be read") }

// RateExceeded refuses a message over its rate.
func RateExceeded() *Reply { return refuse(450, 4, 7, 1, 36, "Too many scans, try again in a minute") }

// TooManyRecipients refuses one more recipient (RFC 5321 4.5.3.1.10).
func TooManyRecipients(limit int) *Reply {
	return refuse(452, 4, 5, 3, 37, "More than %d recipients", limit)
}

// SenderDomain says that the upstream sends nothing but its own domain.
func SenderDomain(domain string) *Reply {
	return refuse(550, 5, 7, 1, 38, "Sender must be in %s", domain)
}

// AddressHidden says that rules on networks let nobody in whose address the relay
// does not see.
func AddressHidden() *Reply {
	return refuse(550, 5, 7, 1, 39, "Network hides this device, ask your IT")
}

// BadSender refuses a malformed reverse-path.
func BadSender() *Reply { return refuse(501, 5, 1, 7, 40, "Sender address is malformed") }

// BadRecipient refuses a malformed forward-path.
func BadRecipient() *Reply { return refuse(501, 5, 1, 3, 41, "Recipient address is malformed") }

// SenderNoDomain refuses a reverse-path without a domain.
func SenderNoDomain(local string) *Reply {
	return refuse(501, 5, 1, 7, 44, "Sender %s needs a domain", local)
}

// RecipientNoDomain refuses a forward-path without a domain.
func RecipientNoDomain(local string) *Reply {
	return refuse(501, 5, 1, 3, 45, "Recipient %s needs a domain", local)
}

// NeedsUTF8 refuses a non-ASCII address that nothing can carry (RFC 6531 3.5).
func NeedsUTF8() *Reply { return refuse(553, 5, 6, 7, 42, "Only ASCII addresses can be sent to") }

// NoRecipients refuses DATA without a recipient (RFC 5321 3.3).
func NoRecipients() *Reply { return refuse(554, 5, 5, 1, 43, "No valid recipients") }

// Message.

// TooLarge names both figures, in octets.
func TooLarge(size, limit int64) *Reply {
	return refuse(552, 5, 3, 4, 50, "Scan too large: %s, limit %s", octets(size), octets(limit))
}

// HeaderTooLarge refuses an endless header.
func HeaderTooLarge() *Reply { return refuse(552, 5, 3, 4, 51, "Message header too large") }

// BareLineEnding refuses bare CR or LF where the listener does (RFC 5321 2.3.8).
func BareLineEnding() *Reply { return refuse(550, 5, 6, 0, 52, "Bare CR or LF in the message") }

// Loop refuses a message that was here before (RFC 5321 6.3).
func Loop() *Reply { return refuse(554, 5, 4, 6, 53, "Mail loop") }

// AttachmentRefused names the type that the rule does not allow.
func AttachmentRefused(what string) *Reply {
	return refuse(550, 5, 7, 1, 54, "Attachment not allowed: %s", what)
}

// ContentUnclear refuses what cannot be decided.
func ContentUnclear(why string) *Reply { return refuse(550, 5, 7, 1, 55, "Content unclear: %s", why) }

// Storage and delivery.

// SpoolFull refuses while there is no room (RFC 3463 X.3.1).
func SpoolFull() *Reply { return refuse(452, 4, 3, 1, 60, "Relay storage is full, ask your IT") }

// SpoolFails refuses while the volume does not take what is written to it.
func SpoolFails() *Reply { return refuse(452, 4, 3, 0, 64, "Relay storage does not work, ask your IT") }

// NotStored says that the message could not be kept; the log has the cause.
func NotStored() *Reply { return refuse(451, 4, 3, 0, 61, "Could not store the scan, send again") }

// NotRelayed stands in for "queued" where nothing may be kept.
func NotRelayed() *Reply { return refuse(451, 4, 4, 1, 62, "Mail server did not take it, send again") }

// Remote passes on how the mail server behind the relay refused (acknowledge:
// Relayed), in its words as far as they fit; the log has all of them.
func Remote(code int, enhanced [3]int, words string) *Reply {
	r := refuse(554, 5, 0, 0, 63, "Mail server says: %s", words)
	r.Code, r.Enhanced = code, enhanced
	r.Text = clip(r.Text, maxLine-len(r.String())+len(r.Text))
	return r
}

// SpoolShare refuses a client that has its share of the storage (RFC 3463 X.3.1).
func SpoolShare() *Reply {
	return refuse(452, 4, 3, 1, 65, "Too many of your scans wait here, ask your IT")
}

// Busy says that as many messages come in as may (RFC 3463 X.3.2).
func Busy() *Reply { return refuse(451, 4, 3, 2, 66, "Relay is busy, send again") }

// octets writes n for a person: exact below 10 kB, else with three digits.
func octets(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
