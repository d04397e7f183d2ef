package envelope

import (
	"errors"
	"strings"
)

// Plain gives a as it can stand in a header or a form that a service takes apart by
// rules of its own: in ASCII, its domain as A-labels. It fails for what programs are
// known to read in more than one way, so that none of them can be made to see
// another recipient: quoted local parts, address literals, a local part that looks
// like an encoded word (RFC 2047), and one that is not ASCII.
func (a Address) Plain() (Address, error) {
	p, err := a.ToASCII()
	switch {
	case err != nil:
		return a, err
	case a.Domain == "":
		return a, ErrNoDomain
	case !isDotString(a.Local):
		return a, errors.New("the local part needs quotes")
	case a.Domain[0] == '[':
		return a, errors.New("the domain is an address literal")
	case strings.Contains(a.Local, "=?"):
		return a, errors.New("the local part looks like an encoded word")
	}
	return p, nil
}
