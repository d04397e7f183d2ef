package smtp

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// connect opens a session: TCP, TLS as configured, EHLO, AUTH.
//
// Opportunistic goes on in clear where the server offers no STARTTLS, refuses
// it, or fails its handshake (RFC 7435), as Postfix's level "may" does.
func (t *Transport) connect(ctx context.Context, to *Target) (*session, error) {
	s, err := t.open(ctx, to, to.TLS != plan.TLSNone)
	var he *HandshakeError
	if errors.As(err, &he) && to.TLS == plan.TLSOpportunistic && ctx.Err() == nil {
		t.c.Log.Warn("TLS failed: going on in clear, as the upstream's settings allow (Opportunistic)", "upstream", t.c.Name, "host", to.Host, "cause", he.Err)
		s, err = t.open(ctx, to, false)
	}
	var te *tokenError
	if errors.As(err, &te) && t.anotherToken(ctx, te) {
		s, err = t.open(ctx, to, true) // with the new one, so that nothing waits for an attempt later
	}
	return s, err
}

// HandshakeError is a TLS handshake that failed.
type HandshakeError struct{ Err error }

// Error says why, and what to set in an upstream of type SMTP.
func (e *HandshakeError) Error() string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(e.Err, &unknown):
		return "TLS: the server's certificate is from an authority that is not trusted: set tls.caSecretRef if it is your own"
	case errors.As(e.Err, &name):
		return "TLS: " + reply.Line(name.Error(), maxReplyText) + ": set tls.serverName to a name that it has, if that is the server meant"
	}
	return "TLS: " + e.Err.Error()
}

func (e *HandshakeError) Unwrap() error { return e.Err }

// ErrNoSTARTTLS says that a server offers no STARTTLS, or refused it.
var ErrNoSTARTTLS = errors.New("the server does not offer STARTTLS, and nothing is sent in clear: check host and port, and whether something in between removes it")

func (t *Transport) open(ctx context.Context, to *Target, withTLS bool) (*session, error) {
	conn, err := to.Dial(ctx)
	if err != nil {
		return nil, stopped(ctx, err)
	}
	s := &session{t: t, to: to, raw: conn, conn: conn, remote: fmt.Sprintf("%s [%s]", to.Host, hostOf(conn.RemoteAddr()))}
	stop := context.AfterFunc(ctx, s.abort)
	err = s.start(ctx, withTLS)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.abort()
		return nil, stopped(ctx, err)
	}
	return s, nil
}

func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("stopped while connecting: %w", ctx.Err())
	}
	return err
}

func (s *session) start(ctx context.Context, withTLS bool) error {
	c := &s.t.c
	s.r = bufio.NewReaderSize(s.conn, maxReplyLine)
	if withTLS && s.to.TLS == plan.TLSImplicit {
		if err := s.handshake(ctx); err != nil {
			return err
		}
	}
	if r, err := s.read(c.Timeouts.Greeting); err != nil {
		return fmt.Errorf("greeting: %w", tell(ctx, err))
	} else if r.Code != 220 {
		return &replyError{r, "greeting"}
	}
	if err := s.ehlo(ctx); err != nil {
		return err
	}
	if withTLS && s.to.TLS != plan.TLSImplicit {
		if err := s.startTLS(ctx); err != nil {
			return err
		}
	}
	if c.SMTP.Auth != nil {
		if err := s.authenticate(ctx); err != nil {
			return loginError{err}
		}
	}
	s.size, _ = strconv.ParseInt(s.ext["SIZE"], 10, 64) //nolint:errcheck // no figure is no limit (RFC 1870 4)
	s.t.size.Store(s.size)
	s.t.utf8.Store(s.offers("SMTPUTF8"))
	return nil
}

// tell puts an error of the connection into words and keeps it for errors.Is.
func tell(ctx context.Context, err error) error { return &told{words(ctx, err), err} }

type told struct {
	words string
	err   error
}

func (e *told) Error() string { return e.words }
func (e *told) Unwrap() error { return e.err }

func (s *session) ehlo(ctx context.Context) error {
	limit, name := s.t.c.Timeouts.Command, s.heloName()
	r, err := s.command(limit, "EHLO "+name)
	if err != nil {
		return fmt.Errorf("EHLO: %w", tell(ctx, err))
	}
	s.ext = map[string]string{}
	switch {
	case r.Code == 250:
		for _, l := range r.Lines[1:] {
			s.extension(l)
		}
		return nil
	case r.Code/100 != 5:
		return &replyError{r, "EHLO"}
	}
	if r, err = s.command(limit, "HELO "+name); err != nil { // it knows no extensions (RFC 5321 3.2)
		return fmt.Errorf("HELO: %w", tell(ctx, err))
	}
	if r.Code != 250 {
		return &replyError{r, "HELO"}
	}
	return nil
}

