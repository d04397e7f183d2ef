package console

import (
	"context"
	"net/http"
)

// User is who looks at the pages.
type User struct {
	Name    string
	session bool // logged in by the page, and can log out
}

// Gate finds out who asks, and what they may see.
type Gate struct{}

func (g *Gate) routes(*Console) {}

func (g *Gate) user(*http.Request) (*User, error) { return &User{}, nil }

func (g *Gate) refuse(*Console, http.ResponseWriter, *http.Request, error) {}

// may tells whether the viewer may see the relays of a namespace; private: also who
// sent what to whom.
func (c *Console) may(_ context.Context, v *view, _ string, _ bool) (bool, error) {
	return v.user == nil, nil
}
