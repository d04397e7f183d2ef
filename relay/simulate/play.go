package simulate

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // CRAM-MD5 is made of it (RFC 2195)
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Values take the place of ${...} in a dialogue.
type Values struct {
	From, To       string // addresses
	User, Password string
}

// Player is the client's side of one connection.
type Player struct {
	Values  Values
	TLS     TLS
	Name    string        // of the server, for SNI; empty: none is sent
	Timeout time.Duration // of one read or write

	socket net.Conn
	conn   net.Conn // socket, or TLS on it
	r      *bufio.Reader
	last   string // line that the server sent
}

// Closed is what Read gives where the server has closed the connection.
const Closed = "(closed)"

// Start takes over a connection. The caller closes it, by Close.
func (p *Player) Start(conn net.Conn) {
	p.socket, p.conn, p.r = conn, conn, bufio.NewReader(conn)
}

// Close ends the connection.
func (p *Player) Close() error { return p.conn.Close() }

// Do plays a step that is not Expect.
func (p *Player) Do(ctx context.Context, s Step, t *TLS) error {
	switch s.Kind {
	case Send:
		return p.write(p.expand(s.Text) + "\r\n")
	case SendRaw:
		return p.write(p.expand(s.Text))
	case SendSlow:
		text := p.expand(s.Text) + "\r\n"
		for i := range len(text) {
			if err := p.write(text[i : i+1]); err != nil {
				return err
			}
		}
	case Handshake:
		return p.handshake(ctx, t)
	case End:
		if half, ok := p.socket.(interface{ CloseWrite() error }); ok {
			return half.CloseWrite()
		}
	case Expect:
	}
	return nil
}

func (p *Player) handshake(ctx context.Context, t *TLS) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if err := p.socket.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c := tls.Client(p.socket, t.Config(p.Name))
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	p.conn = c
	p.r.Reset(c)
	return nil
}

// agreed is what a handshake came to.
func (p *Player) agreed() string {
	c, ok := p.conn.(*tls.Conn)
	if !ok {
		return ""
	}
	st := c.ConnectionState()
	return tls.VersionName(st.Version) + ", " + tls.CipherSuiteName(st.CipherSuite)
}

func (p *Player) write(s string) error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.Timeout)); err != nil {
		return err
	}
	_, err := p.conn.Write([]byte(s))
	return err
}

// Read gives one line of a reply, or Closed; an error says that neither came in
// time.
func (p *Player) Read() (string, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(p.Timeout)); err != nil {
		return "", err
	}
	line, err := p.r.ReadString('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return line, fmt.Errorf("no reply within %s", p.Timeout)
	case err != nil && line != "":
		return line, errors.New("closed within a reply")
	case err != nil:
		return Closed, nil //nolint:nilerr // that is what was seen
	}
	p.last = strings.TrimRight(line, "\r\n")
	return p.last, nil
}

var variable = regexp.MustCompile(`\$\{([a-z0-9 ]+)\}`)

// expand fills in ${from}, ${to}, ${user}, ${password}, ${plain} (AUTH PLAIN),
// ${plain wrapped} (in lines of 76), ${base64 user}, ${base64 user nul} and likewise for the password, ${cram} (the
// answer to the challenge that came last), ${scan} (the Base64 of a small PDF).
func (p *Player) expand(text string) string {
	v := &p.Values
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return variable.ReplaceAllStringFunc(text, func(name string) string {
		switch name[2 : len(name)-1] {
		case "from":
			return v.From
		case "to":
			return v.To
		case "user":
			return v.User
		case "password":
			return v.Password
		case "plain":
			return b64("\x00" + v.User + "\x00" + v.Password)
		case "plain wrapped":
			return wrap(b64("\x00"+v.User+"\x00"+v.Password), 76)
		case "base64 user":
			return b64(v.User)
		case "base64 user nul":
			return b64(v.User + "\x00")
		case "base64 password":
			return b64(v.Password)
		case "base64 password nul":
			return b64(v.Password + "\x00")
		case "cram":
			return b64(p.cram())
		case "scan":
			return b64(pdf)
		}
		return name
	})
}

// wrap breaks s into lines of n octets.
func wrap(s string, n int) string {
	var b strings.Builder
	for ; len(s) > n; s = s[n:] {
		b.WriteString(s[:n] + "\r\n")
	}
	return b.String() + s
}

// cram answers the challenge of CRAM-MD5 (RFC 2195).
func (p *Player) cram() string {
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.last, "334 "))
	if err != nil {
		return p.Values.User + " " + strings.Repeat("0", 2*md5.Size)
	}
	mac := hmac.New(md5.New, []byte(p.Values.Password))
	mac.Write(challenge)
	return p.Values.User + " " + hex.EncodeToString(mac.Sum(nil))
}

// secret tells whether a step shows a password.
func secret(s Step) bool {
	for _, m := range variable.FindAllStringSubmatch(s.Text, -1) {
		if strings.Contains(m[1], "password") || strings.HasPrefix(m[1], "plain") || m[1] == "cram" {
			return true
		}
	}
	return false
}

// LogsIn tells whether the dialogue needs a user name and a password.
func (d *Dialogue) LogsIn() bool { return slices.ContainsFunc(d.Steps, secret) }

// pdf is the smallest scan: one empty page.
const pdf = `%PDF-1.1
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>endobj
trailer<</Root 1 0 R>>
%%EOF
`
