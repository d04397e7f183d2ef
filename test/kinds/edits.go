package kinds

import (
	_ "embed"
	"strings"
	"testing"
)

// Good is a PrinterRelay, a MailUpstream and a SenderPolicy, as short as they
// can be.
//
//go:embed good.yaml
var Good string

// Edit makes Good bad: it replaces Old by New. Want is part of what the loader
// says of it, as file m.yaml.
type Edit struct{ Old, New, Want string }

// Text is what the edit makes of Good.
func (e Edit) Text() string { return strings.Replace(Good, e.Old, e.New, 1) }

// Edits are refused by the kinds: by rules on several fields, and by what else
// is worth a look at the whole message.
var Edits = map[string]Edit{
	"empty match":                {"match: {clientNetworks: [10.0.0.0/8]}", "match: {}", "m.yaml:25: SenderPolicy default/office: spec.rules[0].match: Invalid value: clientNetworks or users is required"},
	"everybody":                  {"10.0.0.0/8", "0.0.0.0/0", "m.yaml:25: SenderPolicy default/office: spec.rules[0].match: Invalid value: a /0 network matches everybody"},
	"everybody, IPv6":            {"10.0.0.0/8", `"::/0"`, "a /0 network matches everybody"},
	"no recipients and no users": {`    recipients: {allowed: ["*@corp.example"]}`, "", "m.yaml:24: SenderPolicy default/office: spec.rules[0]: Invalid value: recipients.allowed is required"},
	"not a network":              {"10.0.0.0/8", "10.0.0.0", "must be a network in CIDR notation"},
	"not a pattern":              {`"*@corp.example"`, "corp.example", "must be *, *@domain"},
	"unknown field":              {"    port: 25", "    prot: 25", "m.yaml:10: PrinterRelay default/office: spec.listeners[0].prot: is no field of this kind"},
	"missing field":              {"    port: 25", "    tls: {}", "m.yaml:9: PrinterRelay default/office: spec.listeners[0].port: Required value"},
	"enum":                       {"    port: 25", "    port: 25\n    tls: {mode: Maybe}", `m.yaml:11: PrinterRelay default/office: spec.listeners[0].tls.mode: Unsupported value: "Maybe"`},
	"same port twice":            {"    port: 25", "    port: 25\n  - {name: other, port: 25}", "each listener needs a port of its own"},
	"same name twice":            {"    port: 25", "    port: 25\n  - {name: smtp, port: 26}", "Duplicate value"},
	"login without a Secret":     {"    port: 25", "    port: 25\n    authentication: {mode: Required}", "authentication.secretRef is required"},
	"password in clear":          {"    port: 25", "    port: 25\n    tls: {mode: None}\n    authentication: {mode: Required, secretRef: {name: x}}", "without TLS a password passes in clear"},
	"ephemeral and queued":       {"  hostname: relay.example", "  hostname: relay.example\n  spool: {type: Ephemeral}", "an Ephemeral spool needs acknowledge: Relayed"},
	"two certificates":           {"    port: 25", "    port: 25\n    tls: {certificateRefs: [{name: a}], issuerRef: {name: b}}", "exclude each other"},
	"type without its block":     {"type: SMTP", "type: Maildir", "maildir is required when type is Maildir"},
	"dkim on a type that signs":  {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SendGrid\n  sendGrid: {secretRef: {name: x}}\n  sender: {domain: a.example}\n  dkim: {selector: s, secretRef: {name: k}}", "the other types sign themselves"},
	"dkim on Mailgun":            {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Mailgun\n  mailgun: {domain: a.example, secretRef: {name: x}}\n  sender: {domain: a.example}\n  dkim: {selector: s, secretRef: {name: k}}", "the other types sign themselves"},
	"dkim on Postmark":           {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Postmark\n  postmark: {secretRef: {name: x}}\n  sender: {domain: a.example}\n  dkim: {selector: s, secretRef: {name: k}}", "the other types sign themselves"},
	"dkim on Microsoft365":       {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, credentials: {type: Secret, secretRef: {name: x}}}\n  sender: {domain: a.example}\n  dkim: {selector: s, secretRef: {name: k}}", "the other types sign themselves"},
	"dkim selector without room for its suffix":     {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SMTP\n  smtp: {host: mail.example}\n  sender: {domain: a.example}\n  dkim: {selector: " + strings.Repeat("s", 56) + ", secretRef: {name: k}}", "spec.dkim.selector: Too long: may not be more than 55"},
	"upstream password in clear":                    {"{host: mail.example}", "{host: mail.example, tls: {mode: None}, authentication: {secretRef: {name: x}}}", "authentication sends a password"},
	"retry upside down":                             {"  hostname: relay.example", "  hostname: relay.example\n  delivery: {retry: {initialSeconds: 10, maximumSeconds: 5}}", "initialSeconds must not be more"},
	"rate without a figure":                         {`    recipients: {allowed: ["*@corp.example"]}`, "    recipients: {allowed: [\"*@corp.example\"]}\n    rateLimit: {per: Client}", "messagesPerMinute or recipientsPerDay is required"},
	"maildir that leaves its place":                 {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Maildir\n  maildir: {path: ../x}", "must not contain .."},
	"SES without its block":                         {"type: SMTP\n  smtp: {host: mail.example}", "type: SES", "ses is required when type is SES, and forbidden otherwise"},
	"MX without its block":                          {"type: SMTP\n  smtp: {host: mail.example}", "type: MX", "mx is required when type is MX, and forbidden otherwise"},
	"SendGrid without its block":                    {"type: SMTP\n  smtp: {host: mail.example}", "type: SendGrid", "sendGrid is required when type is SendGrid, and forbidden otherwise"},
	"Mailgun without its block":                     {"type: SMTP\n  smtp: {host: mail.example}", "type: Mailgun", "mailgun is required when type is Mailgun, and forbidden otherwise"},
	"Postmark without its block":                    {"type: SMTP\n  smtp: {host: mail.example}", "type: Postmark", "postmark is required when type is Postmark, and forbidden otherwise"},
	"Microsoft365 without its block":                {"type: SMTP\n  smtp: {host: mail.example}", "type: Microsoft365", "microsoft365 is required when type is Microsoft365, and forbidden otherwise"},
	"SMTP with the block of another":                {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Maildir\n  smtp: {host: mail.example}\n  maildir: {path: x}", "smtp is required when type is SMTP, and forbidden otherwise"},
	"dkim without a sender":                         {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SMTP\n  smtp: {host: mail.example}\n  dkim: {selector: s, secretRef: {name: k}}", "dkim signs as sender.domain: sender is required"},
	"not one address":                               {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: nobody, credentials: {type: Secret, secretRef: {name: x}}}", "must be one address: local@domain"},
	"SendGrid SMTP at an API":                       {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SendGrid\n  sendGrid: {endpoint: \"https://api.example\", secretRef: {name: x}}", "with transport SMTP endpoint is smtp://HOST:PORT"},
	"SendGrid's API at a mail server":               {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SendGrid\n  sendGrid: {transport: API, endpoint: \"smtp://mail.example\", secretRef: {name: x}}", "and with API https://HOST"},
	"Mailgun SMTP at an API":                        {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Mailgun\n  mailgun: {transport: SMTP, endpoint: \"https://api.example\", domain: a.example, secretRef: {name: x}}", "with transport SMTP endpoint is smtp://HOST:PORT"},
	"Postmark SMTP at an API":                       {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Postmark\n  postmark: {endpoint: \"https://api.example\", secretRef: {name: x}}", "with transport SMTP endpoint is smtp://HOST:PORT"},
	"Microsoft 365 SMTP at an API":                  {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, endpoint: \"https://graph.example\", credentials: {type: Secret, secretRef: {name: x}}}", "with transport SMTP endpoint is smtp://HOST:PORT"},
	"endpoint with a user":                          {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Postmark\n  postmark: {endpoint: \"smtp://user@mail.example\", secretRef: {name: x}}", "must be a URL without user, query and fragment"},
	"endpoint of SMTP with a path":                  {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Postmark\n  postmark: {endpoint: \"smtp://mail.example/x\", secretRef: {name: x}}", "must be a URL without user, query and fragment"},
	"endpoint of SendGrid with a user":              {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SendGrid\n  sendGrid: {endpoint: \"smtp://user@mail.example\", secretRef: {name: x}}", "must be a URL without user, query and fragment"},
	"endpoint of Mailgun with a query":              {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Mailgun\n  mailgun: {endpoint: \"https://api.example?x\", domain: a.example, secretRef: {name: x}}", "must be a URL without user, query and fragment"},
	"endpoint of Microsoft 365 with port 0":         {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, endpoint: \"smtp://mail.example:0\", credentials: {type: Secret, secretRef: {name: x}}}", "must be a URL without user, query and fragment"},
	"OAuth without its block":                       {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SMTP\n  smtp: {host: mail.example, authentication: {mechanism: XOAuth2, secretRef: {name: x}}}", "oauth2 is required for XOAuth2 and OAuthBearer"},
	"hold of nobody":                                {"  hostname: relay.example", "  hostname: relay.example\n  holds: [{name: all}]", "a hold needs clientNetworks, users or senders"},
	"hold without a name":                           {"  hostname: relay.example", "  hostname: relay.example\n  holds: [{name: Stolen Copier, users: [x]}]", "must be lower-case letters, digits and hyphens, such as stolen-copier"},
	"hold with a reason of two lines":               {"  hostname: relay.example", "  hostname: relay.example\n  holds: [{name: stolen, users: [x], reason: \"a\\nb\"}]", "must be one line without control characters"},
	"webhook without a name":                        {"  hostname: relay.example", "  hostname: relay.example\n  webhooks: [{name: Ticket System, url: \"https://hooks.example\", secretRef: {name: x}}]", "must be lower-case letters, digits and hyphens, such as ticket-system"},
	"webhook with a user":                           {"  hostname: relay.example", "  hostname: relay.example\n  webhooks: [{name: tickets, url: \"https://user@hooks.example\", secretRef: {name: x}}]", "must be a URL without user, query and fragment"},
	"webhook without a Secret":                      {"  hostname: relay.example", "  hostname: relay.example\n  webhooks: [{name: tickets, url: \"https://hooks.example\"}]", "spec.webhooks[0].secretRef: Required value"},
	"volume of an Ephemeral spool":                  {"  hostname: relay.example", "  hostname: relay.example\n  acknowledge: Relayed\n  spool: {type: Ephemeral, persistentVolume: {size: 1Gi}}", "persistentVolume is for type PersistentVolume"},
	"history without room":                          {"  hostname: relay.example", "  hostname: relay.example\n  history: {size: 4Mi}", "a history needs 8Mi at least"},
	"SES Secret without a name":                     {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SES\n  ses: {region: eu-west-1, credentials: {type: Secret}}", "secretRef is required when type is Secret"},
	"SES configuration set that is none":            {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SES\n  ses: {region: eu-west-1, configurationSet: a b}", "must be the name of a configuration set"},
	"SES identity that is no ARN":                   {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SES\n  ses: {region: eu-west-1, fromIdentityARN: example.com}", "must be the ARN of an SES identity"},
	"SES role that is no ARN":                       {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SES\n  ses: {region: eu-west-1, roleARN: scans}", "must be the ARN of an IAM role"},
	"SES with the credentials of another":           {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SES\n  ses: {region: eu-west-1, credentials: {type: WorkloadIdentity}}", "type must be Ambient or Secret"},
	"Microsoft 365 with the credentials of another": {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, credentials: {type: Ambient}}", "type must be Secret or WorkloadIdentity"},
	"TLS None with a CA":                            {"  type: SMTP\n  smtp: {host: mail.example}", "  type: SMTP\n  smtp: {host: mail.example, tls: {mode: None, caSecretRef: {name: ca}}}", "with mode None nothing else of tls may be set"},
	"certificate without TLS":                       {"    port: 25", "    port: 25\n    tls: {mode: None, certificateRefs: [{name: a}]}", "with mode None there is no certificate"},
	"source ranges of a NodePort":                   {"  hostname: relay.example", "  hostname: relay.example\n  service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}", "loadBalancerClass and loadBalancerSourceRanges are for type LoadBalancer"},
	"name too long for a Service":                   {"metadata: {name: office}\nspec:\n  hostname", "metadata: {name: " + strings.Repeat("a", 51) + "}\nspec:\n  hostname", "must be at most 50 lower-case letters"},
	"name that no Service has":                      {"metadata: {name: office}\nspec:\n  hostname", "metadata: {name: 3rd.floor}\nspec:\n  hostname", "m.yaml:3: PrinterRelay default/3rd.floor: metadata.name: Invalid value: must be at most 50 lower-case letters"},
	"Microsoft 365 Secret without a name":           {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, credentials: {type: Secret}}", "spec.microsoft365.credentials: Invalid value: secretRef is required when type is Secret"},
	"Microsoft 365 endpoint that is no URL":         {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, endpoint: smtp.office365.com, credentials: {type: WorkloadIdentity}}", "must be a URL without user, query and fragment"},
	"Microsoft 365 mail server with a path":         {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, endpoint: 'smtp://smtp.office365.com/x', credentials: {type: WorkloadIdentity}}", "must be a URL without user, query and fragment"},
	"Microsoft 365 Graph at a mail server":          {"  type: SMTP\n  smtp: {host: mail.example}", "  type: Microsoft365\n  microsoft365: {tenantID: t, clientID: c, mailbox: scans@corp.example, transport: Graph, endpoint: 'smtps://mail.example', credentials: {type: WorkloadIdentity}}", "with transport SMTP endpoint is smtp://HOST:PORT"},
	"route for everything, by empty lists":          {"  hostname: relay.example", "  hostname: relay.example\n  routes: [{name: all, recipientDomains: [], clientNetworks: [], senders: [], upstreamRef: {name: out}}]", "a route needs recipientDomains, clientNetworks or senders"},
	"route for everything":                          {"  hostname: relay.example", "  hostname: relay.example\n  routes: [{name: all, upstreamRef: {name: out}}]", "a route needs recipientDomains, clientNetworks or senders"},
}

// edited gives the one object of Good that the edit changed.
func edited(t testing.TB, name string, e Edit) map[string]any {
	t.Helper()
	before, after := strings.Split(Good, "\n---\n"), strings.Split(e.Text(), "\n---\n")
	if len(before) != len(after) {
		t.Fatalf("%s: the number of objects changes", name)
	}
	for i := range before {
		if before[i] != after[i] {
			return documents(t, after[i])[0]
		}
	}
	t.Fatalf("%s: %q is not in the manifests", name, e.Old)
	return nil
}
