package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// perPage is how many rows a list has.
const perPage = 50

// queueRow is a message that waits, is held or failed.
type queueRow struct {
	queue.Summary
	Instance string
	Health   health
}

// stateWords are the states of a message, for people.
var stateWords = map[queue.State]health{
	queue.Pending:  {"ok", "on its way"},
	queue.Deferred: {"warn", "waits for another try"},
	queue.Held:     {"off", "held"},
	queue.Failed:   {"bad", "failed"},
}

// queue is the list of what a relay has not delivered yet. The instances' lists are
// in the order of arrival, and so is what is made of them: one cursor serves all.
func (c *Console) queue(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "queue", "Waiting mail of "+v.Relay.Key(), "queue"
	if err := needPrivate(v); err != nil {
		return err
	}
	state, cursor := r.URL.Query().Get("state"), r.URL.Query().Get("after")
	q := url.Values{"limit": {strconv.Itoa(perPage)}}
	for name, value := range map[string]string{"state": state, "cursor": cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if state != "" && stateWords[queue.State(state)].Word == "" {
		return badRequest{fmt.Errorf("there is no state %q of a message", state)}
	}
	var out struct {
		Rows     []queueRow
		State    string
		Next     string
		Commands []command
	}
	out.State = state
	more := false
	for _, a := range answered(v, ask[queue.Page](r.Context(), []Relay{*v.Relay}, "/queue", q)) {
		for _, m := range a.value.Messages {
			out.Rows = append(out.Rows, queueRow{m, a.instance, stateWords[m.State]})
		}
		more = more || a.value.Next != ""
	}
	slices.SortStableFunc(out.Rows, func(a, b queueRow) int { return strings.Compare(a.ID, b.ID) })
	if len(out.Rows) > perPage || more && len(out.Rows) > 0 { // what an instance says need not be so
		out.Rows = out.Rows[:min(len(out.Rows), perPage)]
		out.Next = out.Rows[len(out.Rows)-1].ID
	}
	out.Commands = c.commandsForAll(v.Relay)
	v.Body = out
	return nil
}

// message is the page of one message of the queue.
func (c *Console) message(r *http.Request, v *view) error {
	id := r.PathValue("id")
	v.Page, v.Title, v.Tab = "message", "Waiting message "+id, "queue"
	if err := needPrivate(v); err != nil {
		return err
	}
	found, err := one[queue.Detail](r, v, "/queue/"+url.PathEscape(id))
	if gone := (notFound{}); errors.As(err, &gone) {
		gone.text += ": it was accepted by an upstream, removed by hand, or never there."
		gone.links = []link{{v.Relay.Path() + "messages/" + url.PathEscape(id), "What became of " + id}, {v.Relay.Path() + "queue", "All that waits"}}
		return gone
	}
	if err != nil {
		return err
	}
	v.Body = struct {
		queue.Detail
		Instance string
		Health   health
		Commands []command
	}{found.value, found.instance, stateWords[found.value.State], c.commandsFor(v.Relay, &found.value.Summary)}
	return nil
}

// one is the answer of the instance that has what is asked for. The error is notFound
// where all of them answer that they have not.
func one[T any](r *http.Request, v *view, path string) (answerOf[T], error) {
	all := ask[T](r.Context(), []Relay{*v.Relay}, path, nil)
	var why []string
	missing := 0
	var answer *admin.StatusError
	for _, a := range all {
		if a.err == nil {
			return a, nil
		}
		if errors.As(a.err, &answer) && answer.Status == http.StatusNotFound {
			missing++
		}
		why = append(why, strings.TrimPrefix(a.instance+": ", ": ")+a.err.Error())
	}
	switch {
	case len(why) == 0:
		why = []string{"no instance runs"}
	case missing == len(why):
		return answerOf[T]{}, notFound{text: answer.Text}
	}
	return answerOf[T]{}, errors.New(strings.Join(why, "; "))
}

// device is a client with its last failed sessions.
type device struct {
	transcript.Device
	Instance string
	Last     transcript.Session // the newest
}

// failures are the ways in which a session fails, for people.
var failures = map[transcript.Failure]string{
	transcript.TLSFailed: "encryption could not begin", transcript.BrokenOff: "broken off in the middle of a scan", transcript.LoginLeft: "left in the middle of the login",
	transcript.TimedOut: "fell silent", transcript.Refused: "refused", transcript.NotUnderstood: "spoke no SMTP",
}

// sessions is the page of the devices whose sessions failed.
func (c *Console) sessions(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "sessions", "Failed sessions at "+v.Relay.Key(), "sessions"
	if err := needPrivate(v); err != nil {
		return err
	}
	var out struct {
		Devices []device
		Client  string
		More    int
	}
	out.Client = strings.TrimSpace(r.URL.Query().Get("client"))
	out.Devices = devicesOf(r, v, out.Client)
	if n := len(out.Devices) - 4*perPage; n > 0 {
		out.Devices, out.More = out.Devices[:4*perPage], n
	}
	v.Body = out
	return nil
}

func devicesOf(r *http.Request, v *view, client string) (out []device) {
	q := url.Values{}
	if client != "" {
		q.Set("client", client)
	}
	for _, a := range answered(v, ask[admin.FailedDevices](r.Context(), []Relay{*v.Relay}, "/sessions", q)) {
		for _, d := range a.value.Devices {
			if len(d.Sessions) > 0 {
				out = append(out, device{d, a.instance, d.Sessions[0]})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b device) int { return b.Last.Ended.Compare(a.Last.Ended) })
	return out
}

// transcript is the page of what was said in one session, or in those of a device.
func (c *Console) transcript(r *http.Request, v *view) error {
	id := r.PathValue("id")
	v.Page, v.Title, v.Tab = "transcript", "What was said: "+id, "sessions"
	if err := needPrivate(v); err != nil {
		return err
	}
	path := "/sessions/" + url.PathEscape(id)
	if _, err := netip.ParseAddr(id); err == nil { // a device may have spoken with several instances
		var all []transcript.Session
		for _, d := range told(ask[admin.FailedSessions](r.Context(), []Relay{*v.Relay}, path, nil)) {
			all = append(all, d.Sessions...)
		}
		slices.SortStableFunc(all, func(a, b transcript.Session) int { return b.Ended.Compare(a.Ended) })
		if len(all) > 0 {
			v.Body = all
			return nil
		}
	}
	found, err := one[admin.FailedSessions](r, v, path)
	if gone := (notFound{}); errors.As(err, &gone) {
		gone.links = []link{{v.Relay.Path() + "sessions", "All failed sessions that are kept"}}
		return gone
	}
	if err != nil {
		return err
	}
	v.Body = found.value.Sessions
	return nil
}

// ago is a time as people say it.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d < 0:
		return "in " + span(-d)
	case d < 10*time.Second:
		return "just now"
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		word string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := int64(d / u.of); n == 1 {
			return "1 " + u.word
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, u.word)
		}
	}
	return "1 second"
}
