package cli

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// choices is how a flag's help names the only values that it takes.
var choices = regexp.MustCompile(`^[A-Za-z0-9]+(?:, [A-Za-z0-9]+)*,? or [A-Za-z0-9]+$`)

// folders are the flags that name one, and chosen those that take one of a few words.
var (
	folders = []string{"manifests", "state", "secrets"}
	chosen  = []string{"status", "kind", "output", "enforcement", "log-level", "log-format"}
)

// completeFlags has a shell complete the values of flags, of all commands below c, by
// what their help says: one list serves people and shells.
func completeFlags(c *cobra.Command) {
	for _, name := range folders {
		if c.LocalFlags().Lookup(name) != nil {
			c.MarkFlagDirname(name) //nolint:errcheck // fails only for an unknown flag
		}
	}
	for _, name := range chosen {
		f := c.LocalFlags().Lookup(name)
		if f == nil || !choices.MatchString(f.Usage) {
			continue
		}
		if _, has := c.GetFlagCompletionFunc(name); !has {
			words := strings.FieldsFunc(strings.Replace(f.Usage, " or ", " ", 1), func(r rune) bool { return r == ',' || r == ' ' })
			c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // the same
		}
	}
	for _, sub := range c.Commands() {
		completeFlags(sub)
	}
}
