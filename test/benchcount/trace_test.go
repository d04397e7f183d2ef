package benchcount

import (
	"maps"
	"strings"
	"testing"
)

const (
	client   = "<TCP:[127.0.0.1:2525->127.0.0.1:5001]>"
	upstream = "<TCP:[127.0.0.1:5002->127.0.0.1:26]>"
	probe    = "<TCP:[127.0.0.1:2525->127.0.0.1:5003]>"
	entry    = `"/state/default/bench/spool/messages/X1"`
	open     = "</state/default/bench/spool/messages/X1>"
)

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name           string
		trace          []string
		calls          map[string]int
		sockets        int
		syncs, written int
	}{
		{name: "nothing"},
		{
			name: "a file of the spool",
			trace: []string{
				`10 openat(AT_FDCWD</>, ` + entry + `, O_WRONLY|O_CREAT, 0600) = 13` + open,
				`10 write(13` + open + `, "x = 1\r\n"..., 65536) = 65536`,
				`10 pwrite64(13` + open + `, "PRSPOOL1"..., 32, 0) = 32`,
				`10 fdatasync(13` + open + `) = 0`,
				`10 fsync(9</state/default/bench/spool/messages>) = 0`,
				`10 syncfs(9</state/default/bench/spool/messages>) = 0`,
			},
			calls: map[string]int{"openat": 1, "write": 1, "pwrite64": 1, "fdatasync": 1, "fsync": 1, "syncfs": 1},
			syncs: 3, written: 65568,
		},
		{
			name:  "files of others, and what is no call",
			trace: []string{`10 openat(AT_FDCWD</>, "/manifests", O_RDONLY) = 13</manifests>`, `10 write(7<anon_inode:[eventfd]>, "\1"..., 8) = 8`, `10 --- SIGURG {si_signo=SIGURG} ---`, `11 +++ exited with 0 +++`},
		},
		{
			name:  "the log costs calls, and is not of the volume",
			trace: []string{`10 write(2<pipe:[77]>, "msg=received"..., 228) = 228`},
			calls: map[string]int{"write": 1},
		},
		{
			name: "another thread comes between",
			trace: []string{
				`10 pwrite64(13` + open + `, "x"..., 100, 0 <unfinished ...>`,
				`11 fdatasync(14` + open + ` <unfinished ...>`,
				`10 <... pwrite64 resumed>) = 100`,
				`11 <... fdatasync resumed>) = 0`,
			},
			calls: map[string]int{"pwrite64": 1, "fdatasync": 1},
			syncs: 1, written: 100,
		},
		{
			name: "connections that carry mail, from their beginning",
			trace: []string{
				`10 accept4(9<TCP:[127.0.0.1:2525]>, {sa_family=AF_INET}, [112], SOCK_CLOEXEC) = 11` + client,
				`10 accept4(9<TCP:[127.0.0.1:2525]>, 0x1, [112], SOCK_CLOEXEC) = -1 EAGAIN (Resource temporarily unavailable)`,
				`10 read(11` + client + `, 0x1, 512) = -1 EAGAIN (Resource temporarily unavailable)`,
				`10 read(11` + client + `, "MAIL FROM:<copier@example.test>\r"..., 512) = 33`,
				`10 write(12` + upstream + `, "MAIL FROM:<copier@example.test>\r"..., 69) = 69`,
			},
			calls: map[string]int{"accept4": 1, "read": 1, "write": 1}, sockets: 3,
		},
		{
			name:  "connections that carry none",
			trace: []string{`10 accept4(9<TCP:[127.0.0.1:2525]>, 0x1, [112], SOCK_CLOEXEC) = 11` + probe, `10 read(11` + probe + `, "MAIL FROM:<stranger@example.test>\r"..., 512) = 33`, `10 close(11` + probe + `) = 0`},
		},
		{
			name:  "a call that fails otherwise counts",
			trace: []string{`10 newfstatat(AT_FDCWD</>, ` + entry + `, 0x1, AT_SYMLINK_NOFOLLOW) = -1 ENOENT (No such file or directory)`},
			calls: map[string]int{"newfstatat": 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			outside := `10 fdatasync(13` + open + `) = 0`
			all := append([]string{outside, `10 read(8` + probe + `, "HELO count-begins.test\r\n", 512) = 24`}, tc.trace...)
			all = append(all, `10 read(8`+probe+`, "HELO count-ends.test\r\n", 512) = 22`, outside, `10 read(8`+probe+`, "HELO count-rested.test\r\n", 512) = 24`, outside)
			c, err := read(strings.NewReader(strings.Join(all, "\n")), "/manifests", "/state/default/bench/spool")
			if err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(c.calls, tc.calls) || c.total(false)-c.total(true) != tc.sockets || c.syncs != tc.syncs || c.written != tc.written {
				t.Errorf("%v, %d on sockets, %d syncs, %d octets; want %v, %d, %d, %d",
					c.calls, c.total(false)-c.total(true), c.syncs, c.written, tc.calls, tc.sockets, tc.syncs, tc.written)
			}
		})
	}
}

// A connection that was open before the counting began, the upstream's, counts, and
// so does each look at the manifests.
func TestReadOverTime(t *testing.T) {
	look := `10 openat(AT_FDCWD</>, "/manifests", O_RDONLY|O_DIRECTORY) = 13</manifests>`
	trace := []string{
		look,
		`10 write(12` + upstream + `, "MAIL FROM:<copier@example.test>\r"..., 69) = 69`,
		`10 read(8` + probe + `, "HELO count-begins.test\r\n", 512) = 24`,
		`10 write(12` + upstream + `, "Received: from copier"..., 400) = 400`,
		look,
		`10 read(8` + probe + `, "HELO count-ends.test\r\n", 512) = 22`,
		look, look,
		`10 read(8` + probe + `, "HELO count-rested.test\r\n", 512) = 24`,
		look,
	}
	c, err := read(strings.NewReader(strings.Join(trace, "\n")), "/manifests", "/spool")
	if err != nil || c.total(false) != 1 || c.looks != 1 || c.looksAtRest != 2 {
		t.Errorf("%+v %v, want one call, one look and then two", c, err)
	}
}

func TestReadRefuses(t *testing.T) {
	begun := `10 read(8` + probe + `, "HELO count-begins.test\r\n", 512) = 24` + "\n"
	for name, trace := range map[string]string{
		"nothing":            "",
		"no end":             begun,
		"no rest":            begun + `10 read(8` + probe + `, "HELO count-ends.test\r\n", 512) = 22`,
		"an end alone":       `10 read(8` + probe + `, "HELO count-ends.test\r\n", 512) = 22`,
		"a call cut off":     begun + `10 fsync(9</spool/messages>`,
		"octets, no number":  begun + `10 write(9</spool/slots>, "x"..., 3) = ?`,
		"no octets, no sign": begun + `10 write(9</spool/slots>, "x"..., 3) = `,
	} {
		if c, err := read(strings.NewReader(trace), "/manifests", "/spool"); err == nil {
			t.Errorf("%s: %+v, want an error", name, c)
		}
	}
}
