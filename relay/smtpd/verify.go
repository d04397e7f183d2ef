package smtpd

import (
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 (RFC 2195) is what some copiers know
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	checkTime = 10 * time.Second // how long a login waits for its turn
	maxKnown  = 10_000
)

var errBusy = errors.New("too many passwords are being checked")

// verifier checks passwords. bcrypt is slow by design: only a few run at once,
// so that logins do not take the processors from mail; and one that succeeded
// is remembered, as a keyed hash that only this process can make, so that a
// copier does not pay at every scan.
type verifier struct {
	slots chan struct{}
	key   [32]byte

	check func(hash, password []byte) error                        // bcrypt's; tests count
	make  func(password []byte, cost int) (hash []byte, err error) // likewise

	mu    sync.Mutex
	known map[[32]byte]struct{}
	dummy map[int][]byte // bcrypt cost -> hash of nothing that anybody knows
}

func newVerifier() *verifier {
	v := &verifier{
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), check: bcrypt.CompareHashAndPassword, make: bcrypt.GenerateFromPassword,
		known: map[[32]byte]struct{}{}, dummy: map[int][]byte{},
	}
	rand.Read(v.key[:]) //nolint:errcheck // never fails (crypto/rand)
	return v
}

// password checks one and gives the user's name as the Secret writes it. Where
// the Secret has a bcrypt hash, every failure takes the time of its costliest:
// an unknown user, a plain password and a cheaper hash too (CWE-208). The error
// is errBusy or ctx's.
func (v *verifier) password(ctx context.Context, l *logins, user, password string) (string, bool, error) {
	name, want, known := l.find(user)
	if known && want.hashed {
		sum := v.sum(want.password, password)
		if v.knows(sum) {
			return name, true, nil
		}
		ok, err := v.compare(ctx, []byte(want.password), password)
		if ok || err != nil {
			if ok {
				v.remember(sum)
			}
			return name, ok, err
		}
		cost, err := bcrypt.Cost([]byte(want.password))
		for ; err == nil && cost < l.cost; cost++ { // each costs twice the one before: together as much as the costliest
			err = v.waste(ctx, cost, password)
		}
		return name, false, err
	}
	a, b := v.sum(want.password, ""), v.sum(password, "")
	if subtle.ConstantTimeCompare(a[:], b[:]) == 1 && known {
		return name, true, nil
	}
	return name, false, v.waste(ctx, l.cost, password)
}

func (v *verifier) sum(a, b string) [32]byte {
	mac := hmac.New(sha256.New, v.key[:])
	mac.Write([]byte(a + "\x00" + b))
	return [32]byte(mac.Sum(nil))
}

func (v *verifier) knows(sum [32]byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.known[sum]
	return ok
}

func (v *verifier) remember(sum [32]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxKnown {
		clear(v.known)
	}
	v.known[sum] = struct{}{}
}

// waste takes as long as a comparison of that cost.
func (v *verifier) waste(ctx context.Context, cost int, password string) error {
	if cost == 0 {
		return nil
	}
	v.mu.Lock()
	hash := v.dummy[cost]
	v.mu.Unlock()
	if hash != nil {
		_, err := v.compare(ctx, hash, password)
		return err
	}
	return v.turn(ctx, func() error { // as slow as a comparison
		hash, err := v.make(v.key[:], cost)
		v.mu.Lock()
		v.dummy[cost] = hash
		v.mu.Unlock()
		return err
	})
}

func (v *verifier) compare(ctx context.Context, hash []byte, password string) (ok bool, err error) {
	err = v.turn(ctx, func() error {
		password := password[:min(len(password), 72)] // bcrypt takes no more; htpasswd and others cut there
		ok = v.check(hash, []byte(password)) == nil
		return nil
	})
	return ok, err
}

// turn runs f when few enough others run.
func (v *verifier) turn(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	select {
	case v.slots <- struct{}{}:
	case <-ctx.Done():
		return errBusy
	}
	defer func() { <-v.slots }()
	return f()
}

// cram checks a CRAM-MD5 response (RFC 2195) to a challenge. why says what an
// administrator cannot see: that the Secret's password is of no use for it.
func (v *verifier) cram(l *logins, challenge, response string) (user string, ok bool, why string) {
	i := strings.LastIndexByte(response, ' ')
	if i < 0 {
		return "", false, "malformed response"
	}
	user, want, known := l.find(response[:i])
	password := want.password
	if !known || want.hashed {
		password = string(v.key[:])
		if known {
			why = "the password is a bcrypt hash: CRAM-MD5 needs a plain one, or hide CRAM-MD5 from this device with a clientOverride"
		}
		known = false
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	sum := hex.EncodeToString(mac.Sum(nil))
	ok = subtle.ConstantTimeCompare([]byte(sum), []byte(strings.ToLower(response[i+1:]))) == 1 && known
	return user, ok, why
}
