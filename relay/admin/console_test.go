package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// TestConsoleIsGuarded: the pages are for whom the port lets in, on loopback by its
// own name, and know what the port knows.
func TestConsoleIsGuarded(t *testing.T) {
	c := config(well("ns/a"))
	c.Console = func(ask Ask) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var st State
			if err := ask(r.Context(), "/state", nil, &st); err != nil {
				t.Error(err)
			}
			err := ask(r.Context(), "/queue/A", url.Values{"relay": {"ns/nothing"}}, &st)
			fmt.Fprintf(w, "%d relays; %v", len(st.Relays), err)
		})
	}
	if w := ask(c, "GET", "/console/"); w.Code != 200 || w.Body.String() != `1 relays; no relay "ns/nothing" runs here: name one of ns/a with --relay` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for name, change := range map[string]func(*http.Request){
		"from elsewhere":   func(r *http.Request) { r.RemoteAddr = "10.1.1.1:40000" },
		"by another name":  func(r *http.Request) { r.Host = "evil.example" },
		"of another site":  func(r *http.Request) { r.Method = "POST"; r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"by a name within": func(r *http.Request) { r.Host = "127.0.0.1.evil.example:8080" },
	} {
		if w := ask(c, "GET", "/console/", change); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := ask(config(well("ns/a")), "GET", "/console/"); w.Code != http.StatusNotFound {
		t.Errorf("without a console: %d", w.Code)
	}
}
