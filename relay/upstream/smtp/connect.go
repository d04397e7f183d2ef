package smtp

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 (RFC 2195)
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/secrets"
)

// connect opens a session: TCP, TLS as configured, EHLO, AUTH.
func (t *Transport) connect(ctx context.Context) (*session, error) {
	s, err := t.open(ctx, t.SMTP.TLS != plan.TLSNone)
	var he *handshakeError
	if errors.As(err, &he) && t.SMTP.TLS == plan.TLSOpportunistic {
		t.Log.Warn("TLS failed: going on in clear, as tls.mode Opportunistic allows", "upstream", t.Name, "cause", he.err)
		s, err = t.open(ctx, false)
	}
	return s, err
}

// handshakeError is a TLS handshake that failed.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

func (t *Transport) open(ctx context.Context, withTLS bool) (*session, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{t: t, conn: conn, remote: fmt.Sprintf("%s [%s]", t.SMTP.Host, hostOf(conn.RemoteAddr()))}
	stop := context.AfterFunc(ctx, s.abort)
	defer stop()
	if err := s.start(ctx, withTLS); err != nil {
		s.abort()
		if ctx.Err() != nil {
			err = fmt.Errorf("stopped: %w", ctx.Err())
		}
		return nil, err
	}
	return s, nil
}

func hostOf(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}

// dial connects to the host. What addresses may be connected to is checked on
// the socket's own address, so that no DNS answer can get around it (CWE-918).
func (t *Transport) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: t.Timeouts.Connect, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return t.checkAddress(address)
	}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(t.SMTP.Host, strconv.Itoa(t.SMTP.Port)))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

func (t *Transport) checkAddress(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	a := ap.Addr().Unmap()
	switch {
	case a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified():
		return fmt.Errorf("%s is no address of a mail server", a)
	case !t.Private && (a.IsPrivate() || a.IsLoopback()):
		return fmt.Errorf("%s is a private address: set allowPrivateHosts in the MailUpstream if that is meant", a)
	}
	return nil
}

func (s *session) start(ctx context.Context, withTLS bool) error {
	mode := s.t.SMTP.TLS
	s.r = bufio.NewReaderSize(s.conn, maxReplyLine)
	if withTLS && mode == plan.TLSImplicit {
		if err := s.handshake(ctx); err != nil {
			return err
		}
	}
	if r, err := s.read(s.t.Timeouts.Greeting); err != nil {
		return fmt.Errorf("greeting: %w", err)
	} else if r.Code != 220 {
		return &replyError{r, "greeting"}
	}
	if err := s.ehlo(); err != nil {
		return err
	}
	if withTLS && mode != plan.TLSImplicit {
		if err := s.startTLS(ctx); err != nil {
			return err
		}
	}
	if s.t.SMTP.AuthSecret != "" {
		if err := s.authenticate(); err != nil {
			return err
		}
	}
	size, _ := strconv.ParseInt(s.ext["SIZE"], 10, 64) //nolint:errcheck // no figure is no limit
	s.size = size
	s.t.size.Store(size)
	_, utf8 := s.ext["SMTPUTF8"]
	s.t.utf8.Store(utf8)
	return nil
}

func (s *session) ehlo() error {
	r, err := s.command(s.t.Timeouts.Command, "EHLO %s", s.t.SMTP.HeloName)
	if err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	s.ext = map[string]string{}
	if r.Code/100 == 5 { // a server without extensions (RFC 5321 4.1.4)
		if r, err = s.command(s.t.Timeouts.Command, "HELO %s", s.t.SMTP.HeloName); err != nil {
			return fmt.Errorf("HELO: %w", err)
		}
	} else if r.Code == 250 {
		for _, l := range r.Lines[1:] {
			name, params, _ := strings.Cut(l, " ")
			s.ext[strings.ToUpper(name)] = params
		}
	}
	if r.Code != 250 {
		return &replyError{r, "EHLO"}
	}
	return nil
}

func (s *session) startTLS(ctx context.Context) error {
	if _, ok := s.ext["STARTTLS"]; !ok {
		if s.t.SMTP.TLS == plan.TLSOpportunistic {
			return nil
		}
		return errors.New("the server does not offer STARTTLS: nothing is sent in clear; check host and port, or whether something in between strips it")
	}
	r, err := s.command(s.t.Timeouts.Command, "STARTTLS")
	if err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if r.Code != 220 {
		return &replyError{r, "STARTTLS"}
	}
	if s.r.Buffered() > 0 { // said in clear, to be read as if it came by TLS (CVE-2011-0411)
		return errors.New("the server sent more than its reply to STARTTLS before TLS began: somebody may be tampering with the connection")
	}
	if err := s.handshake(ctx); err != nil {
		return err
	}
	return s.ehlo() // what was told in clear is forgotten (RFC 3207 4.2)
}

