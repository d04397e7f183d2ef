package smtpd

import (
	"crypto/subtle"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// logins are the users of one Secret: the key users holds lines of
// name:password-or-bcrypt, split at the first colon; any other key is one user.
// A name is taken as it is written, or else without regard to case where that
// is clear: copiers capitalise what is typed into them.
type logins struct {
	users  map[string]login  // by name
	folded map[string]string // lower-case name -> name; "" where two users differ in case only
	cost   int               // the highest of the bcrypt hashes; 0: there are none
}

type login struct {
	password string // plain, or a bcrypt hash
	hashed   bool
}

// readLogins takes the data of a Secret. What it cannot use it names, without
// a value.
func readLogins(data map[string][]byte) (l *logins, problems []string) {
	l = &logins{users: map[string]login{}, folded: map[string]string{}}
	n := 0
	for line := range strings.Lines(string(data["users"])) {
		n++
		line = strings.TrimRight(line, "\r\n")
		user, password, ok := strings.Cut(line, ":")
		if user = strings.TrimSpace(user); user == "" || strings.HasPrefix(user, "#") {
			continue
		}
		if !ok || !l.add(user, password) {
			problems = append(problems, "key users: a line is no name:password, or its bcrypt hash is damaged, or its name was there before")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if key != "users" && !l.add(key, strings.TrimRight(string(data[key]), "\r\n")) {
			problems = append(problems, "key "+key+": empty, a damaged bcrypt hash, or a name of key users too")
		}
	}
	return l, problems
}

func (l *logins) add(user, password string) bool {
	if _, twice := l.users[user]; twice || password == "" {
		return false
	}
	v := login{password: password}
	if strings.HasPrefix(password, "$2a$") || strings.HasPrefix(password, "$2b$") || strings.HasPrefix(password, "$2y$") {
		cost, err := bcrypt.Cost([]byte(password))
		if err != nil {
			return false
		}
		v.hashed, l.cost = true, max(l.cost, cost)
	}
	l.users[user] = v
	low := strings.ToLower(user)
	if _, twice := l.folded[low]; twice {
		user = ""
	}
	l.folded[low] = user
	return true
}

// HasLogin tells whether a Secret has a login of that name.
func HasLogin(src secrets.Source, secret, user string) bool {
	data, err := src.Get(secret)
	if err != nil {
		return false
	}
	l, _ := readLogins(data)
	_, ok := l.users[user]
	return ok
}

// plain tells whether CRAM-MD5, which needs the password itself, can work for
// every user: a copier takes it wherever it is offered, and then has no other.
func (l *logins) plain() bool { return l.cost == 0 && len(l.users) > 0 }

// find gives the user that a client means, under the name that the Secret has.
func (l *logins) find(user string) (string, login, bool) {
	if v, ok := l.users[user]; ok {
		return user, v, true
	}
	name := l.folded[strings.ToLower(user)]
	v, ok := l.users[name]
	return name, v, ok
}

// still tells whether a user has the login that was seen before.
func (l *logins) still(user string, before login) bool {
	now, ok := l.users[user]
	return ok && subtle.ConstantTimeCompare([]byte(now.password), []byte(before.password)) == 1
}

// loginCache reads each Secret once a reload: a session asks at every EHLO.
type loginCache struct {
	src secrets.Source
	log *slog.Logger

	mu        sync.Mutex
	read      map[string]*logins // nil values: not to be had
	passwords map[string]*transcript.Secrets
	harmless  map[string]bool // texts in which no password is that is known
}

func (c *loginCache) get(secret string) *logins {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.read[secret]; ok {
		return l
	}
	if c.read == nil {
		c.read = map[string]*logins{}
	}
	data, err := c.src.Get(secret)
	if err != nil {
		c.log.Error("logins cannot be read: nobody can authenticate with them", "cause", err)
		c.read[secret] = nil
		return nil
	}
	l, problems := readLogins(data)
	for _, p := range problems {
		c.log.Warn("a login is ignored", "secret", secret, "cause", p)
	}
	c.read[secret] = l
	return l
}
