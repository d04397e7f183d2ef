package relay

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/selfprobe"
)

// takesAll is a server that says 250 to everything.
func takesAll(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			reply := "220 open\r\n"
			for in := bufio.NewReader(conn); ; {
				if _, err := conn.Write([]byte(reply)); err != nil {
					break
				}
				if _, err := in.ReadString('\n'); err != nil {
					break
				}
				reply = "250 ok\r\n"
			}
			conn.Close() //nolint:errcheck // it is over
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// A relay that finds one of its listeners open is not ready, and its state names the
// listener.
func TestAnOpenRelayIsNotReady(t *testing.T) {
	p := &plan.Plan{Listeners: []plan.Listener{{Name: "legacy"}, {Name: "other"}}}
	found := make(chan int)
	r := selfprobe.New(selfprobe.Config{
		Plan: func() *plan.Plan { return p }, Log: slog.New(slog.DiscardHandler), Found: func(n int) { found <- n },
		Listeners: func() []selfprobe.Listener { return []selfprobe.Listener{{Name: "legacy", Address: takesAll(t)}} },
	})
	before := admin.RelayState{Ready: true}
	if exposed(&before, r); !before.Ready || len(before.OpenRelay)+len(before.Problems) > 0 {
		t.Errorf("before it looked: %+v", before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	if n := <-found; n != 1 {
		t.Errorf("%d open listeners", n)
	}
	r.Changed() // it looks again when what it found is known
	<-found
	st := admin.RelayState{Ready: true, Problems: []string{"another"}}
	exposed(&st, r)
	cancel()
	<-done
	if st.Ready || !slices.Equal(st.OpenRelay, []string{"legacy"}) || len(st.Problems) != 2 || !strings.Contains(st.Problems[1], "listener legacy is an open relay") {
		t.Errorf("%+v", st)
	}
}
