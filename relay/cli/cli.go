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

// Main runs the command line args and returns the exit status: 0 success, 1
// failure. SIGINT and SIGTERM end the command's context; a second one kills.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a signal has its default effect
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintf(stderr, "printer-relay: %v\n", err)
		}
		return 1
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "printer-relay",
		Short:         "Keeps scan-to-e-mail working: old SMTP in, policy, safe storage, modern mail out",
		Version:       Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newRelay(), newValidate(), newExplain(), newQueue())
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
