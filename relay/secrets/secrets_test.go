package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMap(t *testing.T) {
	m := Map{"ses": {"username": []byte("u")}}
	if d, err := m.Get("ses"); err != nil || string(d["username"]) != "u" {
		t.Errorf("got %v %v", d, err)
	}
	if _, err := m.Get("other"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `secret "other"`) {
		t.Errorf("got %v", err)
	}
}

// A mounted Secret is a folder of links into ..data, which is swapped.
func TestDirReadsAMountAndItsRotation(t *testing.T) {
	dir := t.TempDir()
	mount := filepath.Join(dir, "ses")
	put(t, filepath.Join(mount, "..2026_1", "password"), "one")
	put(t, filepath.Join(mount, "..2026_2", "password"), "two")
	link := func(target, name string) {
		t.Helper()
		tmp := filepath.Join(mount, "..tmp")
		if err := os.Symlink(target, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(mount, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..2026_1", "..data")
	link(filepath.Join("..data", "password"), "password")
	for _, want := range []string{"one", "two"} {
		d, err := Dir(dir).Get("ses")
		if err != nil || len(d) != 1 || string(d["password"]) != want {
			t.Errorf("got %v %v, want %s", d, err, want)
		}
		link("..2026_2", "..data")
	}
}

func TestDirRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	put(t, filepath.Join(dir, "..", "outside", "password"), "x")
	put(t, filepath.Join(dir, ".hidden", "password"), "x")
	put(t, filepath.Join(dir, "big", "password"), strings.Repeat("x", maxValue+1))
	put(t, filepath.Join(dir, "big", "small"), "x")
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o700); err != nil { // an optional mount of nothing
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "big", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "lost", "empty", "../outside", "..", ".", ".hidden", `a\b`, "big/folder"} {
		if d, err := Dir(dir).Get(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: got %v %v", name, d, err)
		}
	}
	if d, err := Dir(dir).Get("big"); err != nil || len(d) != 1 || d["small"] == nil {
		t.Errorf("a key that is too large: got %d keys, %v", len(d), err)
	}
}

func TestKey(t *testing.T) {
	m := Map{"ses": {"password": []byte("p ss\r\n"), "empty": nil}}
	if v, err := Key(m, "ses", "password"); err != nil || v != "p ss" {
		t.Errorf("got %q %v", v, err)
	}
	for _, key := range []string{"empty", "lost"} {
		if _, err := Key(m, "ses", key); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `secret "ses" has no key "`+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := Key(m, "lost", "password"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	// What is wrong with a Secret is said without what is in it.
	if _, err := Key(m, "ses", "lost"); strings.Contains(err.Error(), "p ss") {
		t.Errorf("the value is in the error: %v", err)
	}
}

func TestAMapIsNotPrinted(t *testing.T) {
	m := Map{"ses": {"password": []byte("hunter2")}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secrets", m)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secrets", m, "in", map[string]any{"a": Source(m)}["a"])
	for _, text := range []string{fmt.Sprint(m), fmt.Sprintf("%+v", m), fmt.Sprintf("%#v", m), fmt.Sprintf("%s", Source(m)), log.String()} {
		for _, form := range []string{"hunter2", "104 117 110", "0x68, 0x75", "aHVudGVyMg"} {
			if strings.Contains(text, form) {
				t.Errorf("%q is in %s", form, text)
			}
		}
	}
}
