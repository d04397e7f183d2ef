package apiserver

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/rest"
)

// Writes counts the requests that write, by verb and resource. It is safe for
// concurrent use.
type Writes struct {
	mu     sync.Mutex
	counts map[string]int
}

// Counted gives a copy of cfg whose requests are counted.
func Counted(cfg *rest.Config) (*rest.Config, *Writes) {
	w := &Writes{counts: map[string]int{}}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &counter{next: next, writes: w} })
	return cfg, w
}

// Count gives the writes since the last Reset, such as
// "patch printerrelays.printerrelay.dev/status": 2. What stores nothing is not
// among them: reviews of tokens and of access, tokens themselves, dry runs.
func (w *Writes) Count() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.counts)
}

// Total is the sum of Count.
func (w *Writes) Total() int {
	n := 0
	for _, c := range w.Count() {
		n += c
	}
	return n
}

// String is Count in lines, for the message of a test that failed.
func (w *Writes) String() string {
	counts := w.Count()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%d %s\n", counts[key], key)
	}
	return b.String()
}

// Reset begins anew.
func (w *Writes) Reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.counts)
}

type counter struct {
	next   http.RoundTripper
	writes *Writes
}

// RoundTrip implements http.RoundTripper.
func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	if key := write(r); key != "" {
		c.writes.mu.Lock()
		c.writes.counts[key]++
		c.writes.mu.Unlock()
	}
	return c.next.RoundTrip(r)
}

// resolver reads requests as the API server does.
var resolver = request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

// write says what a request writes; empty: nothing.
func write(r *http.Request) string {
	info, err := resolver.NewRequestInfo(r)
	if err != nil || !info.IsResourceRequest || r.URL.Query().Get("dryRun") != "" {
		return ""
	}
	switch {
	case !slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, info.Verb),
		info.APIGroup == "authentication.k8s.io", info.APIGroup == "authorization.k8s.io",
		info.Resource == "serviceaccounts" && info.Subresource == "token":
		return ""
	}
	key := info.Verb + " " + info.Resource
	if info.APIGroup != "" {
		key += "." + info.APIGroup
	}
	if info.Subresource != "" {
		key += "/" + info.Subresource
	}
	return key
}
