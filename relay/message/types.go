package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime/quotedprintable"
	"net/http" //nolint:depguard // for DetectContentType, which is pure
	"path"
	"slices"
	"strings"
)

// other names of types; "" are those that say nothing of the content.
var synonyms = map[string]string{
	"application/octet-stream": "", "application/x-octet-stream": "", "binary/octet-stream": "", "application/download": "", "application/x-download": "",
	"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg",
	"image/tif": "image/tiff", "image/x-tif": "image/tiff", "image/x-tiff": "image/tiff",
	"image/x-png": "image/png", "image/x-bmp": "image/bmp", "image/x-ms-bmp": "image/bmp",
	"application/x-pdf": "application/pdf",
	"application/xml":   "text/xml", "text/rtf": "application/rtf", "application/vnd.ms-xpsdocument": "application/oxps",
	"application/x-zip-compressed": "application/zip", "application/x-zip": "application/zip",
	"application/x-gzip": "application/gzip", "application/x-rar-compressed": "application/vnd.rar",
}

// generic is the one name of a type that has several, and "" for the types that
// say nothing of the content.
func generic(t string) string {
	if s, ok := synonyms[t]; ok {
		return s
	}
	return t
}

var extensions = map[string]string{
	"pdf": "application/pdf", "tif": "image/tiff", "tiff": "image/tiff", "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg", "jfif": "image/jpeg",
	"png": "image/png", "gif": "image/gif", "bmp": "image/bmp", "webp": "image/webp", "txt": "text/plain", "csv": "text/csv", "htm": "text/html", "html": "text/html", "xml": "text/xml",
	"ps": "application/postscript", "xps": "application/oxps", "oxps": "application/oxps", "rtf": "application/rtf",
	"zip": "application/zip", "gz": "application/gzip", "tgz": "application/gzip", "7z": "application/x-7z-compressed", "rar": "application/vnd.rar",
	"docx": office + "wordprocessingml.document", "xlsx": office + "spreadsheetml.sheet", "pptx": office + "presentationml.presentation",
	"odt": openDocument + "text", "ods": openDocument + "spreadsheet", "odp": openDocument + "presentation",
	"eml": "message/rfc822",
}

const (
	office       = "application/vnd.openxmlformats-officedocument."
	openDocument = "application/vnd.oasis.opendocument."
)

// packaged tells the types whose files are ZIP archives.
func packaged(t string) bool {
	return strings.HasPrefix(t, office) || strings.HasPrefix(t, openDocument) || t == "application/oxps"
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

// octets is what the first octets of a file show.
type octets struct {
	media string // type by their magic; empty: none is known
	text  bool   // they may be a text
}

// magic of files that nobody should get as something else, where Go knows none.
var magic = []struct{ prefix, media string }{
	{"II*\x00", "image/tiff"},
	{"MM\x00*", "image/tiff"},
	{"MZ", "application/x-executable"},
	{"\x7fELF", "application/x-executable"},
	{"\xca\xfe\xba\xbe", "application/x-executable"},
	{"\xcf\xfa\xed\xfe", "application/x-executable"},
	{"\xce\xfa\xed\xfe", "application/x-executable"},
	{"\xd0\xcf\x11\xe0", "application/x-ole-storage"},
	{"{\\rt", "application/rtf"},
	{"\x78\x9f\x3e\x22", "application/ms-tnef"},
	{"L\x00\x00\x00\x01\x14\x02", "application/x-ms-shortcut"},
	{"ITSF", "application/vnd.ms-htmlhelp"},
	{"\xe4\x52\x5c\x7b", "application/msonenote"},
	{"7z\xbc\xaf", "application/x-7z-compressed"},
	{"MSCF", "application/vnd.ms-cab-compressed"},
	{"Rar!", "application/vnd.rar"},
	{"\x1f\x8b", "application/gzip"},
}

// contentOfOctets says what the first octets of a file show.
func contentOfOctets(b []byte) octets {
	for _, m := range magic {
		if bytes.HasPrefix(b, []byte(m.prefix)) {
			return octets{media: m.media}
		}
	}
	// PDF readers take what stands before it for space; browsers may not.
	if bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(bytes.TrimLeft(b, space), []byte("\xef\xbb\xbf")), space), []byte("%PDF-")) {
		return octets{media: "application/pdf"}
	}
	t, _, _ := strings.Cut(http.DetectContentType(b), ";")
	switch t {
	case "application/octet-stream":
		return octets{}
	case "text/plain":
		return octets{text: true}
	}
	return octets{generic(t), strings.HasPrefix(t, "text/")}
}

// goesWith tells whether a claim goes with the content: types with a magic of
// their own must show it, and a text must be one.
func (o octets) goesWith(claim string) bool {
	switch claim {
	case "application/pdf", "image/tiff", "image/jpeg", "image/png", "image/gif", "image/bmp", "image/webp", "application/postscript", "application/rtf",
		"application/zip", "application/gzip", "application/x-7z-compressed", "application/vnd.rar":
		return o.media == claim
	}
	switch {
	case packaged(claim):
		return o.media == "application/zip"
	case strings.HasPrefix(claim, "text/"):
		return o.text
	}
	return true
}

// decodeFirst decodes the beginning of a part; ok is false where its octets
// are not of the encoding.
func decodeFirst(b []byte, encoding string) ([]byte, bool) {
	switch encoding {
	case "base64":
		b = slices.DeleteFunc(bytes.Clone(b), func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' })
		whole := len(b) / 4 * 4
		out := make([]byte, base64.StdEncoding.DecodedLen(whole))
		n, err := base64.StdEncoding.Decode(out, b[:whole])
		return out[:n], err == nil
	case "quoted-printable":
		out := make([]byte, len(b))
		r := quotedprintable.NewReader(bytes.NewReader(b))
		n := 0
		for n < len(out) {
			k, err := r.Read(out[n:])
			n += k
			if err != nil {
				// Cut in the middle, what was decoded is enough; but some read on behind
				// what is no quoted-printable.
				return out[:n], errors.Is(err, io.EOF) || n >= maxMagic
			}
		}
		return out[:n], true
	}
	return b, true
}
