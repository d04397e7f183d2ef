package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// past is a history that notes what it is asked.
type past struct {
	asked history.Filter
	err   error
}

func (p *past) List(_ context.Context, f history.Filter) (history.Page, error) {
	p.asked = f
	return history.Page{Entries: []history.Entry{{ID: "B", State: history.Accepted}}, Next: "B"}, p.err
}

func (p *past) Show(_ context.Context, id string) (history.Detail, error) {
	return history.Detail{Entry: history.Entry{ID: id}}, p.err
}

func (p *past) Forget(_ context.Context, f history.Filter) (int, error) {
	p.asked = f
	return 3, p.err
}

func TestMessages(t *testing.T) {
	h := &past{}
	f := well("ns/office")
	f.messages = h
	l := httptest.NewServer(New(config(f)).http.Handler)
	defer l.Close()
	c := NewClient(t.Context(), strings.TrimPrefix(l.URL, "http://"), "").History()
	when := time.Date(2026, 11, 26, 9, 30, 0, 123, time.UTC)
	want := history.Filter{
		Since: when, Until: when.Add(time.Hour), Client: "10.0.0.0/8", Sender: "<>", Recipient: "corp.example", Upstream: "ses",
		State: history.Failed, Kind: history.Message, Text: "a b&c", Limit: 7, Cursor: "X",
	}
	p, err := c.List(t.Context(), want)
	if err != nil || p.Next != "B" || len(p.Entries) != 1 || p.Entries[0].State != history.Accepted {
		t.Errorf("%+v %v", p, err)
	}
	if !reflect.DeepEqual(h.asked, want) {
		t.Errorf("got  %+v\nwant %+v", h.asked, want)
	}
	if d, err := c.Show(t.Context(), "a/b"); err != nil || d.ID != "a/b" {
		t.Error(d, err)
	}
	if n, err := c.Forget(t.Context(), want); err != nil || n != 3 || h.asked.Sender != "<>" {
		t.Error(n, err, h.asked)
	}
	for _, x := range []struct {
		path   string
		err    error
		status int
	}{
		{"/messages?since=yesterday", nil, http.StatusBadRequest},
		{"/messages?limit=x", nil, http.StatusBadRequest},
		{"/messages?relay=ns/other", nil, http.StatusBadRequest},
		{"/messages?since=48h", nil, http.StatusOK},
		{"/messages?until=2026-11-26", nil, http.StatusOK},
		{"/messages/none", history.ErrNotFound, http.StatusNotFound},
		{"/messages", fmt.Errorf("%w: x", history.ErrOff), http.StatusServiceUnavailable},
		{"/messages", errors.New("x"), http.StatusBadRequest},
	} {
		h.err = x.err
		if w := ask(config(f), http.MethodGet, x.path); w.Code != x.status {
			t.Errorf("%s, %v: %d %s", x.path, x.err, w.Code, w.Body)
		}
	}
}

// All of it holds addresses: it is for whom Authorize lets in.
func TestMessagesAreGuarded(t *testing.T) {
	f := well("ns/office")
	f.messages = &past{}
	c := config(f)
	c.Authorize = func(*http.Request) (string, error) { return "", errors.New("not you") }
	for _, x := range [][2]string{{http.MethodGet, "/messages"}, {http.MethodGet, "/messages/A"}, {http.MethodPost, "/messages/forget?sender=x@y"}} {
		if w := ask(c, x[0], x[1]); w.Code != http.StatusForbidden {
			t.Errorf("%v: %d %s", x, w.Code, w.Body)
		}
	}
	cross := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	if w := ask(config(f), http.MethodPost, "/messages/forget?sender=x@y", cross); w.Code != http.StatusForbidden {
		t.Errorf("a page of another site can have entries erased: %d", w.Code)
	}
}

func TestMoment(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Time{
		"": {}, "48h": now.Add(-48 * time.Hour), "2026-11-26T09:00:00+01:00": now.Add(-4 * time.Hour), "2026-11-26": time.Date(2026, 11, 26, 0, 0, 0, 0, time.Local),
	} {
		if got, err := Moment("since", v, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v %v", v, got, err)
		}
	}
	for _, v := range []string{"-1h", "soon", "2026-13-01"} {
		if got, err := Moment("since", v, now); err == nil || !strings.Contains(err.Error(), "since") {
			t.Errorf("%q: %v %v", v, got, err)
		}
	}
}

// Who does something with the queue is kept with it, as Authorize says; never what a
// bearer that nobody verified says.
func TestCallersAreKnown(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9." + encode(t, map[string]any{"sub": "system:serviceaccount:ns:office-queue"}) + ".c2ln"
	bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	for _, x := range []struct {
		name      string
		authorize func(*http.Request) (string, error)
		with      []func(*http.Request)
		want      string
	}{
		{"Authorize knows", func(*http.Request) (string, error) { return "somebody", nil }, []func(*http.Request){bearer}, "somebody"},
		{"loopback", nil, nil, "loopback"},
		{"loopback, a token that nobody verified", nil, []func(*http.Request){bearer}, "loopback"},
	} {
		f := &actors{relayOf: relayOf{well("ns/office")}}
		c := config()
		c.Relays, c.Authorize = func() []Relay { return []Relay{f} }, x.authorize
		if w := ask(c, http.MethodPost, "/queue/retry?all=true", x.with...); w.Code != http.StatusOK || f.who != x.want {
			t.Errorf("%s: %d, by %q, want %q", x.name, w.Code, f.who, x.want)
		}
	}
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// actors is a relay that notes who acts.
type actors struct {
	relayOf
	who string
}

func (a *actors) Queue() Queue { return actorQueue{a.fake, a} }

type actorQueue struct {
	*fake
	a *actors
}

func (q actorQueue) Retry(ctx context.Context, _ queue.Filter) ([]string, error) {
	q.a.who = queue.PersonOf(ctx).Name
	return nil, nil
}
