// Package postfix runs Debian's Postfix and Dovecot as the mail server behind
// the relay: private instances on loopback ports, as many at a time as tests
// want, each with folders, certificate and users of its own. It also runs
// Postfix's smtp-sink and smtp-source. Only tests import it.
package postfix

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// Options say how an instance behaves. The zero value takes all mail for every
// recipient, in clear or after STARTTLS.
type Options struct {
	RequireAuth bool   // AUTH before RCPT, only inside TLS
	RequireTLS  bool   // STARTTLS before MAIL
	MessageSize int    // largest message in octets; 0: 100 MiB
	Hostname    string // of banner, EHLO and certificate; default mx.example.test
	Users       map[string]string
	Tokens      bool   // XOAUTH2 and OAUTHBEARER, by tokens that TrustKeys lets Dovecot verify; the claim "email" is the user
	RelayPort   int    // 0: mail is kept; else it goes on to this loopback port, as to a smarthost
	Extra       string // further lines of main.cf
	Services    string // further lines of master.cf

	Address string       // to listen at; default 127.0.0.1
	Port    int          // for SMTP; 0: a free one
	In      func(func()) // runs its argument in the network to listen in; nil: the test's own
}

// Recipients that every instance refuses, for tests of refusals.
const (
	Unknown    = "unknown@refused.example"    // 550 5.1.1
	Greylisted = "greylisted@refused.example" // 450 4.7.1
)

// Server is a running instance.
type Server struct {
	Port     int     // SMTP, with STARTTLS
	TLSPort  int     // SMTP with implicit TLS
	Hostname string  // that its certificate names, beside localhost and 127.0.0.1
	CA       *env.CA // that issued the certificate

	dir     string
	options Options
	postfix *env.Process
	dovecot *env.Process

	mu   sync.Mutex
	read map[string]Message // by file
}

// Start starts an instance and waits until it answers. It ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	env.NeedRoot(t)
	env.FindOrFail(t, "postfix")
	env.FindOrFail(t, "dovecot")
	if o.Hostname == "" {
		o.Hostname = "mx.example.test"
	}
	if o.Address == "" {
		o.Address = "127.0.0.1"
	}
	if o.In == nil {
		o.In = func(fn func()) { fn() }
	}
	if o.MessageSize == 0 {
		o.MessageSize = 100 << 20
	}
	s := &Server{Hostname: o.Hostname, dir: env.SharedDir(t), options: o, read: map[string]Message{}}
	s.CA = env.NewCA(t, s.path("tls"))
	s.CA.Issue(t, o.Hostname, "localhost", o.Address)
	s.layOut(t)
	s.startDovecot(t)
	for try := 0; !s.start(t); try++ {
		if try == 5 {
			t.Fatalf("Postfix does not start:\n%s", s.Log())
		}
	}
	return s
}

func (s *Server) address(port int) string {
	return net.JoinHostPort(s.options.Address, strconv.Itoa(port))
}

