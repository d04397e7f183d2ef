package queue

import (
	"net/url"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// Settings is the part of a plan that the queue runs. It is not changed once
// given to New or Update.
type Settings struct {
	Relay     string // namespace/name, for what the queue writes itself
	Hostname  string // reporting MTA of notifications
	Routes    []plan.Route
	Fallbacks []string
	Upstreams map[string]*plan.Upstream
	Delivery  plan.Delivery
	Holds     []plan.Hold
	Subjects  bool   // subjects of messages may be kept and told
	Console   string // URL of the relay's pages, to its end; empty: it is not known
	History   bool   // messages have a page of their history there

	// HiddenClients are those whose address is known by now not to be their own.
	HiddenClients plan.HiddenClients
}

// PageOfClient is the URL of a page with what is known of a client's messages; empty:
// none is known.
func (s *Settings) PageOfClient(addr string) string {
	switch {
	case s.Console == "":
		return ""
	case s.History:
		return s.Console + "messages?" + url.Values{"client": {addr}}.Encode()
	}
	return s.Console + "queue"
}

// PageOf is the URL of a message's page; empty: none is known.
func (s *Settings) PageOf(id string) string {
	switch {
	case s.Console == "":
		return ""
	case s.History:
		return s.Console + "messages/" + id
	}
	return s.Console + "queue/" + id
}

// setDefaults fills in what must not be zero: mail would expire at once.
func (s *Settings) setDefaults() {
	d := &s.Delivery
	if d.Expire <= 0 {
		d.Expire = 5 * 24 * time.Hour
	}
	if d.RetryFirst <= 0 {
		d.RetryFirst = 30 * time.Second
	}
	if d.RetryMax <= 0 {
		d.RetryMax = time.Hour
	}
}

// SettingsOf gives the settings that p holds.
func SettingsOf(p *plan.Plan) Settings {
	s := Settings{
		Relay:     p.Namespace + "/" + p.Name,
		Hostname:  p.Hostname,
		Routes:    p.Routes,
		Fallbacks: p.Fallbacks,
		Upstreams: p.Upstreams,
		Delivery:  p.Delivery,
		Holds:     p.Holds,
		Subjects:  p.History.Subjects,
		History:   p.History.Keep > 0,

		HiddenClients: p.HiddenClients,
	}
	if p.Console != "" {
		s.Console = p.Console + "/console/relays/" + p.Namespace + "/" + p.Name + "/"
	}
	return s
}
