package selfprobe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	proxyproto "github.com/pires/go-proxyproto"
	"go.uber.org/goleak"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/policy"
	"github.com/printerrelay/printer-relay/test/env"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend is go-smtp's, open to everybody but what refuse says.
type backend struct {
	refuse  func(from string, client net.Addr) error
	clients chan string
	tls     *tls.Config // for STARTTLS
}

func (b *backend) NewSession(c *gosmtp.Conn) (gosmtp.Session, error) {
	return &session{b, c}, nil
}

type session struct {
	b *backend
	c *gosmtp.Conn
}

func (s *session) Mail(from string, _ *gosmtp.MailOptions) error {
	host, _, err := net.SplitHostPort(s.c.Conn().RemoteAddr().String())
	if err != nil {
		return err
	}
	if _, ok := s.c.TLSConnectionState(); !ok && s.b.tls != nil {
		return &gosmtp.SMTPError{Code: 530, EnhancedCode: gosmtp.EnhancedCode{5, 7, 0}, Message: "TLS first"}
	}
	s.b.clients <- host
	if s.b.refuse == nil {
		return nil
	}
	return s.b.refuse(from, s.c.Conn().RemoteAddr())
}
func (s *session) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (s *session) Data(io.Reader) error                   { return errors.New("the probe sends nothing") }
func (s *session) Reset()                                 {}
func (s *session) Logout() error                          { return nil }

// serve starts a server and gives its address and who asked it.
func serve(t *testing.T, b *backend, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	b.clients = make(chan string, 100)
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := raw
	if wrap != nil {
		l = wrap(raw)
	}
	srv := gosmtp.NewServer(b)
	srv.Domain, srv.ErrorLog, srv.TLSConfig = "relay.test", log.New(io.Discard, "", 0), b.tls
	env.Serve(t, srv, l)
	return raw.Addr().String()
}

func naming(networks ...string) *plan.Plan {
	r := policy.Rule{Name: "r"}
	for _, n := range networks {
		r.Match.Networks = append(r.Match.Networks, netip.MustParsePrefix(n))
	}
	return &plan.Plan{Policies: policy.Set{{Name: "p", Rules: []policy.Rule{r}}}}
}

func TestProbe(t *testing.T) {
	no := func(string, net.Addr) error {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "no"}
	}
	for name, tc := range map[string]struct {
		plan    *plan.Plan
		backend backend
		relays  bool
		reply   string
		outside string // network that the client must not be in
	}{
		"open":          {naming("10.0.0.0/8"), backend{}, true, "250 ", "10.0.0.0/8"},
		"closed":        {naming("10.0.0.0/8"), backend{refuse: no}, false, "550 5.7.1 no", "10.0.0.0/8"},
		"from our side": {naming("127.0.0.0/16", "127.200.0.0/16", "127.201.0.0/16"), backend{}, true, "250 ", "127.200.0.0/15"},
	} {
		t.Run(name, func(t *testing.T) {
			b := tc.backend
			at := serve(t, &b, nil)
			r, err := Probe(t.Context(), tc.plan, &plan.Listener{Name: "l"}, at)
			if err != nil || r.Relays != tc.relays || !strings.HasPrefix(r.Reply, tc.reply) {
				t.Fatalf("%+v, %v", r, err)
			}
			client := <-b.clients
			if a := netip.MustParseAddr(client); r.From != client || netip.MustParsePrefix(tc.outside).Contains(a) {
				t.Errorf("it asked from %s, and says %s", client, r.From)
			}
		})
	}
}

// Who is told to use TLS does: any stranger can.
func TestProbeInsideTLS(t *testing.T) {
	cert, key := env.NewCA(t, t.TempDir()).Issue(t, "relay.test")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	b := backend{tls: &tls.Config{Certificates: []tls.Certificate{pair}}}
	at := serve(t, &b, nil)
	r, err := Probe(t.Context(), naming("10.0.0.0/8"), &plan.Listener{Name: "l", TLS: plan.ListenerTLS{Mode: plan.TLSStartTLS}}, at)
	if err != nil || !r.Relays {
		t.Errorf("%+v, %v", r, err)
	}
}

