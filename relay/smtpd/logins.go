package smtpd

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 (RFC 2195) is what some copiers know
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/printerrelay/printer-relay/relay/secrets"
)

// logins are the users of one Secret: the key users holds lines of
// name:password-or-bcrypt, split at the first colon; any other key is one user.
type logins struct {
	passwords map[string]string // lower-case name -> password or bcrypt hash
	names     map[string]string // lower-case name -> as the Secret writes it
	plain     bool              // one password at least is plain: CRAM-MD5 can work
}

func readLogins(src secrets.Source, name string) (*logins, error) {
	data, err := src.Get(name)
	if err != nil {
		return nil, err
	}
	l := &logins{passwords: map[string]string{}, names: map[string]string{}}
	for key, v := range data {
		if key != "users" {
			l.add(key, strings.TrimRight(string(v), "\r\n"))
			continue
		}
		for line := range strings.Lines(string(v)) {
			if user, password, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
				l.add(strings.TrimSpace(user), password)
			}
		}
	}
	return l, nil
}

func (l *logins) add(user, password string) {
	if user == "" || password == "" || strings.HasPrefix(user, "#") {
		return
	}
	k := strings.ToLower(user)
	l.passwords[k], l.names[k] = password, user
	l.plain = l.plain || !hashed(password)
}

func hashed(password string) bool {
	return strings.HasPrefix(password, "$2a$") || strings.HasPrefix(password, "$2b$") || strings.HasPrefix(password, "$2y$")
}

// verifier checks passwords. bcrypt is slow by design: at most a few run at
// once, and one that succeeded is remembered, as a keyed hash that only this
// process can make, so that a copier does not pay at every scan.
type verifier struct {
	slots chan struct{}
	key   [32]byte
	dummy []byte

	mu    sync.Mutex
	known map[[32]byte]struct{}
}

const (
	bcryptAtOnce = 2
	maxKnown     = 10_000
)

func newVerifier() *verifier {
	v := &verifier{slots: make(chan struct{}, bcryptAtOnce), known: map[[32]byte]struct{}{}}
	rand.Read(v.key[:])                                                    //nolint:errcheck // never fails (crypto/rand)
	v.dummy, _ = bcrypt.GenerateFromPassword(v.key[:16], bcrypt.MinCost+6) //nolint:errcheck // fails for a cost or length out of range only
	return v
}

// plain checks a password and gives the user's name as the Secret writes it.
// An unknown user costs the same time as a wrong password.
func (v *verifier) plain(l *logins, user, password string) (string, bool) {
	k := strings.ToLower(user)
	want, ok := l.passwords[k]
	if ok && !hashed(want) {
		a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
		good := subtle.ConstantTimeCompare(a[:], b[:]) == 1
		if !good {
			v.compare(v.dummy, password) // as slow as a hash: the reply must not tell the two apart
		}
		return l.names[k], good
	}
	if !ok {
		v.compare(v.dummy, password)
		return "", false
	}
	mac := hmac.New(sha256.New, v.key[:])
	mac.Write([]byte(want + "\x00" + password))
	sum := [32]byte(mac.Sum(nil))
	v.mu.Lock()
	_, seen := v.known[sum]
	v.mu.Unlock()
	if !seen && !v.compare([]byte(want), password) {
		return "", false
	}
	v.mu.Lock()
	if len(v.known) >= maxKnown {
		clear(v.known)
	}
	v.known[sum] = struct{}{}
	v.mu.Unlock()
	return l.names[k], true
}

func (v *verifier) compare(hash []byte, password string) bool {
	v.slots <- struct{}{}
	defer func() { <-v.slots }()
	if len(password) > 72 { // bcrypt takes no more
		password = password[:72]
	}
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
}

// cram checks a CRAM-MD5 response (RFC 2195) to a challenge.
func (v *verifier) cram(l *logins, challenge, response string) (string, bool) {
	i := strings.LastIndexByte(response, ' ')
	if i < 0 {
		return "", false
	}
	user := strings.ToLower(response[:i])
	password, ok := l.passwords[user]
	if !ok || hashed(password) {
		password, ok = string(v.key[:]), false
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(challenge))
	want := hex.EncodeToString(mac.Sum(nil))
	return l.names[user], subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(response[i+1:]))) == 1 && ok
}
