package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// headerRoom is what delivery may add to a message: Received, a rewritten From
// and Reply-To, two signatures.
const headerRoom = 8 << 10

const defaultMessageSize = 40 << 20

func (c *compiler) listeners(self at) {
	ports := map[int32]string{}
	for i := range c.in.Relay.Spec.Listeners {
		l := &c.in.Relay.Spec.Listeners[i]
		field := fmt.Sprintf("spec.listeners[%d]", i)
		if other, ok := ports[l.Port]; ok {
			self.errorf(field+".port", "%d is the port of listener %q too: each needs its own", l.Port, other)
		}
		ports[l.Port] = l.Name
		if slices.ContainsFunc(c.out.Listeners, func(o Listener) bool { return o.Name == l.Name }) {
			self.errorf(field+".name", "%q is the name of another listener: each needs its own", l.Name)
		}
		c.out.Listeners = append(c.out.Listeners, c.listener(self, field, l))
	}
}

func (c *compiler) listener(self at, field string, l *v1alpha1.Listener) Listener {
	out := Listener{
		Name: l.Name, Port: int(l.Port),
		TLS:            ListenerTLS{Mode: TLSMode(cmp.Or(string(l.TLS.Mode), string(TLSStartTLS))), Profile: cmp.Or(string(l.TLS.Profile), string(v1alpha1.TLSIntermediate))},
		Auth:           c.auth(self, field+".authentication", l),
		Compat:         Compat{LineEndings: cmp.Or(string(l.Compatibility.LineEndings), string(v1alpha1.LineEndingsNormalize)), Lenient: l.Compatibility.CommandSyntax == v1alpha1.CommandSyntaxLenient},
		ProxyNetworks:  c.networks(self, field+".proxyProtocol.trustedNetworks", l.ProxyProtocol.TrustedNetworks),
		RedactReceived: l.ReceivedHeader == v1alpha1.ReceivedRedacted,
		MessageSize:    c.size(self, field+".limits.messageSize", l.Limits.MessageSize, defaultMessageSize),
		Recipients:     number(l.Limits.Recipients, 100),
		Connections:    number(l.Limits.Connections, 500),
		ConnsPerClient: number(l.Limits.ConnectionsPerClient, 20),
		IdleTimeout:    seconds(l.Limits.IdleTimeoutSeconds, 300),
	}
	for i := range l.TLS.CertificateRefs {
		out.TLS.Certificates = append(out.TLS.Certificates, c.secret(&l.TLS.CertificateRefs[i]))
	}
	if l.TLS.IssuerRef != nil {
		name := IssuedCertificate(c.in.Relay.Name, l.Name)
		out.TLS.Certificates = append(out.TLS.Certificates, c.secret(&v1alpha1.LocalReference{Name: name}))
	}
	for i := range l.ClientOverrides {
		out.Overrides = append(out.Overrides, c.override(self, fmt.Sprintf("%s.clientOverrides[%d]", field, i), &l.ClientOverrides[i]))
	}
	out.AdvertisedSize = c.advertised(self, field, out.MessageSize)
	return out
}

// IssuedCertificate is the name of the Secret that cert-manager puts the
// certificate of a listener with an issuerRef into, as the operator asks it to.
func IssuedCertificate(relay, listener string) string { return relay + "-" + listener }

func (c *compiler) auth(self at, field string, l *v1alpha1.Listener) ListenerAuth {
	a := &l.Authentication
	out := ListenerAuth{Mode: AuthMode(cmp.Or(string(a.Mode), string(AuthNone)))}
	if out.Mode == AuthNone {
		return out
	}
	out.Plaintext = a.Plaintext == v1alpha1.PlaintextAllow
	out.Secret = c.secret(a.SecretRef)
	out.Mechanisms = sasl(a.Mechanisms)
	if out.Secret == "" {
		self.errorf(field+".secretRef", "is required when mode is %s", out.Mode)
	}
	if out.Plaintext {
		self.warnf(field+".plaintext", "Allow: whoever can listen on the copiers' network learns their passwords")
	}
	return out
}

func sasl(in []v1alpha1.Mechanism) []string {
	var out []string
	for _, m := range in {
		out = append(out, saslNames[string(m)])
	}
	return out
}

func (c *compiler) override(self at, field string, o *v1alpha1.ClientOverride) ClientOverride {
	out := ClientOverride{
		Name: o.Name, Networks: c.networks(self, field+".clientNetworks", o.ClientNetworks),
		HideStartTLS: o.HideStartTLS, Mechanisms: sasl(o.Mechanisms),
	}
	if k := o.Compatibility; k != nil {
		out.LineEndings = string(k.LineEndings)
		if k.CommandSyntax != "" {
			lenient := k.CommandSyntax == v1alpha1.CommandSyntaxLenient
			out.Lenient = &lenient
		}
	}
	return out
}

// advertised is what EHLO says in SIZE (RFC 1870): the listener's own limit,
// or what the largest reachable upstream takes less what headers may add.
func (c *compiler) advertised(self at, field string, own int64) int64 {
	largest := c.out.takes(c.out.Ways())
	if largest == 0 || largest >= own {
		return own
	}
	self.warnf(field+".limits.messageSize", "%d octets, but no upstream takes more than %d: larger scans are refused", own, largest+headerRoom)
	return largest
}

func number(v *int32, def int) int {
	if v != nil {
		return int(*v)
	}
	return def
}
