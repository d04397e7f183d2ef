package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/inventory"
	"github.com/printerrelay/printer-relay/relay/metrics"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/traffic"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a relay whose queue notes what it is asked.
type fake struct {
	Queue
	key      string
	state    RelayState
	sessions *transcript.Store
	messages Messages
	webhooks Webhooks
	copiers  *inventory.Store
	err      error
	kept     *queue.KeptError
	person   queue.Person // of the last release
	mu       sync.Mutex
	calls    []string
}

func (f *fake) Key() string          { return f.key }
func (f *fake) State() RelayState    { return f.state }
func (f *fake) Traffic() traffic.Day { return traffic.Day{} }
func (f *fake) note(format string, a ...any) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, a...))
	return []string{"A"}, f.err
}

// relayOf makes a fake a Relay: the method Queue and the embedded interface
// cannot have one name.
type relayOf struct{ *fake }

func (r relayOf) Queue() Queue       { return r.fake }
func (r relayOf) Sessions() Sessions { return r.sessions }
func (r relayOf) Messages() Messages { return r.messages }
func (r relayOf) Webhooks() Webhooks { return r.webhooks }
func (r relayOf) Copiers() Copiers {
	if r.copiers == nil {
		return nil
	}
	return r.copiers
}

func (f *fake) List(x queue.Filter) (queue.Page, error) {
	_, err := f.note("list %s", x.Cursor)
	return queue.Page{Messages: []queue.Summary{{ID: "A", Sender: "mfp@copier.test"}}, Next: "A"}, err
}

func (f *fake) Show(id string) (queue.Detail, error) {
	_, err := f.note("show %s", id)
	return queue.Detail{Summary: queue.Summary{ID: id}}, err
}

func (f *fake) Export(_ context.Context, id string) (io.ReadCloser, error) {
	_, err := f.note("export %s", id)
	return io.NopCloser(io.MultiReader(strings.NewReader("Subject: x\r\n\r\n"), failing{f.key})), err
}

// failing ends a reader well, or not.
type failing struct{ key string }

func (f failing) Read([]byte) (int, error) {
	if f.key == "ns/corrupt" {
		return 0, errors.New("corrupt")
	}
	return 0, io.EOF
}

func (f *fake) Retry(_ context.Context, x queue.Filter) ([]string, error) {
	return f.note("retry %v", x.IDs)
}

func (f *fake) Hold(_ context.Context, x queue.Filter, why string) ([]string, error) {
	return f.note("hold %v %s", x.IDs, why)
}

func (f *fake) Release(ctx context.Context, x queue.Filter) ([]string, error) {
	f.person = queue.PersonOf(ctx)
	ids, err := f.note("release %v", x.IDs)
	if f.kept != nil {
		err = f.kept
	}
	return ids, err
}

func (f *fake) Bounce(_ context.Context, x queue.Filter, why string) ([]string, error) {
	return f.note("bounce %v %s", x.IDs, why)
}

func (f *fake) Reroute(_ context.Context, x queue.Filter, to string) ([]string, error) {
	return f.note("reroute %v %s", x.IDs, to)
}

func (f *fake) Remove(_ context.Context, x queue.Filter) ([]string, error) {
	return f.note("remove %v", x.IDs)
}

// config is that of a process with the given relays, on which all is well.
func config(fakes ...*fake) Config {
	return Config{
		Version: "v1", Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
		Relays: func() (out []Relay) {
			for _, f := range fakes {
				out = append(out, relayOf{f})
			}
			return out
		},
		Problems: func() []string { return nil },
		Phase:    func() string { return "" },
	}
}

// ask asks a server from loopback; with changes the request first.
func ask(c Config, method, target string, with ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, "http://127.0.0.1:8080"+target, nil)
	r.RemoteAddr = "127.0.0.1:40000"
	for _, f := range with {
		f(r)
	}
	w := httptest.NewRecorder()
	New(c).http.Handler.ServeHTTP(w, r)
	return w
}

func well(key string) *fake {
	return &fake{key: key, state: RelayState{Namespace: "ns", Name: key, Ready: true}}
}

