package secrets

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// kubelet writes versions of a mounted Secret as a kubelet does: a new folder,
// filled; the link swapped to it; the folder before removed.
type kubelet struct {
	*testing.T
	mount string
	n     int
	last  string
}

func (k *kubelet) write(data map[string]string) {
	k.n++
	folder := fmt.Sprintf("..2026_11_25_%09d", k.n)
	for key, value := range data {
		put(k.T, filepath.Join(k.mount, folder, key), value)
		link := filepath.Join(k.mount, key)
		if _, err := os.Lstat(link); err != nil {
			k.must(os.Symlink(filepath.Join("..data", key), link))
		}
	}
	tmp := filepath.Join(k.mount, "..data_tmp")
	k.must(os.Symlink(folder, tmp))
	k.must(os.Rename(tmp, filepath.Join(k.mount, "..data")))
	if k.last != "" {
		k.must(os.RemoveAll(filepath.Join(k.mount, k.last)))
	}
	k.last = folder
}

func (k *kubelet) must(err error) {
	if err != nil {
		k.Error(err)
	}
}

// A read that meets a rotation gives the Secret before or after it, whole: never
// the name of one and the password of the other, and never "not found".
func TestDirNeverMixesVersions(t *testing.T) {
	dir := t.TempDir()
	const keys, rotations = 6, 200
	k := &kubelet{T: t, mount: filepath.Join(dir, "ses")}
	of := func(n int) map[string]string {
		out := map[string]string{}
		for i := range keys {
			out[fmt.Sprintf("key%02d", i)] = fmt.Sprint(n)
		}
		return out
	}
	k.write(of(0))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				d, err := Dir(dir).Get("ses")
				if err != nil || len(d) != keys {
					t.Errorf("%d keys, %v", len(d), err)
					return
				}
				for key, v := range d {
					if string(v) != string(d["key00"]) {
						t.Errorf("%s is of version %s, key00 of %s", key, v, d["key00"])
						return
					}
				}
			}
		})
	}
	for n := 1; n < rotations && !t.Failed(); n++ {
		k.write(of(n))
	}
	close(done)
	wg.Wait()
}

// Of a key that a rotation took away nothing is left.
func TestDirForgetsAKeyThatIsGone(t *testing.T) {
	dir := t.TempDir()
	k := &kubelet{T: t, mount: filepath.Join(dir, "ses")}
	k.write(map[string]string{"username": "u", "password": "p"})
	k.write(map[string]string{"password": "q"}) // the link to username is left, to nowhere
	if d, err := Dir(dir).Get("ses"); err != nil || len(d) != 1 || string(d["password"]) != "q" {
		t.Errorf("%v, %v", d, err)
	}
}
