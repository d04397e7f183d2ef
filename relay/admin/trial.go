package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/trial"
)

// Trier sends a test scan through a relay. Each step is told as it passes or fails;
// the error is about what could not be tried at all.
type Trier interface {
	Try(ctx context.Context, r trial.Request, told func(trial.Step)) error
}

// Bounds of trials: each is a message that leaves.
const (
	maxTrial    = 64 << 10 // octets of a request
	trialTime   = 5 * time.Minute
	trialsPause = time.Second // between two
)

// pace lets one trial begin in so long.
type pace struct {
	mu   sync.Mutex
	last time.Time
}

func (p *pace) take(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.last) < trialsPause {
		return false
	}
	p.last = now
	return true
}

// trialRoutes serves POST /test: the body is a trial.Request, the answer a line of
// JSON for each step as it comes.
func (s *Server) trialRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /test", func(w http.ResponseWriter, r *http.Request) {
		relay, err := s.relayOf(r.URL.Query().Get("relay"))
		if err != nil {
			answerError(w, err)
			return
		}
		answerError(w, s.try(w, r, relay))
	})
}

func (s *Server) try(w http.ResponseWriter, r *http.Request, relay Relay) error {
	t, ok := relay.(Trier)
	if !ok {
		return errors.New("this relay cannot be tried")
	}
	var q trial.Request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxTrial)).Decode(&q); err != nil {
		return errors.New("the request is no JSON of a test")
	}
	if err := q.Check(); err != nil {
		return err
	}
	if !s.trials.take(time.Now()) {
		return fmt.Errorf("a test has just begun: one begins every %s", trialsPause)
	}
	who := queue.PersonOf(r.Context())
	s.Log.Warn("test scan", "relay", relay.Key(), "by", who.Name, "client", q.Client, "user", q.User, "sender", q.From, "recipients", len(q.To), "via", q.Via)
	ctx, cancel := context.WithTimeout(r.Context(), trialTime)
	defer cancel()
	takesLong(w)
	e, began := json.NewEncoder(w), false
	err := t.Try(ctx, q, func(step trial.Step) {
		if !began {
			began = true
			w.Header().Set("Content-Type", "application/x-ndjson")
		}
		e.Encode(step)                        //nolint:errcheck // the caller went away, and the context ends
		http.NewResponseController(w).Flush() //nolint:errcheck // the same
	})
	if began {
		return nil
	}
	return err
}
