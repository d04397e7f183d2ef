package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// User is who looks at the pages, as the cluster knows them.
type User struct {
	Name   string
	Groups []string
	UID    string
	Extra  map[string][]string

	session bool // logged in by the page, and can log out
}

// Authority knows people and what they may do: the cluster.
type Authority interface {
	// User says whose token it is.
	User(ctx context.Context, token string) (*User, error)
	// May tells whether a user may see the relays of a namespace; private: also who
	// sent what to whom.
	May(ctx context.Context, u *User, namespace string, private bool) (bool, error)
}

// ErrNobody says that a token is of nobody, or no longer.
var ErrNobody = errors.New("the token is not valid, or no longer")

// Gate lets in who has a token that the Authority knows: at each request, or once
// by a page that makes a session of it. Its sessions are in memory.
type Gate struct {
	Authority Authority
	Namespace string // in which people make tokens, for the words of the login page
	// Proxies are the networks of a proxy that has found out who asks, and says so in
	// headers; empty: nobody is believed. VerifiedProxies: only with a certificate that
	// the server has verified.
	Proxies         []netip.Prefix
	VerifiedProxies bool

	sessions sessions
	tries    tries
}

// Bounds of logging in.
const (
	maxToken     = 16 << 10
	recheckAfter = time.Minute // how long a session goes on without its token being looked at
)

// errLogIn says that nobody is logged in.
var errLogIn = errors.New("log in with a token of the cluster")

// user finds out who asks: by a proxy's word, a token, or a session.
func (g *Gate) user(r *http.Request) (*User, error) {
	if g.proxied(r) {
		return forwarded(r)
	}
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") && token != "" {
		return g.identify(r.Context(), r, strings.TrimSpace(token))
	}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil, errLogIn
	}
	s, fresh := g.sessions.get(c.Value, time.Now())
	if s == nil {
		return nil, errLogIn
	}
	if !fresh {
		u, err := g.identify(r.Context(), r, s.token)
		switch {
		case errors.Is(err, ErrNobody):
			g.sessions.drop(c.Value)
			return nil, errLogIn
		case err != nil:
			return nil, err
		}
		g.sessions.checked(c.Value, u, time.Now())
		s.user = u
	}
	u := *s.user
	u.session = true
	return &u, nil
}

// identify asks the authority for who made r, not more often than it should be.
func (g *Gate) identify(ctx context.Context, r *http.Request, token string) (*User, error) {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, ErrNobody
	}
	if err := g.tries.wait(ctx, clientOf(r)); err != nil {
		return nil, err
	}
	return g.Authority.User(ctx, token)
}

// proxied tells whether a request is from a proxy that is believed.
func (g *Gate) proxied(r *http.Request) bool {
	if len(g.Proxies) == 0 || r.Header.Get("X-Forwarded-User") == "" {
		return false
	}
	if g.VerifiedProxies && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	for _, n := range g.Proxies {
		if n.Contains(peer.Addr().Unmap().WithZone("")) {
			return true
		}
	}
	return false
}

// forwarded is who a proxy says that asks. Names that the cluster keeps for itself
// are no people: no proxy makes somebody one of them.
func forwarded(r *http.Request) (*User, error) {
	u := &User{Name: r.Header.Get("X-Forwarded-User"), Groups: []string{"system:authenticated"}}
	for _, h := range r.Header.Values("X-Forwarded-Groups") {
		for group := range strings.SplitSeq(h, ",") {
			if group = strings.TrimSpace(group); group != "" && !strings.HasPrefix(group, "system:") {
				u.Groups = append(u.Groups, group)
			}
		}
	}
	if len(r.Header.Values("X-Forwarded-User")) != 1 || strings.HasPrefix(u.Name, "system:") {
		return nil, ErrNobody
	}
	return u, nil
}

// may tells whether the viewer may see the relays of a namespace; private: also who
// sent what to whom. Without a Gate everybody may who is let in.
func (c *Console) may(ctx context.Context, v *view, namespace string, private bool) (bool, error) {
	if c.Gate == nil {
		return true, nil
	}
	if v.user == nil {
		return false, nil
	}
	return c.Gate.Authority.May(ctx, v.user, namespace, private)
}

// routes are those of logging in and out.
func (g *Gate) routes(c *Console) {
	c.mux.HandleFunc("GET "+Root+"login", func(w http.ResponseWriter, r *http.Request) {
		c.write(w, g.loginPage(c, within(r.URL.Query().Get("to")), "", http.StatusOK))
	})
	c.mux.HandleFunc("POST "+Root+"login", func(w http.ResponseWriter, r *http.Request) { g.login(c, w, r) })
	c.mux.HandleFunc("POST "+Root+"logout", func(w http.ResponseWriter, r *http.Request) {
		if k, err := r.Cookie(cookieName); err == nil {
			g.sessions.drop(k.Value)
		}
		http.SetCookie(w, sessionCookie("", -1))
		http.Redirect(w, r, Root+"login", http.StatusSeeOther)
	})
}

