package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/printerrelay/printer-relay/controllers/status"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

var relay = types.NamespacedName{Namespace: "mail", Name: "office"}

type fixed string

func (f fixed) Token(context.Context, types.NamespacedName) (string, error) {
	if f == "" {
		return "", errors.New("none")
	}
	return string(f), nil
}

// serve answers on a loopback port by TLS with a certificate that nobody knows.
func serve(t *testing.T, h http.HandlerFunc) *Reader {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	r := NewReader(fixed("secret"))
	r.Port = s.Listener.Addr().(*net.TCPAddr).Port
	return r
}

func state(change func(*admin.State)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/state" || req.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		st := admin.State{Relays: []admin.RelayState{{Namespace: "mail", Name: "other"}, {
			Namespace: "mail", Name: "office", PlanHash: "abc", Ready: true, Intake: "Accept",
			Problems: []string{"p"}, MissingSecrets: []string{"s"},
			Listeners: []admin.ListenerState{{Name: "a", Address: ":25", Connections: 2}, {Name: "b", Error: "in use", Connections: 1}},
			Upstreams: []admin.UpstreamState{{Name: "u", Circuit: "Closed", DKIM: []senderdns.Key{{Name: "a", Value: "b"}, {Name: "c", Value: "d"}, {Name: "e", Value: "more than there can be"}}}, {Name: "v", Circuit: "HalfOpen", LastError: "refused"}},
			Queue:     admin.QueueState{Pending: 1, Deferred: 2, Held: 3, Failed: 4, OldestSeconds: 1.5},
		}}}
		if change != nil {
			change(&st)
		}
		if err := json.NewEncoder(w).Encode(st); err != nil {
			panic(err)
		}
	}
}

func TestReport(t *testing.T) {
	want := status.Report{
		PlanHash: "abc", Ready: true, Connections: 3, Problems: []string{"p"}, MissingSecrets: []string{"s"},
		Listeners: []status.ListenerReport{{Name: "a", Open: true}, {Name: "b", Problem: "in use"}},
		Upstreams: []status.UpstreamReport{{Name: "u", DKIM: []status.DKIMKey{{Name: "a", Value: "b"}, {Name: "c", Value: "d"}}}, {Name: "v", Down: true, LastError: "refused"}},
		Queue:     status.QueueReport{Waiting: 3, Held: 3, Failed: 4, Oldest: 1500 * time.Millisecond},
	}
	for name, c := range map[string]struct {
		change func(*admin.State)
		want   func(*status.Report)
	}{
		"serves":              {nil, func(*status.Report) {}},
		"is starting":         {func(s *admin.State) { s.Phase = "starting" }, func(r *status.Report) { r.Ready = false }},
		"drained, takes mail": {func(s *admin.State) { s.Phase = admin.PhaseDrained }, func(r *status.Report) { r.Ready = false }},
		"drained":             {func(s *admin.State) { s.Phase, s.Relays[1].Intake = admin.PhaseDrained, "Refuse" }, func(r *status.Report) { r.Ready, r.Drained = false, true }},
		"copiers": {
			func(s *admin.State) {
				s.Relays[1].Copiers = append([]admin.CopierState{
					{Device: "10.0.0.7", Name: "a\x1b[2J" + strings.Repeat("ü", 500), User: "u", TLSVersion: "1.2 and much more", LastRefusal: strings.Repeat("r", 1000)}, {Device: "<script>"},
				}, slices.Repeat([]admin.CopierState{{Device: "2001:db8::/64"}}, 1000)...)
			},
			func(r *status.Report) {
				r.Copiers = append([]status.CopierReport{{Address: "10.0.0.7", Name: "a?[2J" + strings.Repeat("ü", 123), User: "u", TLSVersion: "1.2 a", LastRefusal: strings.Repeat("r", 253)}}, slices.Repeat([]status.CopierReport{{Address: "2001:db8::/64"}}, 48)...)
			},
		},
		"is an open relay":       {func(s *admin.State) { s.Relays[1].OpenRelay = []string{"a"} }, func(r *status.Report) { r.OpenRelay = []string{"a"} }},
		"names too many":         {func(s *admin.State) { s.Relays[1].OpenRelay = strings.Fields(strings.Repeat("a ", 1000)) }, func(r *status.Report) { r.OpenRelay = strings.Fields(strings.Repeat("a ", 8)) }},
		"refuses for its policy": {func(s *admin.State) { s.Relays[1].Intake = "Refuse" }, func(*status.Report) {}},
	} {
		t.Run(name, func(t *testing.T) {
			expected := want
			c.want(&expected)
			got, err := serve(t, state(c.change)).Report(t.Context(), relay, "127.0.0.1")
			if err != nil || !reflect.DeepEqual(*got, expected) {
				t.Errorf("%+v, %v; want %+v", got, err, expected)
			}
		})
	}
}

