// Package maildir writes messages to a Maildir: for try-outs, tests and air
// gaps. A message is written to tmp, synced, and renamed to new, so that a
// reader sees it whole or not at all.
//
// It may import relay/upstream and the standard library.
package maildir

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Transport implements upstream.Transport.
type Transport struct {
	dir      string
	hostname string
}

// New makes the folder (0700) with its subfolders.
func New(dir, hostname string) (*Transport, error) {
	for _, d := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("maildir: %w", err)
		}
	}
	return &Transport{dir: dir, hostname: strings.NewReplacer("/", `\057`, ":", `\072`).Replace(hostname)}, nil
}

// Capabilities says that a file takes anything.
func (t *Transport) Capabilities() upstream.Capabilities { return upstream.Capabilities{UTF8: true} }

// Close implements upstream.Transport.
func (t *Transport) Close() error { return nil }

// Deliver writes one file for all recipients, with the envelope on top as
// Return-Path and X-Envelope-To. Its name follows from the queue ID and the
// recipients, so that a retry after a crash replaces it.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	name, err := t.write(ctx, m)
	o := upstream.Outcome{Kind: upstream.Accepted, Code: 250, Enhanced: "2.0.0", Text: "written to " + name, Remote: "maildir", RemoteID: name}
	if err != nil {
		o = upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Text: "the mail folder cannot be written", Remote: "maildir", Cause: err}
	}
	return upstream.All(len(m.Recipients), o)
}

func (t *Transport) write(ctx context.Context, m *upstream.Message) (string, error) {
	name := fmt.Sprintf("%s.%s", t.name(m), t.hostname)
	tmp := filepath.Join(t.dir, "tmp", name)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp) //nolint:errcheck // gone, if it was renamed
	err = t.content(ctx, f, m)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", err
	}
	if err := os.Rename(tmp, filepath.Join(t.dir, "new", name)); err != nil {
		return "", err
	}
	d, err := os.Open(filepath.Join(t.dir, "new"))
	if err != nil {
		return "", err
	}
	defer d.Close()
	return name, d.Sync()
}

func (t *Transport) content(ctx context.Context, w io.Writer, m *upstream.Message) error {
	body, err := m.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := fmt.Fprintf(w, "Return-Path: <%s>\r\n", m.Sender); err != nil {
		return err
	}
	for _, r := range m.Recipients {
		if _, err := fmt.Fprintf(w, "X-Envelope-To: <%s>\r\n", r); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return body.Read(p)
	}))
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// name is unique for a message and a set of its recipients, and the same for
// a second try.
func (t *Transport) name(m *upstream.Message) string {
	h := fnv.New64a()
	for _, r := range m.Recipients {
		h.Write([]byte(r.Key() + "\x00"))
	}
	return fmt.Sprintf("%s.%x", m.ID, h.Sum64())
}
