package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	entraURL = "https://login.microsoftonline.com/t/oauth2/v2.0/token"
	canary   = "s3cr3t-canary"
)

// server is an authorization server in memory.
type server struct {
	mu       sync.Mutex
	requests []request
	answer   func(r request) (status int, body string) // nil: a token that lives an hour
	life     int
	wait     chan struct{} // if set, an answer waits for it
}

type request struct {
	url.Values
	user, password string
	basic          bool
	url            string
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, err
	}
	q := request{Values: form, url: r.URL.String()}
	q.user, q.password, q.basic = r.BasicAuth()
	s.mu.Lock()
	s.requests = append(s.requests, q)
	n, answer, wait, life := len(s.requests), s.answer, s.wait, s.life
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if life == 0 {
		life = 3600
	}
	status, body := 200, fmt.Sprintf(`{"token_type":"Bearer","access_token":"token-%d","expires_in":%d}`, n, life)
	if answer != nil {
		if st, b := answer(q); st != 0 {
			status, body = st, b
		}
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if status == 429 {
		h.Set("Retry-After", "60")
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *server) set(do func(*server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do(s)
}

func (s *server) last() request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[len(s.requests)-1]
}

// refuse answers as Microsoft Entra ID does.
func refuse(status int, code, description string) func(request) (int, string) {
	return func(request) (int, string) {
		b, err := json.Marshal(map[string]string{"error": code, "error_description": description})
		if err != nil {
			panic(err)
		}
		return status, string(b)
	}
}

// vault is a Secret "app" that tests change.
type vault struct {
	mu   sync.Mutex
	data map[string][]byte // nil: the Secret is gone
	err  error
}

func (v *vault) Get(name string) (map[string][]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.err != nil:
		return nil, v.err
	case v.data == nil:
		return nil, fmt.Errorf("secret %q: %w", name, secrets.ErrNotFound)
	}
	return v.data, nil
}

func (v *vault) put(pairs ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.data, v.err = map[string][]byte{}, nil
	for i := 0; i < len(pairs); i += 2 {
		v.data[pairs[i]] = []byte(pairs[i+1])
	}
}

func newSource(t *testing.T, s *server, v *vault, change ...func(*Config)) *Source {
	t.Helper()
	c := Config{
		Name: "m365", Transport: s, Secrets: func() secrets.Source { return v }, Getenv: func(string) string { return "" },
		OAuth: plan.OAuth{TokenURL: entraURL, ClientID: "client", Scopes: []string{"https://outlook.office365.com/.default"}, Secret: "app"},
	}
	for _, do := range change {
		do(&c)
	}
	out, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

func mustToken(t *testing.T, s *Source, want string) {
	t.Helper()
	got, err := s.Token(t.Context())
	if err != nil || got != want {
		t.Fatalf("token %q, %v; want %q", got, err, want)
	}
}

// bubble runs a test in which time passes at once.
func bubble(t *testing.T, test func(t *testing.T, srv *server, v *vault)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		v.put("clientSecret", canary)
		test(t, &server{}, v)
	})
}

// At three quarters of its life a token is renewed, and nobody waits for that.
func TestRenewsAheadOfExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		s := newSource(t, srv, v)
		mustToken(t, s, "token-1")
		time.Sleep(44 * time.Minute)
		mustToken(t, s, "token-1")
		if srv.count() != 1 {
			t.Fatalf("%d requests within the life of one token", srv.count())
		}
		hold := make(chan struct{})
		srv.set(func(s *server) { s.wait = hold })
		time.Sleep(2 * time.Minute)
		for range 5 { // while the new one is under way
			mustToken(t, s, "token-1")
		}
		close(hold)
		synctest.Wait()
		mustToken(t, s, "token-2")
		if srv.count() != 2 {
			t.Errorf("%d requests, want 2", srv.count())
		}
		time.Sleep(3 * time.Hour)
		mustToken(t, s, "token-3")
	})
}