func (s *Server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// layOut makes the folders that Postfix wants to find with the right owners.
func (s *Server) layOut(t testing.TB) {
	t.Helper()
	postfix, nobody := id(t, "postfix"), id(t, "nobody")
	for _, d := range []struct {
		name  string
		owner int
		mode  os.FileMode
	}{{"etc", 0, 0o755}, {"queue", 0, 0o755}, {"data", postfix, 0o700}, {"sasl", 0, 0o755}, {"mail", nobody, 0o700}} {
		dir := s.path(d.name)
		if err := errors.Join(os.Mkdir(dir, d.mode), os.Chown(dir, d.owner, -1)); err != nil {
			t.Fatal(err)
		}
	}
}

func id(t testing.TB, name string) int {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatalf("user %s is missing, run `make test-deps`: %v", name, err)
	}
	n, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start makes one attempt: false says that Postfix ended, because somebody took
// a port for instance.
func (s *Server) start(t testing.TB) bool {
	t.Helper()
	s.Port, s.TLSPort = cmp.Or(s.options.Port, env.FreePort(t)), env.FreePort(t)
	env.WriteFile(t, s.path("etc", "main.cf"), s.mainCF(t))
	env.WriteFile(t, s.path("etc", "master.cf"), s.masterCF())
	env.WriteFile(t, s.path("etc", "recipients"), recipients)
	s.options.In(func() { env.MustRun(t, "", "postfix", "-c", s.path("etc"), "check") }) // makes the queue's folders
	return s.run(t)
}

func (s *Server) run(t testing.TB) bool {
	t.Helper()
	// Not `postfix start-fg`: it does not end its master when it ends.
	daemons := strings.TrimSpace(env.MustRun(t, "", "postconf", "-c", s.path("etc"), "-h", "daemon_directory"))
	s.options.In(func() {
		s.postfix = env.Start(t, s.dir, filepath.Join(daemons, "master"), "-c", s.path("etc"), "-s")
	})
	env.Eventually(t, "Postfix answers", s.Log, func() bool {
		if log := s.Log(); strings.Contains(log, ": fatal: in parameter") {
			t.Fatalf("Postfix does not take its configuration:\n%s", log)
		}
		up := false
		s.options.In(func() { up = env.Greets(s.address(s.Port)) && env.Listening(s.address(s.TLSPort)) })
		return up || !s.postfix.Running()
	})
	return s.postfix.Running()
}

// Stop ends Postfix; its queue, mail and ports stay for Restart.
func (s *Server) Stop() { s.postfix.Stop() }

// TrustKeys makes Dovecot verify tokens with these keys (RSA, in PEM, by key ID) and
// no others. Postfix and Dovecot start anew: connections end, and nothing is kept in
// mind.
func (s *Server) TrustKeys(t testing.TB, keys map[string]string) {
	t.Helper()
	s.Stop()
	s.dovecot.Stop()
	if err := errors.Join(os.RemoveAll(s.path("sasl", "keys")), os.Remove(s.path("sasl", "auth"))); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for id, key := range keys {
		env.WriteFile(t, s.path("sasl", "keys", "default", "RS256", id), key)
	}
	s.runDovecot(t)
	s.Restart(t)
}

// Restart starts Postfix again after Stop, on the same ports.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if !s.run(t) {
		t.Fatalf("Postfix does not start again:\n%s", s.Log())
	}
}

// Pid is the process ID of Postfix's master, and of the group of all its
// daemons.
func (s *Server) Pid() int { return s.postfix.Pid() }

// Log is what Postfix and Dovecot logged.
func (s *Server) Log() string {
	log := ""
	for _, name := range []string{"postfix.log", "dovecot.log"} {
		if b, err := os.ReadFile(s.path(name)); err == nil {
			log += string(b)
		}
	}
	for _, p := range []*env.Process{s.postfix, s.dovecot} {
		if p != nil {
			log += p.Output()
		}
	}
	return log
}

func (s *Server) startDovecot(t testing.TB) {
	t.Helper()
	users := ""
	for name, password := range s.options.Users {
		users += fmt.Sprintf("%s:{PLAIN.B64}%s\n", name, base64.StdEncoding.EncodeToString([]byte(password))) // a colon would end the field
	}
	env.WriteFile(t, s.path("sasl", "users"), users)
	env.WriteFile(t, s.path("sasl", "dovecot.conf"), s.dovecotConf())
	env.WriteFile(t, s.path("sasl", "oauth2.conf"), "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix="+s.path("sasl", "keys")+"/\nusername_attribute = email\n")
	s.runDovecot(t)
}

func (s *Server) runDovecot(t testing.TB) {
	t.Helper()
	s.dovecot = env.Start(t, s.dir, "dovecot", "-F", "-c", s.path("sasl", "dovecot.conf"))
	env.Eventually(t, "Dovecot answers", s.Log, func() bool {
		if !s.dovecot.Running() {
			t.Fatalf("Dovecot does not start:\n%s", s.Log())
		}
		_, err := os.Stat(s.path("sasl", "auth"))
		return err == nil
	})
}
