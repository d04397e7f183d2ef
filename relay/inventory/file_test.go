package inventory

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// childOf makes the test binary a process that saves and saves, to be killed.
const childOf = "INVENTORY_TEST_SAVES_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(childOf); path != "" {
		saveForEver(path)
	}
	os.Exit(m.Run())
}

func saveForEver(path string) {
	s := New()
	for i := range 1500 {
		s.Accepted(&Visit{At: time.Unix(1, 0), Client: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), Listener: "legacy", Name: "MFP"}, accepted())
	}
	for i := 1; ; i++ {
		for k := range 20 {
			s.Accepted(&Visit{At: time.Unix(int64(i), 0), Client: netip.AddrFrom4([4]byte{10, 0, byte(i), byte(k)}), Listener: "legacy", Name: "MFP"}, accepted())
		}
		if err := s.Save(path, time.Unix(int64(i), 0)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, i)
	}
}

// TestKilledWhileSaving: at every moment the file is whole, so a SIGKILL leaves a whole
// one, with all that was saved before.
func TestKilledWhileSaving(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), FileName)
	for range 2 {
		c := exec.CommandContext(t.Context(), exe)
		c.Env = append(os.Environ(), childOf+"="+path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		var saved atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for lines := bufio.NewScanner(out); lines.Scan(); {
				n, err := strconv.Atoi(lines.Text())
				if err != nil {
					t.Error(lines.Text())
					return
				}
				saved.Store(int64(n))
			}
		}()
		for saved.Load() < 25 {
			before := saved.Load()
			b, err := os.ReadFile(path)
			if err == nil {
				_, err = whole(b)
			}
			if err != nil && before > 0 {
				t.Errorf("while it is written the file is not whole: %v", err)
				break
			}
		}
		least := 1500 + 20*int(saved.Load())
		c.Process.Kill() //nolint:errcheck // it may be gone
		<-done
		c.Wait() //nolint:errcheck // it was killed
		if devices, err := ReadFile(path); err != nil || len(devices) < least {
			t.Fatalf("the file has %d devices, and %d were saved: %v", len(devices), least, err)
		}
	}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func full() *Store {
	s := New()
	for i := range 20 {
		v := visit(fmt.Sprintf("10.0.0.%d", i), noon)
		v.TLS, v.Cipher, v.Auth = 0x0301, 0x002f, Auth{"PLAIN", "mfp1", true}
		s.Accepted(v, accepted())
		s.Refused(v, refusal())
		s.WouldHave(v, DryRun{Policy: "p", Rule: "r", Now: Accept, Would: Refuse, Reply: "550 no"})
	}
	s.Seen(visit("2001:db8::7", noon))
	return s
}

func TestARestartKeepsAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	s := full()
	if err := s.Save(path, noon); err != nil {
		t.Fatal(err)
	}
	back := New()
	back.Load(path, noon.Add(time.Hour), discard())
	if got, want := back.chosen(Filter{}), s.chosen(Filter{}); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwas\n%+v", got, want)
	}
	for i := range s.rooms {
		if a, b := back.rooms[i].top.count, s.rooms[i].top.count; a != b {
			t.Errorf("room %d has %d devices, had %d", i, a, b)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := back.Save(path, noon); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("what did not change was written")
	}
	late := New()
	if err := full().Save(path, noon); err != nil {
		t.Fatal(err)
	}
	late.Load(path, noon.Add(Remember+time.Hour), discard())
	if len(late.devices) > 0 {
		t.Errorf("%d devices are remembered behind %s", len(late.devices), Remember)
	}
}

// TestAFileThatCannotBeUsed is kept aside, with a line in the log, and no start fails
// for it.
func TestAFileThatCannotBeUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	if err := full().Save(path, noon); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{
		"empty": {}, "no JSON": []byte("hello"), "newer": bytes.Replace(good, []byte(`"version":1`), []byte(`"version":2`), 1), "zeros": make([]byte, 4096),
		"other JSON": []byte("[]\n{}"), "null": []byte("null\nnull"),
	}
	for i := range 30 {
		cases[fmt.Sprintf("cut at %d", i)] = good[:len(good)*i/30]
		flipped := bytes.Clone(good)
		flipped[(len(good)-1)*i/29] ^= 1 << (i % 8)
		cases[fmt.Sprintf("flipped %d", i)] = flipped
	}
	for name, b := range cases {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s := New()
		s.Load(path, noon, slog.New(slog.NewTextHandler(&log, nil)))
		aside := path + ".damaged"
		if name == "newer" {
			aside = path + ".newer"
		}
		kept, err := os.ReadFile(aside)
		if err != nil || !bytes.Equal(kept, b) || len(s.devices) > 0 || strings.Count(log.String(), "begins anew") != 1 {
			t.Errorf("%s: %v, %d devices, log %q", name, err, len(s.devices), log.String())
		}
		if err := s.Save(path, noon); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		os.Remove(aside) //nolint:errcheck // the next case writes it
	}
}

func FuzzLoad(f *testing.F) {
	b, err := encode(full().chosen(Filter{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{}\n[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, body, _ := bytes.Cut(b, []byte{'\n'})
		sealed := fmt.Appendf(nil, `{"version":1,"crc32c":%d}`+"\n%s", crc32.Checksum(body, castagnoli), body)
		for _, b := range [][]byte{b, sealed} {
			path := filepath.Join(t.TempDir(), FileName)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s := New()
			s.Load(path, noon, discard())
			s.Seen(visit("10.0.0.1", noon))
			for i := range s.rooms {
				if s.rooms[i].size > rooms[i] {
					t.Fatalf("room %d has %d octets", i, s.rooms[i].size)
				}
			}
		}
	})
}

// TestADiskThatTakesNothing is said once, and again when it is over; it is tried at
// each turn, and at the end.
func TestADiskThatTakesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "gone", FileName)
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		s := full()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Run(ctx, path, time.Minute, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		time.Sleep(5*time.Minute + time.Second)
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n, err := ReadFile(path); err != nil || len(n) != 21 {
			t.Errorf("%d devices, %v", len(n), err)
		}
		s.Seen(visit("10.1.1.1", time.Now()))
		cancel()
		<-done
	})
	if n, err := ReadFile(path); err != nil || len(n) != 22 {
		t.Errorf("at the end: %d devices, %v", len(n), err)
	}
	if strings.Count(log.String(), "cannot be saved") != 1 || strings.Count(log.String(), "saved again") != 1 {
		t.Error(log.String())
	}
}
