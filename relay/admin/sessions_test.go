package admin

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/transcript"
)

// failed has two devices whose sessions failed.
func failed(key string) *fake {
	f := well(key)
	f.sessions = transcript.NewStore()
	for i, addr := range []string{"10.20.3.7", "2001:db8::7"} {
		r := transcript.New(time.Unix(0, 0))
		r.Command([]byte("EHLO floor3"))
		r.Reply("550 5.7.1 PR-030 Device may not send here", true)
		f.sessions.Add(r, netip.MustParseAddr(addr), transcript.About{ID: []string{"AAAA", "BBBB"}[i], Listener: "legacy", Ended: time.Unix(int64(60+i), 0)})
	}
	return f
}

func TestSessions(t *testing.T) {
	for target, want := range map[string]string{ // the sessions' IDs, in their order
		"/sessions":                           "BBBB AAAA",
		"/sessions?relay=ns/a":                "BBBB AAAA",
		"/sessions?client=10.20.3.0/24":       "AAAA",
		"/sessions?client=10.20.3.8":          "",
		"/sessions?client=floor3":             "BBBB AAAA",
		"/sessions?client=2001:db8::/64":      "BBBB",
		"/sessions?client=floor4&format=json": "",
	} {
		w := ask(config(failed("ns/a")), "GET", target)
		var d FailedDevices
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 200 || d.Devices == nil {
			t.Fatalf("%s: %d %v %s", target, w.Code, err, w.Body)
		}
		var got []string
		for _, v := range d.Devices {
			for _, s := range v.Sessions {
				got = append(got, s.ID)
				if len(s.Lines) > 0 {
					t.Errorf("%s: a list has the whole dialogue", target)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", target, got, want)
		}
	}
	for target, want := range map[string]string{"AAAA": "AAAA", "10.20.3.7": "AAAA", "2001:db8::7": "BBBB", "2001:db8::%2F64": "BBBB", "0.0.0.0%2F0": "AAAA"} {
		w := ask(config(failed("ns/a")), "GET", "/sessions/"+target)
		var d FailedSessions
		if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 200 || len(d.Sessions) != 1 || d.Sessions[0].ID != want || d.Sessions[0].Lines[0].Text != "EHLO floor3" {
			t.Errorf("%s: %d %v %s", target, w.Code, err, w.Body)
		}
	}
	for target, want := range map[string]string{
		"/sessions?format=text":      "DEVICE",
		"/sessions/AAAA?format=text": "C: EHLO floor3\n",
	} {
		w := ask(config(failed("ns/a")), "GET", target)
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

func TestSessionErrors(t *testing.T) {
	for _, tc := range []struct {
		relays []*fake
		target string
		code   int
		want   string
	}{
		{[]*fake{failed("ns/a")}, "GET /sessions/XXXX", 404, "XXXX: no failed session is kept"},
		{[]*fake{failed("ns/a")}, "GET /sessions/10.20.3.9", 404, "since the relay started"},
		{[]*fake{failed("ns/a")}, "GET /sessions?format=xml", 400, `format "xml": want json or text`},
		{[]*fake{failed("ns/a")}, "GET /sessions?relay=ns/b", 400, `no relay "ns/b"`},
		{[]*fake{failed("ns/a"), failed("ns/b")}, "GET /sessions", 400, "name one with --relay: ns/a, ns/b"},
		{[]*fake{failed("ns/a")}, "POST /sessions", 405, ""},
		{[]*fake{failed("ns/a")}, "DELETE /sessions/AAAA", 405, ""},
	} {
		method, path, _ := strings.Cut(tc.target, " ")
		w := ask(config(tc.relays...), method, path)
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s: %d %s, want %d %s", tc.target, w.Code, w.Body, tc.code, tc.want)
		}
	}
}
