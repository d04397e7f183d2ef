// Package maildir writes messages to a Maildir: for try-outs, tests and air
// gaps. A message is written to tmp, synced, and renamed to new, so that a
// reader sees it whole or not at all; nothing is ever Unknown.
//
// It may import relay/upstream and the standard library.
package maildir

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/printerrelay/printer-relay/relay/upstream"
)

// Transport implements upstream.Transport.
type Transport struct {
	dir      string
	hostname string
}

// stale is the age at which a file in tmp belongs to nobody: the figure is of
// the Maildir specification.
const stale = 36 * time.Hour

// New makes the folder dir (0700) with its subfolders, and removes from tmp
// what a crash left there. hostname is part of the files' names.
func New(dir, hostname string) (*Transport, error) {
	for _, d := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("maildir: %w: name a folder that the relay may write to in maildir.path", err)
		}
	}
	t := &Transport{dir: dir, hostname: strings.NewReplacer("/", `\057`, ":", `\072`).Replace(hostname)}
	return t, t.clean(time.Now())
}

// clean removes what is in tmp for longer than any delivery takes.
func (t *Transport) clean(now time.Time) error {
	tmp := filepath.Join(t.dir, "tmp")
	files, err := os.ReadDir(tmp)
	if err != nil {
		return fmt.Errorf("maildir: %w", err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || now.Sub(info.ModTime()) < stale {
			continue
		}
		if err := os.Remove(filepath.Join(tmp, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("maildir: %w", err)
		}
	}
	return nil
}

// Capabilities tells that a file takes anything.
func (t *Transport) Capabilities() upstream.Capabilities { return upstream.Capabilities{UTF8: true} }

// Close implements upstream.Transport; there is nothing to close.
func (t *Transport) Close() error { return nil }

// sourceError is an error of the message's own content.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }

// Deliver writes one file for all recipients: the message as it is, with CRLF,
// below a Return-Path and one X-Envelope-To for each recipient. The file's name
// follows from the queue ID and the recipients, so that a second try of the same
// (after a crash, for instance) takes the place of the first, as long as no mail
// program has moved that to cur.
func (t *Transport) Deliver(ctx context.Context, m *upstream.Message) []upstream.Outcome {
	name := t.name(m)
	o := upstream.Outcome{Kind: upstream.Accepted, Code: 250, Enhanced: "2.0.0", Text: "written to new/" + name, Remote: "maildir", RemoteID: name}
	if err := t.write(ctx, name, m); err != nil {
		o = failed(ctx, err)
	}
	return upstream.All(len(m.Recipients), o)
}

// failed is the outcome where the file could not be written. Nothing is left of
// it, so it is never Unknown.
func failed(ctx context.Context, err error) upstream.Outcome {
	o := upstream.Outcome{Kind: upstream.Deferred, Scope: upstream.ScopeUpstream, Remote: "maildir", Cause: err}
	var src *sourceError
	switch {
	case errors.As(err, &src):
		o.Scope, o.Cause, o.Text = upstream.ScopeMessage, src.err, "the stored message cannot be read"
	case ctx.Err() != nil:
		o.Text = "stopped while it was under way"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		o.Code, o.Enhanced, o.Text = 452, "4.3.1", "the mail folder's disk is full"
	default:
		o.Code, o.Enhanced, o.Text = 451, "4.3.0", "the mail folder cannot be written: check that it is there and who may write to it"
	}
	return o
}

func (t *Transport) write(ctx context.Context, name string, m *upstream.Message) error {
	tmp := filepath.Join(t.dir, "tmp", name)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) //nolint:errcheck // gone, where it was renamed
	err = content(ctx, f, m)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(t.dir, "new", name)); err != nil {
		return err
	}
	return syncDir(filepath.Join(t.dir, "new"))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

const block = 64 << 10

var blocks = sync.Pool{New: func() any { b := make([]byte, block); return &b }}

func content(ctx context.Context, w io.Writer, m *upstream.Message) error {
	src, err := m.Open()
	if err != nil {
		return &sourceError{err}
	}
	defer src.Close()
	var head strings.Builder
	fmt.Fprintf(&head, "Return-Path: <%s>\r\n", m.Sender)
	for _, r := range m.Recipients {
		fmt.Fprintf(&head, "X-Envelope-To: <%s>\r\n", r)
	}
	if _, err := io.WriteString(w, head.String()); err != nil {
		return err
	}
	buf := blocks.Get().(*[]byte)
	defer blocks.Put(buf)
	for {
		n, err := src.Read(*buf)
		if _, werr := w.Write((*buf)[:n]); werr != nil {
			return werr
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &sourceError{err}
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// name is unique for a message and a set of its recipients, and the same for
// a second try.
func (t *Transport) name(m *upstream.Message) string {
	h := fnv.New64a()
	for _, r := range m.Recipients {
		io.WriteString(h, r.Key()+"\x00") //nolint:errcheck // a hash takes everything
	}
	return fmt.Sprintf("%s.%x.%s", m.ID, h.Sum64(), t.hostname)
}
