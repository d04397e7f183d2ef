package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/printerrelay/printer-relay/relay/history"
)

// Messages is a relay's history. *history.Store and *history.Stored implement it.
type Messages interface {
	List(ctx context.Context, f history.Filter) (history.Page, error)
	Show(ctx context.Context, id string) (history.Detail, error)
	Forget(ctx context.Context, f history.Filter) (int, error)
}

// Forgotten is the answer to POST /messages/forget.
type Forgotten struct {
	Forgotten int `json:"forgotten"` // entries
}

// messageRoutes serves GET /messages, what became of messages and what was refused, the
// newest first; GET /messages/{id}, one of them with all that happened to it; and POST
// /messages/forget. The relay is named as for /queue; the rest of the query is the
// selection.
func (s *Server) messageRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /messages", s.withMessages(func(r *http.Request, m Messages) (any, error) {
		f, err := HistorySelection(r.URL.Query())
		if err != nil {
			return nil, err
		}
		return m.List(r.Context(), f)
	}))
	mux.HandleFunc("GET /messages/{id}", s.withMessages(func(r *http.Request, m Messages) (any, error) {
		return m.Show(r.Context(), r.PathValue("id"))
	}))
	mux.HandleFunc("POST /messages/forget", s.withMessages(func(r *http.Request, m Messages) (any, error) {
		f, err := HistorySelection(r.URL.Query())
		if err != nil {
			return nil, err
		}
		n, err := m.Forget(r.Context(), f)
		if err != nil {
			return nil, err
		}
		s.Log.Info("entries of the history were erased by hand", "entries", n, "from", r.RemoteAddr, "by", s.caller(r))
		return Forgotten{n}, nil
	}))
}

func (s *Server) withMessages(h func(*http.Request, Messages) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		relay, err := s.relayOf(r.URL.Query().Get("relay"))
		var answer any
		if err == nil {
			takesLong(w)
			answer, err = h(r, relay.Messages())
		}
		if err != nil {
			answerError(w, err)
			return
		}
		writeJSON(w, answer)
	}
}

// HistorySelection reads a history.Filter from a query: since, until (times of RFC
// 3339, or how long ago, as a duration), client, sender, recipient, upstream, state,
// kind, text, limit, cursor.
func HistorySelection(q url.Values) (history.Filter, error) {
	f := history.Filter{
		Client: q.Get("client"), Sender: q.Get("sender"), Recipient: q.Get("recipient"), Upstream: q.Get("upstream"),
		State: history.State(q.Get("state")), Kind: history.Kind(q.Get("kind")), Text: q.Get("text"), Cursor: q.Get("cursor"),
	}
	var err error
	now := time.Now()
	if f.Since, err = Moment("since", q.Get("since"), now); err != nil {
		return f, err
	}
	if f.Until, err = Moment("until", q.Get("until"), now); err != nil {
		return f, err
	}
	if v := q.Get("limit"); v != "" {
		if f.Limit, err = strconv.Atoi(v); err != nil {
			return f, fmt.Errorf("limit %q: want a number", v)
		}
	}
	return f, nil
}

// Moment reads a time: as RFC 3339 has it, a date, or how long before now; empty: none.
func Moment(name, v string, now time.Time) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, v, time.Local); err == nil {
			return t, nil
		}
	}
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%s %q: want a time such as 2026-11-26T09:00:00Z or 2026-11-26, or how long ago, such as 90m or 48h", name, v)
}

// HistoryQuery is what HistorySelection reads f from.
func HistoryQuery(f history.Filter) url.Values {
	q := url.Values{}
	for k, v := range map[string]string{
		"client": f.Client, "sender": f.Sender, "recipient": f.Recipient, "upstream": f.Upstream, "state": string(f.State), "kind": string(f.Kind),
		"text": f.Text, "cursor": f.Cursor,
	} {
		if v != "" {
			q.Set(k, v)
		}
	}
	for k, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			q.Set(k, t.Format(time.RFC3339Nano))
		}
	}
	if f.Limit != 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// History is a client of the history of the relay that c asks.
func (c *Client) History() Messages { return historyClient{c} }

type historyClient struct{ *Client }

// List implements Messages.
func (c historyClient) List(ctx context.Context, f history.Filter) (p history.Page, err error) {
	err = c.ask(ctx, http.MethodGet, "/messages", HistoryQuery(f), &p)
	return p, err
}

// Show implements Messages.
func (c historyClient) Show(ctx context.Context, id string) (d history.Detail, err error) {
	err = c.ask(ctx, http.MethodGet, "/messages/"+url.PathEscape(id), nil, &d)
	return d, err
}

// Forget implements Messages.
func (c historyClient) Forget(ctx context.Context, f history.Filter) (int, error) {
	var done Forgotten
	err := c.ask(ctx, http.MethodPost, "/messages/forget", HistoryQuery(f), &done)
	return done.Forgotten, err
}
