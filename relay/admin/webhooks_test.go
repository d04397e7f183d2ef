package admin

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

// told are webhooks that note what they are asked.
type told struct{ asked []string }

func (w *told) List(ctx context.Context) ([]webhook.Status, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, fmt.Errorf("a list without an end")
	}
	return []webhook.Status{{State: webhook.State{Name: "tickets", Waiting: 1}, Pending: []webhook.Pending{{ID: "m1", Tries: 2}}}}, nil
}

func (w *told) Test(_ context.Context, name string) ([]webhook.Tested, error) {
	w.asked = append(w.asked, name)
	if name == "nobody" {
		return nil, fmt.Errorf("%q: %w", name, webhook.ErrNotFound)
	}
	return []webhook.Tested{{Webhook: "tickets", OK: true, Reply: &webhook.Reply{Status: 204}}}, nil
}

// webhookPort is the admin port of a relay with webhooks, which may be asked as fast as
// it goes.
func webhookPort(t *testing.T, w Webhooks, log *slog.Logger) (*Server, *Client) {
	t.Helper()
	f := well("ns/office")
	f.webhooks = w
	c := config(f)
	if log != nil {
		c.Log = log
	}
	s := New(c)
	l := httptest.NewServer(s.http.Handler)
	t.Cleanup(l.Close)
	return s, NewClient(t.Context(), strings.TrimPrefix(l.URL, "http://"), "")
}

func TestWebhooks(t *testing.T) {
	var log bytes.Buffer
	w := &told{}
	s, c := webhookPort(t, w, slog.New(slog.NewTextHandler(&log, nil)))
	all, err := c.Webhooks().List(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "tickets" || all[0].Waiting != 1 || all[0].Pending[0].Tries != 2 {
		t.Errorf("%+v %v", all, err)
	}
	ctx := queue.WithPerson(t.Context(), queue.Person{Name: "pat"})
	tests, err := c.Webhooks().Test(ctx, "tickets")
	if err != nil || len(tests) != 1 || !tests[0].OK || tests[0].Reply.Status != 204 {
		t.Errorf("%+v %v", tests, err)
	}
	if !strings.Contains(log.String(), "test of webhooks") || !strings.Contains(log.String(), "pat") {
		t.Errorf("the log does not say who it was: %s", &log)
	}
	if _, err := c.Webhooks().Test(ctx, ""); err == nil || !strings.Contains(err.Error(), "has just begun") {
		t.Errorf("tests as fast as it goes: %v", err)
	}
	s.tests = pace{}
	if _, err := c.Webhooks().Test(ctx, "nobody"); err == nil || !strings.Contains(err.Error(), "no such webhook is in spec.webhooks") {
		t.Error(err)
	}
	if got := fmt.Sprint(w.asked); got != "[tickets nobody]" {
		t.Error(got)
	}
}

// What the webhooks tell is for whom the admin port lets in, and a test is no page that
// somebody is lured to.
func TestWebhooksAreGuarded(t *testing.T) {
	f := well("ns/office")
	w := &told{}
	f.webhooks = w
	c := config(f)
	c.Authorize = func(*http.Request) (string, error) { return "", fmt.Errorf("nobody") }
	for method, path := range map[string]string{http.MethodGet: "/webhooks", http.MethodPost: "/webhooks/test"} {
		if got := ask(c, method, path); got.Code != http.StatusForbidden {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
	c.Authorize = nil
	if got := ask(c, http.MethodGet, "/webhooks/test"); got.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", got.Code)
	}
	cross := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	if got := ask(c, http.MethodPost, "/webhooks/test", cross); got.Code != http.StatusForbidden || len(w.asked) != 0 {
		t.Errorf("from another site: %d, %q", got.Code, w.asked)
	}
}
