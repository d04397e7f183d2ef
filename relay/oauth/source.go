// Package oauth gets access tokens by the client-credentials grant (RFC 6749 4.4):
// with a client secret, with a certificate (RFC 7523), or with the token of the
// Pod's ServiceAccount (workload identity federation).
//
// It may import relay/plan, relay/remedy, relay/secrets, relay/reply, upstream/egress
// and upstream/httpapi.
package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// Config is what New takes. Name, OAuth and, where OAuth names one, Secrets are
// required.
type Config struct {
	Name    string // of the MailUpstream, for the log
	OAuth   plan.OAuth
	Private bool // the authorization server may be at a private or loopback address
	Secrets func() secrets.Source
	Log     *slog.Logger

	// For tests: what takes the place of the network (addresses are then not judged)
	// and of the environment.
	Transport http.RoundTripper
	Getenv    func(string) string
}

// Bounds of asking for tokens.
const (
	requestTime  = 45 * time.Second // of one request, redirects not followed
	afterFailure = 5 * time.Second  // between two requests while there is no token
	whileValid   = time.Minute      // ... while there is one that holds
	maxPause     = 10 * time.Minute // that the server may ask for (Retry-After)
	rejectGap    = time.Minute      // between two tokens that are dropped because somebody refused them
	unknownLife  = 10 * time.Minute // of a token whose life the server does not tell
	maxLife      = 24 * time.Hour   // that a token is believed to live
)

// Source gives tokens of one client. It is safe for concurrent use.
//
// A token is fetched when somebody asks for one, and anew after three quarters of
// its life: the old one is given until the new one is there, so that no delivery
// waits. It is fetched anew too when the Secret holds another credential.
type Source struct {
	c Config

	mu       sync.Mutex
	now      grant       // the token in use; zero: there is none
	good     *credential // the last that was read whole
	warning  string      // why what is in the Secret is not used
	flight   *flight     // the request that is under way
	failed   failure     // the last request, where no token came of it
	rejected time.Time   // when a token was dropped last
	inParams bool        // the server wants the secret in the form, not in a field of the header
	closed   bool
}

// grant is a token that was got.
type grant struct {
	token   string
	of      string // fingerprint of the credential that got it
	renew   time.Time
	expires time.Time
}

func (g *grant) holds(t time.Time) bool { return g.token != "" && t.Before(g.expires) }

type failure struct {
	err   error
	of    string // fingerprint of the credential
	at    time.Time
	until time.Time // not to ask before
}

// flight is one request, for all who wait.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	token   string // with err, once done is closed
	err     error
}

// New makes a source; the error says what is wrong with the token URL. Nothing is
// asked for yet.
func New(c Config) (*Source, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Secrets == nil {
		c.Secrets = func() secrets.Source { return secrets.Map{} }
	}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	s := &Source{c: c}
	if _, err := s.client(c.OAuth.TokenURL, nil); err != nil {
		return nil, err
	}
	return s, nil
}

// Token gives an access token that holds. Its error is in words that a person can
// act on, and shows no secret.
func (s *Source) Token(ctx context.Context) (string, error) { return s.get(ctx, false) }

// get gives a token; fresh wants the one of the credential as it is now, and its
// error, also where an older token still holds.
func (s *Source) get(ctx context.Context, fresh bool) (string, error) {
	read, problem := s.read()
	s.mu.Lock()
	cred, err := s.choose(read, problem)
	if err != nil {
		s.mu.Unlock()
		return "", err
	}
	now := time.Now()
	holds, changed := s.now.holds(now), s.now.of != cred.id
	if s.flight == nil && (!holds || !s.closed && (changed || !now.Before(s.now.renew))) && s.mayAsk(now, cred) {
		s.take(cred)
	}
	f := s.flight
	switch {
	case holds && !(fresh && changed && !s.closed):
		defer s.mu.Unlock()
		return s.now.token, nil
	case f == nil:
		defer s.mu.Unlock()
		return "", s.failed.err
	}
	f.waiters++
	s.mu.Unlock()
	defer s.leave(f)
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return "", fmt.Errorf("stopped while waiting for a token: %w", ctx.Err())
	}
}

