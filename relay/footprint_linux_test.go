package relay

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestReadOnlyMapping(t *testing.T) {
	const exe = "/usr/local/bin/printer relay"
	for line, want := range map[string]string{
		"00400000-01dd9000 r-xp 00000000 fe:00 1234                       " + exe:            "400000-1dd9000 true",
		"01dd9000-03b35000 r--p 019d9000 fe:00 1234                       " + exe:            "1dd9000-3b35000 true",
		"03b35000-03c8f000 rw-p 03735000 fe:00 1234                       " + exe:            "0-0 false", // it was written to
		"7fa195910000-7fa195d00000 rw-p 00000000 00:00 0 ":                                   "0-0 false",
		"7fa195910000-7fa195d00000 r--p 00000000 fe:00 9              /usr/lib/libc.so":      "0-0 false",
		"7fff0000-7fff2000 r-xp 00000000 00:00 0                          [vdso]":            "0-0 false",
		"zz-00 r-xp 00000000 fe:00 1234 " + exe:                                              "0-0 false",
		"00400000-01dd9000 r-xp 00000000 fe:00 1234                       " + exe + " (old)": "0-0 false",
	} {
		from, to, ok := readOnlyMapping(line, exe)
		if got := fmt.Sprintf("%x-%x %t", from, to, ok); got != want && (ok || !strings.HasSuffix(want, "false")) {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// The pages of the program go, and what is used of them comes back.
func TestTheProgramsPagesAreGivenBack(t *testing.T) {
	before := fileRSS(t)
	if err := unmapProgram(); err != nil {
		t.Fatal(err)
	}
	if after := fileRSS(t); after >= before {
		t.Errorf("mapped of files: %d kB before, %d kB after", before, after)
	}
}

// fileRSS is what of the test's program is mapped, in kB (proc(5)).
func fileRSS(t *testing.T) int {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "RssFile:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}
