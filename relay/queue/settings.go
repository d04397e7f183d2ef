package queue

import (
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
	}
}
