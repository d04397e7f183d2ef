package smtp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/oauth"
	"github.com/printerrelay/printer-relay/relay/reply"
	"github.com/printerrelay/printer-relay/relay/secrets"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// loginError is a failure of what comes after the connection and TLS: the server
// can be reached.
type loginError struct{ error }

// Unwrap gives the cause.
func (e loginError) Unwrap() error { return e.error }

// Check implements upstream.Checker: it connects, begins TLS and logs in as for a
// delivery, and says goodbye without a word about mail. The connection is not one of
// those that deliveries use.
func (t *Transport) Check(ctx context.Context) upstream.Health {
	h := upstream.Health{Expires: t.clientCertificateExpires()}
	grant, noToken := t.grant(ctx, &h)
	s, err := t.connect(ctx, t.own)
	if err == nil && noToken != nil { // by a token that an earlier credential got
		s.quit()
		err = loginError{fmt.Errorf("AUTH by the token of an earlier credential; with that of now: %w", noToken)}
	}
	if err != nil {
		o := t.failed(err)
		h.Text = strings.TrimSpace(o.Enhanced + " " + o.Text)
		if o.Code != 0 {
			h.Text = strconv.Itoa(o.Code) + " " + h.Text
		}
		h.Reachable, h.Credentials = judgeFailure(ctx, err)
		if h.Credentials == upstream.Bad && noToken == nil && exchangeToken(grant) && !slices.Contains(grant.Roles, sendAsApp) {
			h.Text += "; the token has no role " + sendAsApp + ": grant it to the application, or assign Application " + sendAsApp + " for the mailbox in Exchange (either takes up to two hours to count)"
		}
		return h
	}
	defer s.quit()
	h.Reachable = upstream.Good
	if t.c.SMTP.Auth != nil || t.c.SMTP.CertSecret != "" {
		h.Credentials = upstream.Good
	}
	if w := serverCertificateExpires(s, time.Now()); w != "" {
		h.Warnings = append(h.Warnings, w)
	}
	return h
}

// sendAsApp is the one application permission that sending needs.
const sendAsApp = "SMTP.SendAsApp"

// exchangeToken tells whether a token is one for Exchange Online, whose roles are
// known.
func exchangeToken(g oauth.Grant) bool {
	return strings.HasPrefix(g.Audience, "https://outlook.office")
}

// grant tells what is known of the credential behind the token, where that is how
// we log in, and warns of one that may do more than it needs. The error is why there
// is no token.
func (t *Transport) grant(ctx context.Context, h *upstream.Health) (oauth.Grant, error) {
	s, ok := t.c.Tokens.(interface {
		Inspect(ctx context.Context) (oauth.Grant, error)
	})
	if !ok {
		return oauth.Grant{}, nil
	}
	g, err := s.Inspect(ctx)
	if err != nil {
		return g, err
	}
	if !g.CredentialExpires.IsZero() && (h.Expires.IsZero() || g.CredentialExpires.Before(h.Expires)) {
		h.Expires = g.CredentialExpires
	}
	if g.Warning != "" {
		h.Warnings = append(h.Warnings, g.Warning)
	}
	if more := slices.DeleteFunc(slices.Clone(g.Roles), func(r string) bool { return r == sendAsApp }); exchangeToken(g) && len(more) > 0 {
		slices.Sort(more)
		h.Warnings = append(h.Warnings, reply.Line("the application may do more than send: take away "+strings.Join(more, ", "), maxReplyText))
	}
	return g, nil
}

// judgeFailure says what a session that did not come about tells of the server and
// of the credential.
func judgeFailure(ctx context.Context, err error) (reachable, credentials upstream.Verdict) {
	var login loginError
	switch {
	case !errors.As(err, &login) && errors.Is(err, secrets.ErrNotFound): // the certificates of TLS
		return upstream.Untold, upstream.Bad
	case !errors.As(err, &login):
		return upstream.Bad, upstream.Untold
	case ctx.Err() != nil || passes(err):
		return upstream.Good, upstream.Untold
	}
	return upstream.Good, upstream.Bad
}

// passes tells whether a login failed for a reason that says nothing of the
// credential: a connection that broke, or a server that is busy.
func passes(err error) bool {
	var re *replyError
	if errors.As(err, &re) {
		return re.Code/100 != 5
	}
	var temporary interface{ Temporary() bool } // those of the network, and of who gives tokens
	if errors.As(err, &temporary) && temporary.Temporary() {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errReply)
}

// clientCertificateExpires is when the certificate that we show ends; zero: there
// is none that can be read.
func (t *Transport) clientCertificateExpires() time.Time {
	if t.c.SMTP.CertSecret == "" {
		return time.Time{}
	}
	crt, err := secrets.Key(t.c.Secrets(), t.c.SMTP.CertSecret, "tls.crt")
	if err != nil {
		return time.Time{}
	}
	block, _ := pem.Decode([]byte(crt))
	if block == nil {
		return time.Time{}
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return c.NotAfter
}

// soon is how long before its end a certificate is worth a word. What renews
// itself has done so by then.
const soon = 14 * 24 * time.Hour

// serverCertificateExpires warns of a server whose certificate ends soon: from then
// on no mail goes there.
func serverCertificateExpires(s *session, now time.Time) string {
	tc, ok := s.conn.(*tls.Conn)
	if !ok {
		return ""
	}
	certs := tc.ConnectionState().PeerCertificates
	if len(certs) == 0 || certs[0].NotAfter.Sub(now) > soon {
		return ""
	}
	return fmt.Sprintf("the server's certificate expires on %s: its administrator has to renew it", certs[0].NotAfter.UTC().Format(time.DateOnly))
}
