package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// Error is why there is no token, in words that a person can act on and without
// secrets.
type Error struct {
	Code    string        // "AADSTS7000222", or the error code of RFC 6749 5.2; empty: none came
	Status  int           // HTTP; 0: no reply
	RetryIn time.Duration // the server asks to wait so long; 0: it does not
	words   string
	cause   error
}

// Error implements error.
func (e *Error) Error() string { return e.words }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.cause }

// Wait is RetryIn, for who does not import this package.
func (e *Error) Wait() time.Duration { return e.RetryIn }

// Temporary tells whether it says nothing of the credential: the server was not
// reached, is busy, or has trouble of its own.
func (e *Error) Temporary() bool {
	var lost *httpapi.Error
	return e.Status == http.StatusTooManyRequests || e.Status >= 500 || e.Status == 0 && errors.As(e.cause, &lost)
}

// explain puts what came of a request into words. hidden is what no word may show.
func (s *Source) explain(err error, cred *credential, hidden string) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var lost *httpapi.Error
	if errors.As(err, &lost) {
		return &Error{words: "no token: " + lost.Error(), cause: lost}
	}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return &Error{words: "no token: " + scrub(reply.Line(strings.TrimPrefix(err.Error(), "oauth2: "), 256), hidden)}
	}
	e := &Error{
		Code: refused.ErrorCode, Status: refused.Response.StatusCode,
		RetryIn: httpapi.RetryAfter(refused.Response.Header, time.Now()),
	}
	said := refused.ErrorDescription
	if m := entraCode.FindString(said); m != "" {
		e.Code = m
	}
	e.words = "no token: " + s.words(e, cred, scrub(firstLine(said), hidden))
	return e
}

var entraCode = regexp.MustCompile(`AADSTS[0-9]+`)

// firstLine is a description without the identifiers of a trace, which are others
// each time.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	s, _, _ = strings.Cut(s, "Trace ID:")
	return reply.Line(s, 256)
}

func scrub(text, hidden string) string {
	if len(hidden) < 4 { // less cannot be told from other words
		return ""
	}
	return strings.ReplaceAll(text, hidden, "***")
}

// words are the remedy where the code is known, and else what the server said.
func (s *Source) words(e *Error, cred *credential, said string) string {
	if remedy, ok := remedies[e.Code]; ok {
		return s.fill(remedy, cred) + " (" + e.Code + ")"
	}
	what := strings.Trim(strings.Join([]string{e.Code, said}, ": "), ": ")
	switch {
	case e.Status/100 == 3:
		return "the authorization server answered with a redirect, which is not followed: correct the token URL"
	case e.Status == http.StatusTooManyRequests:
		return "the authorization server was asked too often: it is asked again later"
	case e.Status/100 == 5:
		return fmt.Sprintf("the authorization server has trouble of its own (HTTP %d): it is asked again later", e.Status)
	case what == "" && e.Status == http.StatusNotFound:
		return "the authorization server knows no such URL (HTTP 404): correct the token URL"
	case what == "":
		return fmt.Sprintf("the authorization server refused with HTTP %d and did not say why: check the token URL", e.Status)
	}
	return "the authorization server refused: " + what
}

// fill puts the names of an upstream into a remedy.
func (s *Source) fill(remedy string, cred *credential) string {
	source := fmt.Sprintf("secret %q", s.c.OAuth.Secret)
	if cred.federated {
		source = "the Pod's token"
	}
	return strings.NewReplacer("{client}", s.c.OAuth.ClientID, "{source}", source, "{scope}", strings.Join(s.c.OAuth.Scopes, " ")).Replace(remedy)
}

// remedies by the code of Microsoft Entra ID, or of RFC 6749 5.2.
var remedies = map[string]string{
	"AADSTS7000215": "the client secret is wrong: put the secret's Value, not its ID, into clientSecret of {source}",
	"AADSTS7000222": "the client secret has expired: make a new one at application {client} (Certificates & secrets), and put it into clientSecret of {source}",
	"AADSTS700016":  "there is no application {client} in this tenant: correct clientID or tenantID",
	"AADSTS700027":  "the certificate is not one of application {client}, or has expired: upload tls.crt of {source} there (Certificates & secrets)",
	"AADSTS700024":  "the assertion's time is over or has not come: set the clock of this machine right",
	"AADSTS90002":   "there is no such tenant: correct tenantID, or set authorityHost if the tenant is in a sovereign cloud",
	"AADSTS900023":  "tenantID is neither a tenant's ID nor one of its domains: correct it",
	"AADSTS70021":   noFederation,
	"AADSTS700211":  noFederation,
	"AADSTS700212":  noFederation,
	"AADSTS700213":  noFederation,
	"AADSTS700222":  "{source} cannot be exchanged at this tenant: use another credential",
	"AADSTS7000112": "application {client} is disabled: enable it (Enterprise applications, Properties)",
	"AADSTS7000229": "application {client} has no service principal in this tenant: give admin consent",
	"AADSTS500011":  "the tenant does not know {scope}: it has no Exchange Online, or is in another cloud (authorityHost)",
	"AADSTS53003":   "a Conditional Access policy blocks application {client}: exclude it, or let this network in",
	"AADSTS1002012": "the scope {scope} is wrong for client credentials: it has to end with /.default",
	"AADSTS70011":   "the scope {scope} is wrong: for client credentials it has to end with /.default",

	"invalid_client":      "the authorization server does not take client {client} with the credential of {source}: correct clientID or the Secret",
	"unauthorized_client": "client {client} may not use the client-credentials grant: allow it at the authorization server",
	"invalid_scope":       "the authorization server does not give the scope {scope}: correct oauth2.scopes",
}

const noFederation = "application {client} trusts no such ServiceAccount: add a federated credential with this cluster's issuer, subject system:serviceaccount:NAMESPACE:NAME of the Pod, and audience api://AzureADTokenExchange"
