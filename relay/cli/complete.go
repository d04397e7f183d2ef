package cli

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// choices is how a flag's help names the only values that it takes.
var choices = regexp.MustCompile(`^[A-Za-z0-9]+(?:, [A-Za-z0-9]+)*,? or [A-Za-z0-9]+$`)

// folders are the flags that name one.
var folders = []string{"manifests", "state", "secrets"}

// completeFlags has a shell complete the values of flags, of all commands below c, by
// what their help says: one list serves people and shells.
func completeFlags(c *cobra.Command) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		switch {
		case slices.Contains(folders, f.Name):
			c.MarkFlagDirname(f.Name) //nolint:errcheck // fails only for an unknown flag
		case choices.MatchString(f.Usage):
			if _, has := c.GetFlagCompletionFunc(f.Name); !has {
				words := strings.FieldsFunc(strings.Replace(f.Usage, " or ", " ", 1), func(r rune) bool { return r == ',' || r == ' ' })
				c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // the same
			}
		}
	})
	for _, sub := range c.Commands() {
		completeFlags(sub)
	}
}
