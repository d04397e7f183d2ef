package transcript

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
)

// Offer is what a client offered in a TLS handshake.
type Offer struct {
	Versions []uint16 // none: none that can be read
	Suites   []uint16
	came     bool
}

type offerKey struct{}

// WithOffer gives a context for a handshake that is to fill o; the TLS
// configuration's GetConfigForClient has to be NoteOffer.
func WithOffer(ctx context.Context, o *Offer) context.Context {
	return context.WithValue(ctx, offerKey{}, o)
}

// NoteOffer is a GetConfigForClient that changes nothing.
func NoteOffer(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if o, ok := hello.Context().Value(offerKey{}).(*Offer); ok {
		o.Versions, o.Suites, o.came = slices.Clone(hello.SupportedVersions), slices.Clone(hello.CipherSuites), true
	}
	return nil, nil
}

// Probe tells whether a client that failed a handshake only looked whether
// somebody listens.
func (o *Offer) Probe(err error) bool { return !o.came && hungUp(err) }

// hungUp tells whether the client ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// Lines say what was offered, in words; none where nothing was.
func (o *Offer) Lines() []string {
	if !o.came {
		return nil
	}
	return []string{"the device offers " + versions(o.Versions), "its ciphers: " + suites(o.Suites)}
}

// Why says why a handshake failed, and what to do. minimum is the oldest version
// that the listener takes.
func (o *Offer) Why(err error, minimum uint16) string {
	if !o.came {
		return whyNoHello(err)
	}
	if minimum == 0 {
		minimum = tls.VersionTLS12 // as crypto/tls has it
	}
	newest := uint16(0)
	if len(o.Versions) > 0 {
		newest = slices.Max(o.Versions)
	}
	text := err.Error()
	alert, alerted := strings.CutPrefix(text, "remote error: tls: ")
	switch {
	case newest < minimum:
		return fmt.Sprintf("the newest that the device knows is %s, and the listener takes %s and newer: %s", version(newest), version(minimum), remedyVersion(newest))
	case strings.Contains(text, "no cipher suite supported"):
		return "the listener takes none of the device's ciphers: " + remedySuites(o.Suites)
	case alerted && strings.Contains(alert, "certificate"):
		return "the device does not accept the relay's certificate (its alert: " + alert + "): switch off the check of certificates on it, or give the listener one that it accepts in tls.certificateRefs"
	case alerted:
		return "the device ended the handshake (its alert: " + alert + "): " + remedyOld
	case strings.Contains(text, "certificate"):
		return "the listener has no certificate that fits the device (old ones need an RSA key): " + cut(text, 200)
	case hungUp(err):
		return "the device hung up within the handshake, without a word: old ones do so when they do not like a version, a cipher or the certificate; " + remedyOld
	case timedOut(err):
		return "the device did not end the handshake in time: " + remedyOld
	}
	return cut(text, 200)
}

const remedyOld = "try a listener with tls.profile Legacy and an RSA certificate, or a clientOverride with hideStartTLS"

// whyNoHello is Why where no ClientHello came, or none that can be read.
func whyNoHello(err error) string {
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &header) && smtpWord(header.RecordHeader[:]):
		return "the device speaks clear text where TLS comes first: set it to SSL/TLS, or to a port whose listener has tls.mode StartTLS or None"
	case errors.As(err, &header) && header.RecordHeader[0]&0x80 != 0 && header.RecordHeader[2] == 1:
		return "the device begins with an SSL 2.0 hello, as some do that know no more than SSL 3.0 or TLS 1.0: only clear text is left for it (a clientOverride with hideStartTLS)"
	case errors.As(err, &header):
		return "what the device sent is no TLS"
	case timedOut(err):
		return "the device sent nothing: set to no encryption or to STARTTLS it waits for a greeting, which comes behind the handshake here; set it to SSL/TLS, or to another port"
	case hungUp(err):
		return "the device asked for TLS and hung up"
	}
	return cut(err.Error(), 200)
}

// smtpWord tells whether a client's first octets are those of a command.
func smtpWord(b []byte) bool {
	for _, w := range []string{"EHLO", "HELO", "QUIT", "MAIL", "NOOP", "RSET", "AUTH"} {
		if len(b) >= 4 && strings.EqualFold(string(b[:4]), w) {
			return true
		}
	}
	return false
}

func remedyVersion(newest uint16) string {
	switch {
	case newest >= tls.VersionTLS12:
		return "tls.profile Intermediate takes it"
	case newest >= tls.VersionTLS10:
		return "tls.profile Legacy takes it"
	}
	return "no profile takes it; only clear text is left for it (a clientOverride with hideStartTLS)"
}

// remedySuites says whether the Legacy profile would do: it takes RSA key
// exchange with AES and 3DES.
func remedySuites(ids []uint16) string {
	for _, id := range ids {
		if kx, bulk, ok := parts(id); ok && (kx == "RSA key exchange" && (strings.HasPrefix(bulk, "AES") || bulk == "3DES")) {
			return "tls.profile Legacy takes some of them"
		} else if ok && strings.HasPrefix(kx, "ECDHE") {
			return "tls.profile Legacy takes some of them, with an RSA certificate"
		}
	}
	return "no profile takes any; only clear text is left for it (a clientOverride with hideStartTLS)"
}