// TestMisbehaves: a Pod that is not what it should be gets no token twice, keeps
// nobody, fills no memory, and its address stands in no error.
func TestMisbehaves(t *testing.T) {
	var stolen atomic.Int32
	thief := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			stolen.Add(1)
		}
	}))
	t.Cleanup(thief.Close)
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"forbids": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the token has expired", http.StatusForbidden)
		}, "its admin port answers HTTP status 403: the token has expired"},
		"redirects": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", thief.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, "its admin port answers HTTP status 307"},
		"is no relay":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, "its admin port gives no state that can be read"},
		"says very much": {func(w http.ResponseWriter, _ *http.Request) { flood(w) }, "its admin port gives no state that can be read"},
		"says much with an error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			flood(w)
		}, "its admin port answers HTTP status 500: " + strings.Repeat("a", 200)},
		"runs another relay": {state(func(s *admin.State) { s.Relays = s.Relays[:1] }), "it does not run the relay yet"},
		"hangs up":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "its admin port cannot be reached: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := serve(t, c.handler).Report(t.Context(), relay, "127.0.0.1")
			if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "127.0.0.1") || len(err.Error()) > 300 {
				t.Errorf("%+v, %v; want %q", got, err, c.want)
			}
		})
	}
	if stolen.Load() > 0 {
		t.Error("the token was carried elsewhere")
	}
	r := NewReader(fixed(""))
	if _, err := r.Report(t.Context(), relay, "127.0.0.1"); err == nil || err.Error() != "no token for its admin port: none" {
		t.Errorf("without a token: %v", err)
	}
	if _, err := serve(t, state(nil)).Report(t.Context(), types.NamespacedName{Namespace: "mail", Name: "none"}, "127.0.0.1"); err == nil || err.Error() != "it does not run the relay yet" {
		t.Errorf("another name: %v", err)
	}
}

// TestNotFound: what the console asks for and an instance has not, is told from one that
// does not answer.
func TestNotFound(t *testing.T) {
	r := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "8Du: no message in the queue has this ID", http.StatusNotFound)
	})
	var answer *admin.StatusError
	err := r.Ask(relay, "127.0.0.1")(t.Context(), "/queue/8Du", nil, &struct{}{})
	if !errors.As(err, &answer) || answer.Status != http.StatusNotFound || answer.Text != "8Du: no message in the queue has this ID" {
		t.Errorf("%v: %+v", err, answer)
	}
}

// flood sends more than anybody reads.
func flood(w http.ResponseWriter) {
	part := []byte(strings.Repeat("a", 64<<10))
	for range 4 * maxAnswer / len(part) {
		if _, err := w.Write(part); err != nil {
			return // the reader has had enough
		}
	}
}

// TestNobody: a port where nobody listens.
func TestNobody(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(fixed("secret"))
	r.Port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Report(t.Context(), relay, "127.0.0.1"); err == nil || strings.Contains(err.Error(), "127.0.0.1") || !strings.HasPrefix(err.Error(), "its admin port cannot be reached: ") {
		t.Errorf("%v", err)
	}
}