// A listener that is too busy to say has not refused a stranger: it is asked again, and
// what was found before holds.
func TestWhoIsTooBusyIsAskedAgain(t *testing.T) {
	for when, replies := range map[string][]string{
		"to greet": {"421 4.7.0 Too many connections"},
		"at MAIL":  {"220 x", "250 x", "452 4.3.1 Full"},
		"at RCPT":  {"220 x", "250 x", "250 x", "451 4.3.0 Later"},
	} {
		t.Run(when, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				r := bufio.NewReader(c)
				for i, reply := range replies {
					if i > 0 {
						r.ReadString('\n') //nolint:errcheck // the probe tells
					}
					io.WriteString(c, reply+"\r\n") //nolint:errcheck // likewise
				}
				io.Copy(io.Discard, r) //nolint:errcheck // until the probe has gone
			}()
			t.Cleanup(func() { l.Close(); <-done })
			p := naming("10.0.0.0/8")
			p.Listeners = []plan.Listener{{Name: "legacy"}}
			found := -1
			r := New(Config{
				Plan: func() *plan.Plan { return p }, Listeners: func() []Listener { return []Listener{{"legacy", l.Addr().String()}} },
				Log: slog.New(slog.DiscardHandler), Found: func(n int) { found = n },
			})
			r.open, r.problems = []string{"legacy"}, []string{"open"}
			if r.look(t.Context()) || found != 1 || len(r.Open()) != 1 || len(r.Problems()) != 1 {
				t.Errorf("it is content: %d, %q, %q", found, r.Open(), r.Problems())
			}
		})
	}
}

func TestNobodyToAskAs(t *testing.T) {
	if _, err := Probe(t.Context(), naming("127.0.0.0/8"), &plan.Listener{}, "127.0.0.1:1"); !errors.Is(err, ErrNobody) {
		t.Errorf("%v", err)
	}
	if _, err := Probe(t.Context(), naming("10.0.0.0/8"), &plan.Listener{}, "127.0.0.1:1"); err == nil || errors.Is(err, ErrNobody) {
		t.Errorf("nobody listens: %v", err)
	}
}

// Behind a load balancer we can say whose connection it is.
func TestProbeByPROXY(t *testing.T) {
	var b backend
	at := serve(t, &b, func(l net.Listener) net.Listener { return &proxyproto.Listener{Listener: l} })
	l := &plan.Listener{ProxyNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	r, err := Probe(t.Context(), naming("192.0.2.0/24", "127.0.0.0/8"), l, at)
	if err != nil || !r.Relays {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := <-b.clients; got != r.From || strings.HasPrefix(got, "192.0.2.") || strings.HasPrefix(got, "127.") {
		t.Errorf("it asked as %s, and says %s", got, r.From)
	}
}

// The runner looks at once and after a change, and tells what it found until it
// finds otherwise.
func TestRunner(t *testing.T) {
	closed := make(chan struct{})
	b := &backend{refuse: func(string, net.Addr) error {
		select {
		case <-closed:
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "no"}
		default:
			return nil
		}
	}}
	at := serve(t, b, nil)
	p := naming("10.0.0.0/8")
	p.Listeners = []plan.Listener{{Name: "legacy"}, {Name: "not open"}}
	found := make(chan int)
	r := New(Config{
		Plan: func() *plan.Plan { return p }, Listeners: func() []Listener { return []Listener{{"legacy", at}, {"gone", "127.0.0.1:1"}} },
		Log: slog.New(slog.DiscardHandler), Found: func(n int) { found <- n },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	if n := <-found; n != 1 {
		t.Errorf("%d open listeners", n)
	}
	r.Changed() // which looks when what it found is known
	<-found
	if got, open := r.Problems(), r.Open(); len(got) != 1 || len(open) != 1 || open[0] != "legacy" || !strings.Contains(got[0], "listener legacy is an open relay") {
		t.Errorf("%q, open %q", got, open)
	}
	close(closed)
	r.Changed()
	if n := <-found; n != 0 {
		t.Errorf("%d open listeners after it was closed", n)
	}
	r.Changed()
	<-found
	if got, open := r.Problems(), r.Open(); len(got) != 0 || len(open) != 0 {
		t.Errorf("%q, open %q", got, open)
	}
	cancel()
	<-done
}

// A listener is asked at the start, then daily; one that could not be asked, a minute
// later.
func TestDaily(t *testing.T) {
	for address, wants := range map[string][2]time.Duration{"": {23 * time.Hour, 24 * time.Hour}, "no address": {time.Minute, time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			var asked []time.Duration
			p := naming("10.0.0.0/8")
			p.Listeners = []plan.Listener{{Name: "legacy"}}
			r := New(Config{
				Plan: func() *plan.Plan { return p }, Log: slog.New(slog.DiscardHandler), Found: func(int) {},
				Listeners: func() []Listener {
					asked = append(asked, time.Since(begin))
					if address == "" {
						return nil
					}
					return []Listener{{"legacy", address}}
				},
			})
			ctx, cancel := context.WithTimeout(t.Context(), 2*wants[1])
			defer cancel()
			r.Run(ctx)
			if len(asked) < 2 || asked[0] != 0 || asked[1] < wants[0] || asked[1] > wants[1] {
				t.Errorf("%q: asked after %v", address, asked)
			}
		})
	}
}
