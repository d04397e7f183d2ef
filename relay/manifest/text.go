package manifest

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// unreadable tells what keeps a file from being YAML at all, and in which line:
// an empty one too, since that is what a program leaves that was stopped while
// it wrote.
func unreadable(b []byte) (line int, what string) {
	if len(bytes.TrimSpace(b)) == 0 {
		return 1, "is empty: write its objects, or remove the file"
	}
	line = 1
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return line, "is not UTF-8: save the file in that encoding"
		case r == '\n':
			line++
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return line, fmt.Sprintf("holds the control character %U: remove it", r)
		}
		i += n
	}
	return 0, ""
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntaxError gives the line of what the YAML package says, and its words. Of
// its two stages the second counts lines from 0.
func syntaxError(err error) (int, string) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	m := yamlLine.FindStringSubmatch(text)
	if m == nil {
		return 1, text
	}
	line, _ := strconv.Atoi(m[1]) //nolint:errcheck // digits
	if text = text[len(m[0]):]; strings.HasPrefix(text, "did not find expected") {
		line++
	}
	return max(line, 1), text
}

// tabHint is what to do where the reason of a syntax error is likely a tab.
func tabHint(b []byte, line int) string {
	lines := bytes.Split(b, []byte("\n"))
	text := lines[min(line, len(lines))-1]
	if indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]; bytes.ContainsRune(indent, '\t') {
		return ": indent with spaces, not with tabs"
	}
	return ""
}

var (
	inBody    = regexp.MustCompile(`: \S+ in body (should|must) `)
	anyOf     = regexp.MustCompile(`\(anyOf\)$|Checked value must be of type `)
	wrongType = regexp.MustCompile(`^Invalid value: "[a-z]+": must be of type ([a-z]+): "([a-z]+)"$`)
)

// tidy leaves out what the validation of a size that is no size says of its two
// types, beside the one error that says it all, and that there may be more.
func tidy(errs field.ErrorList) field.ErrorList {
	sizes := map[string]bool{}
	for _, e := range errs {
		if strings.Contains(e.Detail, "must be of type integer,string:") {
			sizes[e.Field] = true
		}
	}
	return slices.DeleteFunc(errs, func(e *field.Error) bool {
		return e.Detail == notChecked || len(sizes) > 0 && anyOf.MatchString(e.Detail) || sizes[e.Field] && !strings.Contains(e.Detail, "integer,string:")
	})
}

// detail is the error's own words without the field, which stands before it,
// and with what to do where they do not say so.
func detail(e *field.Error) string {
	s := inBody.ReplaceAllString(strings.TrimPrefix(e.ErrorBody(), ": "), ": $1 ")
	switch {
	case e.Type == field.ErrorTypeDuplicate:
		return s + ": remove one of the two"
	case strings.Contains(s, "must be of type integer,string:"):
		return "must be a size in octets, such as 40Mi or 25M"
	case strings.Contains(s, "should match '^(\\+|-)?(([0-9]+"): // of a quantity
		return s[:strings.Index(s, "should match")] + "must be a size in octets, such as 40Mi or 25M"
	}
	return wrongType.ReplaceAllString(s, "must be of type $1, and is of type $2: check its quotes and indentation")
}
