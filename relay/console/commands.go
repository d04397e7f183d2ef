package console

import (
	"regexp"
	"strings"

	"github.com/printerrelay/printer-relay/relay/queue"
)

// command is one to copy: these pages change nothing.
type command struct{ What, Command string }

// plainID is what the relay makes for a message. What an instance says need not be so, and
// a command is pasted into a shell.
var plainID = regexp.MustCompile(`^[0-9A-Za-z]{1,40}$`)

// command is what a person types to do something with the queue of a relay.
func (c *Console) command(r *Relay, verb, what string) string {
	out := "printer-relay queue " + verb + " --relay " + r.Key()
	if c.Kubectl {
		out = "kubectl printer-relay queue " + verb + " --namespace " + r.Namespace + " --relay " + r.Name
	}
	return strings.TrimSpace(out + " " + what)
}

// commandsFor are those for a message in this state.
func (c *Console) commandsFor(r *Relay, m *queue.Summary) (out []command) {
	if !plainID.MatchString(m.ID) {
		return nil
	}
	add := func(what, verb string) { out = append(out, command{what, c.command(r, verb, m.ID)}) }
	switch m.State {
	case queue.Held:
		add("Let it go", "release")
	case queue.Failed, queue.Deferred:
		add("Try it now", "retry")
		out = append(out, command{"Send it another way", c.command(r, "reroute", "--to UPSTREAM "+m.ID)})
	case queue.Pending:
	}
	if m.State != queue.Failed {
		if m.State != queue.Held {
			add("Keep it back", "hold")
		}
		add("Give it up, and tell who is to hear of it", "bounce")
	}
	add("Save it as a file", "export")
	return out
}

// commandsForAll are those for the list.
func (c *Console) commandsForAll(r *Relay) []command {
	return []command{
		{"The list, in a terminal", c.command(r, "list", "")},
		{"Try again all that failed", c.command(r, "retry", "--status failed")},
		{"Let go all that is held", c.command(r, "release", "--status held")},
	}
}