// extension keeps one line of the EHLO reply. "AUTH=" is how drafts of RFC 2554
// wrote it, and some servers still do beside the right form.
func (s *session) extension(line string) {
	name, params, _ := strings.Cut(line, " ")
	name = strings.ToUpper(name)
	if old, ok := strings.CutPrefix(name, "AUTH="); ok {
		name, params = "AUTH", old+" "+params
	}
	if name == "AUTH" && s.ext[name] != "" {
		params = s.ext[name] + " " + params
	}
	s.ext[name] = params
}

// heloName is what we call ourselves; without a name our address as a literal
// (RFC 5321 4.1.4).
func (s *session) heloName() string {
	if n := s.t.c.SMTP.HeloName; n != "" {
		return n
	}
	host := hostOf(s.raw.LocalAddr())
	if strings.Contains(host, ":") {
		return "[IPv6:" + host + "]"
	}
	return "[" + host + "]"
}

func (s *session) startTLS(ctx context.Context) error {
	opportunistic := s.to.TLS == plan.TLSOpportunistic
	if !s.offers("STARTTLS") {
		s.to.secured(ErrNoSTARTTLS)
		if opportunistic {
			return nil
		}
		return ErrNoSTARTTLS
	}
	r, err := s.command(s.t.c.Timeouts.Command, "STARTTLS")
	if err != nil {
		return fmt.Errorf("STARTTLS: %w", tell(ctx, err))
	}
	if r.Code != 220 {
		s.to.secured(ErrNoSTARTTLS)
		if opportunistic && r.Code != 421 {
			s.t.c.Log.Warn("STARTTLS refused: going on in clear, as the upstream's settings allow (Opportunistic)", "upstream", s.t.c.Name, "host", s.to.Host, "reply", r.Text)
			return nil
		}
		return &replyError{r, "STARTTLS"}
	}
	if s.r.Buffered() > 0 { // said in clear, to be read as if it came by TLS (CVE-2011-0411)
		return errors.New("the server sent more than its reply to STARTTLS before TLS began: somebody may be tampering with the connection")
	}
	if err := s.handshake(ctx); err != nil {
		return err
	}
	return s.ehlo(ctx) // what was told in clear is forgotten (RFC 3207 4.2)
}

func (s *session) handshake(ctx context.Context) error {
	cfg, err := s.to.TLSConfig()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, s.t.c.Timeouts.Command)
	defer cancel()
	s.raw.SetDeadline(time.Time{}) //nolint:errcheck // a closed socket says so in the handshake
	tc := tls.Client(s.raw, cfg)
	if err := tc.HandshakeContext(limited); err != nil {
		s.to.secured(err)
		return &HandshakeError{err}
	}
	s.to.secured(nil)
	s.conn, s.tls = tc, true
	s.r = bufio.NewReaderSize(tc, maxReplyLine)
	return nil
}

// tlsConfig reads the certificates anew each time, so that a rotated Secret is
// used.
func (t *Transport) tlsConfig() (*tls.Config, error) {
	o, src := &t.c.SMTP, t.c.Secrets()
	c := &tls.Config{ //nolint:gosec // what is older has to be asked for
		ServerName: cmp.Or(o.ServerName, o.Host), MinVersion: cmp.Or(o.MinimumTLS, tls.VersionTLS12),
		DynamicRecordSizingDisabled: true, // for who wants to see the first octets soon: of a message nobody does
	}
	if o.TLS == plan.TLSOpportunistic {
		c.InsecureSkipVerify = true //nolint:gosec // verifying gains nothing where the alternative is clear text
	}
	if o.CASecret != "" {
		if err := t.ca.Use(src, o.CASecret, func(src secrets.Source) error {
			ca, err := secrets.Key(src, o.CASecret, "ca.crt")
			if err != nil {
				return err
			}
			c.RootCAs = x509.NewCertPool()
			if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
				return fmt.Errorf("secret %q: ca.crt holds no certificate in PEM form", o.CASecret)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	if o.CertSecret == "" {
		return c, nil
	}
	err := t.cert.Use(src, o.CertSecret, func(src secrets.Source) (err error) {
		c.Certificates, err = clientCertificate(src, o.CertSecret)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func clientCertificate(src secrets.Source, name string) ([]tls.Certificate, error) {
	crt, err := secrets.Key(src, name, "tls.crt")
	if err != nil {
		return nil, err
	}
	key, err := secrets.Key(src, name, "tls.key")
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair([]byte(crt), []byte(key))
	if err != nil { // its words may hold parts of the key
		return nil, fmt.Errorf("secret %q: tls.crt and tls.key are no pair of certificate and key in PEM form", name)
	}
	return []tls.Certificate{cert}, nil
}
