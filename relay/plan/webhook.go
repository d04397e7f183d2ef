package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// Webhook is an address that is told what becomes of mail.
type Webhook struct {
	Name      string         `json:"name"`
	URL       string         `json:"url,omitempty"` // empty: the key url of Secret
	Events    []WebhookEvent `json:"events"`
	Secret    string         `json:"secret"`             // signingSecret, one a line; url
	CASecret  string         `json:"caSecret,omitempty"` // ca.crt; empty: the system's authorities
	Private   bool           `json:"private,omitempty"`  // it may be at a private or loopback address
	PerMinute int            `json:"perMinute"`          // requests
}

// WebhookEvent is a type of event, as the payload has it.
type WebhookEvent string

// The types of events.
const (
	EventFailed   WebhookEvent = "message.failed"
	EventDelayed  WebhookEvent = "message.delayed"
	EventHeld     WebhookEvent = "message.held"
	EventAccepted WebhookEvent = "message.accepted"
	EventRefused  WebhookEvent = "message.refused"
	EventTest     WebhookEvent = "webhook.test" // by hand; no manifest asks for it
)

var webhookEvents = map[v1alpha1.WebhookEvent]WebhookEvent{
	v1alpha1.WebhookMessageFailed:   EventFailed,
	v1alpha1.WebhookMessageDelayed:  EventDelayed,
	v1alpha1.WebhookMessageHeld:     EventHeld,
	v1alpha1.WebhookMessageAccepted: EventAccepted,
	v1alpha1.WebhookMessageRefused:  EventRefused,
}

// webhookPerMinute is how often a webhook is asked where the manifest does not say.
const webhookPerMinute = 30

func (c *compiler) webhooks(self at) {
	for i := range c.in.Relay.Spec.Webhooks {
		w := &c.in.Relay.Spec.Webhooks[i]
		field := fmt.Sprintf("spec.webhooks[%d]", i)
		out := Webhook{
			Name: w.Name, URL: string(w.URL), Secret: c.secret(&w.SecretRef), CASecret: c.secret(w.CASecretRef),
			Private: w.AllowPrivateHosts, PerMinute: webhookPerMinute,
		}
		if w.RequestsPerMinute != nil {
			out.PerMinute = int(*w.RequestsPerMinute)
		}
		events := w.Events
		if len(events) == 0 {
			events = []v1alpha1.WebhookEvent{v1alpha1.WebhookMessageFailed, v1alpha1.WebhookMessageDelayed}
		}
		for _, e := range events {
			out.Events = append(out.Events, webhookEvents[e])
		}
		slices.Sort(out.Events)
		if slices.Contains(w.Events, v1alpha1.WebhookMessageDelayed) && c.out.Delivery.Warn == 0 {
			self.warnf(field+".events", "MessageDelayed never happens with delivery.warnAfterSeconds: 0")
		}
		c.webhookURL(self, field+".url", out)
		c.out.Webhooks = append(c.out.Webhooks, out)
	}
}

// webhookURL says what is wrong with the address, as far as it can be seen without
// asking DNS: the rest is judged when it is connected to.
func (c *compiler) webhookURL(self at, field string, w Webhook) {
	if w.URL == "" {
		return // it is in the Secret
	}
	if err := CheckWebhookURL(w.URL, w.Private); err != nil {
		self.errorf(field, "%v", err)
		return
	}
	inClear(self, field, "who sent what to whom travels", w.URL)
}

// CheckWebhookURL says what is wrong with the address of a webhook that may be at a
// private address, or not; nil: nothing that could be seen without asking DNS. What it
// says does not show the address, which may be a credential.
func CheckWebhookURL(address string, private bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.ContainsAny(address, " \t\r\n"):
		return errors.New("is no URL to post to: write it as https://hooks.example.com/printer-relay, without user and fragment")
	case u.Scheme == "http" && !private:
		return errors.New("http would carry who sent what to whom in clear: use https; or set allowPrivateHosts too, for an address nearby")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("its scheme is no way to post to: use https")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		return checkWebhookAddress(a.Unmap().WithZone(""), private)
	}
	return nil // a name
}

func checkWebhookAddress(a netip.Addr, private bool) error {
	switch {
	case a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified():
		return fmt.Errorf("%s is link-local or no address of a host, and no webhook is there: correct the host", a)
	case (a.IsPrivate() || a.IsLoopback()) && !private:
		return fmt.Errorf("%s is a private address: set allowPrivateHosts if that is meant", a)
	}
	return nil
}
