package kubectl

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// toServer brings what is for a Pod to a test server.
type toServer struct{ *url.URL }

func (t toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = t.Scheme, t.Host
	return http.DefaultTransport.RoundTrip(r)
}

// pod is an instance that tells states one after the other, the last for good, and
// answers a release by what release says.
func pod(t *testing.T, release func(asked int) admin.Changed, states ...admin.RelayState) instance {
	t.Helper()
	said, asked := 0, 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any
		if r.URL.Path == "/state" {
			answer = admin.State{Relays: states[min(said, len(states)-1):][:1]}
			said++
		} else {
			if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/release") || r.URL.Query().Get("held-by") != "stolen" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			answer = release(asked)
			asked++
		}
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // the test tells
	}))
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	return instance{"office-0", admin.NewPodClient(t.Context(), "office-0", "printers/office", toServer{at}), &http.Client{Transport: toServer{at}}}
}

// holding is a state that names the hold.
func holding(n int) admin.RelayState {
	return admin.RelayState{Holds: []string{"stolen"}, Queue: admin.QueueState{HeldBy: map[string]int{"stolen": n}}}
}

var soon = patience{time.Minute, time.Millisecond}

func quiet() *progress { return newProgress(&strings.Builder{}) }

// An instance that holds nothing yet holds the next scan, as long as it does not know
// that the hold has ended.
func TestLetGoWaitsForTheConfiguration(t *testing.T) {
	later := pod(t, func(asked int) admin.Changed {
		if asked == 2 {
			return admin.Changed{Changed: []string{"A"}}
		}
		return admin.Changed{}
	}, holding(0), holding(0), admin.RelayState{})
	n, err := letGo(t.Context(), fleet{later}, heldByHold("stolen"), soon, quiet())
	if err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
}

// What something else than the hold keeps is not waited for.
func TestLetGoLeavesWhatThePolicyKeeps(t *testing.T) {
	kept := admin.Changed{Kept: []queue.Kept{{ID: "A", Why: "no rule allows it"}}}
	ended := holding(1)
	ended.Holds = nil
	i := pod(t, func(int) admin.Changed { return kept }, ended)
	n, err := letGo(t.Context(), fleet{i}, heldByHold("stolen"), patience{time.Nanosecond, time.Hour}, quiet())
	var is *queue.KeptError
	if n != 0 || !errors.As(err, &is) || len(is.Messages) != 1 || strings.Contains(err.Error(), "does not know") {
		t.Errorf("%d, %v", n, err)
	}
}

// One that never knows is named, and what it keeps.
func TestLetGoEnds(t *testing.T) {
	still := queue.Kept{ID: "A", Why: "hold stolen still keeps it: take it out of spec.holds first"}
	for want, release := range map[string]admin.Changed{"instance office-0 does not know": {}, "still keeps it": {Kept: []queue.Kept{still}}} {
		i := pod(t, func(int) admin.Changed { return release }, holding(0))
		if _, err := letGo(t.Context(), fleet{i}, heldByHold("stolen"), patience{time.Nanosecond, time.Hour}, quiet()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	i := pod(t, func(int) admin.Changed { return admin.Changed{} }, holding(0))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := letGo(ctx, fleet{i}, heldByHold("stolen"), patience{time.Hour, time.Hour}, quiet()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// A release of very many takes its time: that it is not waited for any longer until the
// hold ends does not cut it off.
func TestLetGoCutsNoReleaseOff(t *testing.T) {
	i := pod(t, func(int) admin.Changed { return admin.Changed{Changed: []string{"A", "B"}} }, admin.RelayState{})
	n, err := letGo(t.Context(), fleet{i}, heldByHold("stolen"), patience{time.Nanosecond, time.Hour}, quiet())
	if err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
}
