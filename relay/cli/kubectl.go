package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/controllers/kubectl"
)

// PluginName is what kubectl looks for on the PATH for `kubectl printer-relay`.
const PluginName = "kubectl-printer_relay"

func newKubectl() *cobra.Command { return Kubectl(nil) }

// Kubectl is the plugin's command tree. dial reaches a port of a Pod; nil: by port-forward.
func Kubectl(dial kubectl.Dialer) *cobra.Command {
	return kubectl.New(Version(), kubectl.Shared{Queue: newQueueOf, Test: newTestOf, Copiers: newCopiersOf, Messages: newMessagesOf, Webhooks: newWebhooksOf, Dial: dial, Said: errSaid})
}

// asOutput takes --output of the plugin for commands that have --json without it.
func asOutput(c *cobra.Command, json, yaml *bool) error {
	switch o := c.Flags().Lookup("output"); o.Value.String() {
	case "table", "wide":
	case "json":
		*json = true
	case "yaml":
		*yaml = true
	default:
		return usageError{fmt.Errorf("--output %s: %s prints table, json or yaml", o.Value, c.CommandPath())}
	}
	return nil
}

// Args are the arguments of the command tree for a program that was started as argv.
// Under the plugin's name they are those of `printer-relay kubectl`.
func Args(argv []string) []string {
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	args := argv[1:]
	if name != PluginName {
		return args
	}
	if len(args) > 0 && strings.HasPrefix(args[0], "__complete") { // a shell asks
		return append([]string{args[0], "kubectl"}, args[1:]...)
	}
	return append([]string{"kubectl"}, args...)
}