// TestSilence: a Pod that accepts and says nothing is given up in time.
func TestSilence(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := NewReader(fixed("secret"))
	r.Port = l.Addr().(*net.TCPAddr).Port
	if _, err := r.Report(t.Context(), relay, "127.0.0.1"); err == nil || err.Error() != "its admin port does not answer within 3s" {
		t.Errorf("%v", err)
	}
}

// accounts makes tokens that are good for an hour, though more was asked for.
type accounts struct {
	corev1.ServiceAccountInterface
	made []string
	err  error
}

func (a *accounts) CreateToken(_ context.Context, name string, r *authenticationv1.TokenRequest, _ metav1.CreateOptions) (*authenticationv1.TokenRequest, error) {
	if a.err != nil {
		return nil, a.err
	}
	a.made = append(a.made, name+" "+r.Spec.Audiences[0])
	r.Status = authenticationv1.TokenRequestStatus{Token: fmt.Sprint("token-", len(a.made)), ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}
	return r, nil
}

// TestTokensAreKept until a fifth of their time is left, each for its relay.
func TestTokensAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &accounts{}
		s := &ServiceAccountTokens{ServiceAccounts: a, Name: "operator"}
		get := func(name, want string) {
			t.Helper()
			if got, err := s.Token(t.Context(), types.NamespacedName{Namespace: "mail", Name: name}); err != nil || got != want {
				t.Errorf("%s: %q, %v; want %q", name, got, err, want)
			}
		}
		get("office", "token-1")
		get("office", "token-1")
		get("other", "token-2")
		time.Sleep(47 * time.Minute)
		get("office", "token-1")
		time.Sleep(2 * time.Minute)
		get("office", "token-3")
		s.Forget(types.NamespacedName{Namespace: "mail", Name: "office"})
		get("office", "token-4")
		if want := []string{"operator printer-relay:mail/office", "operator printer-relay:mail/other", "operator printer-relay:mail/office", "operator printer-relay:mail/office"}; !reflect.DeepEqual(a.made, want) {
			t.Errorf("made %q", a.made)
		}
		a.err = errors.New("forbidden")
		s.Forget(types.NamespacedName{Namespace: "mail", Name: "office"})
		if _, err := s.Token(t.Context(), types.NamespacedName{Namespace: "mail", Name: "office"}); err == nil || err.Error() != `ServiceAccount "operator": forbidden` {
			t.Errorf("%v", err)
		}
	})
}

// busy makes tokens that take a second, and counts how many it makes at once.
type busy struct {
	corev1.ServiceAccountInterface
	now, most atomic.Int32
}

func (b *busy) CreateToken(context.Context, string, *authenticationv1.TokenRequest, metav1.CreateOptions) (*authenticationv1.TokenRequest, error) {
	n := b.now.Add(1)
	defer b.now.Add(-1)
	for m := b.most.Load(); n > m && !b.most.CompareAndSwap(m, n); m = b.most.Load() {
	}
	time.Sleep(time.Second)
	return &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: "t", ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour))}}, nil
}

// TestTokensAreNoBurst: an operator that begins asks about all relays, and the API
// server for eight tokens at once. Who waits for a turn may wait longer than one token
// may take.
func TestTokensAreNoBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &busy{}
		s := &ServiceAccountTokens{ServiceAccounts: b, Name: "operator"}
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				if _, err := s.Token(t.Context(), types.NamespacedName{Namespace: "mail", Name: fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if most := b.most.Load(); most != tokensAtOnce {
			t.Errorf("%d tokens at once, want %d", most, tokensAtOnce)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range tokensAtOnce {
			s.making <- struct{}{}
		}
		if _, err := s.Token(ctx, types.NamespacedName{Name: "another"}); !errors.Is(err, context.Canceled) {
			t.Errorf("who no longer waits: %v", err)
		}
	})
}