// choose gives the credential to use: the one in the Secret, or the one before
// while the Secret is half written or cannot be read. A Secret that is gone was
// taken away, and no token of it is used any more.
func (s *Source) choose(read *credential, problem error) (*credential, error) {
	switch {
	case problem == nil:
		s.good, s.warning = read, ""
		return read, nil
	case s.good != nil && !errors.Is(problem, secrets.ErrNotFound):
		if s.warning != problem.Error() {
			s.warning = problem.Error()
			s.c.Log.Warn("the credential before stays in use", "upstream", s.c.Name, "cause", problem)
		}
		return s.good, nil
	}
	s.good, s.now, s.warning = nil, grant{}, ""
	return nil, problem
}

// mayAsk bounds how often the server is asked.
func (s *Source) mayAsk(now time.Time, cred *credential) bool {
	if s.failed.err == nil || s.failed.of != cred.id {
		return true
	}
	pause := s.failed.until
	if s.now.holds(now) {
		pause = s.failed.at.Add(whileValid)
	}
	return !now.Before(pause)
}

// take asks for a token. It ends by itself, also where nobody waits for it any more.
func (s *Source) take(cred *credential) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	f := &flight{done: make(chan struct{}), cancel: cancel}
	s.flight = f
	inParams := s.inParams
	go func() {
		defer cancel()
		a, err := s.request(ctx, cred, inParams)
		s.mu.Lock()
		s.land(f, cred, a, err)
		s.mu.Unlock()
		close(f.done)
	}()
}

// land keeps what came of a request.
func (s *Source) land(f *flight, cred *credential, a answer, err error) {
	s.flight, f.token, f.err = nil, a.token, err
	now := time.Now()
	if err != nil {
		s.failed = failure{err: err, of: cred.id, at: now, until: now.Add(afterFailure)}
		var e *Error
		if errors.As(err, &e) && e.RetryIn > 0 {
			s.failed.until = now.Add(min(e.RetryIn, maxPause))
		}
		if s.now.holds(now) {
			attrs := []any{"upstream", s.c.Name, "until", s.now.expires, "cause", err}
			if todo := advice(err); todo != "" {
				attrs = append(attrs, "remedy", todo)
			}
			s.c.Log.Warn("no new token: the one before stays in use", attrs...)
		}
		return
	}
	s.failed, s.inParams = failure{}, a.inParams
	if s.good == nil { // its Secret was taken away meanwhile
		return
	}
	s.now = grant{token: a.token, of: cred.id, renew: now.Add(a.life / 4 * 3), expires: now.Add(a.life)}
}

// leave ends a flight of a closed source that nobody waits for.
func (s *Source) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiters--; f.waiters == 0 && s.closed {
		f.cancel()
	}
}

// Reject tells that a server refused the token: it is not given again, and the
// next Token fetches another one. A server that refuses every token does not make
// a storm of requests: within a minute only one is dropped.
func (s *Source) Reject(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if token != s.now.token || token == "" || !s.rejected.IsZero() && now.Before(s.rejected.Add(rejectGap)) {
		return
	}
	s.now, s.rejected = grant{}, now
}

// Close ends what is done ahead of need. Who has no token that holds may still get
// one, for deliveries that end by their own.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	f := s.flight
	idle := f != nil && f.waiters == 0
	if idle {
		f.cancel()
	}
	s.mu.Unlock()
	if idle {
		<-f.done
	}
	return nil
}

// Grant is what is known of the token and of the credential behind it.
type Grant struct {
	Claims
	Token             time.Time // when it expires
	CredentialExpires time.Time // the certificate's end; zero: not known (a client secret does not tell)
	Warning           string    // what works today and needs a person; empty: nothing
}

// Inspect gets a token as Token does, for the credential that the Secret holds now,
// and tells what is known of it.
func (s *Source) Inspect(ctx context.Context) (Grant, error) {
	token, err := s.get(ctx, true)
	if err != nil {
		return Grant{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := Grant{Claims: DecodeClaims(token), Token: s.now.expires, Warning: s.warning}
	if s.good != nil {
		g.CredentialExpires = s.good.expires
	}
	if s.failed.err != nil {
		what := "the token cannot be renewed: " + s.failed.err.Error()
		if todo := advice(s.failed.err); todo != "" {
			what += "; " + todo
		}
		g.Warning = cmp.Or(g.Warning, what)
	}
	return g, nil
}

// advice says what an error means and what to do; empty: the table has nothing. Who
// gets the error itself looks there, too.
func advice(err error) string {
	a, _ := remedy.Find(remedy.Failure{Text: err.Error()})
	return a.String()
}
