// Package cli is the command tree of printer-relay: one file a command, each
// of which reads its flags, calls the package that does the work and prints.
// It may import every package of the module.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// errSaid ends a command whose findings are printed already: exit status 1,
// no further message.
var errSaid = errors.New("")

// errKeptBack is the same for a message that stays until a person lets it go: exit status 3.
var errKeptBack = fmt.Errorf("kept back%w", errSaid)

// usageError is a command line that makes no sense: exit status 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// failure ends a command of which status 1 is a finding: exit status 2.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

// Main runs the command line args and returns the exit status: 0 success, 1
// failure, 2 a command line that makes no sense, 3 a test scan that is kept back on
// purpose. SIGINT and SIGTERM end the
// command's context; a second one kills.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal has its default effect
	return run(ctx, args, stdout, stderr)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	began := false
	noteBegin(root, &began)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, errKeptBack) {
		return 3
	}
	if errors.Is(err, errSaid) {
		return 1
	}
	fmt.Fprintf(stderr, "printer-relay: %v\n", err)
	if !began || errors.As(err, new(usageError)) {
		fmt.Fprintln(stderr, "printer-relay --help lists the commands, printer-relay COMMAND --help the flags of one")
		return 2
	}
	if errors.As(err, new(failure)) {
		return 2
	}
	return 1
}

// noteBegin tells apart what cobra finds wrong with a command line from what a
// command finds when it runs.
func noteBegin(c *cobra.Command, began *bool) {
	if do := c.RunE; do != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			*began = true
			return do(c, args)
		}
	}
	for _, sub := range c.Commands() {
		noteBegin(sub, began)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "printer-relay",
		Short:         "Keeps scan-to-e-mail working: old SMTP in, policy, safe storage, modern mail out",
		Version:       Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newOperator(), newRelay(), newValidate(), newExplain(), newQueue(), newMessages(), newSessions(), newWebhooks(), newCopiers(), newSuggest(), newSimulate(), newDNS(), newLeastPrivilege(), newImport(), newSend(), newKubectl())
	completeFlags(root)
	return root
}

// version is set by the linker for releases: -X .../relay/cli.version=v1.2.3.
var version = ""

// Version is the release, or what the Go tool knows of the build.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}
