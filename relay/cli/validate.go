package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay"
)

func newValidate() *cobra.Command {
	var dir, name string
	var quiet bool
	c := &cobra.Command{
		Use:   "validate -f DIR",
		Short: "Give the API server's verdict without an API server, and print the effective plan",
		Long: `Validates the manifests in DIR with the schema and the CEL rules of the kinds,
resolves their references and compiles them. Problems are printed a line each
with file, line and field, and the exit status is 1. Otherwise the plan of each
PrinterRelay is printed as JSON; it holds no Secret's value.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := relay.LoadConfiguration(dir, name)
			if err != nil {
				fmt.Fprintln(c.ErrOrStderr(), err)
				return errSaid
			}
			for _, w := range conf.Warnings {
				fmt.Fprintln(c.ErrOrStderr(), "warning:", w)
			}
			if quiet {
				return nil
			}
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			for _, p := range conf.Plans {
				if err := e.Encode(p); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&dir, "filename", "f", "", "folder of the manifests (required)")
	c.Flags().StringVar(&name, "name", "", "namespace/name of the one PrinterRelay to compile")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print problems and warnings only")
	c.MarkFlagRequired("filename") //nolint:errcheck // fails only for an unknown flag
	return c
}
