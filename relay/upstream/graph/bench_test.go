package graph

import (
	"testing"

	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
)

// A scan of 25 MB goes by a draft; B/op counts the fake's side too.
func BenchmarkDeliver(b *testing.B) {
	f := startFake(b, conformance.None)
	conformance.BenchmarkAttached(b, f.transport())
}
