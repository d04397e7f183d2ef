package wire

import (
	"bufio"
	"net"
	"runtime"
	"strings"
	"testing"
)

// said writes what a copier says and reads a reply line that begins so.
func said(tb testing.TB, conn net.Conn, r *bufio.Reader, line, want string) {
	if _, err := conn.Write([]byte(line)); err != nil {
		tb.Fatal(err)
	}
	for {
		got, err := r.ReadString('\n')
		if err != nil || got[:3] != want {
			tb.Fatalf("%.40q: %q, %v", line, got, err)
		}
		if got[3] == ' ' {
			return
		}
	}
}

func dialed(tb testing.TB, r *rig) (net.Conn, *bufio.Reader) {
	conn, err := net.Dial("tcp", r.raw.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	in := bufio.NewReaderSize(conn, 512)
	said(tb, conn, in, "", "220")
	said(tb, conn, in, "EHLO copier.test\r\n", "250")
	return conn, in
}

// BenchmarkMessages is what one message costs between the socket and a session
// that does nothing with it.
func BenchmarkMessages(b *testing.B) {
	conn, in := dialed(b, start(b))
	defer conn.Close()
	body := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 52) + ".\r\n"
	b.ReportAllocs()
	for b.Loop() {
		said(b, conn, in, "MAIL FROM:<mfp@copier.example>\r\n", "250")
		said(b, conn, in, "RCPT TO:<it@corp.example>\r\n", "250")
		said(b, conn, in, "DATA\r\n", "354")
		said(b, conn, in, body, "250")
	}
}

// BenchmarkIdle gives the memory of a connection that said EHLO and waits, the
// test's own end with it.
func BenchmarkIdle(b *testing.B) {
	const n = 1000
	for b.Loop() {
		b.StopTimer()
		r := start(b)
		conns := make([]net.Conn, 0, n)
		before := used()
		for range n {
			conn, _ := dialed(b, r)
			conns = append(conns, conn)
		}
		b.ReportMetric(float64(used()-before)/n, "B/connection")
		for _, c := range conns {
			c.Close()
		}
		b.StartTimer()
	}
}

// used is the memory of heap and stacks that is in use.
func used() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
