package smtpd

import (
	"testing"

	"github.com/printerrelay/printer-relay/test/stream"
)

// TestSessions plays sessions that a fuzzer of octets is slow to find, from fixed
// seeds, against every profile, and holds them to what FuzzSession does.
func TestSessions(t *testing.T) {
	r := newRig(t, "correct horse")
	for profile := range byte(sessionProfiles) {
		for n := range uint64(20) {
			seed := uint64(profile)<<32 | n
			m := stream.New(seed, "scan", 16<<10)
			in, sizes := []byte(m.Session()), m.Pieces()
			r.session(t, in, sizes, profile, m.IntN(10) == 0)
			if t.Failed() {
				t.Fatalf("seed %d, profile %d, in pieces of %v", seed, profile, sizes)
			}
		}
	}
}
