package console_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/console"
)

// empty is a source without relays.
type empty struct{}

func (empty) Relays(context.Context) ([]console.Relay, error) { return nil, nil }
func (empty) Fill(context.Context, *console.Relay) error      { return nil }
func (empty) User(_ context.Context, token string) (*console.User, error) {
	if token != "good" {
		return nil, console.ErrNobody
	}
	return &console.User{Name: "anna@corp.example"}, nil
}

func (empty) May(context.Context, *console.User, string, bool) (bool, error) { return true, nil }

// TestLogin: the pages of logging in and out, in a browser that takes cookies as it
// should.
func TestLogin(t *testing.T) {
	pages := console.New(console.Options{Source: empty{}, Version: "v1", Log: slog.New(slog.DiscardHandler), Gate: &console.Gate{Authority: empty{}, Namespace: "printers"}})
	s := httptest.NewUnstartedServer(pages)
	s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelInfo)
	s.StartTLS()
	defer s.Close()
	login := []string{"/console/login"}
	f := walk(t, job{Base: s.URL, Pages: login, Checks: []string{"axe", "scriptless", "keyboard"}})
	if p := f.Pages[login[0]]; len(p.Problems) > 0 || p.Passes < 15 {
		t.Errorf("%+v", p)
	}
	f = walk(t, job{Base: s.URL, Checks: []string{"steps"}, Steps: []step{
		{Goto: "/console/relays/a/b/", Expect: "Paste a token"},
		{Fill: "#token", Text: "bad"},
		{Click: "button:has-text('Log in')", Expect: "This token is not valid"},
		{Fill: "#token", Text: "good"},
		{Click: "button:has-text('Log in')", Expect: "There is no such page"}, // where it wanted to go
		{URL: "there"},
		{Goto: "/console/", Expect: "There is no relay that you may see"},
		{Text: ".viewer", As: "viewer"},
		{Click: "text=Log out", Expect: "Paste a token"},
		{Goto: "/console/", Expect: "Paste a token"},
	}})
	if got, _ := f.Said["there"].(string); got != s.URL+"/console/relays/a/b/" {
		t.Errorf("logged in, and led to %q", got)
	}
	if got := f.said(t, "viewer"); len(got) != 1 || !strings.Contains(got[0], "anna@corp.example") {
		t.Errorf("the page says %q", got)
	}
	problems, _ := f.Said["problems"].([]any)
	for _, p := range problems {
		if s, _ := p.(string); !strings.Contains(s, "status of "+http.StatusText(http.StatusUnauthorized)) && !strings.Contains(s, "401") && !strings.Contains(s, "404") {
			t.Errorf("the browser complains: %v", p)
		}
	}
}
