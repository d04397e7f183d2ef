package message

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
	"net/http" //nolint:depguard // for DetectContentType, which is pure
	"path"
	"strings"
)

// generic is "" for the types that say nothing of the content.
func generic(t string) string {
	switch t {
	case "application/octet-stream", "application/x-octet-stream", "binary/octet-stream", "application/download", "application/x-download":
		return ""
	case "image/jpg", "image/pjpeg":
		return "image/jpeg"
	case "image/tif", "image/x-tiff":
		return "image/tiff"
	case "application/x-pdf":
		return "application/pdf"
	}
	return t
}

var extensions = map[string]string{
	"pdf": "application/pdf", "tif": "image/tiff", "tiff": "image/tiff", "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg",
	"png": "image/png", "gif": "image/gif", "bmp": "image/bmp", "webp": "image/webp", "txt": "text/plain", "csv": "text/csv", "htm": "text/html", "html": "text/html", "xml": "text/xml",
	"zip": "application/zip", "xps": "application/oxps", "oxps": "application/oxps", "rtf": "application/rtf",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"eml":  "message/rfc822",
}

func extension(name string) string {
	return strings.TrimPrefix(strings.ToLower(path.Ext(strings.TrimRight(name, " ."))), ".")
}

// typeOfName is the type that a client starts a file of this name with; a name
// that nobody knows is a type that is never allowed.
func typeOfName(name string) string {
	if name == "" {
		return ""
	}
	ext := extension(name)
	if ext == "" {
		return ""
	}
	if t, ok := extensions[ext]; ok {
		return t
	}
	return "x-unknown/" + ext
}

const space = "\x00\t\n\f\r " // ISO 32000-1 7.2.2

// typeOfContent is the type that the first octets show; "" if they show none.
func typeOfContent(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("II*\x00")), bytes.HasPrefix(b, []byte("MM\x00*")):
		return "image/tiff"
	case bytes.HasPrefix(b, []byte("MZ")), bytes.HasPrefix(b, []byte("\x7fELF")):
		return "application/x-executable"
	case bytes.HasPrefix(b, []byte("\xd0\xcf\x11\xe0")):
		return "application/x-ole-storage"
	case bytes.HasPrefix(b, []byte("7z\xbc\xaf")):
		return "application/x-7z-compressed"
	}
	// PDF readers take what stands before it for space; browsers may not.
	if bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(bytes.TrimLeft(b, space), []byte("\xef\xbb\xbf")), space), []byte("%PDF-")) {
		return "application/pdf"
	}
	t, _, _ := strings.Cut(http.DetectContentType(b), ";")
	switch t {
	case "application/octet-stream", "text/plain":
		return ""
	}
	return t
}

// consistent tells whether a claim goes with the content: types with a magic
// of their own must show it.
func consistent(claim, content string) bool {
	switch claim {
	case "application/pdf", "image/tiff", "image/jpeg", "image/png", "image/gif", "application/zip":
		return content == claim
	}
	return true
}

// decodeFirst decodes the beginning of a part; ok is false where its octets
// are not of the encoding.
func decodeFirst(b []byte, encoding string) ([]byte, bool) {
	switch encoding {
	case "base64":
		b = bytes.Map(func(r rune) rune {
			if strings.ContainsRune(" \t\r\n", r) {
				return -1
			}
			return r
		}, b)
		whole := len(b) / 4 * 4
		out := make([]byte, base64.StdEncoding.DecodedLen(whole))
		n, err := base64.StdEncoding.Decode(out, b[:whole])
		return out[:n], err == nil || n > 0 && bytes.IndexByte(b[:whole], '=') >= 0
	case "quoted-printable":
		out := make([]byte, len(b))
		r := quotedprintable.NewReader(bytes.NewReader(b))
		n := 0
		for n < len(out) {
			k, err := r.Read(out[n:])
			n += k
			if err != nil {
				break // cut in the middle; what was decoded is enough
			}
		}
		return out[:n], true
	}
	return b, true
}
