package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestLast(t *testing.T) {
	whole := map[string][]byte{"username": []byte("a"), "password": []byte("one")}
	var log bytes.Buffer
	l := &Last{Upstream: "out", Log: slog.New(slog.NewTextHandler(&log, nil))}
	for i, step := range []struct {
		src  Source
		want string // user:password, or the error
	}{
		{Map{}, `secret "login": not found`},
		{Map{"login": {"username": []byte("a")}}, `secret "login" has no key "password": not found`}, // it was never whole
		{Map{"login": whole}, "a:one"},
		{Map{"login": {"username": []byte("b")}}, "a:one"},
		{Map{"login": {"username": []byte("b"), "password": []byte("")}}, "a:one"},
		{failing{}, "a:one"},
		{Map{"login": {"username": []byte("b"), "password": []byte("two")}}, "b:two"},
		{Map{"login": {"password": []byte("three")}}, "b:two"},
		{Map{}, `secret "login": not found`}, // taken away
		{Map{"login": {"password": []byte("three")}}, `secret "login" has no key "username": not found`},
	} {
		var got string
		err := l.Use(step.src, "login", func(src Source) error {
			user, err := Key(src, "login", "username")
			if err != nil {
				return err
			}
			password, err := Key(src, "login", "password")
			if err == nil {
				got = user + ":" + password
			}
			return err
		})
		if err != nil {
			got = err.Error()
		}
		if got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
	if n := strings.Count(log.String(), "the credential before stays in use"); n != 3 { // not for the same again
		t.Errorf("it was said %d times:\n%s", n, &log)
	}
	if strings.Contains(log.String(), "one") || strings.Contains(log.String(), "two") {
		t.Errorf("the log shows a password:\n%s", &log)
	}
}

// failing is a Source that cannot be read now.
type failing struct{}

func (failing) Get(name string) (map[string][]byte, error) {
	return nil, fmt.Errorf("secret %q: %w", name, errors.New("input/output error"))
}
