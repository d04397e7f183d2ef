// Package disguise is for tests: messages that try to bring an attachment past a
// rule for PDF, TIFF and JPEG, each by one trick, and messages of copiers and
// people that such a rule must let pass.
//
// It may import the standard library.
package disguise

import (
	"encoding/base64"
	"maps"
	"strconv"
	"strings"
)

// Types are those that the rule names.
var Types = []string{"application/pdf", "image/tiff", "image/jpeg"}

// From is how the messages begin.
const From = "From: a@b.example\nMIME-Version: 1.0\n"

// Exe is a part that the rule does not let pass.
const Exe = "Content-Type: application/x-msdownload; name=evil.exe\nContent-Disposition: attachment; filename=evil.exe\n\nMZ\n"

// PDF is one in base64, on a line.
var PDF = base64.StdEncoding.EncodeToString([]byte("%PDF-1.7\n" + strings.Repeat("x", 100)))

// Disguised gives the messages that must be refused, by trick, with CRLF.
func Disguised() map[string]string { return all(known, boundaries, names, encodings, structure, types) }

// Ordinary gives the messages that must pass, by what they are, with CRLF.
func Ordinary() map[string]string { return all(ordinary) }

func all(tables ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, t := range tables {
		maps.Copy(out, t)
	}
	for name, m := range out {
		out[name] = strings.ReplaceAll(m, "\n", "\r\n")
	}
	return out
}

// Mixed is a message of one part, in a multipart/mixed.
func Mixed(part string) string {
	return From + "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part + "--b--\n"
}

// Wrapped is base64 in lines of 76 octets.
func Wrapped(s string) string {
	var b strings.Builder
	for enc := base64.StdEncoding.EncodeToString([]byte(s)); len(enc) > 0; enc = enc[min(76, len(enc)):] {
		b.WriteString(enc[:min(76, len(enc))] + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func parameters(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("; x" + strconv.Itoa(i) + "=y")
	}
	return b.String()
}
