package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/printerrelay/printer-relay/relay/spool"
)

// filled is the folder of a history with many entries.
func filled(t *testing.T) (dir string) {
	t.Helper()
	inWorld(t, month, func(w *world) {
		dir = w.dir
		for i := range 3000 {
			w.arrive(i)
			if i%10 == 0 {
				w.s.Refused(refused(copier, fmt.Sprint(i)))
			}
			if i%1000 == 0 {
				time.Sleep(2 * batchTime)
			}
		}
	})
	return dir
}

// stillWorks runs a store over what lies in dir: whatever that is, what happens now is
// found afterwards, and nothing ends the process.
func stillWorks(t *testing.T, dir, what string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: dir, free: 1 << 40, dropped: map[string]int{}}
		w.o = Options{Dir: dir, Settings: month, Free: func() int64 { return 1 << 40 }}
		w.start()
		defer w.end()
		time.Sleep(time.Second)
		for range 3 { // the first may come upon what is wrong
			w.s.List(t.Context(), Filter{Text: "not there", Limit: 10}) //nolint:errcheck // see below
			w.s.List(t.Context(), Filter{Limit: 1000})                  //nolint:errcheck // the same
			w.s.Forget(t.Context(), Filter{Sender: "nobody@nowhere.example"})
			w.arrive(5000)
			w.s.Refused(refused(copier, "new"))
			time.Sleep(2 * time.Minute)
		}
		id := w.arrive(6000)
		if d, err := w.s.Show(t.Context(), id); err != nil || d.ID != id {
			t.Errorf("%s: %v; %s", what, err, w.s.Problem())
		}
		if p := w.s.Problem(); p != "" {
			t.Errorf("%s: %s", what, p)
		}
	})
}

func TestADamagedFileIsSetAside(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(filled(t), fileName))
	if err != nil {
		t.Fatal(err)
	}
	spoilt := func(t *testing.T, b []byte) (dir string) {
		t.Helper()
		dir = t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	aside := 0
	seed := uint64(1)
	r := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // the same ones each time
	for i := range 60 {
		b := append([]byte(nil), good...)
		what := ""
		switch i % 4 {
		case 0:
			n := r.IntN(len(b))
			what, b = fmt.Sprint("cut to ", n), b[:n]
		case 1:
			at := r.IntN(len(b) - 4096)
			what = fmt.Sprint("zeros at ", at)
			clear(b[at : at+4096])
		case 2:
			at := r.IntN(len(b) / 4096)
			what = fmt.Sprint("noise in page ", at)
			for j := range 64 {
				b[at*4096+j] = byte(r.Uint32())
			}
		case 3:
			for range 200 {
				b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			}
			what = "200 bits flipped"
		}
		dir := spoilt(t, b)
		stillWorks(t, dir, what)
		if _, err := os.Stat(filepath.Join(dir, asideName)); err == nil {
			aside++
		}
	}
	if aside < 10 {
		t.Errorf("%d of 60 were set aside: the test shows little", aside)
	}
	for name, b := range map[string][]byte{"empty": {}, "text": []byte(strings.Repeat("hello\n", 10000)), "zeros": make([]byte, 1<<20)} {
		stillWorks(t, spoilt(t, b), name)
	}
}

// A page that names itself as the one below would have bbolt look for ever, and end the
// process when its stack is full.
func TestAFileThatGoesInCircles(t *testing.T) {
	good, err := os.ReadFile(filepath.Join(filled(t), fileName))
	if err != nil {
		t.Fatal(err)
	}
	circles := 0
	for at := 0; at+4096 <= len(good); at += 4096 {
		if flags := binary.LittleEndian.Uint16(good[at+8:]); flags != 1 || binary.LittleEndian.Uint64(good[at:]) != uint64(at/4096) {
			continue
		}
		b := append([]byte(nil), good...)
		n := int(binary.LittleEndian.Uint16(b[at+10:]))
		for i := range n {
			binary.LittleEndian.PutUint64(b[at+16+16*i+8:], uint64(at/4096))
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		circles++
		stillWorks(t, dir, fmt.Sprint("page ", at/4096))
	}
	if circles == 0 {
		t.Error("the file has no branch pages: the test shows nothing")
	}
}

func TestANewerFileIsLeftAlone(t *testing.T) {
	dir := filled(t)
	path := filepath.Join(dir, fileName)
	b, err := bolt.Open(path, 0o600, nil)
	if err == nil {
		err = errors.Join(b.Update(func(tx *bolt.Tx) error { return tx.Bucket(metaBucket).Put(versionKey, []byte{version + 1}) }), b.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	off(t, dir, "a newer version")
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("it was changed (%v)", err)
	}
}

// off runs a store that has no history to keep, and says why.
func off(t *testing.T, dir, why string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: dir}
		dropped := 0
		w.o = Options{Dir: dir, Settings: month, Free: func() int64 { return 1 << 40 }, Dropped: func(string) { dropped++ }}
		w.start()
		defer w.end()
		for i := range 3 * batchMost {
			w.arrive(i)
			if i%1000 == 0 {
				time.Sleep(time.Minute)
			}
		}
		time.Sleep(5 * time.Minute)
		if p := w.s.Problem(); !strings.Contains(p, why) || !strings.Contains(p, "mail goes on") {
			t.Errorf("problem %q", p)
		}
		if _, err := w.s.List(t.Context(), Filter{}); !errors.Is(err, ErrOff) || !strings.Contains(err.Error(), why) {
			t.Error(err)
		}
		if dropped == 0 || len(w.s.pending.entries) > batchMost {
			t.Errorf("%d dropped, %d wait", dropped, len(w.s.pending.entries))
		}
	})
}

