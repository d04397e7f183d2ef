package postmark

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/printerrelay/printer-relay/relay/upstream"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance"
	"github.com/printerrelay/printer-relay/relay/upstream/conformance/apifake"
)

// TestRequest holds what is sent, whole: testdata/NAME.eml to a@corp.test and
// hidden@corp.test becomes NAME.json.
func TestRequest(t *testing.T) {
	for _, name := range []string{"scan", "newsletter"} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Start(t, conformance.None, provider)
			apifake.HoldRequest(t, s, transport(t, s.URL, token, "scans"), name, "0a129aee-e1cd-480d-b08d-4f48548ff48d")
		})
	}
}

// Nobody sees a recipient whom the header does not name, and each has one copy.
func TestRecipients(t *testing.T) {
	for name, c := range map[string]struct{ header, to, want string }{
		"named":         {"To: A <a@x.test>\nCc: b@x.test\n", "a@x.test b@x.test", `"A" <a@x.test> / b@x.test / `},
		"one is not":    {"To: a@x.test\n", "c@x.test a@x.test", "a@x.test /  / c@x.test"},
		"only Cc":       {"To: z@x.test\nCc: b@x.test\n", "b@x.test c@x.test", "b@x.test /  / c@x.test"},
		"nobody":        {"To: undisclosed-recipients:;\n", "a@x.test b@x.test", "a@x.test /  / ; b@x.test /  / "},
		"twice":         {"To: a@x.test\nCc: A@x.test\n", "a@x.test A@X.TEST", "a@x.test /  / "},
		"twice, hidden": {"", "a@x.test A@X.TEST b@x.test", "a@x.test /  / ; b@x.test /  / "},
		"odd names":     {"To: \"x, \\\"y\\\" <v@x.test>\" <a@x.test>\n", "a@x.test", `"x, \"y\" <v@x.test>" <a@x.test> /  / `},
	} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Start(t, conformance.None, provider)
			out := transport(t, s.URL, token, "").Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\n"+c.header+"\nhello\n", strings.Fields(c.to)...))
			for _, o := range out {
				if o.Kind != upstream.Accepted {
					t.Error(o)
				}
			}
			var got []string
			for _, b := range s.Bodies(t) {
				r, complaint := parse(b)
				if complaint != "" {
					t.Error(complaint)
				}
				got = append(got, r.To+" / "+r.Cc+" / "+r.Bcc)
			}
			if all := strings.Join(got, "; "); all != c.want {
				t.Errorf("%s\nwant %s", all, c.want)
			}
		})
	}
}

// More than 50 recipients are more than one request. Those of a later one whom the
// header does not name do not see each other.
func TestBatches(t *testing.T) {
	var named, to []string
	for i := range 53 {
		if to = append(to, fmt.Sprintf("u%d@x.test", i)); i < 20 {
			named = append(named, to[i])
		}
	}
	s := apifake.Start(t, conformance.None, provider)
	out := transport(t, s.URL, token, "").Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\nTo: "+strings.Join(named, ",\n ")+"\n\nhello\n", to...))
	apifake.HoldBatches(t, s, out, 50, 1, 1, 1)
}

// Where it is not known whether the first of several requests was taken, the others
// wait: nothing was sent for them.
func TestUnknown(t *testing.T) {
	n := 0
	s := apifake.Answer(t, func(w http.ResponseWriter, _ *http.Request) {
		n++
		answers(w, http.StatusBadGateway, 0, "no gateway")
	})
	out := transport(t, s.URL, token, "").Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\n\nhello\n", "a@x.test", "b@x.test", "c@x.test"))
	if got := conformance.Kinds(out); got != "Unknown/Upstream Deferred/Upstream Deferred/Upstream" || n != 1 || out[2].Text != "not tried: no gateway" {
		t.Errorf("%s after %d requests: %s", got, n, out[2].Text)
	}
}

