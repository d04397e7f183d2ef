package relay

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// A plan that cannot be applied is tried five times a second, and the last good one is
// gone back to each time: nothing of that is written and synced again.
func TestAPlanIsSavedOnce(t *testing.T) {
	in := &instance{dir: t.TempDir(), log: slog.New(slog.DiscardHandler)}
	look := func(intake plan.Intake) os.FileInfo {
		t.Helper()
		in.savePlan(&plan.Plan{Name: "floor3", Intake: intake})
		info, err := os.Stat(filepath.Join(in.dir, planFile))
		if err != nil {
			t.Fatal(err)
		}
		if pl, err := loadPlan(in.dir); err != nil || pl.Intake != intake {
			t.Fatalf("what was saved: %+v, %v", pl, err)
		}
		return info
	}
	first := look(plan.IntakeAccept)
	if again := look(plan.IntakeAccept); !os.SameFile(first, again) {
		t.Error("the same plan was written again")
	}
	look(plan.IntakeRefuse)
}
