package importpostfix

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxFile bounds what is read of one file.
const maxFile = 8 << 20

// line is a logical line of a Postfix file: with its continuation lines, and
// without what is comment.
type line struct {
	number int // of its first physical line
	text   string
}

// lines reads logical lines (postconf(5)): one that begins with white space goes
// on with the one before; empty lines and comments are none, and end none.
func lines(text string) []line {
	var out []line
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSuffix(l, "\r")
		if t := strings.TrimSpace(l); t == "" || t[0] == '#' {
			continue
		}
		if (l[0] == ' ' || l[0] == '\t') && len(out) > 0 {
			out[len(out)-1].text += l
			continue
		}
		out = append(out, line{i + 1, l})
	}
	return out
}

// setting is one parameter as a file sets it.
type setting struct {
	value string // not expanded
	file  string
	line  int
}

func (s setting) where() string {
	if s.file == "" {
		return "Postfix's default"
	}
	return fmt.Sprintf("%s:%d", s.file, s.line)
}

// config is what main.cf says.
type config struct {
	fsys fs.FS
	main map[string]setting
	seen map[string]bool // parameters that something else refers to

	mydomain string // its default: myhostname without its first label
	steps    int    // of the expansion that is on its way
}

func readMain(fsys fs.FS) (*config, error) {
	c := &config{fsys: fsys, main: map[string]setting{}, seen: map[string]bool{}}
	text, err := c.read("main.cf")
	if err != nil {
		return nil, err
	}
	for _, l := range lines(text) {
		name, value, ok := strings.Cut(l.text, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, fmt.Errorf("main.cf:%d: want name = value", l.number)
		}
		c.main[name] = setting{strings.TrimSpace(value), "main.cf", l.number}
	}
	if _, domain, ok := strings.Cut(c.scope().get("myhostname"), "."); ok {
		c.mydomain = domain
	}
	return c, nil
}

// read gives the text of a file of the folder.
func (c *config) read(name string) (string, error) {
	f, err := c.fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%s is a folder", name)
	case info.Size() > maxFile:
		return "", fmt.Errorf("%s is larger than %d octets", name, maxFile)
	}
	b, err := fs.ReadFile(c.fsys, name)
	return string(b), err
}

// find reads a file that Postfix knows by an absolute path: below the folder
// where it is below Postfix's own, else beside main.cf, under its last name.
func (c *config) find(name string) (file, text string, err error) {
	if path.IsAbs(name) {
		under := ""
		for _, dir := range []string{c.scope().get("config_directory"), "/etc/postfix"} {
			if rest, ok := strings.CutPrefix(path.Clean(name), path.Clean(dir)+"/"); ok {
				under = rest
			}
		}
		for _, try := range []string{under, path.Base(name)} {
			if try == "" || !fs.ValidPath(try) {
				continue
			}
			if text, err = c.read(try); !errors.Is(err, fs.ErrNotExist) {
				return try, text, err
			}
		}
		return "", "", fmt.Errorf("%s is not in the folder: copy it there", name)
	}
	if name = path.Clean(name); !fs.ValidPath(name) {
		return "", "", fmt.Errorf("%s is no file of the folder", name)
	}
	text, err = c.read(name)
	return name, text, err
}

// scope is what one service sees: main.cf, and above it what master.cf sets.
type scope struct {
	c    *config
	over map[string]setting
}

func (c *config) scope() scope { return scope{c: c} }

// raw is the setting as it is written, or Postfix's default.
func (s scope) raw(name string) setting {
	if v, ok := s.over[name]; ok {
		return v
	}
	if v, ok := s.c.main[name]; ok {
		return v
	}
	if name == "mydomain" && s.c.mydomain != "" {
		return setting{value: s.c.mydomain}
	}
	return setting{value: defaults[name]}
}

// get is the value with all in it expanded.
func (s scope) get(name string) string {
	v := s.raw(name)
	return s.expand(v.value)
}

// where tells where the value of get stands.
func (s scope) where(name string) string {
	v := s.raw(name)
	return v.where()
}

// set tells whether main.cf or master.cf sets it, to whatever.
func (s scope) set(name string) bool {
	v := s.raw(name)
	return v.file != ""
}

// yes tells whether a switch is on.
func (s scope) yes(name string) bool { return strings.EqualFold(s.get(name), "yes") }

// list is a value of several words, between which are commas and white space;
// what is in braces is one.
func (s scope) list(name string) []string { return words(s.get(name)) }

func words(value string) []string {
	var out []string
	var word strings.Builder
	depth := 0
	for i := range len(value) {
		b := value[i]
		switch {
		case depth == 0 && (b == ',' || b == ' ' || b == '\t' || b == '\r' || b == '\n'):
			if word.Len() > 0 {
				out = append(out, word.String())
				word.Reset()
			}
			continue
		case b == '{':
			depth++
		case b == '}' && depth > 0:
			depth--
		}
		word.WriteByte(b)
	}
	if word.Len() > 0 {
		out = append(out, word.String())
	}
	return out
}

// Parameters gives what main.cf in fsys sets, and Postfix's defaults of the other
// parameters that the converter knows, with all in them expanded.
func Parameters(fsys fs.FS) (map[string]string, error) {
	c, err := readMain(fsys)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name := range defaults {
		out[name] = c.scope().get(name)
	}
	for name := range c.main {
		out[name] = c.scope().get(name)
	}
	return out, nil
}