// Partial acceptance is read from the answer: who is inactive has failed, the
// others are accepted, and nothing is sent twice.
func TestInactive(t *testing.T) {
	const long = "Inactive recipients are ones that have generated a hard bounce, a spam complaint, or a manual suppression."
	for name, c := range map[string]struct {
		answers []string // "STATUS CODE message", one for each request
		want    string
	}{
		"one of three":           {[]string{"200 0 Message OK, but will not deliver to these inactive addresses: B@x.test"}, "Accepted Failed/Recipient Accepted"},
		"two of three":           {[]string{"200 0 Message OK, but will not deliver to these inactive addresses: b@x.test, c@x.test. " + long}, "Accepted Failed/Recipient Failed/Recipient"},
		"in other words":         {[]string{"200 0 The following recipients were inactive: c@x.test"}, "Accepted Accepted Failed/Recipient"},
		"none":                   {[]string{"200 0 OK"}, "Accepted Accepted Accepted"},
		"all":                    {[]string{"422 406 You tried to send to a recipient that has been marked as inactive.\nFound inactive addresses: a@x.test, b@x.test, c@x.test.\n" + long}, "Failed/Recipient Failed/Recipient Failed/Recipient"},
		"some, refused":          {[]string{"422 406 You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: a@x.test. " + long, "200 0 OK"}, "Failed/Recipient Accepted Accepted"},
		"in no words":            {[]string{"422 406 inactive", "200 0 OK", "422 406 inactive", "422 406 inactive", "200 0 OK"}, "Accepted Failed/Recipient Accepted"},
		"an address it dislikes": {[]string{"422 300 Error parsing 'To': Illegal email domain 'x' in address 'b@x'.", "200 0 OK", "422 300 Invalid 'To' address: 'b@x'.", "422 300 Invalid 'To' address: 'b@x'.", "200 0 OK"}, "Accepted Failed/Recipient Accepted"},
		"another field":          {[]string{"422 300 Invalid 'From' address: 'm@x'."}, "Failed/Message Failed/Message Failed/Message"},
		"may not go there":       {[]string{"422 412 pending", "200 0 OK", "422 412 pending", "200 0 OK", "422 412 pending"}, "Accepted Accepted Deferred/Message"},
		"about strangers":        {[]string{"422 406 Found inactive addresses: z@x.test", "422 406 inactive", "200 0 OK"}, "Failed/Recipient Accepted Accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			s := apifake.Answer(t, func(w http.ResponseWriter, _ *http.Request) {
				if n++; n > len(c.answers) {
					t.Errorf("request %d", n)
					return
				}
				var status, code int
				fmt.Sscan(c.answers[n-1], &status, &code)
				_, message, _ := strings.Cut(c.answers[n-1], " ")
				_, message, _ = strings.Cut(message, " ")
				answers(w, status, code, message)
			})
			out := transport(t, s.URL, token, "").Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\nTo: a@x.test, b@x.test\nCc: c@x.test\n\nhello\n", "a@x.test", "b@x.test", "c@x.test"))
			if got := conformance.Kinds(out); got != c.want || n != len(c.answers) {
				t.Errorf("%s after %d requests\n%+v", got, n, out)
			}
		})
	}
}

// What the answers mean, by Postmark's table of error codes.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status, code int
		want, text   string
	}{
		"token":       {401, 10, "Failed/Upstream", "Postmark error 10: said"},
		"maintenance": {503, 100, "Deferred/Upstream", "Postmark error 100: said"},
		"invalid":     {422, 300, "Failed/Message", "Postmark error 300: said"},
		"signature":   {422, 400, "Deferred/Message", "Postmark error 400: said"},
		"unconfirmed": {422, 401, "Deferred/Message", "Postmark error 401: said"},
		"JSON":        {422, 402, "Failed/Message", "Postmark error 402: said"},
		"credits":     {422, 405, "Deferred/Upstream", "Postmark error 405: said"},
		"forbidden":   {422, 411, "Failed/Message", "Postmark error 411: said"},
		"pending":     {422, 412, "Deferred/Message", "Postmark error 412: said"},
		"may not":     {422, 413, "Failed/Upstream", "Postmark error 413: said"},
		"rate":        {429, 429, "Deferred/Upstream", "Postmark error 429: said"},
		"stream":      {422, 1235, "Failed/Upstream", "Postmark error 1235: said"},
		"a new code":  {422, 7777, "Failed/Message", "Postmark error 7777: said"},
		"too large":   {413, 0, "Failed/Message", "said"},
		"its error":   {500, 0, "Deferred/Upstream", "said"},
		"a proxy":     {504, 0, "Unknown/Upstream", "said"},
		"an error":    {200, 300, "Failed/Message", "Postmark error 300: said"},
	} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Answer(t, func(w http.ResponseWriter, _ *http.Request) {
				answers(w, c.status, c.code, "said")
			})
			o := transport(t, s.URL, token, "").Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\n\nhello\n", "a@x.test"))[0]
			if got := conformance.Kinds([]upstream.Outcome{o}); got != c.want || o.Text != c.text || o.Code != c.status || o.RetryIn != 0 {
				t.Errorf("%s, %+v", got, o)
			}
		})
	}
}

