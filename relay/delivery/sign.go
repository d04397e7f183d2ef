package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/dkim"
	"github.com/printerrelay/printer-relay/relay/message"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// keyring keeps the keys of one upstream as they were read last: to read an RSA
// key takes longer than to sign with it.
type keyring struct {
	last   secrets.Last
	mu     sync.Mutex
	plan   plan.DKIM // what signer was made of, with data
	data   map[string][]byte
	signer *dkim.Signer // nil: none yet
}

// made tells whether the signer is of these.
func (k *keyring) made(p *plan.DKIM, data map[string][]byte) bool {
	return k.signer != nil && k.plan == *p && maps.EqualFunc(k.data, data, bytes.Equal)
}

// keyError says why there is no key to sign with.
type keyError struct {
	secret string
	err    error
}

func (e *keyError) Error() string {
	return fmt.Sprintf("DKIM: Secret %q of spec.dkim.secretRef: %s", e.secret, strings.TrimPrefix(e.err.Error(), fmt.Sprintf("secret %q: ", e.secret)))
}

func (e *keyError) Unwrap() error { return e.err }

var errNoSecret = fmt.Errorf("it is %w: create it, with a private key as %s or %s", secrets.ErrNotFound, dkim.RSAKey, dkim.Ed25519Key)

// signer gives what the upstream's mail is signed with; nil: it is not signed.
// The Secret is read at each attempt, so that a new key is used at once, and the
// keys before stay in use until the new ones are there whole.
func (d *Delivery) signer(r *route) (*dkim.Signer, error) {
	p := r.plan.DKIM
	if p == nil {
		return nil, nil
	}
	var out *dkim.Signer
	err := r.keys.last.Use(d.Secrets(), p.Secret, func(src secrets.Source) error {
		data, err := src.Get(p.Secret)
		if err == nil {
			out, err = d.signerOf(r, data)
		}
		return err
	})
	switch {
	case errors.Is(err, secrets.ErrNotFound):
		return nil, &keyError{p.Secret, errNoSecret}
	case err != nil:
		return nil, &keyError{p.Secret, err}
	}
	return out, nil
}

// signerOf gives the signer of a Secret's keys.
func (d *Delivery) signerOf(r *route, data map[string][]byte) (*dkim.Signer, error) {
	p := r.plan.DKIM
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	if r.keys.made(p, data) {
		return r.keys.signer, nil
	}
	keys, err := dkim.Keys(data)
	if err != nil {
		return nil, err
	}
	if p.Single {
		keys = keys[:1] // RSA's is the first, and all verifiers know it
	}
	r.keys.plan, r.keys.data = *p, data
	r.keys.signer = &dkim.Signer{Domain: p.Domain, Selector: p.Selector, Keys: keys, Reissued: p.Reissued}
	for _, k := range keys {
		name, value := k.Record(p.Selector, p.Domain)
		d.Log.Info("DKIM key in use", "upstream", r.plan.Name, "secret", p.Secret, "key", k.String(), "record", name, "txt", value)
		if weak := k.Weak(); weak != "" {
			d.Log.Warn("DKIM key is weak", "upstream", r.plan.Name, "secret", p.Secret, "reason", weak)
		}
	}
	return r.keys.signer, nil
}

// sign gives the signatures to put above h, after one pass over the body as it
// leaves. Others' signatures go from h: they are over what the device sent, before
// repairs. What is signed are the octets that Open gives; a transport sends them
// as they are.
func (d *Delivery) sign(ctx context.Context, s *dkim.Signer, body opener, h *message.Header) ([]byte, error) {
	h.Remove("DKIM-Signature")
	r, err := body(nil)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read-only
	return s.Sign(h, &untilDone{ctx, r}, time.Now())
}

// untilDone reads until its context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}
