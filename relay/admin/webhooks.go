package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

// Webhooks are the web addresses that a relay tells what becomes of mail. *webhook.Hooks
// implements it.
type Webhooks interface {
	// List gives them with what waits.
	List(ctx context.Context) ([]webhook.Status, error)
	// Test sends one of them a test event, or all where name is empty.
	Test(ctx context.Context, name string) ([]webhook.Tested, error)
}

// WebhookList is the document of GET /webhooks.
type WebhookList struct {
	Webhooks []webhook.Status `json:"webhooks"`
}

// WebhookTests is the answer to POST /webhooks/test.
type WebhookTests struct {
	Tests []webhook.Tested `json:"tests"`
}

// webhookTime bounds what is asked of the webhooks: a test takes half a minute at most.
const webhookTime = 50 * time.Second

// webhookRoutes serves GET /webhooks, how each stands and what waits for it, and POST
// /webhooks/test, which sends a test event to the one that ?webhook=NAME names, or to all.
// The relay is named as for /queue.
func (s *Server) webhookRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /webhooks", s.withWebhooks(func(r *http.Request, _ Relay, w Webhooks) (any, error) {
		all, err := w.List(r.Context())
		return WebhookList{all}, err
	}))
	mux.HandleFunc("POST /webhooks/test", s.withWebhooks(func(r *http.Request, relay Relay, w Webhooks) (any, error) {
		if !s.tests.take(time.Now()) {
			return nil, fmt.Errorf("a test of the webhooks has just begun: one begins every %s", trialsPause)
		}
		name := r.URL.Query().Get("webhook")
		s.Log.Warn("test of webhooks", "relay", relay.Key(), "webhook", name, "by", queue.PersonOf(r.Context()).Name)
		all, err := w.Test(r.Context(), name)
		return WebhookTests{all}, err
	}))
}

func (s *Server) withWebhooks(h func(*http.Request, Relay, Webhooks) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		relay, err := s.relayOf(r.URL.Query().Get("relay"))
		var answer any
		if err == nil {
			ctx, cancel := context.WithTimeout(r.Context(), webhookTime)
			defer cancel()
			answer, err = h(r.WithContext(ctx), relay, relay.Webhooks())
		}
		if err != nil {
			answerError(w, err)
			return
		}
		writeJSON(w, answer)
	}
}

// Webhooks is a client of the webhooks of the relay that c asks.
func (c *Client) Webhooks() Webhooks { return webhookClient{c} }

type webhookClient struct{ *Client }

// List implements Webhooks.
func (c webhookClient) List(ctx context.Context) ([]webhook.Status, error) {
	var d WebhookList
	err := c.ask(ctx, http.MethodGet, "/webhooks", nil, &d)
	return d.Webhooks, err
}

// Test implements Webhooks.
func (c webhookClient) Test(ctx context.Context, name string) ([]webhook.Tested, error) {
	q := url.Values{}
	if name != "" {
		q.Set("webhook", name)
	}
	var d WebhookTests
	err := c.ask(ctx, http.MethodPost, "/webhooks/test", q, &d)
	return d.Tests, err
}
