package admin

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/inventory"
)

// visited has seen some devices: of three networks, every third refused.
func visited(key string, n int) *fake {
	f := well(key)
	f.copiers = inventory.New()
	for i := range n {
		v := &inventory.Visit{At: time.Unix(int64(i), 0), Client: netip.AddrFrom4([4]byte{10, 20, byte(i % 3), byte(i)}), Listener: "legacy", Name: fmt.Sprintf("MFP-%d", i)}
		if i%3 == 0 {
			f.copiers.Refused(v, &inventory.Attempt{Kind: inventory.Refused, Reply: "550 5.7.1 PR-030 Device may not send here", Code: "PR-030"})
			continue
		}
		v.TLS = 0x0303
		f.copiers.Accepted(v, &inventory.Message{ID: "Q", Sender: "a@b.example", Recipients: 1, Domains: []string{"b.example"}})
	}
	return f
}

func TestCopierPages(t *testing.T) {
	c := config(visited("ns/a", 30), well("ns/b"))
	for target, want := range map[string]int{
		"":                                     30,
		"&refused=true":                        10,
		"&legacy=true":                         10,
		"&network=10.20.1.0%2F24":              10,
		"&network=10.20.1.4":                   1,
		"&name=MFP-7":                          1,
		"&since=1970-01-01T00:00:20Z":          10,
		"&refused=true&network=10.20.1.0%2F24": 0,
		"&dry-run=true":                        0,
		"&limit=1000":                          30,
		"&limit=7":                             30,
		"&limit=7&refused=true&network=10.20.0.0/16": 10,
	} {
		got, cursor := 0, ""
		for {
			w := ask(c, "GET", "/copiers?relay=ns/a"+target+"&cursor="+url.QueryEscape(cursor))
			var p inventory.Page
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 200 || p.Copiers == nil || p.Total != want {
				t.Fatalf("%s: %d %v %s", target, w.Code, err, w.Body)
			}
			got += len(p.Copiers)
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		if got != want {
			t.Errorf("%s: %d devices, want %d", target, got, want)
		}
	}
	var one inventory.Copier
	if err := json.Unmarshal(ask(c, "GET", "/copiers/10.20.0.3?relay=ns/a").Body.Bytes(), &one); err != nil || one.Name() != "MFP-3" || one.LastRefusal.Code != "PR-030" {
		t.Errorf("%v %+v", err, one)
	}
	var st State
	if err := json.Unmarshal(ask(c, "GET", "/state").Body.Bytes(), &st); err != nil || len(st.Relays[0].Copiers) != 30 || st.Relays[0].Copiers[0].Device != "10.20.2.29" || st.Relays[1].Copiers != nil {
		t.Errorf("%v %+v", err, st)
	}
}

func TestCopierErrors(t *testing.T) {
	for target, want := range map[string]string{
		"GET /copiers/10.9.9.9":       "404 10.9.9.9: no such device is known",
		"DELETE /copiers/10.9.9.9":    "404 10.9.9.9: no such device is known",
		"GET /copiers/floor3":         `400 device "floor3": want its IP address`,
		"GET /copiers?network=x":      `400 network "x": want an address or a network`,
		"GET /copiers?since=tomorrow": `400 since "tomorrow": want a duration`,
		"GET /copiers?limit=0":        `400 limit "0": want a number`,
		"GET /copiers?cursor=x":       `400 cursor "x"`,
		"GET /copiers?relay=ns/b":     `400 no relay "ns/b"`,
		"POST /copiers":               "405 ",
		"DELETE /copiers":             "405 ",
	} {
		method, path, _ := strings.Cut(target, " ")
		w := ask(config(visited("ns/a", 3)), method, path)
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

// TestCopiersAreGuarded: they are served as state and queue are.
func TestCopiersAreGuarded(t *testing.T) {
	c := config(visited("ns/a", 3))
	s := New(c)
	for _, target := range []string{"GET /copiers", "GET /copiers/10.20.0.0", "DELETE /copiers/10.20.0.0"} {
		method, path, _ := strings.Cut(target, " ")
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.RemoteAddr = "192.0.2.1:1234"
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, r)
		if w.Code != 403 {
			t.Errorf("%s from elsewhere: %d", target, w.Code)
		}
	}
}

func TestCopierClient(t *testing.T) {
	f := visited("ns/a", 300)
	s := httptest.NewServer(New(config(f)).http.Handler)
	defer s.Close()
	c := NewClient(t.Context(), strings.TrimPrefix(s.URL, "http://"), "")
	all, err := c.AllCopiers(t.Context(), inventory.Filter{})
	if want, _ := f.copiers.List(inventory.Filter{Limit: 1000}); err != nil || len(all) != 300 || all[0].Device != want.Copiers[0].Device { //nolint:errcheck // its length tells
		t.Fatalf("%v, %d devices", err, len(all))
	}
	rows, err := c.CopiersCSV(t.Context(), inventory.Filter{Refused: true})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if table, err := csv.NewReader(rows).ReadAll(); err != nil || len(table) != 101 {
		t.Errorf("%v, %d rows", err, len(table))
	}
	a := netip.MustParseAddr("10.20.1.4")
	if d, err := c.Copier(t.Context(), a); err != nil || d.Device != "10.20.1.4" {
		t.Errorf("%v %+v", err, d)
	}
	if err := c.ForgetCopier(t.Context(), a); err != nil {
		t.Error(err)
	}
	if _, err := c.Copier(t.Context(), a); err == nil {
		t.Error("it is known still")
	}
	f2 := inventory.Filter{Refused: true, Legacy: true, DryRun: true, Network: netip.MustParsePrefix("10.0.0.0/8"), Name: "x", Since: time.Unix(5, 7).UTC(), Limit: 9, Cursor: "1-2"}
	if got, err := CopierFilter(CopierQuery(f2)); err != nil || !reflect.DeepEqual(got, f2) {
		t.Errorf("%v %+v, was %+v", err, got, f2)
	}
}

func TestWhoForgotACopierIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := config(visited("ns/a", 3))
	c.Log = slog.New(slog.NewTextHandler(&log, nil))
	ask(c, "DELETE", "/copiers/10.20.1.1")
	if !strings.Contains(log.String(), "device=10.20.1.1 from=127.0.0.1:40000 by=loopback") {
		t.Errorf("log: %s", &log)
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]string{"12h": "2026-11-26T00:00:00Z", "7d": "2026-11-19T12:00:00Z", "2026-11-01": "2026-11-01T00:00:00Z", "2026-11-01T08:00:00Z": "2026-11-01T08:00:00Z"} {
		if got, err := Since(v, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v", v, got, err)
		}
	}
	for _, v := range []string{"", "-1h", "-3d", "x", "2026-13-01"} {
		if _, err := Since(v, now); err == nil {
			t.Errorf("%q is taken", v)
		}
	}
}
