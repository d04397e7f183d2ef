// Package mtasts has the policies of MTA-STS (RFC 8461): what domains publish
// of how their mail servers are to be met, fetched by HTTPS and kept on the
// spool volume, so that neither a restart nor somebody who keeps the policy
// from us makes it forgotten.
//
// It imports relay/atomicfile.
package mtasts

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Mode is what a sender does with a policy.
type Mode string

// The modes of RFC 8461 5.
const (
	Enforce Mode = "enforce" // no mail to a server that does not fit
	Testing Mode = "testing" // it is reported only
	None    Mode = "none"
)

// Policy is what a domain asks for.
type Policy struct {
	Mode   Mode          `json:"mode"`
	MX     []string      `json:"mx,omitempty"` // names; "*.d" is one label below d
	MaxAge time.Duration `json:"maxAge"`
}

const (
	maxAge  = 31557600 * time.Second // RFC 8461 3.2
	maxMX   = 100
	maxName = 255 // octets
	maxBody = 64 << 10
)

// ErrInvalid is in the error of a policy that is not as RFC 8461 3.2 wants it.
var ErrInvalid = errors.New("the policy is not valid")

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, a...))
}

// ParsePolicy reads the body of a policy. Of a key that stands twice the first
// counts; mx may be repeated; other keys are ignored.
func ParsePolicy(body []byte) (Policy, error) {
	p := Policy{}
	if !utf8.Valid(body) {
		return p, invalid("it is not UTF-8")
	}
	seen := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, maxBody+1)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \t\r")
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return p, invalid("a line has no colon")
		}
		value = strings.TrimSpace(value)
		if key == "mx" {
			if p.MX = append(p.MX, strings.ToLower(strings.TrimSuffix(value, "."))); len(p.MX) > maxMX || len(value) > maxName {
				return p, invalid("it names more than %d mx, or one that is no name", maxMX)
			}
			continue
		}
		if _, twice := seen[key]; !twice {
			seen[key] = value
		}
	}
	if err := lines.Err(); err != nil {
		return p, invalid("%v", err)
	}
	return p, p.fill(seen)
}

func (p *Policy) fill(seen map[string]string) error {
	if seen["version"] != "STSv1" {
		return invalid("its version is %q", seen["version"])
	}
	p.Mode = Mode(seen["mode"])
	if !slices.Contains([]Mode{Enforce, Testing, None}, p.Mode) {
		return invalid("its mode is %q", seen["mode"])
	}
	n, err := strconv.ParseUint(seen["max_age"], 10, 32)
	if err != nil {
		return invalid("its max_age is %q", seen["max_age"])
	}
	p.MaxAge = min(time.Duration(n)*time.Second, maxAge) //nolint:gosec // 32 bits
	if len(p.MX) == 0 && p.Mode != None {
		return invalid("it names no mx")
	}
	return nil
}

// Allows tells whether a mail server is one of those that the policy names
// (RFC 8461 4.1).
func (p Policy) Allows(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	_, above, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(p.MX, func(mx string) bool {
		if d, ok := strings.CutPrefix(mx, "*."); ok {
			return d != "" && above == d
		}
		return mx == host
	})
}

// ID gives the id of the record at _mta-sts (RFC 8461 3.1). Not exactly one
// record of the version: there is no policy.
func ID(txt []string) (id string, ok bool) {
	var records []string
	for _, t := range txt {
		if head, _, _ := strings.Cut(t, ";"); strings.TrimRight(head, " \t") == "v=STSv1" {
			records = append(records, t)
		}
	}
	if len(records) != 1 {
		return "", false
	}
	for _, field := range strings.Split(records[0], ";")[1:] {
		key, value, _ := strings.Cut(field, "=")
		if strings.TrimSpace(key) == "id" {
			id = strings.TrimSpace(value)
			break
		}
	}
	return id, len(id) >= 1 && len(id) <= 32 && strings.IndexFunc(id, notAlphanumeric) < 0
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}