func (s *session) handshake(ctx context.Context) error {
	cfg, err := s.t.tlsConfig()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.t.Timeouts.Command)
	defer cancel()
	s.conn.SetDeadline(time.Time{}) //nolint:errcheck // a closed socket says so in the handshake
	tc := tls.Client(s.conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return &handshakeError{err}
	}
	s.conn, s.tls = tc, true
	s.r = bufio.NewReaderSize(tc, maxReplyLine)
	return nil
}

func (t *Transport) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.SMTP.ServerName, MinVersion: tls.VersionTLS12}
	if c.ServerName == "" {
		c.ServerName = t.SMTP.Host
	}
	if t.SMTP.MinimumTLS != 0 {
		c.MinVersion = t.SMTP.MinimumTLS
	}
	if t.SMTP.TLS == plan.TLSOpportunistic {
		c.InsecureSkipVerify = true //nolint:gosec // nothing would be gained: the alternative is clear text
	}
	if name := t.SMTP.CASecret; name != "" {
		ca, err := secrets.Key(t.Secrets(), name, "ca.crt")
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return nil, fmt.Errorf("secret %q: ca.crt holds no PEM certificate", name)
		}
	}
	if name := t.SMTP.CertSecret; name != "" {
		crt, err := secrets.Key(t.Secrets(), name, "tls.crt")
		if err != nil {
			return nil, err
		}
		key, err := secrets.Key(t.Secrets(), name, "tls.key")
		if err != nil {
			return nil, err
		}
		cert, err := tls.X509KeyPair([]byte(crt), []byte(key))
		if err != nil {
			return nil, fmt.Errorf("secret %q: tls.crt and tls.key are no key pair", name)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// authenticate uses the mechanism that is configured, or the best of those
// that the server offers (RFC 4954). The credential is read anew each time, so
// that a rotated Secret is used.
func (s *session) authenticate() error {
	user, err := secrets.Key(s.t.Secrets(), s.t.SMTP.AuthSecret, "username")
	if err != nil {
		return err
	}
	password, err := secrets.Key(s.t.Secrets(), s.t.SMTP.AuthSecret, "password")
	if err != nil {
		return err
	}
	offered := strings.Fields(strings.ToUpper(s.ext["AUTH"]))
	mechanism := s.t.SMTP.Mechanism
	for _, m := range []string{"CRAM-MD5", "PLAIN", "LOGIN"} {
		if s.tls && m == "CRAM-MD5" && slices.Contains(offered, "PLAIN") {
			continue // inside TLS it protects nothing, and fewer servers have it right
		}
		if mechanism == "" && slices.Contains(offered, m) {
			mechanism = m
		}
	}
	if mechanism == "" || !slices.Contains(offered, mechanism) {
		return fmt.Errorf("the server offers no mechanism to authenticate with that we can use (it has: %s)", strings.Join(offered, " "))
	}
	if !s.tls && mechanism != "CRAM-MD5" {
		return errors.New("the connection has no TLS: the password is not sent in clear")
	}
	r, err := s.exchange(mechanism, user, password)
	if err != nil {
		return fmt.Errorf("AUTH %s: %w", mechanism, err)
	}
	if r.Code != 235 {
		return &replyError{r, "AUTH " + mechanism + " as the user of secret " + s.t.SMTP.AuthSecret}
	}
	return nil
}

func (s *session) exchange(mechanism, user, password string) (Reply, error) {
	b64 := base64.StdEncoding.EncodeToString
	limit := s.t.Timeouts.Command
	switch mechanism {
	case "PLAIN":
		return s.command(limit, "AUTH PLAIN %s", b64([]byte("\x00"+user+"\x00"+password)))
	case "LOGIN":
		r, err := s.command(limit, "AUTH LOGIN")
		for _, answer := range []string{user, password} {
			if err != nil || r.Code != 334 {
				return r, err
			}
			r, err = s.command(limit, "%s", b64([]byte(answer)))
		}
		return r, err
	}
	r, err := s.command(limit, "AUTH CRAM-MD5")
	if err != nil || r.Code != 334 {
		return r, err
	}
	challenge, err := base64.StdEncoding.DecodeString(r.Text)
	if err != nil {
		return r, errReply
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(challenge)
	return s.command(limit, "%s", b64([]byte(user+" "+hex.EncodeToString(mac.Sum(nil)))))
}