// An answer that is none of Postmark's may be that of a proxy, behind which the
// message was taken, or not.
func TestNoAnswer(t *testing.T) {
	for _, body := range []string{"<html>", "{}", `{"ErrorCode":0}`, `{"status":"please log in"}`} {
		s := apifake.Answer(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, body)
		})
		if out := transport(t, s.URL, token, "").Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\nTo: a@x.test\n\nhello\n", "a@x.test")); conformance.Kinds(out) != "Unknown/Upstream" {
			t.Errorf("%s: %+v", body, out)
		}
	}
}

// A device gives Postmark no orders; fields that are there twice go twice.
func TestFields(t *testing.T) {
	s := apifake.Start(t, conformance.None, provider)
	transport(t, s.URL, token, "").Deliver(t.Context(), apifake.Scan(t, "From: m@x.test\nX-PM-Message-Stream: broadcast\nX-A: 1\nX-A: 2\n\nhello\n", "a@x.test"))
	r, complaint := parse(s.Bodies(t)[0])
	if complaint != "" || fmt.Sprint(r.Headers) != "[{X-A 1} {X-A 2}]" {
		t.Errorf("%v %s", r.Headers, complaint)
	}
}

// What is too large for Postmark is refused before it is sent.
func TestTooLarge(t *testing.T) {
	s := apifake.Start(t, conformance.None, provider)
	tr := transport(t, s.URL, token, "")
	const head, tiff = "From: m@x.test\n\n", "From: m@x.test\nContent-Type: image/tiff\n\n"
	for _, c := range []struct{ in, want string }{
		{head + strings.Repeat("x", 5<<20), "accepted by Postmark"},
		{head + strings.Repeat("x", 5<<20+1), "Postmark's API cannot carry a text of 5242881 octets, of which Postmark takes 5242880: use postmark.transport SMTP, which carries it as it is"},
		{tiff + strings.Repeat("x", 7<<20), "accepted by Postmark"},
		{tiff + strings.Repeat("x", 8<<20), "Postmark's API cannot carry a request of 11184"},
	} {
		o := tr.Deliver(t.Context(), apifake.Scan(t, c.in, "a@x.test"))[0]
		if !strings.HasPrefix(o.Text, c.want) || o.Kind != upstream.Accepted && (o.Kind != upstream.Failed || o.Scope != upstream.ScopeMessage || o.Code != 552) {
			t.Errorf("%+v, want %s", o, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   upstream.Health
	}{
		"live":    {200, `{"ID":1,"Name":"Scans","ApiTokens":["x"],"DeliveryType":"Live"}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Text: `the token is of the server "Scans"`}},
		"sandbox": {200, `{"Name":"Try","DeliveryType":"Sandbox"}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Good, Text: `the token is of the server "Try"`, Warnings: []string{`the server "Try" is a sandbox: Postmark takes the mail and delivers none of it`}}},
		"refused": {401, `{"ErrorCode":10,"Message":"The Server Token you provided in the X-Postmark-Server-Token request header was invalid."}`, upstream.Health{Reachable: upstream.Good, Credentials: upstream.Bad, Text: "Postmark does not take the server token: The Server Token you provided in the X-Postmark-Server-Token request header was invalid."}},
		"down":    {503, ``, upstream.Health{Reachable: upstream.Good, Text: "Postmark did not tell of the server: 503"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := apifake.Answer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/server" || r.Header.Get("X-Postmark-Server-Token") != token {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			var checker upstream.Checker = transport(t, s.URL, token, "")
			if got := checker.Check(t.Context()); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}
