//go:build bench

package bench

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/cli"
)

// smtp-source and smtp-sink speak no TLS. Where a load has TLS these stand in:
// the test's own binary, as a process of its own, so that what they use is not
// counted for a system.
const toolEnv = "PRINTER_RELAY_BENCH_TOOL"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(toolEnv) {
	case "":
		os.Exit(m.Run())
	case "source":
		debug.SetGCPercent(toolsGC)
		err = source(os.Args[1:])
	case "sink":
		debug.SetGCPercent(toolsGC)
		err = serveSink(os.Args[1:])
	case "relay":
		err = profiled(func() { cli.Main(os.Args[1:], os.Stdout, os.Stderr) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// The tools share the machine with what they measure. What they take themselves
// brings the systems nearer to each other, so it is little.
const (
	sourceGroup = tls.CurveP256 // the one that every copier with elliptic curves has, and that both systems have in assembly
	toolsGC     = 400           // their heaps are small: by default they would be collected every few messages
)

// sinkGroups are what Debian's Postfix has: its OpenSSL knows no ML-KEM. crypto/tls
// would take that from the relay, and the two would do different work.
var sinkGroups = []tls.CurveID{tls.X25519, tls.CurveP256}

// clientTLS is the source's. It believes any certificate, as copiers do; nil
// without STARTTLS.
func clientTLS(startTLS bool) *tls.Config {
	if !startTLS {
		return nil
	}
	return &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{sourceGroup}} //nolint:gosec // see above
}

// dialogue is one client's session.
type dialogue struct {
	conn net.Conn
	text *textproto.Conn
}

// dial begins a session; config is nil where it stays in clear.
func dial(address string, config *tls.Config) (*dialogue, error) {
	conn, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		return nil, err
	}
	d := &dialogue{conn: conn, text: textproto.NewConn(conn)}
	if err := errors.Join(conn.SetDeadline(time.Now().Add(5*time.Minute)), d.reply(220), d.say(250, "EHLO source.example.test")); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if config == nil {
		return d, nil
	}
	err = d.say(220, "STARTTLS")
	d.conn = tls.Client(conn, config)
	d.text = textproto.NewConn(d.conn)
	if err = errors.Join(err, d.say(250, "EHLO source.example.test")); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return d, nil
}

func (d *dialogue) reply(code int) error {
	_, _, err := d.text.ReadResponse(code)
	return err
}

func (d *dialogue) say(code int, line string) error {
	if err := d.text.PrintfLine("%s", line); err != nil {
		return err
	}
	return d.reply(code)
}

// scan sends one message and tells how long the reply to the final dot took.
func (d *dialogue) scan(message []byte) (time.Duration, error) {
	err := errors.Join(d.say(250, "MAIL FROM:<copier@example.test>"), d.say(250, "RCPT TO:<inbox@example.test>"), d.say(354, "DATA"))
	if err != nil {
		return 0, err
	}
	if _, err := d.conn.Write(message); err != nil {
		return 0, err
	}
	begun := time.Now()
	err = d.reply(250)
	return time.Since(begun), err
}

func (d *dialogue) quit() error { return errors.Join(d.say(221, "QUIT"), d.conn.Close()) }

// pdf is a message with a PDF of about size octets on the wire, as copiers send
// them, with its final dot.
func pdf(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: <copier@example.test>\r\nTo: <inbox@example.test>\r\nSubject: Scan\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=\"scan\"\r\n\r\n--scan\r\nContent-Type: text/plain\r\n\r\nScanned.\r\n\r\n" +
		"--scan\r\nContent-Type: application/pdf; name=\"scan.pdf\"\r\nContent-Disposition: attachment; filename=\"scan.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	page := []byte("%PDF-1.4\n")
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // no secret: a scan's octets, the same in every run
	for len(page) < size*57/78-300 {
		page = append(page, byte(random.Uint32()))
	}
	line := make([]byte, 76)
	for len(page) > 0 {
		n := min(57, len(page))
		base64.StdEncoding.Encode(line, page[:n])
		b.Write(line[:base64.StdEncoding.EncodedLen(n)])
		b.WriteString("\r\n")
		page = page[n:]
	}
	b.WriteString("\r\n--scan--\r\n.\r\n")
	return b.Bytes()
}

// source sends messages: ADDRESS starttls|plain MESSAGES SESSIONS SIZE RATE. A session sends
// one message, as smtp-source does. With a rate, messages begin as many a second,
// and it prints how long each reply took, in microseconds.
func source(args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("source: %q", args)
	}
	var n [4]int
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(args[i+2]); err != nil {
			return err
		}
	}
	config := clientTLS(args[1] == "starttls")
	messages, sessions, rate := n[0], n[1], n[3]
	message := pdf(n[2])
	begin := make(chan struct{})
	failed := make(chan error, sessions)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for range begin {
				took, err := one(args[0], config, message)
				if err != nil {
					failed <- err
					return
				}
				if rate > 0 {
					mu.Lock()
					fmt.Println(took.Microseconds())
					mu.Unlock()
				}
			}
		})
	}
	every := time.Duration(0)
	if rate > 0 {
		every = time.Second / time.Duration(rate)
	}
	started := time.Now()
	for i := range messages {
		time.Sleep(time.Until(started.Add(time.Duration(i) * every)))
		select {
		case begin <- struct{}{}:
		case err := <-failed:
			return err
		}
	}
	close(begin)
	wg.Wait()
	close(failed)
	return <-failed
}

func one(address string, config *tls.Config, message []byte) (time.Duration, error) {
	d, err := dial(address, config)
	if err != nil {
		return 0, err
	}
	took, err := d.scan(message)
	return took, errors.Join(err, d.quit())
}

// serveSink takes every message: CERTIFICATE KEY. It prints its port, then a
// dot for each message.
func serveSink(args []string) error {
	cert, err := tls.LoadX509KeyPair(args[0], args[1])
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("port=%d\n", l.Addr().(*net.TCPAddr).Port) //nolint:forcetypeassert // a TCP listener's
	config := &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: sinkGroups}
	var count atomic.Int64
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close() //nolint:errcheck // it is over
			take(conn, config, func() { fmt.Printf("mesg=%d\n", count.Add(1)) })
		}()
	}
}

// take is the server's side of a session.
func take(conn net.Conn, config *tls.Config, taken func()) {
	r := bufio.NewReaderSize(conn, 64<<10)
	say := func(s string) bool { _, err := io.WriteString(conn, s+"\r\n"); return err == nil }
	for ok := say("220 sink.example.test ESMTP"); ok; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "EHLO":
			ok = say("250-sink.example.test\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 PIPELINING")
		case "STAR":
			ok = say("220 Go on")
			conn = tls.Server(conn, config)
			r = bufio.NewReaderSize(conn, 64<<10)
		case "DATA":
			if ok = say("354 Go on"); ok {
				if ok = untilDot(r); ok {
					taken()
					ok = say("250 Taken")
				}
			}
		case "QUIT":
			say("221 Bye")
			return
		default:
			ok = say("250 OK")
		}
	}
}

func untilDot(r *bufio.Reader) bool {
	for begins := true; ; {
		line, err := r.ReadSlice('\n')
		if begins && string(line) == ".\r\n" {
			return true
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false
		}
		begins = err == nil
	}
}
