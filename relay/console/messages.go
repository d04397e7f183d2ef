package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/printerrelay/printer-relay/relay/history"
)

// entryRow is a message or a refusal of the history.
type entryRow struct {
	history.Entry
	Instance string
	Health   health
}

// messagesPage is a page of the history, with what was searched for.
type messagesPage struct {
	Rows                                         []entryRow
	Text, Client, Sender, Recipient, State, Kind string
	Since                                        string
	Next                                         string // of the next page, with all that is searched for
	Searched                                     bool
	Incomplete                                   bool
	States                                       []choice
}

// choice is one of a list in a form.
type choice struct {
	Value, Word string
	Chosen      bool
}

// entryWords are the states of an entry, for people.
var entryWords = map[history.State]health{
	history.Waiting:  {"ok", "on its way"},
	history.Deferred: {"warn", "waits for another try"},
	history.Held:     {"off", "held"},
	history.Accepted: {"ok", "accepted by the upstream"},
	history.Failed:   {"bad", "failed"},
	history.Removed:  {"off", "removed by hand"},
	history.Refused:  {"bad", "refused to the copier"},
}

// messages is the page of what became of messages, and of what was refused, the
// newest first. Entries' IDs are in the order of time, on all instances: one cursor
// serves all.
func (c *Console) messages(r *http.Request, v *view) error {
	v.Page, v.Title, v.Tab = "messages", "Messages of "+v.Relay.Key(), "messages"
	if err := needPrivate(v); err != nil {
		return err
	}
	in := r.URL.Query()
	field := func(name string) string { return strings.TrimSpace(in.Get(name)) }
	out := messagesPage{
		Text: field("text"), Client: field("client"), Sender: field("sender"), Recipient: field("recipient"), State: field("state"), Kind: field("kind"), Since: field("since"),
	}
	for _, s := range history.States {
		out.States = append(out.States, choice{string(s), entryWords[s].Word, string(s) == out.State})
	}
	q := url.Values{}
	for name, value := range map[string]string{
		"text": out.Text, "client": out.Client, "sender": out.Sender, "recipient": out.Recipient, "state": out.State, "kind": out.Kind, "since": out.Since,
	} {
		if value != "" {
			q.Set(name, value)
			out.Searched = true
		}
	}
	next := url.Values{}
	for name, values := range q {
		next[name] = values
	}
	q.Set("limit", strconv.Itoa(perPage))
	if after := in.Get("after"); after != "" {
		q.Set("cursor", after)
	}
	cursor := ""
	for _, a := range answered(v, ask[history.Page](r.Context(), []Relay{*v.Relay}, "/messages", q)) {
		for _, e := range a.value.Entries {
			out.Rows = append(out.Rows, entryRow{e, a.instance, entryWords[e.State]})
		}
		out.Incomplete = out.Incomplete || a.value.Incomplete
		cursor = max(cursor, a.value.Next) // behind the newest of them: no instance's are left out
	}
	slices.SortStableFunc(out.Rows, func(a, b entryRow) int { return strings.Compare(b.ID, a.ID) })
	if len(out.Rows) > perPage {
		out.Rows = out.Rows[:perPage]
		cursor = max(cursor, out.Rows[perPage-1].ID)
	}
	if cursor != "" {
		for len(out.Rows) > 0 && out.Rows[len(out.Rows)-1].ID < cursor { // they come again, on the next page
			out.Rows = out.Rows[:len(out.Rows)-1]
		}
		next.Set("after", cursor)
		out.Next = "?" + next.Encode()
	}
	v.Body = out
	return nil
}

// entry is the page of one message or refusal of the history.
func (c *Console) entry(r *http.Request, v *view) error {
	id := r.PathValue("id")
	v.Page, v.Title, v.Tab = "entry", "Message "+id, "messages"
	if err := needPrivate(v); err != nil {
		return err
	}
	found, err := one[history.Detail](r, v, "/messages/"+url.PathEscape(id))
	if err != nil {
		return err
	}
	v.Body = struct {
		history.Detail
		Instance string
		Health   health
	}{found.value, found.instance, entryWords[found.value.State]}
	return nil
}
