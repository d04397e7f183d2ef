// Package operator tests the operator in whole against a real API server: what it
// writes, what it leaves alone, and what it says. No kubelet and no controller of
// Kubernetes runs beside it: node_test.go plays their part, and says of each
// instance what a relay would that reads the ConfigMap.
//
// It imports controllers and relay as their users do, and test/apiserver.
package operator

import (
	"flag"
	"log/slog"
	"os"
	"testing"

	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	// The administrator's own kubectl settings are none of the tests' business.
	if err := os.Unsetenv("KUBECONFIG"); err != nil {
		panic(err)
	}
	controllers.LogTo(slog.New(slog.DiscardHandler)) // each operator has a log of its own
	apiserver.Main(m)
}

// parallel tests: most of their time they wait.
const parallel = "8"
