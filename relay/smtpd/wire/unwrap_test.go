package wire

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A login that a device wraps as in a message is joined, however it comes in; one
// that is just so long is answered soon.
func TestWrappedLogins(t *testing.T) {
	const wrapped = 76
	login := base64.StdEncoding.EncodeToString([]byte("\x00u\x00" + strings.Repeat("p", 140)))
	exact := base64.StdEncoding.EncodeToString([]byte("\x00u\x00" + strings.Repeat("p", 54)))
	if len(login) <= 2*wrapped || len(exact) != wrapped {
		t.Fatalf("%d and %d octets", len(login), len(exact))
	}
	first, second, third := login[:wrapped]+"\r\n", login[wrapped:2*wrapped]+"\r\n", login[2*wrapped:]+"\r\n"
	for name, tc := range map[string]struct {
		asks    bool // AUTH PLAIN on a line of its own
		writes  []string
		wait    time.Duration // before each of them
		took    time.Duration
		lenient bool
		want    string
	}{
		"at once":                     {true, []string{first + second + third}, 0, 0, true, "235"},
		"a line each":                 {true, []string{first, second, third}, time.Second, 3 * time.Second, true, "235"},
		"within a line end":           {true, []string{first[:wrapped+1], first[wrapped+1:] + second, third}, time.Second, 3 * time.Second, true, "235"},
		"an initial response":         {false, []string{"AUTH PLAIN " + first + second + third}, 0, 0, true, "235"},
		"an initial response, slowly": {false, []string{"AUTH PLAIN " + first, second, third}, time.Second, 3 * time.Second, true, "235"},
		"no more than one line":       {true, []string{exact + "\r\n"}, 0, wrapTime, true, "235"},
		"strict, just so long":        {true, []string{exact + "\r\n"}, 0, 0, false, "235"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				startOn(t, p, func(r *rig) { r.settings.Lenient = tc.lenient })
				c, _ := p.dial(t)
				c.want("220 ")
				c.cmd("EHLO x.test", "250")
				if tc.asks {
					c.cmd("AUTH PLAIN", "334")
				}
				begin := time.Now()
				for _, w := range tc.writes {
					time.Sleep(tc.wait)
					c.write(w)
				}
				c.want(tc.want)
				if took := time.Since(begin); took != tc.took {
					t.Errorf("answered after %s, want %s", took, tc.took)
				}
				c.cmd("NOOP", "250") // in step
			})
		})
	}
}

// What stands behind a response in the same packet is not touched by the padding that
// is put on it.
func TestPaddingDoesNotTouchTheNextCommand(t *testing.T) {
	for _, end := range []string{"\r\n", "\n"} {
		for _, response := range []string{"AHUAcA", "AHUAcHA", "AHUAcHBw"} { // two, one and no octet short
			r := start(t)
			c := r.greeted()
			c.cmd("EHLO x.test", "250")
			c.write("AUTH PLAIN" + end + response + end + "MAIL FROM:<a@b.example>" + end)
			for _, want := range []string{"334", "235", "250 2.1.0"} {
				c.want(want)
			}
		}
	}
}

// What is behind a login of just a line's length, and is a command, stays one.
func TestACommandBehindALoginIsNotJoined(t *testing.T) {
	exact := base64.StdEncoding.EncodeToString([]byte("\x00u\x00" + strings.Repeat("p", 54)))
	for _, command := range []string{"MAIL FROM:<a@b.example>", "NOOP", "RSET", ""} {
		for _, before := range []string{"AUTH PLAIN\r\n", "AUTH PLAIN "} {
			r := start(t, lenient)
			c := r.greeted()
			c.cmd("EHLO x.test", "250")
			c.write(before + exact + "\r\n" + command + "\r\nQUIT\r\n")
			if strings.HasSuffix(before, "\n") {
				c.want("334")
			}
			c.want("235")
			if command != "" { // a lenient listener passes over an empty line
				c.want("250")
			}
			c.want("221")
		}
	}
}
