package plan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The history never has so much of a volume that scans have no room.
func TestTheHistoryHasAPartOfTheVolume(t *testing.T) {
	for name, tc := range map[string]struct {
		spec string
		keep time.Duration
		size int64
		want string
	}{
		"by default":         {"", 720 * time.Hour, 256 << 20, ""},
		"of a small volume":  {"spool: {persistentVolume: {size: 1Gi}}", 720 * time.Hour, 64 << 20, ""},
		"of a large volume":  {"spool: {persistentVolume: {size: 100Gi}}", 720 * time.Hour, 256 << 20, ""},
		"as it is said":      {"spool: {persistentVolume: {size: 1Gi}}\n  history: {size: 300Mi, keepSeconds: 60}", time.Minute, 300 << 20, ""},
		"nothing":            {"history: {keepSeconds: 0}", 0, 256 << 20, ""},
		"more than the half": {"spool: {persistentVolume: {size: 1Gi}}\n  history: {size: 600Mi}", 0, 0, "spec.history.size: 600Mi is more than half of the volume"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(small, "  listeners:", "  "+tc.spec+"\n  listeners:", 1)
			pl, found := compileYAML(t, text)
			if tc.want != "" {
				if !found.Failed() || !strings.Contains(fmt.Sprint(found), tc.want) {
					t.Errorf("got %v, want %s", found, tc.want)
				}
				return
			}
			if found.Failed() || pl.History.Keep != tc.keep || pl.History.Size != tc.size || pl.History.Subjects {
				t.Errorf("%+v %v", pl.History, found)
			}
		})
	}
}