// Many who wait are one request; one of them who gives up does not end it.
func TestOneRequestAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		hold := make(chan struct{})
		srv.wait = hold
		s := newSource(t, srv, v)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() { _, err := s.Token(ctx); gone <- err }()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got, err := s.Token(t.Context()); got != "token-1" {
					t.Errorf("%q %v", got, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
		close(hold)
		wg.Wait()
		if srv.count() != 1 {
			t.Errorf("%d requests, want 1", srv.count())
		}
	})
}

// A token that cannot be renewed is used to its end; the server is asked once a
// minute, and once in five seconds when there is none.
func TestRenewalFails(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		var log bytes.Buffer
		s := newSource(t, srv, v, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		mustToken(t, s, "token-1")
		srv.set(func(s *server) { s.answer = refuse(401, "invalid_client", "AADSTS7000222: The secret is expired.") })
		time.Sleep(46 * time.Minute)
		for range 100 {
			mustToken(t, s, "token-1")
			synctest.Wait()
		}
		if srv.count() != 2 {
			t.Fatalf("%d requests, want 2", srv.count())
		}
		if g, err := s.Inspect(t.Context()); err != nil || !strings.HasPrefix(g.Warning, "the token cannot be renewed: no token: AADSTS7000222: The secret is expired.; the client secret has expired; what to do: ") {
			t.Errorf("%+v %v", g, err)
		}
		if !strings.Contains(log.String(), `remedy="the client secret has expired; what to do: `) {
			t.Errorf("the log:\n%s", &log)
		}
		time.Sleep(61 * time.Second)
		mustToken(t, s, "token-1")
		synctest.Wait()
		if srv.count() != 3 {
			t.Fatalf("%d requests, want 3", srv.count())
		}
		time.Sleep(13 * time.Minute)
		for range 100 {
			if got, err := s.Token(t.Context()); err == nil {
				t.Fatalf("an expired token: %q", got)
			}
		}
		if srv.count() != 4 {
			t.Fatalf("%d requests, want 4", srv.count())
		}
		srv.set(func(s *server) { s.answer = nil })
		time.Sleep(6 * time.Second)
		mustToken(t, s, "token-5")
	})
}

// A token that a server refused is replaced at once; a server that refuses them
// all costs one request a minute.
func TestReject(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		s := newSource(t, srv, v)
		mustToken(t, s, "token-1")
		s.Reject("another")
		s.Reject("")
		mustToken(t, s, "token-1")
		s.Reject("token-1")
		mustToken(t, s, "token-2")
		for range 50 {
			s.Reject("token-2")
			mustToken(t, s, "token-2")
		}
		time.Sleep(time.Minute)
		s.Reject("token-1") // somebody who was slow
		mustToken(t, s, "token-2")
		s.Reject("token-2")
		mustToken(t, s, "token-3")
	})
}

// What the Secret holds while somebody writes it, step by step: the token, and the
// credential, of before stay in use until there is a whole new one.
func TestHalfWrittenSecret(t *testing.T) {
	crt, key := newCertificate(t, "rsa", time.Hour)
	otherCrt, _ := newCertificate(t, "rsa", time.Hour)
	for name, half := range map[string][]string{
		"empty":              {},
		"empty clientSecret": {"clientSecret", ""},
		"blank clientSecret": {"clientSecret", " \n"},
		"only tls.crt":       {"tls.crt", crt},
		"only tls.key":       {"tls.key", key},
		"no pair":            {"tls.crt", otherCrt, "tls.key", key},
		"cut":                {"tls.crt", crt[:len(crt)/2], "tls.key", key},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, srv *server, v *vault) {
				s := newSource(t, srv, v)
				mustToken(t, s, "token-1")
				v.put(half...)
				mustToken(t, s, "token-1")
				time.Sleep(2 * time.Hour)
				mustToken(t, s, "token-2")
				if got := srv.last().Get("client_secret"); got != canary {
					t.Errorf("the credential is %q", got)
				}
				g, err := s.Inspect(t.Context())
				if err != nil || !strings.Contains(g.Warning, `secret "app"`) {
					t.Errorf("nothing is said: %+v, %v", g, err)
				}
				v.put("clientSecret", "another")
				mustToken(t, s, "token-2") // and the new one is on its way
				synctest.Wait()
				mustToken(t, s, "token-3")
				if got := srv.last().Get("client_secret"); got != "another" {
					t.Errorf("the credential is %q", got)
				}
			})
			bubble(t, func(t *testing.T, srv *server, v *vault) { // nothing was there before
				v.put(half...)
				if got, err := newSource(t, srv, v).Token(t.Context()); err == nil || !strings.Contains(err.Error(), `secret "app"`) || srv.count() != 0 {
					t.Errorf("%q, %v, %d requests", got, err, srv.count())
				}
			})
		})
	}
}