func TestAFileThatIsInUse(t *testing.T) {
	dir := filled(t)
	other, err := openDatabase(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	off(t, dir, "another process")
	if err := other.close(); err != nil {
		t.Fatal(err)
	}
	stillWorks(t, dir, "once it is free")
}

// The folder cannot be made: a file is in its place.
func TestAFolderThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	off(t, filepath.Join(file, "history"), "not a directory")
}

// TestWriterThatIsKilled is no test where it is not run by TestKills: it writes until
// it is killed.
func TestWriterThatIsKilled(t *testing.T) {
	dir := os.Getenv("HISTORY_WRITES_TO")
	if dir == "" {
		return
	}
	d, err := openDatabase(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		batch := map[string]*entry{}
		for i := range 50 {
			m := message(anna)
			m.Arrived = time.Now()
			m.ID = spool.IDAt(m.Arrived) + fmt.Sprintf("%03d%04d", i, n)
			batch[m.ID] = newMessage(m, false)
		}
		if err := d.commit(batch, &Settings{Keep: time.Hour, Size: 8 << 20}, time.Now()); err != nil {
			t.Fatal(err)
		}
		fmt.Println("batch", n)
	}
}

// TestKills kills a process that writes, again and again: the file is whole, what was
// written before is there, and a batch is there as a whole or not at all.
func TestKills(t *testing.T) {
	dir := t.TempDir()
	before := 0
	for range 15 {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriterThatIsKilled$", "-test.v") //nolint:gosec // this program
		c.Env = append(os.Environ(), "HISTORY_WRITES_TO="+dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64)
		for seen := 0; seen < 2+rand.IntN(40); seen++ { //nolint:gosec // where it is killed is chance
			if _, err := out.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		c.Process.Kill()         //nolint:errcheck // Wait tells
		io.Copy(io.Discard, out) //nolint:errcheck // it ends
		c.Wait()                 //nolint:errcheck // it was killed
		d, err := openDatabase(dir, true)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = d.bolt.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return tx.Bucket(messagesBucket).ForEach(func(_, v []byte) error {
				if _, ok := decode(v); !ok {
					return errDamaged
				}
				n++
				return nil
			})
		})
		if err != nil || n%50 != 0 || n <= before {
			t.Errorf("%d entries, before %d: %v", n, before, err)
		}
		before = n
		if err := d.close(); err != nil {
			t.Fatal(err)
		}
	}
	stillWorks(t, dir, "after all")
}

// A search that would take too long gives what it has, and goes on where it stopped.
func TestASearchIsBounded(t *testing.T) {
	dir := filled(t)
	d, err := openDatabase(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close() //nolint:errcheck // it was read
	f := Filter{Text: "not there"}
	m, err := f.compile()
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	expired := time.Now()
	pages := 0
	for f.Cursor = ""; ; pages++ {
		p, err := d.search(f.Cursor, m, 10, func() bool { looked += lookEvery; return time.Now().After(expired) })
		if err != nil {
			t.Fatal(err)
		}
		if f.Cursor = p.Next; p.Next == "" {
			break
		}
		if !p.Incomplete {
			t.Error("it does not say so")
		}
	}
	if pages < 3 || looked < 2500 {
		t.Errorf("%d pages, %d entries", pages, looked)
	}
}
