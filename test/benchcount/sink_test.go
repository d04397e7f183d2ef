package benchcount

import (
	"bufio"
	"net"
	"strings"
	"testing"
)

// startSink is the upstream. It answers all that it has been sent at once, so that
// the relay reads as often in every run.
func startSink(tb testing.TB) (port int) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go take(conn)
		}
	}()
	tb.Cleanup(func() {
		l.Close() //nolint:errcheck // the test is over
		<-done
	})
	return l.Addr().(*net.TCPAddr).Port
}

// take is the server's side of a session, which the client ends.
func take(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // it is over
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	for answer := "220 sink.example.test ESMTP"; ; {
		w.WriteString(answer + "\r\n") //nolint:errcheck // Flush tells
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil || strings.HasPrefix(answer, "221") {
				return
			}
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "EHLO":
			answer = "250-sink.example.test\r\n250-8BITMIME\r\n250 PIPELINING"
		case "QUIT":
			answer = "221 Bye"
		case "DATA":
			answer = "354 Go on"
		default:
			answer = "250 OK"
		}
		if answer != "354 Go on" {
			continue
		}
		w.WriteString(answer + "\r\n") //nolint:errcheck // Flush tells
		if err := w.Flush(); err != nil {
			return
		}
		for line != ".\r\n" {
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		answer = "250 Taken"
	}
}
