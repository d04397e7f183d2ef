package importpostfix

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// service is a line of master.cf.
type service struct {
	name, kind string // smtp inet
	command    string // smtpd, postscreen, smtp
	line       int
	scope      scope // main.cf with the -o of the line
}

func (s service) where() string {
	if s.line == 0 {
		return "no master.cf: Postfix's own services"
	}
	return fmt.Sprintf("master.cf:%d", s.line)
}

// port gives the TCP port that an inet service listens at; 0: none is known.
func (s service) port() int {
	name := s.name
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	if n, ok := map[string]int{"smtp": 25, "smtps": 465, "submissions": 465, "urd": 465, "ssmtp": 465, "submission": 587}[name]; ok {
		return n
	}
	n, err := strconv.Atoi(name)
	if err != nil || n < 1 || n > 65535 {
		return 0
	}
	return n
}

// readMaster reads master.cf. Where there is none, Postfix's own services are
// assumed: SMTP at port 25.
func readMaster(c *config) ([]service, error) {
	text, err := c.read("master.cf")
	if errors.Is(err, fs.ErrNotExist) {
		return []service{{name: "smtp", kind: "inet", command: "smtpd", scope: c.scope()}}, nil
	}
	if err != nil {
		return nil, err
	}
	var out []service
	for _, l := range lines(text) {
		f := masterFields(l.text)
		if len(f) < 8 {
			return nil, fmt.Errorf("master.cf:%d: want service, type, private, unpriv, chroot, wakeup, maxproc and command", l.number)
		}
		s := service{name: f[0], kind: f[1], command: f[7], line: l.number, scope: scope{c: c, over: map[string]setting{}}}
		for i := 8; i < len(f); i++ {
			pair, ok := strings.CutPrefix(f[i], "-o")
			if !ok {
				continue
			}
			if pair == "" {
				if i++; i == len(f) {
					break
				}
				pair = f[i]
			}
			if strings.HasPrefix(pair, "{") && strings.HasSuffix(pair, "}") {
				pair = pair[1 : len(pair)-1]
			}
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				return nil, fmt.Errorf("master.cf:%d: -o %s: want name=value", l.number, pair)
			}
			s.scope.over[strings.TrimSpace(name)] = setting{strings.TrimSpace(value), "master.cf", l.number}
		}
		out = append(out, s)
	}
	return out, nil
}

// masterFields splits a line at white space; what is in braces is one field.
func masterFields(text string) []string {
	var out []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := strings.IndexAny(text, " \t")
		if text[0] == '{' {
			if i := closing(text, 0); i > 0 {
				end = i + 1
			}
		}
		if end < 0 {
			end = len(text)
		}
		out = append(out, text[:end])
		text = text[end:]
	}
	return out
}

// listens tells which services take mail from clients.
func listens(services []service) (out []service) {
	for _, s := range services {
		if s.kind == "inet" && (s.command == "smtpd" || s.command == "postscreen") {
			out = append(out, s)
		}
	}
	return out
}

// behindPostscreen gives the scope that postscreen hands its clients to.
func behindPostscreen(services []service) (scope, bool) {
	for _, s := range services {
		if s.kind == "pass" && s.command == "smtpd" {
			return s.scope, true
		}
	}
	return scope{}, false
}