func TestHealthz(t *testing.T) {
	c := config()
	c.Phase = func() string { return "starting" }
	c.Problems = func() []string { return []string{"bad"} }
	if w := ask(c, "GET", "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %q: a restart would not help", w.Code, w.Body)
	}
}

func TestReadyz(t *testing.T) {
	full := well("ns/full")
	full.state.Ready, full.state.Problems = false, []string{"the spool is full: 3 octets are free", "upstream x is down"}
	limping := well("ns/limping")
	limping.state.Problems = []string{"upstream out is down: connection refused"}
	for name, tc := range map[string]struct {
		relays   []*fake
		phase    string
		problems []string
		code     int
		body     string
	}{
		"well":        {[]*fake{well("ns/a"), well("ns/b")}, "", nil, 200, "ready\n"},
		"starting":    {nil, "starting", nil, 503, "not ready: starting\n"},
		"draining":    {[]*fake{well("ns/a")}, "draining", nil, 503, "not ready: draining\n"},
		"no relay":    {nil, "", nil, 503, "not ready\n"},
		"bad edit":    {[]*fake{well("ns/a")}, "", []string{"a.yaml:3: spec.x: is no field", "b.yaml:1: is not YAML"}, 200, "ready\nconfiguration: a.yaml:3: spec.x: is no field\nconfiguration: b.yaml:1: is not YAML\n"},
		"disk low":    {[]*fake{well("ns/a"), full}, "", nil, 503, "not ready\nns/full: the spool is full: 3 octets are free\nns/full: upstream x is down\n"},
		"one is down": {[]*fake{limping}, "", nil, 200, "ready\nns/limping: upstream out is down: connection refused\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(tc.relays...)
			c.Phase = func() string { return tc.phase }
			c.Problems = func() []string { return tc.problems }
			if w := ask(c, "GET", "/readyz"); w.Code != tc.code || w.Body.String() != tc.body {
				t.Errorf("got %d\n%swant %d\n%s", w.Code, w.Body, tc.code, tc.body)
			}
		})
	}
}

