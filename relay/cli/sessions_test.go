package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/transcript"
)

// says connects to a relay, says lines, each when the one before was answered, and
// hangs up.
func says(t *testing.T, r *running, lines ...string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", listener(t, r), wait)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(wait))
	in := bufio.NewReader(conn)
	for i := 0; ; i++ {
		line, err := in.ReadString('\n')
		for err == nil && len(line) > 3 && line[3] == '-' {
			line, err = in.ReadString('\n')
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == len(lines) {
			return
		}
		if _, err := fmt.Fprint(conn, lines[i]+"\r\n"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSessions(t *testing.T) {
	r := start(t, folder(t, "office.yaml", office), t.TempDir())
	asks := func(args ...string) result {
		return command(t, append(append([]string{"sessions"}, args...), "--admin", r.admin)...)
	}
	if got := asks("list"); got.code != 0 || got.out != "no failed session is kept\n" {
		t.Errorf("%d %s%s", got.code, got.out, got.stderr)
	}
	says(t, r, "EHLO floor3", "MAIL FROM:<mfp@copier.test>", "RCPT TO:<a@elsewhere.example>")
	eventually(t, "the session is kept", func() bool { return strings.Contains(asks("list").out, "floor3") })
	var devices []transcript.Device
	if err := json.Unmarshal([]byte(asks("list", "--json").out), &devices); err != nil || len(devices) != 1 || devices[0].Device != "127.0.0.1" {
		t.Fatalf("%v: %+v", err, devices)
	}
	id := devices[0].Sessions[0].ID
	for _, args := range [][]string{{"show", id}, {"show", "127.0.0.1"}, {"show", "127.0.0.0/8"}, {"show", id, "--relay", "default/office"}} {
		got := asks(args...)
		contains(t, strings.Join(args, " "), got.out, "session "+id+", device 127.0.0.1, listener smtp", "C: EHLO floor3", "C: RCPT TO:<a@elsewhere.example>", "S: 550 5.7.1 PR-032", "#  rule office/lan")
	}
	contains(t, "JSON", asks("show", id, "--json").out, `"text": "EHLO floor3"`, `"failure": "Refused"`)
	contains(t, "another network", asks("list", "--client", "10.0.0.0/8").out, "no failed session is kept")
	contains(t, "the network", asks("list", "--client", "127.0.0.0/8").out, id, "DEVICE")
	if got := asks("show", "nobody"); got.code != 1 {
		t.Errorf("exit status %d", got.code)
	} else {
		contains(t, "the answer", got.stderr, "nobody: no failed session is kept")
	}
	if got := asks(); got.code != 2 || !strings.Contains(got.stderr, "list, show") {
		t.Errorf("%d %s", got.code, got.stderr)
	}
	if got := asks("list", "--relay", "default/other"); got.code != 1 || !strings.Contains(got.stderr, "default/office") {
		t.Errorf("%d %s", got.code, got.stderr)
	}
}

// listener is the address of the relay's only listener.
func listener(t *testing.T, r *running) string {
	t.Helper()
	resp, err := http.Get("http://" + r.admin + "/state")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var st admin.State
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		t.Fatal(err)
	}
	return st.Relays[0].Listeners[0].Address
}
