package status

import (
	"fmt"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// Reference is one field that names another object of its namespace.
type Reference struct {
	Object string // that has the field: "PrinterRelay default/office"
	Field  string // "spec.upstreamRef", as Compile writes it
	Kind   string // of what it names: MailUpstream, SenderPolicy or Secret
	Name   string
}

// References are the MailUpstreams and SenderPolicies that a PrinterRelay
// names, in the order of its fields; one that is named twice is there twice.
func References(r *v1alpha1.PrinterRelay) []Reference {
	var out []Reference
	add := func(kind, field, name string) {
		out = append(out, Reference{Object: "PrinterRelay " + r.Namespace + "/" + r.Name, Field: field, Kind: kind, Name: name})
	}
	add("MailUpstream", "spec.upstreamRef", r.Spec.UpstreamRef.Name)
	for i, f := range r.Spec.FallbackUpstreamRefs {
		add("MailUpstream", fmt.Sprintf("spec.fallbackUpstreamRefs[%d]", i), f.Name)
	}
	for i := range r.Spec.Routes {
		add("MailUpstream", fmt.Sprintf("spec.routes[%d].upstreamRef", i), r.Spec.Routes[i].UpstreamRef.Name)
	}
	if ref := r.Spec.Delivery.Bounce.UpstreamRef; ref != nil {
		add("MailUpstream", "spec.delivery.bounce.upstreamRef", ref.Name)
	}
	for i, p := range r.Spec.SenderPolicyRefs {
		add("SenderPolicy", fmt.Sprintf("spec.senderPolicyRefs[%d]", i), p.Name)
	}
	return out
}

// Missing are the references of a PrinterRelay to what is not there.
func Missing(r *v1alpha1.PrinterRelay, upstreams map[string]*v1alpha1.MailUpstream, policies map[string]*v1alpha1.SenderPolicy) []Reference {
	return slices.DeleteFunc(References(r), func(ref Reference) bool {
		if ref.Kind == "MailUpstream" {
			return upstreams[ref.Name] != nil
		}
		return policies[ref.Name] != nil
	})
}

// SecretsOfRelay are the Secrets that a PrinterRelay itself names.
func SecretsOfRelay(r *v1alpha1.PrinterRelay) []Reference {
	var out []Reference
	for i := range r.Spec.Listeners {
		l := &r.Spec.Listeners[i]
		add := func(field, name string) {
			out = append(out, Reference{Object: "PrinterRelay " + r.Namespace + "/" + r.Name, Kind: "Secret", Name: name, Field: fmt.Sprintf("spec.listeners[%d].%s", i, field)})
		}
		for k, ref := range l.TLS.CertificateRefs {
			add(fmt.Sprintf("tls.certificateRefs[%d]", k), ref.Name)
		}
		if l.TLS.IssuerRef != nil {
			add("tls.issuerRef", plan.IssuedCertificate(r.Name, l.Name))
		}
		if ref := l.Authentication.SecretRef; ref != nil && l.Authentication.Mode != v1alpha1.AuthenticationNone {
			add("authentication.secretRef", ref.Name)
		}
	}
	return out
}

// SecretsOfUpstream are the Secrets that a MailUpstream names.
func SecretsOfUpstream(u *v1alpha1.MailUpstream) []Reference {
	var out []Reference
	add := func(field string, ref *v1alpha1.LocalReference) {
		if ref != nil && ref.Name != "" {
			out = append(out, Reference{Object: "MailUpstream " + u.Namespace + "/" + u.Name, Kind: "Secret", Name: ref.Name, Field: "spec." + field})
		}
	}
	s := &u.Spec
	if s.SMTP != nil {
		add("smtp.tls.caSecretRef", s.SMTP.TLS.CASecretRef)
		add("smtp.tls.clientCertificateRef", s.SMTP.TLS.ClientCertificateRef)
		if a := s.SMTP.Authentication; a != nil {
			add("smtp.authentication.secretRef", &a.SecretRef)
			if a.OAuth2 != nil {
				add("smtp.authentication.oauth2.caSecretRef", a.OAuth2.CASecretRef)
			}
		}
	}
	if s.SES != nil {
		add("ses.credentials.secretRef", s.SES.Credentials.SecretRef)
	}
	if s.SendGrid != nil {
		add("sendGrid.secretRef", &s.SendGrid.SecretRef)
	}
	if s.Mailgun != nil {
		add("mailgun.secretRef", &s.Mailgun.SecretRef)
	}
	if s.Postmark != nil {
		add("postmark.secretRef", &s.Postmark.SecretRef)
	}
	if s.Microsoft365 != nil {
		add("microsoft365.credentials.secretRef", s.Microsoft365.Credentials.SecretRef)
	}
	if s.DKIM != nil {
		add("dkim.secretRef", &s.DKIM.SecretRef)
	}
	return out
}

// SecretsMissing are the Secrets that an instance does not find. Of one that is
// still to be replaced, it says nothing: what is new it does not mount yet.
func (i *Instance) SecretsMissing() []string {
	if i.Report == nil || i.Outdated || i.Deployment == nil || behind(i.Deployment) {
		return nil
	}
	return i.Report.MissingSecrets
}

// namespace of the object that has the field.
func (r Reference) namespace() string {
	_, key, _ := strings.Cut(r.Object, " ")
	ns, _, _ := strings.Cut(key, "/")
	return ns
}

// notFound says that what is named is not there, and what to do.
func (r Reference) notFound() string {
	return fmt.Sprintf("%s: %s: %s %q is not in namespace %q: create it, or correct the name", r.Object, r.Field, r.Kind, r.Name, r.namespace())
}