func TestMetricsAreInTheTextFormat(t *testing.T) {
	c := config(well("ns/a"))
	metrics.New(c.Registry, "ns/a").MessagesReceived.WithLabelValues("legacy").Add(3)
	w := ask(c, "GET", "/metrics")
	if w.Code != 200 {
		t.Fatal(w.Code)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	f := families["printer_relay_messages_received_total"]
	if f == nil || f.GetMetric()[0].GetCounter().GetValue() != 3 {
		t.Errorf("got %v", f)
	}
}

func TestState(t *testing.T) {
	a := well("ns/a")
	a.state.Upstreams = []UpstreamState{{Name: "out", Circuit: "Open", LastError: "refused"}}
	w := ask(config(a, well("ns/b")), "GET", "/state")
	var st State
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || w.Code != 200 {
		t.Fatalf("%d %v", w.Code, err)
	}
	if st.Version != "v1" || len(st.Relays) != 2 || st.Relays[0].Upstreams[0].LastError != "refused" || st.Started.IsZero() {
		t.Errorf("got %+v", st)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
}

func TestVerbsAndTheirParameters(t *testing.T) {
	for target, want := range map[string]string{
		"POST /queue/retry?id=A&id=B":           "retry [A B]",
		"POST /queue/hold?id=A&reason=look+at":  "hold [A] look at",
		"POST /queue/release?id=A":              "release [A]",
		"POST /queue/bounce?id=A&reason=gone":   "bounce [A] gone",
		"POST /queue/reroute?id=A&to=b":         "reroute [A] b",
		"POST /queue/remove?id=A":               "remove [A]",
		"GET /queue?cursor=X":                   "list X",
		"GET /queue/A":                          "show A",
		"GET /queue/A/export":                   "export A",
		"GET /queue/A/export?relay=ns/a":        "export A",
		"POST /queue/remove?relay=ns%2Fa&id=A":  "remove [A]",
		"POST /queue/retry?id=A&older-than=90m": "retry [A]",
	} {
		f := well("ns/a")
		method, path, _ := strings.Cut(target, " ")
		w := ask(config(f), method, path)
		if w.Code != 200 || fmt.Sprint(f.calls) != "["+want+"]" {
			t.Errorf("%s: %d %s: called %v, want %s", target, w.Code, w.Body, f.calls, want)
		}
	}
}

func TestRequestErrors(t *testing.T) {
	missing := well("ns/a")
	missing.err = fmt.Errorf("X: %w", queue.ErrNotFound)
	nothing := well("ns/a")
	nothing.err = queue.ErrNoSelection
	for _, tc := range []struct {
		relays []*fake
		target string
		code   int
		want   string
	}{
		{[]*fake{well("ns/a")}, "GET /", 404, "not found"},
		{[]*fake{well("ns/a")}, "GET /debug/pprof/", 404, "not found"},
		{[]*fake{well("ns/a")}, "POST /healthz", 405, ""},
		{[]*fake{well("ns/a")}, "DELETE /metrics", 405, ""},
		{[]*fake{well("ns/a")}, "POST /state", 405, ""},
		{[]*fake{well("ns/a")}, "PUT /queue/remove", 405, ""},
		{[]*fake{well("ns/a")}, "DELETE /queue/A", 405, ""},
		{[]*fake{well("ns/a")}, "POST /queue/explode?id=A", 400, `no verb "explode": use retry, hold`},
		{[]*fake{well("ns/a")}, "POST /queue/retry?older-than=soon", 400, `older-than "soon": want a duration`},
		{[]*fake{well("ns/a")}, "GET /queue?limit=many", 400, `limit "many": want a number`},
		{[]*fake{missing}, "GET /queue/X", 404, "no message in the queue has this ID"},
		{[]*fake{missing}, "GET /queue/X/export", 404, "no message in the queue has this ID"},
		{[]*fake{missing}, "POST /queue/retry?id=X", 404, "no message in the queue has this ID"},
		{[]*fake{nothing}, "POST /queue/remove", 400, "no message is selected"},
		{[]*fake{well("ns/a"), well("ns/b")}, "GET /queue", 400, "name one with --relay: ns/a, ns/b"},
		{[]*fake{well("ns/a"), well("ns/b")}, "GET /queue?relay=ns/c", 400, `no relay "ns/c" runs here: name one of ns/a, ns/b`},
		{nil, "GET /queue", 400, "no relay runs here yet"},
	} {
		method, path, _ := strings.Cut(tc.target, " ")
		w := ask(config(tc.relays...), method, path)
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s: got %d %s, want %d %s", tc.target, w.Code, w.Body, tc.code, tc.want)
		}
	}
}

func TestTheSecondRelayIsNamed(t *testing.T) {
	a, b := well("ns/a"), well("ns/b")
	ask(config(a, b), "POST", "/queue/retry?id=A&relay=ns/b")
	if len(a.calls) != 0 || len(b.calls) != 1 {
		t.Errorf("called %v and %v", a.calls, b.calls)
	}
}

// State and queue control hold addresses; health and metrics do not.
func TestWhoMayAskForWhat(t *testing.T) {
	from := func(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	header := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	for _, tc := range []struct {
		name   string
		with   func(*http.Request)
		open   int // GET /healthz, /readyz, /metrics
		state  int // GET /state, /queue, /sessions
		change int // POST /queue/remove
	}{
		{"loopback", from("127.0.0.1:1"), 200, 200, 200},
		{"loopback, IPv6", from("[::1]:1"), 200, 200, 200},
		{"loopback, mapped", from("[::ffff:127.0.0.1]:1"), 200, 200, 200},
		{"the copiers' LAN", from("10.20.3.7:1"), 200, 403, 403},
		{"no address", from("pipe"), 200, 403, 403},
		{"localhost", host("localhost:8080"), 200, 200, 200},
		{"IPv6 host", host("[::1]:8080"), 200, 200, 200},
		{"a name that was rebound", host("evil.example:8080"), 200, 403, 403},
		{"a name like localhost", host("localhost.evil.example"), 200, 403, 403},
		{"no host", host(""), 200, 403, 403},
		{"another site's page", header("Sec-Fetch-Site", "cross-site"), 200, 200, 403},
		{"another site's form", header("Origin", "https://evil.example"), 200, 200, 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for target, want := range map[string]int{
				"GET /healthz": tc.open, "GET /readyz": tc.open, "GET /metrics": tc.open,
				"GET /state": tc.state, "GET /queue": tc.state, "GET /queue/A": tc.state, "GET /queue/A/export": tc.state, "GET /sessions": tc.state, "GET /sessions/AAAA": tc.state,
				"POST /queue/remove?id=A": tc.change, "POST /queue/bounce?id=A": tc.change,
			} {
				f := failed("ns/a")
				method, path, _ := strings.Cut(target, " ")
				w := ask(config(f), method, path, tc.with)
				if w.Code != want {
					t.Errorf("%s: %d %s, want %d", target, w.Code, w.Body, want)
				}
				if want == 403 && len(f.calls) > 0 {
					t.Errorf("%s: refused, but called %v", target, f.calls)
				}
			}
		})
	}
}

// Who asks, as the relay knows it and as they say, reaches the queue; so does that
// they override the policy, and what was kept comes back.
func TestWhoAsksAndWhatIsKept(t *testing.T) {
	f := well("ns/a")
	f.kept = &queue.KeptError{Messages: []queue.Kept{{ID: "B", Why: "550 5.7.1 PR-031"}}}
	c := config(f)
	claim := func(r *http.Request) { r.Header.Set(UserHeader, "pat\r\nforged "+strings.Repeat("x", 500)) }
	w := ask(c, "POST", "/queue/release?all=true&override-policy=true", claim)
	var done Changed
	if err := json.Unmarshal(w.Body.Bytes(), &done); err != nil || w.Code != 200 || len(done.Changed) != 1 || len(done.Kept) != 1 || done.Kept[0].ID != "B" {
		t.Errorf("%d %s, %v", w.Code, w.Body, err)
	}
	if p := f.person; !p.Override || !strings.HasPrefix(p.Name, "loopback (says: pat  forged xx") || len(p.Name) > 160 || strings.ContainsAny(p.Name, "\r\n") {
		t.Errorf("%+v", p)
	}
	f.kept = nil
	ask(c, "POST", "/queue/release?all=true")
	if f.person.Override || f.person.Name != "loopback" {
		t.Errorf("%+v", f.person)
	}
}

func TestAuthorizeTakesThePlaceOfLoopback(t *testing.T) {
	c := config(well("ns/a"))
	c.Authorize = func(r *http.Request) (string, error) {
		if r.Header.Get("Authorization") != "Bearer good" {
			return "", errors.New("a token is needed")
		}
		return "system:serviceaccount:ns:a-queue", nil
	}
	bearer := func(r *http.Request) {
		r.RemoteAddr, r.Host = "10.1.1.1:1", "relay:8080"
		r.Header.Set("Authorization", "Bearer good")
	}
	if w := ask(c, "GET", "/state"); w.Code != 403 || !strings.Contains(w.Body.String(), "a token is needed") {
		t.Errorf("without: %d %s", w.Code, w.Body)
	}
	if w := ask(c, "GET", "/state", bearer); w.Code != 200 {
		t.Errorf("with: %d %s", w.Code, w.Body)
	}
}

func TestAChangeByHandIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := config(well("ns/a"))
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	ask(c, "POST", "/queue/remove?id=A")
	if !strings.Contains(log.String(), "verb=remove messages=1 kept=0 from=127.0.0.1:40000 by=loopback") {
		t.Errorf("log: %s", &log)
	}
}

func TestSelectionReadsWhatQueryWrites(t *testing.T) {
	for _, f := range []queue.Filter{
		{},
		{IDs: []string{"A", "B&c=d"}},
		{Upstream: "a", Sender: "<>", Client: "10.0.0.0/8", OlderThan: 90 * time.Minute, State: queue.Held, All: true, Limit: 7, Cursor: "X"},
		{Sender: "*@ümläut.example", Client: netip.MustParseAddr("fe80::1").String()},
	} {
		v, err := url.ParseQuery(Query(f).Encode())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Selection(v); err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("got %+v %v, want %+v", got, err, f)
		}
	}
}
