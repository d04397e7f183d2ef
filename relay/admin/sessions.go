package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/printerrelay/printer-relay/relay/transcript"
)

// Sessions are the transcripts of a relay's last failed sessions.
// *transcript.Store implements it.
type Sessions interface {
	Devices(f transcript.Filter) []transcript.Device
	Sessions(f transcript.Filter, id string) []transcript.Session
}

var errNoSession = errors.New("no failed session is kept of this device or with this ID: the last five of a device are, since the relay started; the log has all refusals")

// sessionRoutes serves GET /sessions, the devices with their last failed sessions,
// and GET /sessions/{id}, the transcript of one session, or of all that are kept
// of the device with that address. ?client=ADDRESS, NETWORK, name or login
// selects; ?format=text is for people. The relay is named as for /queue.
func (s *Server) sessionRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /sessions", s.withSessions(func(w http.ResponseWriter, r *http.Request, all Sessions) error {
		devices := all.Devices(sessionFilter(r.URL.Query().Get("client")))
		if r.URL.Query().Get("format") == "text" {
			return writeText(w, func(b *bytes.Buffer) error { return transcript.WriteTable(b, devices, time.Now()) })
		}
		writeJSON(w, FailedDevices{devices})
		return nil
	}))
	mux.HandleFunc("GET /sessions/{id}", s.withSessions(func(w http.ResponseWriter, r *http.Request, all Sessions) error {
		f, id := transcript.Filter{}, r.PathValue("id")
		if who := sessionFilter(id); who.Network.IsValid() {
			f, id = who, ""
		}
		found := all.Sessions(f, id)
		if len(found) == 0 {
			return fmt.Errorf("%s: %w", r.PathValue("id"), errNoSession)
		}
		if r.URL.Query().Get("format") == "text" {
			return writeText(w, func(b *bytes.Buffer) error { return transcript.WriteText(b, found) })
		}
		writeJSON(w, FailedSessions{found})
		return nil
	}))
}

// FailedDevices is the document of GET /sessions.
type FailedDevices struct {
	Devices []transcript.Device `json:"devices"`
}

// FailedSessions is the document of GET /sessions/{id}.
type FailedSessions struct {
	Sessions []transcript.Session `json:"sessions"`
}

func (s *Server) withSessions(h func(http.ResponseWriter, *http.Request, Sessions) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		relay, err := s.relayOf(r.URL.Query().Get("relay"))
		if f := r.URL.Query().Get("format"); err == nil && f != "" && f != "text" && f != "json" {
			err = fmt.Errorf("format %q: want json or text", f)
		}
		if err == nil {
			err = h(w, r, relay.Sessions())
		}
		answerError(w, err)
	}
}

// sessionFilter reads whom somebody means: an address, a network, or what a
// device calls itself or logs in as.
func sessionFilter(client string) transcript.Filter {
	if n, err := netip.ParsePrefix(client); err == nil {
		return transcript.Filter{Network: n.Masked()}
	}
	if a, err := netip.ParseAddr(client); err == nil {
		a = a.Unmap().WithZone("")
		return transcript.Filter{Network: netip.PrefixFrom(a, a.BitLen())}
	}
	return transcript.Filter{Name: client}
}

// writeText answers with a text that is whole, or not at all.
func writeText(w http.ResponseWriter, write func(*bytes.Buffer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(b.Bytes()) //nolint:errcheck // the caller went away
	return nil
}

// Devices asks for the devices with failed sessions; client selects as in GET
// /sessions.
func (c *Client) Devices(ctx context.Context, client string) ([]transcript.Device, error) {
	q := url.Values{}
	if client != "" {
		q.Set("client", client)
	}
	var d FailedDevices
	err := c.ask(ctx, http.MethodGet, "/sessions", q, &d)
	return d.Devices, err
}

// Transcripts asks for the transcript of a session, or for those of a device.
func (c *Client) Transcripts(ctx context.Context, id string) ([]transcript.Session, error) {
	var d FailedSessions
	err := c.ask(ctx, http.MethodGet, "/sessions/"+url.PathEscape(id), nil, &d)
	return d.Sessions, err
}