func version(v uint16) string {
	switch {
	case v < 0x0300:
		return "older than SSL 3.0, or unknown"
	case v == 0x0300:
		return "SSL 3.0"
	}
	return tls.VersionName(v)
}

func versions(all []uint16) string {
	var names []string
	for _, v := range slices.Backward(slices.Sorted(slices.Values(all))) {
		if !grease(v) && len(names) < 6 {
			names = append(names, version(v))
		}
	}
	if len(names) == 0 {
		return "no version of TLS that is known here (SSL 3.0 or older)"
	}
	return strings.Join(names, ", ")
}

// grease are values that mean nothing (RFC 8701).
func grease(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

// suites says which ciphers were offered: by key exchange, the first named first.
func suites(ids []uint16) string {
	var order []string
	bulks := map[string][]string{}
	unknown := 0
	for _, id := range ids {
		kx, bulk, ok := parts(id)
		switch {
		case grease(id), id == 0x00ff, id == 0x5600: // signals, no suites (RFC 5746, 7507)
		case !ok:
			unknown++
		case bulks[kx] == nil:
			order = append(order, kx)
			fallthrough
		default:
			if !slices.Contains(bulks[kx], bulk) {
				bulks[kx] = append(bulks[kx], bulk)
			}
		}
	}
	var out []string
	for _, kx := range order {
		out = append(out, kx+" with "+strings.Join(bulks[kx], ", "))
	}
	if unknown > 0 {
		out = append(out, fmt.Sprintf("%d others", unknown))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, "; ")
}

// old are suites that crypto/tls has no name for, and that devices offer (IANA's
// registry).
var old = map[uint16]string{
	0x0001: "RSA_WITH_NULL_MD5", 0x0002: "RSA_WITH_NULL_SHA", 0x0003: "RSA_EXPORT_WITH_RC4_40_MD5", 0x0004: "RSA_WITH_RC4_128_MD5",
	0x0006: "RSA_EXPORT_WITH_RC2_CBC_40_MD5", 0x0007: "RSA_WITH_IDEA_CBC_SHA", 0x0008: "RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0009: "RSA_WITH_DES_CBC_SHA",
	0x0011: "DHE_DSS_EXPORT_WITH_DES40_CBC_SHA", 0x0012: "DHE_DSS_WITH_DES_CBC_SHA", 0x0013: "DHE_DSS_WITH_3DES_EDE_CBC_SHA",
	0x0014: "DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0015: "DHE_RSA_WITH_DES_CBC_SHA", 0x0016: "DHE_RSA_WITH_3DES_EDE_CBC_SHA",
	0x0032: "DHE_DSS_WITH_AES_128_CBC_SHA", 0x0033: "DHE_RSA_WITH_AES_128_CBC_SHA", 0x0038: "DHE_DSS_WITH_AES_256_CBC_SHA", 0x0039: "DHE_RSA_WITH_AES_256_CBC_SHA",
	0x003b: "RSA_WITH_NULL_SHA256", 0x003d: "RSA_WITH_AES_256_CBC_SHA256", 0x0041: "RSA_WITH_CAMELLIA_128_CBC_SHA", 0x0045: "DHE_RSA_WITH_CAMELLIA_128_CBC_SHA",
	0x0067: "DHE_RSA_WITH_AES_128_CBC_SHA256", 0x006b: "DHE_RSA_WITH_AES_256_CBC_SHA256", 0x0084: "RSA_WITH_CAMELLIA_256_CBC_SHA", 0x0088: "DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
	0x0096: "RSA_WITH_SEED_CBC_SHA", 0x009e: "DHE_RSA_WITH_AES_128_GCM_SHA256", 0x009f: "DHE_RSA_WITH_AES_256_GCM_SHA384",
	0xc024: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", 0xc028: "ECDHE_RSA_WITH_AES_256_CBC_SHA384", 0xccaa: "DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

// parts takes a suite apart: how keys are agreed on, and what encrypts.
func parts(id uint16) (kx, bulk string, ok bool) {
	name, ok := old[id]
	if !ok {
		name = strings.TrimPrefix(tls.CipherSuiteName(id), "TLS_")
	}
	if strings.HasPrefix(name, "0x") {
		return "", "", false
	}
	kx, bulk, ok = strings.Cut(name, "_WITH_")
	if !ok { // TLS 1.3 names no key exchange
		kx, bulk = "TLS 1.3", name
	}
	switch {
	case kx == "RSA":
		kx = "RSA key exchange"
	case strings.Contains(kx, "EXPORT"):
		kx = "export grade"
	default:
		kx = strings.ReplaceAll(kx, "_", "-")
	}
	for _, b := range []string{"AES_128_GCM", "AES_256_GCM", "AES_128_CBC", "AES_256_CBC", "CHACHA20", "3DES", "RC4", "RC2", "DES", "CAMELLIA", "SEED", "IDEA", "NULL"} {
		if strings.HasPrefix(bulk, b) {
			return kx, strings.ReplaceAll(b, "_", "-"), true
		}
	}
	return kx, strings.ReplaceAll(bulk, "_", "-"), true
}
