package relay

import (
	"fmt"
	"os"
	"syscall"
)

// sameOwner refuses to touch the spool of another user than euid: what root writes there
// the relay could not read when it starts.
func sameOwner(dir string, euid int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != euid {
		return fmt.Errorf("%s belongs to the user with the number %d, and the relay could not read what others write there: run this command as that user (setpriv --reuid %d, or sudo -u)", dir, st.Uid, st.Uid)
	}
	return nil
}