// refuse answers who is not let in: a browser gets the page to log in by.
func (g *Gate) refuse(c *Console, w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errLogIn):
		http.Redirect(w, r, Root+"login?to="+url.QueryEscape(within(r.URL.RequestURI())), http.StatusSeeOther)
	case errors.Is(err, ErrNobody):
		w.Header().Set("WWW-Authenticate", "Bearer")
		c.write(w, g.loginPage(c, Root, err.Error(), http.StatusUnauthorized))
	default:
		c.Log.Warn("nobody can be let in to the console", "cause", err)
		c.write(w, g.loginPage(c, Root, "Who you are cannot be found out now: "+err.Error(), http.StatusServiceUnavailable))
	}
}

// within is a path of the console, or its first page: a link to log in by leads
// nowhere else.
func within(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" || !strings.HasPrefix(u.Path, Root) || strings.Contains(u.Path, "..") || strings.HasPrefix(u.Path, Root+"login") {
		return Root
	}
	return u.RequestURI()
}

type loginForm struct{ To, Problem, Namespace string }

func (g *Gate) loginPage(c *Console, to, problem string, status int) *view {
	return &view{Page: "login", Title: "Log in", Assets: c.assets, Version: c.Version, Now: time.Now(), status: status, Body: loginForm{to, problem, g.Namespace}}
}

// login makes a session of a token.
func (g *Gate) login(c *Console, w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 2*maxToken)
	to := within(r.PostFormValue("to"))
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	token := strings.TrimSpace(r.PostForm.Get("token"))
	u, err := g.identify(ctx, r, token)
	switch {
	case errors.Is(err, ErrNobody) || token == "":
		c.write(w, g.loginPage(c, to, "This token is not valid, or no longer. Make a new one, and paste it whole.", http.StatusUnauthorized))
		return
	case err != nil:
		c.Log.Warn("nobody can log in to the console", "cause", err)
		c.write(w, g.loginPage(c, to, "Who you are cannot be found out now: "+err.Error(), http.StatusServiceUnavailable))
		return
	}
	id, err := g.sessions.add(token, u, time.Now())
	if err != nil {
		c.write(w, g.loginPage(c, to, err.Error(), http.StatusServiceUnavailable))
		return
	}
	c.Log.Info("somebody logged in to the console", "user", u.Name, "from", r.RemoteAddr)
	http.SetCookie(w, sessionCookie(id, int(maxAge/time.Second)))
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // within made it a path of the console
}

// cookieName: browsers take a cookie of this prefix only by TLS, from this very
// host, for all of it.
const cookieName = "__Host-printer-relay-console"

func sessionCookie(value string, seconds int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: value, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
}

// Bounds of sessions.
const (
	maxSessions = 1000
	maxAge      = 8 * time.Hour
	maxIdle     = time.Hour
)

// sessions are those of the process. Their IDs are kept as digests.
type sessions struct {
	mu sync.Mutex
	of map[[sha256.Size]byte]*session
}

type session struct {
	token            string
	user             *User
	made, used, seen time.Time // seen: by the authority
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.made) >= maxAge || now.Sub(s.used) >= maxIdle
}

func (s *sessions) add(token string, u *User, now time.Time) (id string, err error) {
	b := make([]byte, 32)
	rand.Read(b) //nolint:errcheck // never fails
	id = base64.RawURLEncoding.EncodeToString(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[[sha256.Size]byte]*session{}
	}
	if len(s.of) >= maxSessions {
		for k, old := range s.of {
			if old.over(now) {
				delete(s.of, k)
			}
		}
	}
	if len(s.of) >= maxSessions {
		return "", fmt.Errorf("%d people are logged in, and there is no room for more: try again later", maxSessions)
	}
	s.of[sha256.Sum256([]byte(id))] = &session{token: token, user: u, made: now, used: now, seen: now}
	return id, nil
}

// get gives a copy of the session; fresh: its token was looked at a moment ago.
func (s *sessions) get(id string, now time.Time) (found *session, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := sha256.Sum256([]byte(id))
	in := s.of[k]
	if in == nil {
		return nil, false
	}
	if in.over(now) {
		delete(s.of, k)
		return nil, false
	}
	in.used = now
	out := *in
	return &out, now.Sub(in.seen) < recheckAfter
}

func (s *sessions) checked(id string, u *User, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.of[sha256.Sum256([]byte(id))]; in != nil {
		in.user, in.seen = u, now
	}
}

func (s *sessions) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, sha256.Sum256([]byte(id)))
}
