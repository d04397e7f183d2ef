package plan_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
)

func TestWebhooks(t *testing.T) {
	for name, c := range map[string]struct {
		spec string // of the webhook, behind its name and Secret
		want plan.Webhook
		says string
	}{
		"as short as it can be": {"url: https://hooks.example/x", plan.Webhook{URL: "https://hooks.example/x", Events: []plan.WebhookEvent{"message.delayed", "message.failed"}, PerMinute: 30}, ""},
		"all of it": {
			"url: https://10.1.2.3:8443, events: [MessageHeld, MessageAccepted], caSecretRef: {name: ca}, allowPrivateHosts: true, requestsPerMinute: 5",
			plan.Webhook{URL: "https://10.1.2.3:8443", Events: []plan.WebhookEvent{"message.accepted", "message.held"}, CASecret: "ca", Private: true, PerMinute: 5},
			"",
		},
		"an address in the Secret": {"requestsPerMinute: 5", plan.Webhook{Events: []plan.WebhookEvent{"message.delayed", "message.failed"}, PerMinute: 5}, ""},
		"in clear":                 {"url: http://hooks.example", plan.Webhook{}, "error: spec.webhooks[0].url: http would carry who sent what to whom in clear: use https"},
		"in clear nearby":          {"url: http://hooks.example, allowPrivateHosts: true", plan.Webhook{}, "warning: spec.webhooks[0].url: http://hooks.example: who sent what to whom travels in clear"},
		"private":                  {"url: https://10.1.2.3", plan.Webhook{}, "error: spec.webhooks[0].url: 10.1.2.3 is a private address: set allowPrivateHosts if that is meant"},
		"loopback":                 {"url: 'https://[::1]'", plan.Webhook{}, "error: spec.webhooks[0].url: ::1 is a private address"},
		"metadata":                 {"url: https://169.254.169.254, allowPrivateHosts: true", plan.Webhook{}, "error: spec.webhooks[0].url: 169.254.169.254 is link-local"},
		"without a host":           {"url: 'https://:443'", plan.Webhook{}, "error: spec.webhooks[0].url: is no URL to post to"},
		"what never happens":       {"url: https://hooks.example, events: [MessageDelayed]", plan.Webhook{}, "warning: spec.webhooks[0].events: MessageDelayed never happens"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(small, "  listeners:", "  webhooks: [{name: tickets, secretRef: {name: hook}, "+c.spec+"}]\n  listeners:", 1)
			if strings.HasPrefix(name, "what never") {
				text = strings.Replace(text, "delivery: {", "delivery: {warnAfterSeconds: 0, ", 1)
			}
			pl, found := compileYAML(t, text)
			if c.says != "" {
				for _, d := range found {
					if strings.HasPrefix(fmt.Sprintf("%s: %s: %s", d.Severity, d.Field, d.Message), c.says) {
						return
					}
				}
				t.Fatalf("%v does not say %s", found, c.says)
			}
			c.want.Name, c.want.Secret = "tickets", "hook"
			if found.Failed() || len(pl.Webhooks) != 1 || !reflect.DeepEqual(pl.Webhooks[0], c.want) {
				t.Errorf("%+v, want %+v; %v", pl.Webhooks, c.want, found)
			}
			for _, name := range []string{c.want.Secret, c.want.CASecret} {
				if name != "" && !strings.Contains(strings.Join(pl.SecretRefs, " "), name) {
					t.Errorf("Secret %s is not mounted: %v", name, pl.SecretRefs)
				}
			}
		})
	}
}

// What is wrong with an address in a Secret is said without what it is.
func TestWebhookURLs(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://hooks.example":                      true,
		"https://hooks.example/a/b?sig=hunter2%2B&x": true,
		"https://user:hunter2@hooks.example":         false,
		"https://hooks.example/#hunter2":             false,
		"https://hooks.example/hunter2 x":            false,
		"https://hooks.example/hunter2\nx":           false,
		"hunter2":                                    false,
		"ftp://hooks.example/hunter2":                false,
		"hunter2://hooks.example":                    false,
		"hunter2:y":                                  false,
		"https://%zz/hunter2":                        false,
		"https://[::ffff:169.254.169.254]/hunter2":   false,
	} {
		err := plan.CheckWebhookURL(address, true)
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", address, err)
		}
	}
}
