package console

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// authority knows tokens of people, who may see everything in namespaces of theirs.
type authority struct {
	people map[string]string // by token
	down   bool

	mu    sync.Mutex
	asked int
}

func (a *authority) User(_ context.Context, token string) (*User, error) {
	a.mu.Lock()
	a.asked++
	a.mu.Unlock()
	switch {
	case a.down:
		return nil, errors.New("no API server")
	case a.people[token] == "":
		return nil, ErrNobody
	}
	return &User{Name: a.people[token]}, nil
}

func (a *authority) May(_ context.Context, u *User, namespace string, _ bool) (bool, error) {
	return u.Name == "anna" && namespace == "printers", nil
}

func gated(a *authority) *Console {
	return New(Options{Source: saying("x"), Version: "v1", Log: slog.New(slog.DiscardHandler), Gate: &Gate{Authority: a}})
}

// tryLogin is the answer to a token, from an address; empty: any.
func tryLogin(c http.Handler, addr, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", Root+"login", strings.NewReader(url.Values{"token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Forwarded-For", "192.0.2.77") // anybody can write that
	if addr != "" {
		r.RemoteAddr = addr
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

func logIn(c http.Handler, token string) *http.Cookie {
	for _, k := range tryLogin(c, "", token).Result().Cookies() {
		return k
	}
	return nil
}

func withCookie(c http.Handler, k *http.Cookie) int {
	r := httptest.NewRequest("GET", office, http.NoBody)
	r.AddCookie(k)
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Code
}

// TestSessions: they end by time, by silence, with their token, and are bounded.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{people: map[string]string{"t": "anna", "u": "anna"}}
		c := gated(a)
		k := logIn(c, "t")
		if k == nil || withCookie(c, k) != 200 || withCookie(c, k) != 200 || a.asked != 1 {
			t.Fatalf("a session: %v, the token was looked at %d times", k, a.asked)
		}
		time.Sleep(recheckAfter)
		if withCookie(c, k) != 200 || a.asked != 2 {
			t.Errorf("after a minute the token was looked at %d times", a.asked)
		}
		a.down = true
		time.Sleep(recheckAfter)
		if code := withCookie(c, k); code != http.StatusServiceUnavailable {
			t.Errorf("without an API server: %d", code)
		}
		a.down = false
		if code := withCookie(c, k); code != 200 {
			t.Errorf("with it again: %d", code)
		}
		delete(a.people, "t")
		time.Sleep(recheckAfter)
		if code := withCookie(c, k); code != http.StatusSeeOther {
			t.Errorf("with a token that was taken away: %d", code)
		}
		a.people["t"] = "anna"
		if code := withCookie(c, k); code != http.StatusSeeOther {
			t.Errorf("a session that has ended goes on: %d", code)
		}

		k = logIn(c, "u")
		time.Sleep(maxIdle)
		if code := withCookie(c, k); code != http.StatusSeeOther {
			t.Errorf("after an hour of silence: %d", code)
		}
		k = logIn(c, "u")
		for range int(maxAge/maxIdle) * 2 {
			time.Sleep(maxIdle / 2)
			withCookie(c, k)
		}
		if code := withCookie(c, k); code != http.StatusSeeOther {
			t.Errorf("after eight hours: %d", code)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sessions
		for range maxSessions {
			if _, err := s.add("t", &User{}, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.add("t", &User{}, time.Now()); err == nil || len(s.of) != maxSessions {
			t.Errorf("%d sessions, %v", len(s.of), err)
		}
		time.Sleep(maxIdle)
		if _, err := s.add("t", &User{}, time.Now()); err != nil || len(s.of) != 1 {
			t.Errorf("where the others are over: %d, %v", len(s.of), err)
		}
	})
}

// TestTries: who guesses waits.
func TestTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &authority{}
		c := gated(a)
		begin := time.Now()
		for range triesAtOnce + 10 {
			logIn(c, "x")
		}
		if took := time.Since(begin); took < 10*time.Second/triesPerSec {
			t.Errorf("%d tries in %s", a.asked, took)
		}
	})
	a := &authority{}
	for _, token := range []string{"", strings.Repeat("x", maxToken+1), "a b", "a\x00", "ü"} {
		logIn(gated(a), token)
	}
	if a.asked > 1 { // the empty one never is one
		t.Errorf("the authority is asked about what is no token: %d times", a.asked)
	}
}

// TestProxies: whose word counts.
func TestProxies(t *testing.T) {
	g := &Gate{Authority: &authority{}, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.5/32")}, VerifiedProxies: true}
	verified := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	for name, tc := range map[string]struct {
		from string
		tls  *tls.ConnectionState
		user string
	}{
		"the proxy":                        {"10.0.0.5:1", verified, "anna"},
		"without a certificate":            {"10.0.0.5:1", &tls.ConnectionState{}, ""},
		"in clear":                         {"10.0.0.5:1", nil, ""},
		"somebody else with a certificate": {"10.0.0.6:1", verified, ""},
		"mapped":                           {"[::ffff:10.0.0.5]:1", verified, "anna"},
		"no address":                       {"pipe", verified, ""},
	} {
		r := httptest.NewRequest("GET", office, http.NoBody)
		r.RemoteAddr, r.TLS = tc.from, tc.tls
		r.Header.Set("X-Forwarded-User", "anna")
		u, err := g.user(r)
		if tc.user == "" && err == nil || tc.user != "" && (err != nil || u.Name != tc.user) {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
}
