// Package instances asks the admin port of a relay's Pod how it stands.
//
// It may import relay/admin and relay/senderdns for the document that it reads, controllers/status
// for what it makes of it, and client-go for tokens.
package instances

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"

	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/controllers/status"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/senderdns"
)

// Bounds of one question: a Pod that is not what it should be must not keep
// the operator, nor fill its memory.
const (
	askTime   = 3 * time.Second
	maxAnswer = 1 << 20
)

// Tokens gives a token for the admin port of one relay.
type Tokens interface {
	Token(ctx context.Context, relay types.NamespacedName) (string, error)
}

// Reader asks instances.
type Reader struct {
	Tokens Tokens
	Port   int // of the admin port; 0: render.AdminPort

	http http.Client
}

// NewReader makes a reader.
func NewReader(t Tokens) *Reader {
	return &Reader{Tokens: t, http: http.Client{
		Timeout: askTime,
		Transport: &http.Transport{
			// The relay makes its certificate at each start, so there is none to verify. What
			// an impostor could gain is a token, and that is worth nothing elsewhere: its
			// audience is this one relay.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
			DisableKeepAlives: true,                                                                // an instance is asked twice a minute
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // never carry the token elsewhere
	}}
}

// Report asks the Pod at an address. The error says in one line why there is
// no answer, and names no Pod: it stands in a status.
func (r *Reader) Report(ctx context.Context, relay types.NamespacedName, podIP string) (*status.Report, error) {
	var st admin.State
	if err := r.ask(ctx, relay, podIP, "/state", &st); err != nil {
		return nil, err
	}
	return report(st, relay)
}

// Ask gives what asks the Pod at an address for a document, on behalf of the
// console.
func (r *Reader) Ask(relay types.NamespacedName, podIP string) admin.Ask {
	return func(ctx context.Context, path string, q url.Values, into any) error {
		return r.ask(ctx, relay, podIP, path+"?"+q.Encode(), into)
	}
}

// ask reads the document of the admin port at a path. The error says in one line
// why there is none.
func (r *Reader) ask(ctx context.Context, relay types.NamespacedName, podIP, path string, into any) error {
	token, err := r.Tokens.Token(ctx, relay)
	if err != nil {
		return fmt.Errorf("no token for its admin port: %w", err)
	}
	port := r.Port
	if port == 0 {
		port = render.AdminPort
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(podIP, strconv.Itoa(port))+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.http.Do(req)
	if err != nil {
		return reason(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return reason(err)
	}
	if resp.StatusCode != http.StatusOK {
		text := fmt.Sprintf("%.200s", strings.TrimSpace(string(body)))
		return fmt.Errorf("its admin port answers HTTP status %d: %w", resp.StatusCode, &admin.StatusError{Status: resp.StatusCode, Text: text})
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("its admin port gives no state that can be read")
	}
	return nil
}

// reason is a failed connection without the Pod's address, which changes with
// each Pod.
func reason(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("its admin port does not answer within %s", askTime)
	case errors.As(err, &op):
		return fmt.Errorf("its admin port cannot be reached: %w", op.Err)
	}
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && u.Unwrap() != nil {
		err = u.Unwrap()
	}
	return fmt.Errorf("its admin port cannot be reached: %w", err)
}

// report is what a state says of one relay.
func report(st admin.State, relay types.NamespacedName) (*status.Report, error) {
	for i := range st.Relays {
		if r := &st.Relays[i]; r.Namespace == relay.Namespace && r.Name == relay.Name {
			return reportOf(r, st.Phase), nil
		}
	}
	return nil, errors.New("it does not run the relay yet")
}

func reportOf(r *admin.RelayState, phase string) *status.Report {
	out := &status.Report{
		PlanHash: r.PlanHash, Ready: r.Ready && phase == "", Problems: r.Problems, MissingSecrets: r.MissingSecrets, OpenRelay: r.OpenRelay[:min(len(r.OpenRelay), maxListeners)],
		Drained: phase == admin.PhaseDrained && r.Intake == "Refuse",
		Queue: status.QueueReport{
			Waiting: r.Queue.Pending + r.Queue.Deferred, Held: r.Queue.Held, Failed: r.Queue.Failed, HeldBy: r.Queue.HeldBy,
			Oldest: time.Duration(r.Queue.OldestSeconds * float64(time.Second)),
		},
	}
	out.Copiers = copiersOf(r.Copiers)
	for _, l := range r.Listeners {
		out.Connections += l.Connections
		out.Listeners = append(out.Listeners, status.ListenerReport{Name: l.Name, Open: l.Address != "", Problem: l.Error})
	}
	for _, u := range r.Upstreams {
		out.Upstreams = append(out.Upstreams, status.UpstreamReport{
			Name: u.Name, Down: u.Circuit != "Closed", LastError: u.LastError, Remedy: u.Remedy, Check: checkOf(u.Health), DKIM: publicKeys(u.DKIM),
		})
	}
	return out
}

// copiersOf are the devices that an instance reports, within the bounds of the status.
func copiersOf(all []admin.CopierState) (out []status.CopierReport) {
	for _, c := range all[:min(len(all), admin.StateCopiers)] {
		if _, err := admin.DeviceAddress(c.Device); err != nil {
			continue
		}
		out = append(out, status.CopierReport{
			Address: c.Device, Name: line(c.Name, 253), User: line(c.User, 254), TLSVersion: line(c.TLSVersion, 8), Last: c.Last, LastScan: c.LastScan, LastRefusal: line(c.LastRefusal, 256),
		})
	}
	return out
}

// line is a text of a device's as it may stand in a status: a relay's Pod faces the
// copiers, and is believed nothing.
func line(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	for i := range s {
		if i+utf8.UTFMax > n {
			return s[:i]
		}
	}
	return s
}

// maxListeners that a relay can have.
const maxListeners = 8

// maxKeys that an upstream can sign with: one RSA, one Ed25519.
const maxKeys = 2

// publicKeys are those that an instance reports, as many as there can be.
func publicKeys(keys []senderdns.Key) (out []status.DKIMKey) {
	for _, k := range keys[:min(len(keys), maxKeys)] {
		out = append(out, status.DKIMKey{Name: k.Name, Value: k.Value})
	}
	return out
}

// checkOf is what a check found; when it was made changes nothing.
func checkOf(h *admin.Health) status.Check {
	if h == nil {
		return status.Check{}
	}
	return status.Check{
		Done: true, Reachable: status.Finding(h.Reachable), Credentials: status.Finding(h.Credentials), Text: h.Text, Remedy: h.Remedy,
		Warnings: h.Warnings, Expires: h.Expires, PerSecond: h.Quota.PerSecond, DailyLimit: h.Quota.DailyLimit, DailyUsed: h.Quota.DailyUsed,
	}
}
