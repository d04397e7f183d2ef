package importpostfix

import (
	"strconv"
	"strings"
)

// Bounds on how settings refer to each other: a loop ends there.
const (
	maxDepth = 32
	maxSteps = 10_000
	maxValue = 1 << 20
)

// expand replaces $name, ${name}, $(name), ${name?yes}, ${name:no},
// ${name?{yes}:{no}} and ${{a} == {b} ? {yes} : {no}} (postconf(5)).
func (s scope) expand(value string) string {
	s.c.steps = 0
	return s.expandTo(value, maxDepth)
}

func (s scope) expandTo(value string, depth int) string {
	if s.c.steps++; depth == 0 || s.c.steps > maxSteps || !strings.Contains(value, "$") {
		return value
	}
	var out strings.Builder
	for i := 0; i < len(value) && out.Len() < maxValue; {
		if value[i] != '$' || i+1 == len(value) {
			out.WriteByte(value[i])
			i++
			continue
		}
		switch next := value[i+1]; {
		case next == '$':
			out.WriteByte('$')
			i += 2
		case next == '{' || next == '(':
			end := closing(value, i+1)
			if end < 0 {
				return out.String() + value[i:]
			}
			out.WriteString(s.braced(value[i+2:end], depth-1))
			i = end + 1
		case wordByte(next):
			end := i + 1
			for end < len(value) && wordByte(value[end]) {
				end++
			}
			out.WriteString(s.named(value[i+1:end], depth-1))
			i = end
		default:
			out.WriteByte('$')
			i++
		}
	}
	return out.String()
}

func wordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// closing is where the bracket that opens at i closes; -1: nowhere.
func closing(s string, i int) int {
	open, shut := s[i], byte('}')
	if open == '(' {
		shut = ')'
	}
	depth := 0
	for ; i < len(s); i++ {
		switch s[i] {
		case open:
			depth++
		case shut:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func (s scope) named(name string, depth int) string {
	s.c.seen[name] = true
	v := s.raw(name)
	return s.expandTo(v.value, depth)
}

// braced expands what stands between ${ and }.
func (s scope) braced(in string, depth int) string {
	in = strings.TrimSpace(in)
	if strings.HasPrefix(in, "{") {
		return s.compared(in, depth)
	}
	end := 0
	for end < len(in) && wordByte(in[end]) {
		end++
	}
	name, rest := in[:end], strings.TrimSpace(in[end:])
	v := s.raw(name)
	is := v.value != "" // as it is written: Postfix does not expand it for this
	s.c.seen[name] = true
	switch {
	case rest == "":
		return s.named(name, depth)
	case rest[0] == '?':
		yes, no := branches(rest[1:])
		if is {
			return s.expandTo(yes, depth)
		}
		return s.expandTo(no, depth)
	case rest[0] == ':':
		if is {
			return ""
		}
		no, _ := branches(rest[1:])
		return s.expandTo(no, depth)
	}
	return s.named(name, depth)
}

// branches splits {yes}:{no}, or gives the whole as yes.
func branches(in string) (yes, no string) {
	t := strings.TrimLeft(in, " \t")
	if !strings.HasPrefix(t, "{") {
		return in, ""
	}
	end := closing(t, 0)
	if end < 0 {
		return in, ""
	}
	yes = strings.TrimSpace(t[1:end])
	rest := strings.TrimSpace(t[end+1:])
	if rest, ok := strings.CutPrefix(rest, ":"); ok {
		if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "{") {
			if end := closing(rest, 0); end > 0 {
				no = strings.TrimSpace(rest[1:end])
			}
		}
	}
	return yes, no
}

// compared expands {a} op {b} ? {yes} : {no}.
func (s scope) compared(in string, depth int) string {
	end := closing(in, 0)
	if end < 0 {
		return ""
	}
	left := s.expandTo(strings.TrimSpace(in[1:end]), depth)
	rest := strings.TrimSpace(in[end+1:])
	brace := strings.IndexByte(rest, '{')
	if brace < 0 {
		return ""
	}
	op := strings.TrimSpace(rest[:brace])
	end = closing(rest, brace)
	if end < 0 {
		return ""
	}
	right := s.expandTo(strings.TrimSpace(rest[brace+1:end]), depth)
	rest = strings.TrimSpace(rest[end+1:])
	if !strings.HasPrefix(rest, "?") {
		if holds(left, op, right) {
			return "bool:true"
		}
		return ""
	}
	yes, no := branches(rest[1:])
	if holds(left, op, right) {
		return s.expandTo(yes, depth)
	}
	return s.expandTo(no, depth)
}

// holds compares as Postfix does: numbers as numbers, compatibility levels part
// by part, all else as text.
func holds(left, op, right string) bool {
	op, level := strings.CutSuffix(op, "level")
	order := strings.Compare(left, right)
	a, errA := strconv.Atoi(left)
	b, errB := strconv.Atoi(right)
	switch {
	case strings.TrimSpace(op) == "":
		return false
	case level:
		order = levels(left, right)
	case errA == nil && errB == nil:
		order = a - b
	}
	switch strings.TrimSpace(op) {
	case "==":
		return order == 0
	case "!=":
		return order != 0
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return false
}

// levels compares compatibility levels: 3.6 with 3.10.
func levels(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		var x, y int
		if i < len(as) {
			x, _ = strconv.Atoi(as[i]) //nolint:errcheck // what is no number is 0
		}
		if i < len(bs) {
			y, _ = strconv.Atoi(bs[i]) //nolint:errcheck // what is no number is 0
		}
		if x != y {
			return x - y
		}
	}
	return 0
}
