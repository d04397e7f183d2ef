package relay

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unmapProgram lets go of the pages of the program's own file that are mapped
// read-only: code, types and tables. The kernel maps them around every fault, and
// package initialisation alone, of the operator's libraries too, faults all over
// the file. What is used comes back from the page cache, a page at a time;
// MADV_DONTNEED of a private file mapping that was never written loses nothing
// (madvise(2)).
func unmapProgram() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	var errs []error
	for lines := bufio.NewScanner(f); lines.Scan(); {
		from, to, ok := readOnlyMapping(lines.Text(), exe)
		if !ok {
			continue
		}
		// By address: what the kernel mapped is no Go memory.
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			errs = append(errs, fmt.Errorf("madvise: %w", errno))
		}
	}
	return errors.Join(errs...)
}

// readOnlyMapping reads a line of /proc/PID/maps (proc(5)): "FROM-TO r-xp OFFSET
// DEVICE INODE PATH".
func readOnlyMapping(line, path string) (from, to uintptr, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasSuffix(line, " "+path) || fields[1] != "r-xp" && fields[1] != "r--p" {
		return 0, 0, false
	}
	n, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to)
	return from, to, n == 2 && err == nil && from < to
}
