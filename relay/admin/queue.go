package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

// Queue is a relay's queue, as far as the admin port controls it. *queue.Queue
// implements it.
type Queue interface {
	List(f queue.Filter) (queue.Page, error)
	Show(id string) (queue.Detail, error)
	Export(ctx context.Context, id string) (io.ReadCloser, error)
	Retry(ctx context.Context, f queue.Filter) ([]string, error)
	Hold(ctx context.Context, f queue.Filter, reason string) ([]string, error)
	Release(ctx context.Context, f queue.Filter) ([]string, error)
	Bounce(ctx context.Context, f queue.Filter, reason string) ([]string, error)
	Reroute(ctx context.Context, f queue.Filter, to string) ([]string, error)
	Remove(ctx context.Context, f queue.Filter) ([]string, error)
}

// Changed is the answer to a verb: the queue IDs that it changed, and the messages
// that it left as they were.
type Changed struct {
	Changed []string     `json:"changed"`
	Kept    []queue.Kept `json:"kept,omitempty"`
}

// queueRoutes serves GET /queue (a page as JSON, or all as CSV), /queue/{id} and /queue/{id}/export, and POST
// /queue/{verb}. The relay is named by ?relay=namespace/name where there is
// more than one; the rest of the query is the selection.
func (s *Server) queueRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /queue", s.withQueue(func(w http.ResponseWriter, r *http.Request, q Queue) error {
		f, err := Selection(r.URL.Query())
		if err != nil {
			return err
		}
		if strings.Contains(r.Header.Get("Accept"), csvType) {
			return writeCSV(w, q, f)
		}
		page, err := q.List(f)
		if err != nil {
			return err
		}
		writeJSON(w, page)
		return nil
	}))
	mux.HandleFunc("GET /queue/{id}", s.withQueue(func(w http.ResponseWriter, r *http.Request, q Queue) error {
		d, err := q.Show(r.PathValue("id"))
		if err != nil {
			return err
		}
		writeJSON(w, d)
		return nil
	}))
	mux.HandleFunc("GET /queue/{id}/export", s.withQueue(func(w http.ResponseWriter, r *http.Request, q Queue) error {
		body, err := q.Export(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		defer body.Close()
		w.Header().Set("Content-Type", "message/rfc822")
		takesLong(w)
		if _, err := io.Copy(w, body); err != nil {
			panic(http.ErrAbortHandler) // the caller must not take a part for the whole
		}
		return nil
	}))
	mux.HandleFunc("POST /queue/{verb}", s.withQueue(s.verb))
}

func (s *Server) verb(w http.ResponseWriter, r *http.Request, q Queue) error {
	query := r.URL.Query()
	f, err := Selection(query)
	if err != nil {
		return err
	}
	takesLong(w)
	var ids []string
	verb := r.PathValue("verb")
	switch verb {
	case "retry":
		ids, err = q.Retry(r.Context(), f)
	case "hold":
		ids, err = q.Hold(r.Context(), f, query.Get("reason"))
	case "release":
		ids, err = q.Release(r.Context(), f)
	case "bounce":
		ids, err = q.Bounce(r.Context(), f, query.Get("reason"))
	case "reroute":
		ids, err = q.Reroute(r.Context(), f, query.Get("to"))
	case "remove":
		ids, err = q.Remove(r.Context(), f)
	default:
		return fmt.Errorf("no verb %q: use retry, hold, release, bounce, reroute or remove", verb)
	}
	done := Changed{Changed: ids}
	var kept *queue.KeptError
	if errors.As(err, &kept) {
		done.Kept, err = kept.Messages, nil
	}
	if err != nil {
		return err
	}
	who := queue.PersonOf(r.Context())
	s.Log.Info("queue changed by hand", "verb", verb, "messages", len(ids), "kept", len(done.Kept), "from", r.RemoteAddr, "by", who.Name, "override", who.Override)
	writeJSON(w, done)
	return nil
}

// takesLong gives an answer as long as a Client waits for it.
func takesLong(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(callTime)) //nolint:errcheck // fails where there is no connection, and so no deadline
}

func (s *Server) withQueue(h func(http.ResponseWriter, *http.Request, Queue) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		relay, err := s.relayOf(r.URL.Query().Get("relay"))
		if err == nil {
			err = h(w, r, relay.Queue())
		}
		answerError(w, err)
	}
}

// answerError says what was wrong with a request; nil: nothing.
func answerError(w http.ResponseWriter, err error) {
	switch {
	case err == nil:
	case errors.Is(err, queue.ErrNotFound), errors.Is(err, errNoSession), errors.Is(err, history.ErrNotFound), errors.Is(err, inventory.ErrNotFound), errors.Is(err, webhook.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, history.ErrOff):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (s *Server) relayOf(name string) (Relay, error) {
	relays := s.Relays()
	if name == "" && len(relays) == 1 {
		return relays[0], nil
	}
	var names []string
	for _, r := range relays {
		if r.Key() == name {
			return r, nil
		}
		names = append(names, r.Key())
	}
	if len(names) == 0 {
		return nil, errors.New("no relay runs here yet")
	}
	if name == "" {
		return nil, fmt.Errorf("%d relays run here: name one with --relay: %s", len(names), strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("no relay %q runs here: name one of %s with --relay", name, strings.Join(names, ", "))
}

// Selection reads a queue.Filter from a query: id (repeated), upstream, sender,
// client, older-than (a duration), state, held-by, all, limit, cursor.
func Selection(q url.Values) (queue.Filter, error) {
	f := queue.Filter{
		IDs: q["id"], Upstream: q.Get("upstream"), Sender: q.Get("sender"), Client: q.Get("client"),
		State: queue.State(q.Get("state")), HeldBy: q.Get("held-by"), All: q.Get("all") == "true", Cursor: q.Get("cursor"),
	}
	var err error
	if v := q.Get("older-than"); v != "" {
		if f.OlderThan, err = time.ParseDuration(v); err != nil {
			return f, fmt.Errorf("older-than %q: want a duration such as 90m or 48h", v)
		}
	}
	if v := q.Get("limit"); v != "" {
		if f.Limit, err = strconv.Atoi(v); err != nil {
			return f, fmt.Errorf("limit %q: want a number", v)
		}
	}
	return f, nil
}
