package kubectl

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/webhook"
)

// webhookTime bounds a test at one instance, which the relay itself ends after half a
// minute.
const webhookTime = time.Minute

// webhooks opens those of all instances.
func (f *flags) webhooks(cmd *cobra.Command, do func(admin.Webhooks) error) error {
	e, err := f.everywhere(cmd)
	if err != nil {
		return err
	}
	return errors.Join(do(webhooksOf{e}), e.failed())
}

// webhookNames completes the names of the webhooks that PrinterRelays have.
func (f *flags) webhookNames(cmd *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	c, err := f.connect()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(commandContext(cmd), completeTime)
	defer cancel()
	all, err := c.relays(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for i := range all {
		for k := range all[i].Spec.Webhooks {
			names = append(names, all[i].Spec.Webhooks[k].Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// webhooksOf is the webhooks of all instances. Each tells of its own mail, by a way of its
// own: what waits at one, and whether it reaches the receiver, says nothing of another.
type webhooksOf struct{ *everywhere }

// List implements admin.Webhooks.
func (w webhooksOf) List(ctx context.Context) ([]webhook.Status, error) {
	lists, err := ask(ctx, w.everywhere, askTime, func(ctx context.Context, i instance) ([]webhook.Status, error) {
		all, err := i.Webhooks().List(ctx)
		for n := range all {
			all[n].Instance = i.name
		}
		return all, err
	})
	return append([]webhook.Status{}, slices.Concat(lists...)...), err
}

// Test implements admin.Webhooks.
func (w webhooksOf) Test(ctx context.Context, name string) ([]webhook.Tested, error) {
	if err := w.oneRelay("a test"); err != nil {
		return nil, err
	}
	tests, err := ask(ctx, w.everywhere, webhookTime, func(ctx context.Context, i instance) ([]webhook.Tested, error) {
		all, err := i.Webhooks().Test(ctx, name)
		for n := range all {
			all[n].Instance = i.name
		}
		return all, err
	})
	return slices.Concat(tests...), err
}
