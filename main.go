// Command printer-relay takes mail from devices that speak old SMTP, allows
// what a policy names, stores it safely and hands it on with modern
// credentials. See README.md.
package main

import (
	"os"

	"github.com/printerrelay/printer-relay/relay/cli"
)

func main() { os.Exit(cli.Main(cli.Args(os.Args), os.Stdout, os.Stderr)) }
