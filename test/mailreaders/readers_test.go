package mailreaders

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/test/env"
)

// seen is a part of a message as a reader shows it.
type seen struct {
	Message  string // file name
	Name     string // that it would be saved under; empty: it has none
	Type     string // media type; empty: the reader does not tell
	Attached bool   // by its disposition
	Content  []byte // decoded, its beginning
}

// index of the message among those that were written.
func (s seen) index(t *testing.T) int {
	t.Helper()
	i, err := strconv.Atoi(s.Message)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// reader is a program that nobody of this project wrote, and that reads mail.
type reader struct {
	name string
	see  func(t *testing.T, messages folder) []seen
}

// folder of messages, one a file. Programs of Unix take their line ends.
type folder struct{ crlf, lf string }

var readers = []reader{
	{"Python email, compat32", script("python3", "readers/python_email.py", "compat32")},
	{"Python email, default", script("python3", "readers/python_email.py", "default")},
	{"mailparser", script("node", "readers/npm.js", "mailparser")},
	{"postal-mime", script("node", "readers/npm.js", "postal-mime")},
	{"MIME-tools", script("perl", "readers/perl_mime.pl", "MIME-tools")},
	{"Email-MIME", script("perl", "readers/perl_mime.pl", "Email-MIME")},
	{"munpack", each(munpack)},
	{"ripmime", each(ripmime)},
	{"reformime", each(reformime)},
}

// script runs a program of ours around a library of others, for all messages at
// once: it prints one JSON object a part.
func script(program string, args ...string) func(*testing.T, folder) []seen {
	return func(t *testing.T, messages folder) (out []seen) {
		t.Helper()
		dec := json.NewDecoder(strings.NewReader(env.MustRun(t, "", program, append(args, messages.crlf)...)))
		for dec.More() {
			var s seen
			if err := dec.Decode(&s); err != nil {
				t.Fatalf("%s %v: %v", program, args, err)
			}
			out = append(out, s)
		}
		return out
	}
}

// each runs a program for every message, with a folder to save files in.
func each(see func(t *testing.T, message, saved string) []seen) func(*testing.T, folder) []seen {
	return func(t *testing.T, messages folder) (out []seen) {
		t.Helper()
		entries, err := os.ReadDir(messages.lf)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			saved := filepath.Join(t.TempDir(), e.Name())
			if err := os.Mkdir(saved, 0o700); err != nil {
				t.Fatal(err)
			}
			for _, s := range see(t, filepath.Join(messages.lf, e.Name()), saved) {
				s.Message = e.Name()
				out = append(out, s)
			}
		}
		return out
	}
}

// files are those that a program saved.
func files(t *testing.T, saved string) (out []seen) {
	t.Helper()
	err := filepath.WalkDir(saved, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out = append(out, seen{Name: d.Name(), Content: b[:min(len(b), 2048)]})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// quiet runs a reader that may not like a message: then it shows nothing.
func quiet(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, _ := env.Run(t, stdin, name, args...) //nolint:errcheck // as the comment says
	return out
}

// unnamed are the names that programs make up.
var unnamed = regexp.MustCompile(`^(part\d+|textfile\d+)$`)

// ofMunpack are files of what stood before an attachment.
var ofMunpack = regexp.MustCompile(`\.desc$|^tempdesc\.txt$`)

func munpack(t *testing.T, message, saved string) (out []seen) {
	quiet(t, "", "munpack", "-f", "-q", "-C", saved, message)
	for _, s := range files(t, saved) {
		if s.Name = strings.TrimRight(s.Name, "X. ="); !unnamed.MatchString(s.Name) && !ofMunpack.MatchString(s.Name) {
			out = append(out, s)
		}
	}
	return out
}

func ripmime(t *testing.T, message, saved string) (out []seen) {
	quiet(t, "", "ripmime", "-i", message, "-d", saved)
	for _, s := range files(t, saved) {
		if !unnamed.MatchString(s.Name) {
			out = append(out, s)
		}
	}
	return out
}

func reformime(t *testing.T, message, _ string) (out []seen) {
	octets, err := os.ReadFile(message)
	if err != nil {
		t.Fatal(err)
	}
	for section := range strings.SplitSeq(quiet(t, string(octets), "reformime", "-i"), "\n\n") {
		values := map[string]string{}
		for line := range strings.Lines(section) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			values[name] = value
		}
		kind := values["content-type"]
		if kind == "" || strings.HasPrefix(kind, "multipart/") || kind == "message/rfc822" || kind == "message/global" {
			continue
		}
		content := quiet(t, string(octets), "reformime", "-e", "-s", values["section"])
		for _, name := range []string{values["content-name"], values["content-disposition-filename"]} {
			out = append(out, seen{Name: name, Type: kind, Attached: values["content-disposition"] == "attachment", Content: []byte(content)})
		}
	}
	return out
}

// write puts messages into files, named by their index.
func write(t *testing.T, messages []string) folder {
	t.Helper()
	f := folder{t.TempDir(), t.TempDir()}
	for i, m := range messages {
		name := strconv.Itoa(i)
		env.WriteFile(t, filepath.Join(f.crlf, name), m)
		env.WriteFile(t, filepath.Join(f.lf, name), strings.ReplaceAll(m, "\r\n", "\n"))
	}
	return f
}

// undecoded is base64, of which a PDF, TIFF or JPEG would have come.
var undecoded = regexp.MustCompile(`^(JVBERi0|SUkq|TU0AK|/9j/)[A-Za-z0-9+/\s]*=*\s*$`)

// harmful says what a reader would give a person that is no PDF, TIFF or JPEG;
// empty: nothing. It is another judge than the relay's.
func harmful(s seen) string {
	name := strings.TrimRight(strings.ToLower(s.Name), " .")
	name = strings.TrimSuffix(name, "?=") // of who decodes no names
	ext := ""
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		ext = name[i+1:]
	}
	switch ext {
	case "eml":
		if s.Type == "" || s.Type == "message/rfc822" || s.Type == "message/global" {
			return "" // its parts are seen too; who does not tell the type looks into it as well
		}
		return "a message that nobody looked into"
	case "", "pdf", "tif", "tiff", "jpg", "jpeg":
	default:
		return "a file of another kind"
	}
	if (s.Type == "message/rfc822" || s.Type == "message/global") && ext == "" {
		return "" // its parts are seen too
	}
	text := s.Type == "text/plain" || s.Type == "text/html"
	if (text || strings.HasPrefix(s.Type, "multipart/")) && name == "" && !s.Attached {
		return "" // shown as text, not saved
	}
	head := s.Content[:min(len(s.Content), 1024)]
	for _, magic := range []string{"%PDF-", "II*\x00", "MM\x00*", "\xff\xd8\xff"} {
		if bytes.Contains(head, []byte(magic)) {
			return ""
		}
	}
	if undecoded.Match(s.Content) {
		return "" // whose padding the reader misses
	}
	return "content of another kind"
}
