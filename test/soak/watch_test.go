//go:build soak

package soak

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/cluster"
	"github.com/printerrelay/printer-relay/test/netns"
)

// sample is what a process says of itself.
type sample struct {
	started    float64 // when, in Unix time
	live       float64 // octets of heap in use behind the last collection
	resident   float64
	goroutines float64
	files      float64
	waiting    float64 // messages in the queue, but those that failed
}

func (s sample) figures() restFigures { return restFigures{goroutines: s.goroutines, files: s.files} }

// watcher asks processes in Pods for their metrics.
type watcher struct {
	site   *site
	node   *netns.Network
	token  string // for the operator's
	client *http.Client

	stop chan struct{}
	done sync.WaitGroup
	mu   sync.Mutex
	seen map[string][]sample // by who
}

func newWatcher(t *testing.T, s *site) *watcher {
	t.Helper()
	w := &watcher{site: s, node: s.NodeNetwork(t), stop: make(chan struct{}), seen: map[string][]sample{}}
	w.token = strings.TrimSpace(s.Kubectl(t, "create", "token", "metrics", "-n", namespace, "--duration", "12h"))
	w.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, // a connection of ours is no leak of theirs
		DialContext:       func(ctx context.Context, _, address string) (net.Conn, error) { return w.node.Dial(ctx, address) },
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // certificates are made at each start; nothing secret is asked
	}}
	return w
}

// addresses of Pods by name.
func (w *watcher) addresses(t *testing.T, namespace, labels string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(w.site.Kubectl(t, "get", "pods", "-n", namespace, "-l", labels, "-o", `jsonpath={range .items[*]}{.metadata.name} {.status.podIP}{"\n"}{end}`)) {
		if name, ip, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[name] = ip
		}
	}
	return out
}

// all are the addresses of relays and operators, by a name that stays.
func (w *watcher) all(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, r := range relays {
		for _, ip := range w.addresses(t, namespace, "app.kubernetes.io/instance="+r) {
			out[r] = ip
		}
	}
	for name, ip := range w.addresses(t, cluster.OperatorNamespace, "app.kubernetes.io/name=printer-relay-operator") {
		out["operator "+name[strings.LastIndexByte(name, '-')+1:]] = ip
	}
	return out
}

// ask reads the metrics of one.
func (w *watcher) ask(address string) (sample, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+net.JoinHostPort(address, "8080")+"/metrics", nil)
	if err != nil {
		return sample{}, err
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	res, err := w.client.Do(req)
	if err != nil {
		return sample{}, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	if res.StatusCode != http.StatusOK {
		return sample{}, fmt.Errorf("%s: %s", address, res.Status)
	}
	var s sample
	var goal, percent float64 // when the next collection comes: when the heap has grown by so much
	fields := map[string]*float64{
		"process_start_time_seconds": &s.started, "go_memstats_next_gc_bytes": &goal, "go_gc_gogc_percent": &percent, "process_resident_memory_bytes": &s.resident,
		"go_goroutines": &s.goroutines, "process_open_fds": &s.files,
	}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(value, 64)
		if field := fields[name]; field != nil && err == nil {
			*field = v
		}
		if strings.HasPrefix(name, "printer_relay_queue_messages{") && !strings.Contains(name, `"failed"`) {
			s.waiting += v
		}
	}
	s.live = goal / (1 + percent/100)
	if s.started == 0 || percent == 0 || s.live == 0 || s.resident == 0 || s.goroutines == 0 || s.files == 0 {
		return s, fmt.Errorf("%s: /metrics lacks some: %+v", address, s)
	}
	return s, lines.Err()
}

// follow samples those that keep their address, until end.
func (w *watcher) follow(who map[string]string) {
	for name, address := range who {
		w.done.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				case <-time.After(2 * time.Second):
				}
				s, err := w.ask(address)
				if err != nil {
					continue // the API server is asked about the token, and may be away
				}
				w.mu.Lock()
				w.seen[name] = append(w.seen[name], s)
				w.mu.Unlock()
			}
		})
	}
}

func (w *watcher) end() {
	close(w.stop)
	w.done.Wait()
}

// life gives the samples of the process that runs now, and that of one field.
func (w *watcher) life(name string) (last []sample) {
	for _, s := range w.seen[name] {
		if len(last) > 0 && last[0].started != s.started {
			last = nil
		}
		last = append(last, s)
	}
	return last
}

func figures(samples []sample, field func(sample) float64) []float64 {
	out := make([]float64, len(samples))
	for i, s := range samples {
		out[i] = field(s)
	}
	return out
}
