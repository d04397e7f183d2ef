package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// udpSize is what a UDP answer may have: less than any path fragments.
const udpSize = 1232

var (
	errNoAnswer  = errors.New("its answer is no answer to the question")
	errTruncated = errors.New("truncated")
)

// exchange asks one resolver, by UDP, and by TCP where the answer is larger.
func exchange(ctx context.Context, server netip.AddrPort, q dnsmessage.Question, limit time.Duration) (*dnsmessage.Message, error) {
	m, err := once(ctx, "udp", server, q, limit, true)
	if err == nil && m.RCode == dnsmessage.RCodeFormatError { // older than EDNS (RFC 6891 7)
		m, err = once(ctx, "udp", server, q, limit, false)
	}
	if errors.Is(err, errTruncated) {
		return once(ctx, "tcp", server, q, limit, true)
	}
	return m, err
}

func once(ctx context.Context, network string, server netip.AddrPort, q dnsmessage.Question, limit time.Duration, edns bool) (*dnsmessage.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	id, query, err := pack(q, edns)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, tell(err)
	}
	defer conn.Close()                                                      //nolint:errcheck // it was used
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) }) //nolint:errcheck // a closed socket needs none
	defer stop()
	if network == "tcp" {
		query = append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...) //nolint:gosec // at most 512 octets
	}
	if _, err := conn.Write(query); err != nil {
		return nil, tell(err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := receive(conn, network, buf)
		if err != nil {
			return nil, tell(err)
		}
		m, err := unpack(buf[:n], id, q)
		if err == nil || network == "tcp" || errors.Is(err, errTruncated) {
			return m, err
		} // else somebody may be guessing: the right answer may still come
	}
}

func receive(conn net.Conn, network string, buf []byte) (int, error) {
	if network == "udp" {
		return conn.Read(buf)
	}
	if _, err := io.ReadFull(conn, buf[:2]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	return io.ReadFull(conn, buf[:n])
}

// pack makes a query. Its AD bit asks a validating resolver to tell (RFC 6840
// 5.7); the signatures themselves are of no use here.
func pack(q dnsmessage.Question, edns bool) (uint16, []byte, error) {
	var r [2]byte
	rand.Read(r[:]) //nolint:errcheck // it never fails
	id := binary.BigEndian.Uint16(r[:])
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true, AuthenticData: true}, Questions: []dnsmessage.Question{q}}
	if edns {
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(udpSize, 0, false); err != nil {
			return 0, nil, err
		}
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := m.Pack()
	return id, b, err
}

func unpack(b []byte, id uint16, q dnsmessage.Question) (*dnsmessage.Message, error) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.ID != id {
		return nil, errNoAnswer
	}
	got, err := p.Question()
	if h.RCode == dnsmessage.RCodeFormatError && errors.Is(err, dnsmessage.ErrSectionDone) {
		return &dnsmessage.Message{Header: h}, nil //nolint:nilerr // it could not read the question, and so does not repeat it
	}
	if err != nil || got.Type != q.Type || got.Class != q.Class || !sameName(got.Name, q.Name) {
		return nil, errNoAnswer
	}
	if h.Truncated {
		return nil, errTruncated
	}
	m := &dnsmessage.Message{}
	if err := m.Unpack(b); err != nil {
		return nil, errNoAnswer
	}
	return m, nil
}

// sameName compares without case (RFC 4343).
func sameName(a, b dnsmessage.Name) bool {
	lower := func(c byte) byte {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	if a.Length != b.Length {
		return false
	}
	for i := range a.Length {
		if lower(a.Data[i]) != lower(b.Data[i]) {
			return false
		}
	}
	return true
}

// tell gives an error without the sockets' addresses and ports.
func tell(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return errors.New("no answer in time")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
