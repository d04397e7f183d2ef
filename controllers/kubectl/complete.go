package kubectl

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// completeTime bounds what a shell waits for.
const completeTime = 3 * time.Second

// names completes the first argument with the names of objects in the namespace.
func (f *flags) names(list func() client.ObjectList) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f.named(cmd, list()), cobra.ShellCompDirectiveNoFileComp
	}
}

func (f *flags) named(cmd *cobra.Command, list client.ObjectList) []string {
	c, err := f.connect()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(commandContext(cmd), completeTime)
	defer cancel()
	if c.client.List(ctx, list, client.InNamespace(c.namespace)) != nil {
		return nil
	}
	var out []string
	apimeta.EachListItem(list, func(o runtime.Object) error { //nolint:errcheck // it gives none
		out = append(out, o.(client.Object).GetName())
		return nil
	})
	return out
}

// commandContext is a command's context; while a shell completes it may have none.
func commandContext(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

// subjects completes what can be suspended, and its name.
func (f *flags) subjects(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch {
	case len(args) == 0:
		return subjects, cobra.ShellCompDirectiveNoFileComp
	case len(args) == 1 && args[0] == "relay":
		return f.named(cmd, &v1alpha1.PrinterRelayList{}), cobra.ShellCompDirectiveNoFileComp
	case len(args) == 1 && args[0] == "upstream":
		return f.named(cmd, &v1alpha1.MailUpstreamList{}), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// complete adds the completion of flags.
func complete(root *cobra.Command, f *flags) {
	fixed := func(all ...string) cobra.CompletionFunc {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return all, cobra.ShellCompDirectiveNoFileComp
		}
	}
	root.RegisterFlagCompletionFunc("output", fixed("table", "wide", "json", "yaml"))                                   //nolint:errcheck // fails only for an unknown flag
	root.RegisterFlagCompletionFunc("relay", f.names(func() client.ObjectList { return &v1alpha1.PrinterRelayList{} })) //nolint:errcheck // the same
}
