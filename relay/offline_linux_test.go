package relay

import (
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOfflineWorkIsLeftToTheOwner(t *testing.T) {
	dir := t.TempDir()
	if err := sameOwner(dir, os.Geteuid()); err != nil {
		t.Errorf("the owner: %v", err)
	}
	if err := sameOwner(dir, os.Geteuid()+1); err == nil || !strings.Contains(err.Error(), "run this command as that user") {
		t.Errorf("another user: %v", err)
	}
}
