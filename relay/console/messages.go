package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/history"
)

// entryRow is a message or a refusal of the history.
type entryRow struct {
	history.Entry
	Health health
}

// messagesPage is a page of the history, with what was searched for.
type messagesPage struct {
	Rows                                         []entryRow
	Text, Client, Sender, Recipient, State, Kind string
	Since                                        string
	Next                                         string // of the next page, with all that is searched for
	Problem                                      string // why the form cannot be read as it was filled in
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
	history.Lost:     {"bad", "lost: gone from the relay's volume"},
	history.Unknown:  {"warn", "left the queue, how is not known"},
}

// inQueue are the states of a message that the queue has still.
var inQueue = []history.State{history.Waiting, history.Deferred, history.Held, history.Failed}

// messages is the page of what became of messages, and of what was refused, the
// newest first.
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
	answers := ask[history.Page](r.Context(), []Relay{*v.Relay}, "/messages", q)
	if out.Problem = misread(answers); out.Problem != "" {
		v.Body, v.status = out, http.StatusBadRequest
		return nil
	}
	var pages []history.Page
	for _, a := range answered(v, answers) {
		for i := range a.value.Entries {
			a.value.Entries[i].Instance = a.instance
		}
		pages = append(pages, a.value)
	}
	all := history.Together(perPage, pages...)
	for _, e := range all.Entries {
		out.Rows = append(out.Rows, entryRow{e, entryWords[e.State]})
	}
	out.Incomplete = all.Incomplete
	if all.Next != "" {
		next.Set("after", all.Next)
		out.Next = "?" + next.Encode()
	}
	v.Body = out
	return nil
}

// misread is what an instance cannot read of a question; empty: none says so.
func misread[T any](all []answerOf[T]) string {
	for _, a := range all {
		var answer *admin.StatusError
		if errors.As(a.err, &answer) && answer.Status == http.StatusBadRequest {
			return answer.Text
		}
	}
	return ""
}

// entry is the page of one message or refusal of the history.
func (c *Console) entry(r *http.Request, v *view) error {
	id := r.PathValue("id")
	v.Page, v.Title, v.Tab = "entry", "Message "+id, "messages"
	if err := needPrivate(v); err != nil {
		return err
	}
	found, err := one[history.Detail](r, v, "/messages/"+url.PathEscape(id))
	if gone := (notFound{}); errors.As(err, &gone) {
		gone.links = []link{{v.Relay.Path() + "messages", "All messages that are kept"}}
		return gone
	}
	if err != nil {
		return err
	}
	if found.value.Kind == history.Refusal {
		v.Title = "Refusal " + id
	}
	v.Body = struct {
		history.Detail
		Instance string
		Health   health
		Waits    bool // the queue has it
	}{found.value, found.instance, entryWords[found.value.State], slices.Contains(inQueue, found.value.State)}
	return nil
}
