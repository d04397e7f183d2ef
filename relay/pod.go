package relay

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/admin/access"
)

// maxControl bounds a file that the operator writes, in octets.
const maxControl = 256 << 10

// readControl reads one of the files that the operator writes.
func readControl(path string, into any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxControl {
		return fmt.Errorf("%s has %d octets, more than %d", path, info.Size(), maxControl)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// authorize judges callers of the admin port by the file that Options.AdminAccess
// names; nil without one: who is on loopback may.
func (o *Options) authorize() func(*http.Request) error {
	if o.AdminAccess == "" {
		return nil
	}
	return admin.Bearer(func() (a access.Access, err error) { return a, readControl(o.AdminAccess, &a) })
}

// listenAdmin opens the admin port: with TLS where tokens are asked for, since
// they must not be read on the way.
func (o *Options) listenAdmin(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Admin)
	if err != nil {
		return nil, fmt.Errorf("admin port %s: %w; choose another with --admin", o.Admin, err)
	}
	if o.AdminAccess == "" {
		return l, nil
	}
	cert, err := admin.EphemeralCertificate()
	if err != nil {
		l.Close() //nolint:errcheck // nothing was served on it
		return nil, fmt.Errorf("admin port: certificate: %w", err)
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

// load reads the configuration as this instance is to run it: one that is
// drained takes no new mail. The plans keep their Hash: it is the operator's.
// The configuration is nil where none can be had; drained holds all the same.
func (p *Process) load() (c *Configuration, drained bool, err error) {
	c, err = LoadConfiguration(p.Manifests, p.Name)
	drained, derr := p.isDrained()
	if c != nil && drained {
		for i, pl := range c.Plans {
			c.Plans[i] = refusing(pl)
		}
	}
	return c, drained, errors.Join(err, derr)
}

// becomes tells that the instance is drained, or no longer. To be called when
// what was loaded runs: who sees it drained must find its intake closed, and who
// sees it ready must find it open.
func (p *Process) becomes(drained bool) {
	p.mu.Lock()
	was := p.drained
	p.drained = drained
	p.mu.Unlock()
	if drained != was {
		p.Log.Info("instance "+p.Instance, "drained", drained)
	}
}

// isDrained tells whether the operator has this instance drained. Without its
// file it is not.
func (p *Process) isDrained() (bool, error) {
	if p.Instances == "" {
		return false, nil
	}
	var list access.Instances
	err := readControl(p.Instances, &list)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return slices.Contains(list.Draining, p.Instance), err
}
