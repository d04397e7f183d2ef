// Package selfprobe tries, by SMTP, whether a relay would relay for somebody that
// no rule names: the question of every scan for open relays, asked by ourselves
// first. Nothing is sent: it ends before DATA.
//
// It may import relay/plan and relay/envelope (to choose a client that no rule
// names).
package selfprobe

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// Name is how the probes of this process call themselves: nobody else can.
var Name = "probe-" + strings.ToLower(rand.Text()) + ".invalid"

// stepTime bounds each step, well below what a listener lets pass.
const stepTime = 10 * time.Second

// Result is what a listener did.
type Result struct {
	Relays bool   // it would have taken mail from and for strangers
	Reply  string // the one that shows it, or the refusal
	From   string // the client as it asked
}

// ErrNobody says that rules name each address that could be asked from: then it
// would be no stranger.
var ErrNobody = errors.New("rules name every address that the relay could ask from")

// Probe asks the listener l of p, which is open at address, as a client, sender
// and recipient that no rule names. An error says that it was not possible to
// ask.
func Probe(ctx context.Context, p *plan.Plan, l *plan.Listener, address string) (Result, error) {
	open, err := netip.ParseAddrPort(address)
	if err != nil {
		return Result{}, fmt.Errorf("the listener's address: %w", err)
	}
	at, ask := way(p, l, open)
	if !ask.client.IsValid() {
		return Result{}, ErrNobody
	}
	d := net.Dialer{Timeout: stepTime}
	if ask.source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(ask.source, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return Result{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	c := &client{conn: conn}
	r, err := c.ask(ctx, l, ask)
	r.From = ask.client.String()
	return r, err
}

// asker is who asks.
type asker struct {
	client netip.Addr // as the listener sees it
	source netip.Addr // to connect from; zero: any
	proxy  string     // PROXY header; empty: none
}

// way gives where to connect to, and as whom.
func way(p *plan.Plan, l *plan.Listener, open netip.AddrPort) (netip.AddrPort, asker) {
	host := open.Addr().Unmap()
	if host.IsUnspecified() {
		host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	at := netip.AddrPortFrom(host, open.Port())
	for _, n := range l.ProxyNetworks {
		if n.Contains(host) { // we are a load balancer to it: any client can be named
			c := stranger(p, publicAddr)
			return at, asker{client: c, proxy: fmt.Sprintf("PROXY TCP4 %s %s 1024 25\r\n", c, netip.AddrFrom4([4]byte{192, 0, 2, 2}))}
		}
	}
	if host.Is4() && host.IsLoopback() {
		c := stranger(p, loopbackAddr)
		return at, asker{client: c, source: c}
	}
	if named(p, host) { // a host's own address cannot be chosen
		return at, asker{}
	}
	return at, asker{client: host}
}

// publicAddr and loopbackAddr give addresses to choose from: of TEST-NET-1 to 3
// (RFC 5737), and of the loopback network.
func publicAddr(i int) netip.Addr {
	nets := [][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	n := nets[i%len(nets)]
	return netip.AddrFrom4([4]byte{n[0], n[1], n[2], byte(1 + i/len(nets)%250)}) //nolint:gosec // below 251
}

func loopbackAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(200 + i%50), byte(i / 50 % 250), 7}) //nolint:gosec // below 250
}

// stranger is the first of them that no rule names; zero: all are named.
func stranger(p *plan.Plan, candidate func(int) netip.Addr) netip.Addr {
	const tries = 200
	for i := range tries {
		if a := candidate(i); !named(p, a) {
			return a
		}
	}
	return netip.Addr{}
}

func named(p *plan.Plan, a netip.Addr) bool {
	for i := range p.Policies {
		for k := range p.Policies[i].Rules {
			for _, n := range p.Policies[i].Rules[k].Match.Networks {
				if n.Contains(a) {
					return true
				}
			}
		}
	}
	return false
}

// client is our side of the session.
type client struct {
	conn     net.Conn
	r        *bufio.Reader
	startTLS bool // was offered
}

func (c *client) ask(ctx context.Context, l *plan.Listener, who asker) (Result, error) {
	if who.proxy != "" {
		if err := c.write(who.proxy); err != nil {
			return Result{}, err
		}
	}
	if l.TLS.Mode == plan.TLSImplicit {
		if err := c.handshake(ctx); err != nil {
			return Result{}, err
		}
	}
	c.r = bufio.NewReaderSize(c.conn, 4<<10)
	stranger := "<probe-" + strings.ToLower(rand.Text()[:10]) + "@printer-relay-probe.invalid>"
	ehlo, mail := "EHLO "+Name, "MAIL FROM:"+stranger
	reply, err := c.say("", ehlo, mail)
	if err == nil && strings.HasPrefix(reply, "530") && c.startTLS { // strangers can have TLS too
		answer, err := c.say("STARTTLS")
		if err != nil {
			return Result{}, err
		}
		if strings.HasPrefix(answer, "220") {
			if err := c.handshake(ctx); err != nil {
				return Result{}, err
			}
			c.r.Reset(c.conn)
			if reply, err = c.say(ehlo, mail); err != nil {
				return Result{}, err
			}
		}
	}
	if err == nil && reply[0] == '2' {
		reply, err = c.say("RCPT TO:" + stranger)
	}
	c.write("RSET\r\nQUIT\r\n") //nolint:errcheck // what it was for is known
	if err == nil && reply[0] == '4' && !strings.HasPrefix(reply, "421") {
		err = fmt.Errorf("the listener answers %q: whether it would relay is not told", reply)
	}
	return Result{Relays: err == nil && reply[0] == '2', Reply: reply}, err
}

// handshake goes on in TLS.
func (c *client) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	t := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}) //nolint:gosec // it is ourselves, and nothing is sent
	c.conn.SetDeadline(time.Time{})                                                              //nolint:errcheck // a closed socket says so in the handshake
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.conn = t
	return nil
}

// say sends commands, each behind a good reply to the one before, and gives the last
// reply; an empty command waits for the greeting. Before MAIL all but a good reply is
// an error: nothing was asked yet.
func (c *client) say(commands ...string) (reply string, err error) {
	for _, s := range commands {
		if s != "" {
			if err := c.write(s + "\r\n"); err != nil {
				return "", err
			}
		}
		if reply, err = c.reply(); err != nil {
			return "", err
		}
		if (s == "" || strings.HasPrefix(s, "EHLO ")) && reply[0] != '2' {
			return "", fmt.Errorf("the listener answers %q before it was asked", reply)
		}
	}
	return reply, nil
}

func (c *client) write(s string) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(stepTime)); err != nil {
		return err
	}
	_, err := c.conn.Write([]byte(s))
	return err
}

// reply gives the last line of a reply.
func (c *client) reply() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(stepTime)); err != nil {
		return "", err
	}
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return "", fmt.Errorf("no reply: %w", err)
		}
		s := strings.TrimRight(string(line), "\r\n")
		c.startTLS = c.startTLS || len(s) > 4 && s[:3] == "250" && strings.EqualFold(s[4:], "STARTTLS")
		if len(s) >= 3 && (len(s) == 3 || s[3] != '-') {
			return s, nil
		}
	}
}