// A Secret that cannot be read for a moment is not one that is gone; one that is
// gone was taken away.
func TestSecretGone(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		s := newSource(t, srv, v)
		mustToken(t, s, "token-1")
		v.err = errors.New("input/output error")
		mustToken(t, s, "token-1")
		v.err, v.data = nil, nil
		if got, err := s.Token(t.Context()); !errors.Is(err, secrets.ErrNotFound) {
			t.Errorf("%q, %v", got, err)
		}
		v.put("clientSecret", canary)
		mustToken(t, s, "token-2")
	})
}

// ... also if it goes while a token is under way.
func TestSecretGoesDuringARequest(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		s := newSource(t, srv, v)
		hold := make(chan struct{})
		srv.wait = hold
		done := make(chan struct{})
		go func() { defer close(done); s.Token(t.Context()) }() //nolint:errcheck // it may have one
		synctest.Wait()
		v.mu.Lock()
		v.data = nil
		v.mu.Unlock()
		if _, err := s.Token(t.Context()); err == nil {
			t.Error("no error")
		}
		close(hold)
		<-done
		srv.set(func(s *server) { s.answer = refuse(503, "", "") })
		v.put("clientSecret", "another")
		if got, err := s.Token(t.Context()); err == nil {
			t.Errorf("a token of the Secret that is gone: %q", got)
		}
	})
}

// A new credential that the server refuses: the token of the old one is used to its
// end, and who looks hears of it.
func TestRotationToAWrongSecret(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		srv.answer = func(r request) (int, string) {
			if r.Get("client_secret") != canary {
				return refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")(r)
			}
			return 0, ""
		}
		s := newSource(t, srv, v)
		mustToken(t, s, "token-1")
		v.put("clientSecret", "wrong")
		mustToken(t, s, "token-1")
		if _, err := s.Inspect(t.Context()); err == nil || !strings.Contains(err.Error(), "AADSTS7000215") {
			t.Errorf("%v", err)
		}
		mustToken(t, s, "token-1")
		v.put("clientSecret", canary)
		if _, err := s.Inspect(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Close ends what nobody waits for; who needs a token still gets one.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		s := newSource(t, srv, v)
		mustToken(t, s, "token-1")
		srv.set(func(s *server) { s.wait = make(chan struct{}) })
		time.Sleep(50 * time.Minute)
		mustToken(t, s, "token-1")
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mustToken(t, s, "token-1")
		if srv.count() != 2 {
			t.Errorf("%d requests, want 2", srv.count())
		}
		srv.set(func(s *server) { s.wait = nil })
		time.Sleep(time.Hour)
		mustToken(t, s, "token-3")
	})
}

// Who is asked to wait does not ask before.
func TestRetryAfter(t *testing.T) {
	bubble(t, func(t *testing.T, srv *server, v *vault) {
		srv.answer = refuse(429, "", "")
		s := newSource(t, srv, v)
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{0, 1}, {30 * time.Second, 1}, {31 * time.Second, 2}} {
			time.Sleep(c.after)
			if _, err := s.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "too often") {
				t.Errorf("%v", err)
			}
			if srv.count() != c.want {
				t.Errorf("after %s: %d requests, want %d", c.after, srv.count(), c.want)
			}
		}
	})
}
