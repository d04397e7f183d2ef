package smtp

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 is made of it (RFC 2195)
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// authenticate uses the mechanism that is configured, or the best of those
// that the server offers (RFC 4954). The credential is read anew each time, so
// that a rotated Secret is used.
func (s *session) authenticate(ctx context.Context) error {
	a := s.t.c.SMTP.Auth
	if a.OAuth != nil {
		return s.authenticateByToken(ctx)
	}
	name := a.Secret
	var user, password string
	err := s.t.login.Use(s.t.c.Secrets(), name, func(src secrets.Source) (err error) {
		if user, err = s.user(src); err != nil {
			return err
		}
		password, err = secrets.Key(src, name, cmp.Or(a.PasswordKey, "password"))
		return err
	})
	if err != nil {
		return err
	}
	if strings.ContainsRune(user+password, 0) {
		return fmt.Errorf("secret %q: username or password holds a NUL, which no mechanism can send", name)
	}
	mechanism, err := chooseMechanism(a.Mechanism, s.mechanisms(), s.verified())
	if err != nil {
		return err
	}
	r, err := s.exchange(mechanism, user, password)
	if err != nil {
		return fmt.Errorf("AUTH %s: %w", mechanism, tell(ctx, err))
	}
	if r.Code != 235 {
		r.Text = scrub(r.Text, user, password)
		return &replyError{r, fmt.Sprintf("AUTH %s as the user of secret %q", mechanism, name)}
	}
	return nil
}

// user is the name to log in with.
func (s *session) user(src secrets.Source) (string, error) {
	a := s.t.c.SMTP.Auth
	if a.User != "" {
		return a.User, nil
	}
	return secrets.Key(src, a.Secret, cmp.Or(a.UserKey, "username"))
}

// verified tells whether we know who the server is.
func (s *session) verified() bool { return s.tls && s.to.TLS != plan.TLSOpportunistic }

// mechanisms are those that the server offers.
func (s *session) mechanisms() []string { return strings.Fields(strings.ToUpper(s.ext["AUTH"])) }

// chooseMechanism picks the mechanism. Inside verified TLS PLAIN comes first:
// CRAM-MD5 protects nothing there, and fails at servers that keep passwords
// hashed but offer it all the same. Without it only CRAM-MD5 is left, which does
// not show the password.
func chooseMechanism(want string, offered []string, verified bool) (string, error) {
	order := []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	if want != "" {
		order = []string{want}
	}
	for _, m := range order {
		if slices.Contains(offered, m) && (verified || m == "CRAM-MD5") {
			return m, nil
		}
	}
	has := strings.Join(offered, " ")
	switch {
	case has == "":
		return "", errors.New("the server offers no AUTH here: check host, port and tls.mode, or remove authentication")
	case !verified:
		return "", fmt.Errorf("without TLS with a verified certificate only CRAM-MD5 keeps the password, and it cannot be used here (the server offers %s): use tls.mode StartTLS or Implicit", has)
	}
	return "", fmt.Errorf("the server offers no mechanism to authenticate with that we can use: it has %s, we have %s", has, strings.Join(order, " "))
}

// maxInitial keeps the AUTH command within a command line's 512 octets
// (RFC 4954 4); a longer response waits for the challenge.
const maxInitial = 480

func (s *session) exchange(mechanism, user, password string) (Reply, error) {
	limit := s.t.c.Timeouts.Command
	switch mechanism {
	case "PLAIN":
		response := b64("\x00" + user + "\x00" + password)
		if len(response) <= maxInitial {
			return s.command(limit, "AUTH PLAIN "+response)
		}
		return s.answer("AUTH PLAIN", response)
	case "LOGIN":
		return s.answer("AUTH LOGIN", b64(user), b64(password))
	}
	r, err := s.command(limit, "AUTH CRAM-MD5")
	if err != nil || r.Code != 334 {
		return r, err
	}
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Lines[0]))
	if err != nil {
		return r, errReply
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(challenge)
	return s.command(limit, b64(user+" "+hex.EncodeToString(mac.Sum(nil))))
}

// answer sends a command and one response for each challenge.
func (s *session) answer(command string, responses ...string) (Reply, error) {
	r, err := s.command(s.t.c.Timeouts.Command, command)
	for _, a := range responses {
		if err != nil || r.Code != 334 {
			return r, err
		}
		r, err = s.command(s.t.c.Timeouts.Command, a)
	}
	return r, err
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// short is how many octets of a secret cannot be told from other words.
const short = 4

// scrub takes the credential out of what a server said of it: as it was sent,
// and as it reads in a line that was made printable and cut to a length.
func scrub(text, user, password string) string {
	if len(strings.TrimSpace(password)) < short {
		return ""
	}
	return scrubAll(text, b64("\x00"+user+"\x00"+password), b64(password), password, reply.Line(password, len(password)))
}

// scrubAll takes secrets out of a text, each also where the text is cut off in it.
func scrubAll(text string, secrets ...string) string {
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "***")
		for n := len(secret) - 1; n >= short; n-- {
			if cut, ok := strings.CutSuffix(text, secret[:n]); ok {
				text = cut + "***"
				break
			}
		}
	}
	return text
}
