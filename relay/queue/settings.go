package queue

import (
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
	// HiddenClients are those whose address is known by now not to be their own.
	HiddenClients plan.HiddenClients
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
	return Settings{
		Relay:     p.Namespace + "/" + p.Name,
		Hostname:  p.Hostname,
		Routes:    p.Routes,
		Fallbacks: p.Fallbacks,
		Upstreams: p.Upstreams,
		Delivery:  p.Delivery,
		Holds:     p.Holds,

		HiddenClients: p.HiddenClients,
	}
}
