package webhook

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
	"github.com/printerrelay/printer-relay/relay/upstream/httpapi"
)

// listed are the webhooks with what waits.
func (s *stage) listed() []Status {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := s.h.List(ctx)
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// test has the webhooks tested.
func (s *stage) test(name string) []Tested {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := s.h.Test(ctx, name)
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// What waits is shown: what it is about, how often it was tried, and when it is again.
func TestList(t *testing.T) {
	inWorld(t, refusedHook, onlyWay, func(w *world) {
		if got := w.listed(); len(got) != 1 || got[0].Name != "tickets" || got[0].Host != "hooks.example" || len(got[0].Pending) != 0 || !got[0].Next.IsZero() || len(got[0].Events) != 2 {
			t.Errorf("%+v", got)
		}
		w.answer = off
		w.happens(1)
		w.pass(8 * time.Second) // two tries
		at := time.Now().UTC()
		w.happens(1)
		w.h.Refused(refusedCommand(7))
		w.h.Refused(refusedCommand(7))
		check := func(what string, tries int) {
			t.Helper()
			s := w.listed()[0]
			if len(s.Pending) != 3 || s.Waiting != 3 || s.Problem != "hooks.example answers 503" || s.Next.Before(time.Now()) {
				t.Fatalf("%s: %+v", what, s)
			}
			one, two, three := s.Pending[0], s.Pending[1], s.Pending[2]
			all, _ := w.all()
			if one.Tries < tries || one.Request != all[0].id || one.Type != plan.EventFailed || one.ID != "m0" || one.Device != "Finance MFP" || one.Sender != scans.String() || fmt.Sprint(one.Recipients) != "["+anna.String()+"]" || one.Event == "" {
				t.Errorf("%s: %+v", what, one)
			}
			if two.Tries != 0 || two.Request != "" || !two.At.Equal(at) {
				t.Errorf("%s: %+v", what, two)
			}
			if three.Type != plan.EventRefused || three.Count != 2 || three.ID != "" || three.Device != "10.20.0.7" || fmt.Sprint(three.Recipients) != "["+bert.String()+"]" {
				t.Errorf("%s: %+v", what, three)
			}
		}
		w.pass(2 * time.Minute)
		tries := w.listed()[0].Pending[0].Tries
		if all, _ := w.all(); tries != len(all) {
			t.Errorf("%d tries of %d", tries, len(all))
		}
		check("a while later", tries)
		w.begin(refusedHook)
		w.pass(time.Second)
		check("after a restart", tries+1)
		w.mu.Lock()
		w.answer = nil
		w.mu.Unlock()
		w.pass(2 * time.Hour)
		if s := w.listed()[0]; len(s.Pending) != 0 || s.Problem != "" {
			t.Errorf("%+v", s)
		}
		w.h.Update(Settings{})
		if got := w.listed(); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// What something else wrote into the file is counted, and shown as far as it is an event.
func TestListOfWhatCannotBeRead(t *testing.T) {
	got := pending(&delivery{Events: 1, Body: []byte("{")}, []waiting{{Type: plan.EventFailed, Event: json.RawMessage(`[]`)}, {Type: plan.EventFailed, Event: json.RawMessage(`{"id":"m1"}`)}})
	if len(got) != 1 || got[0].ID != "m1" {
		t.Errorf("%+v", got)
	}
}

// A test event is signed as all are, is no message, and shows what the receiver says.
func TestATestEvent(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ told, _ int) {
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprint(w, "thank\r\n you \x1b[31m")
	})
	s := newStage(t)
	second := s.hook(r)
	second.Name = "chat"
	s.start(s.hook(r), second)
	all := s.test("")
	if len(all) != 2 || all[0].Webhook != "chat" || all[1].Webhook != "tickets" {
		t.Fatalf("%+v", all)
	}
	for _, x := range all {
		u, _ := url.Parse(r.URL)
		if !x.OK || x.Host != u.Host || x.Reply == nil || x.Reply.Status != http.StatusAccepted || x.Reply.Text != "thank you [31m" || x.Problem != "" || x.Relay != "default/office" || x.Instance != "office-0" {
			t.Errorf("%+v %+v", x, x.Reply)
		}
	}
	if one := s.test("tickets"); len(one) != 1 || one[0].Webhook != "tickets" || one[0].ID == all[1].ID {
		t.Errorf("%+v", one)
	}
	got := r.wait(3)
	if err := verify(got[2], secret(0)); err != nil {
		t.Error(err)
	}
	if got[2].Type != plan.EventTest || got[2].Data.Relay != "default/office" || !strings.Contains(string(got[2].body), `"messages":[]`) || got[2].Timestamp.IsZero() {
		t.Errorf("%s", got[2].body)
	}
	for _, x := range s.listed() {
		if x.Waiting != 0 || !x.Last.IsZero() {
			t.Errorf("the test counts: %+v", x)
		}
	}
	if _, err := s.h.Test(context.Background(), "nobody"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), `"nobody"`) {
		t.Error(err)
	}
}

// What is wrong is said by the field that it is about, and what to do.
func TestWhatATestSays(t *testing.T) {
	for name, c := range map[string]struct {
		answer                 func(http.ResponseWriter, told, int)
		change                 func(s *stage, w *plan.Webhook)
		field, problem, remedy string
	}{
		"the signature":   {status(401), nil, "secretRef", "answers 401 Unauthorized", `signing secret of Secret "hook"`},
		"the path":        {status(404), nil, "url", "answers 404 Not Found", "correct its url"},
		"it is busy":      {status(503), nil, "", "answers 503", "what waits is tried again by itself"},
		"no more":         {status(410), nil, "url", "410 Gone", "correct its url"},
		"another address": {status(308), nil, "url", "answers 308", "redirects are not followed"},
		"no Secret":       {nil, func(_ *stage, w *plan.Webhook) { w.Secret = "later" }, "secretRef", `secret "later": not found`, `put key signingSecret into Secret "later"`},
		"no key":          {nil, func(s *stage, w *plan.Webhook) { w.Secret = "ca" }, "secretRef", `secret "ca" has no key "signingSecret"`, `put key signingSecret into Secret "ca"`},
		"a bad key":       {nil, func(s *stage, _ *plan.Webhook) { s.put("hook", SecretKey, "whsec_x") }, "secretRef", "is no signing secret: write whsec_", ""},
		"no address":      {nil, func(_ *stage, w *plan.Webhook) { w.URL = "" }, "secretRef", `has no key "url"`, `put key url into Secret "hook"`},
		"no authority":    {nil, func(_ *stage, w *plan.Webhook) { w.CASecret = "" }, "caSecretRef", "TLS: ", "name it in caSecretRef"},
		"a bad authority": {nil, func(s *stage, _ *plan.Webhook) { s.put("ca", "ca.crt", "x") }, "caSecretRef", "holds no certificate", ""},
		"a private one":   {nil, func(_ *stage, w *plan.Webhook) { w.Private = false }, "allowPrivateHosts", "it is not a public address", "set allowPrivateHosts"},
		"nobody listens":  {nil, func(s *stage, w *plan.Webhook) { w.URL = closedAddress(s.T) }, "url", "refused", "see that it runs"},
		"it is cut off":   {func(http.ResponseWriter, told, int) { panic(http.ErrAbortHandler) }, nil, "url", "EOF", "see that it runs"},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := receive(t, c.answer), newStage(t)
			w := s.hook(r)
			if c.change != nil {
				c.change(s, &w)
			}
			first := s.hook(r)
			first.Name = "another"
			s.start(first, w)
			if name == "a bad authority" {
				s.put("ca", "ca.crt", "x") // which hook set anew
			}
			x := s.test("tickets")[0]
			field := ""
			if c.field != "" {
				field = "spec.webhooks[1]." + c.field
			}
			if x.OK || x.Field != field || !strings.Contains(x.Problem, c.problem) || !strings.Contains(x.Remedy, c.remedy) {
				t.Errorf("%+v", x)
			}
		})
	}
}

func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return "https://" + l.Addr().String()
}

// What DNS says is no fault of the receiver.
func TestLostRequests(t *testing.T) {
	u, err := url.Parse("https://hooks.example/x")
	if err != nil {
		t.Fatal(err)
	}
	dns := func(e net.DNSError) error {
		return fmt.Errorf("hooks.example: %w", &net.OpError{Op: "dial", Err: &e})
	}
	for name, c := range map[string]struct {
		err           error
		field, remedy string
	}{
		"no such name":       {dns(net.DNSError{Err: "no such host", Name: "hooks.example", IsNotFound: true}), "url", "why DNS does not have it"},
		"DNS fails":          {dns(net.DNSError{Err: "server misbehaving", Name: "hooks.example", IsTemporary: true}), "url", "see that the DNS server"},
		"another host's":     {fmt.Errorf("hooks.example: TLS: %w", x509.HostnameError{Certificate: &x509.Certificate{}, Host: "hooks.example"}), "url", "certificate is for this host"},
		"unknown authority":  {fmt.Errorf("hooks.example: TLS: %w", x509.UnknownAuthorityError{}), "caSecretRef", "name it in caSecretRef"},
		"anything else also": {os.ErrDeadlineExceeded, "url", "see that it runs"},
	} {
		if r := lost(t.Context(), &target{url: u}, c.err); r.field != c.field || !strings.Contains(r.remedy, c.remedy) {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What a receiver says of the address or the secret is not repeated.
func TestWordsOfAReceiver(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ told, _ int) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, "Cannot POST /services/sword%%2Ffish?sig=hunter2%%2B: no swordfish, sword/fish, hunter2+ nor sig=hunter2%%2B with %s; see the documentation", secret(0))
	})
	s := newStage(t)
	w := s.hook(r)
	w.URL = ""
	s.put("hook", "url", r.URL+"/services/sword%2Ffish?sig=hunter2%2B")
	s.start(w)
	x := s.test("tickets")[0]
	if x.Reply == nil || !strings.Contains(x.Reply.Text, "see the documentation") {
		t.Fatalf("%+v", x)
	}
	s.happens(1)
	eventually(t, "the reply is known", func() bool { return s.listed()[0].Reply != nil })
	b, err := json.Marshal([]any{x, s.listed()})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"hunter2", "sword/fish", "sword%2Ffish", strings.TrimPrefix(secret(0), secretPrefix)} {
		if strings.Contains(string(b), word) {
			t.Errorf("%q is shown: %s", word, b)
		}
	}
	long := (&target{url: &url.URL{Path: "/x"}}).words([]byte(strings.Repeat("<\x1b[31m\u202e\xff\r\n", 10_000)))
	if len(long) > maxWords || strings.ContainsAny(long, "\x1b\u202e\r\n") {
		t.Errorf("%q", long)
	}
}

// A receiver that takes a test is told at once what waits, and again after a 410.
func TestATestLiftsTheWait(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, told, int){
		"it wanted no more": status(http.StatusGone),
		"it asked to wait":  later,
	} {
		t.Run(name, func(t *testing.T) {
			r, s := receive(t, answer), newStage(t)
			s.start(s.hook(r))
			s.happens(1)
			r.wait(1)
			eventually(t, "the problem is known", func() bool { return s.state().Problem != "" })
			if x := s.test("tickets")[0]; x.OK || s.state().Problem == "" {
				t.Errorf("a test that fails changes something: %+v %+v", x, s.state())
			}
			r.answers(nil)
			if x := s.test("tickets")[0]; !x.OK {
				t.Errorf("%+v", x)
			}
			if x := s.state(); x.Problem != "" || x.Disabled {
				t.Errorf("%+v", x)
			}
			s.happens(1)
			eventually(t, "what waits is told", func() bool {
				for _, q := range r.all()[3:] {
					if q.Type == plan.EventFailed {
						return true
					}
				}
				return false
			})
		})
	}
}

// One test at a time, and none outlasts the relay.
func TestATestThatIsNotAnswered(t *testing.T) {
	asked, forever := make(chan struct{}), make(chan struct{})
	r := receive(t, func(http.ResponseWriter, told, int) { close(asked); <-forever })
	t.Cleanup(func() { close(forever) }) // before the server closes
	s := newStage(t)
	s.o.pace.request, s.o.pace.timeouts = time.Hour, httpapi.Timeouts{Connect: time.Hour, Stall: time.Hour, Answer: time.Hour} // nothing else ends it
	s.start(s.hook(r))
	done := make(chan Tested, 1)
	go func() {
		all, err := s.h.Test(context.Background(), "")
		if err != nil {
			t.Error(err)
		}
		done <- all[0]
	}()
	<-asked
	if _, err := s.h.Test(context.Background(), ""); !errors.Is(err, errTesting) {
		t.Error(err)
	}
	s.h.Close()
	select {
	case x := <-done:
		if x.OK || x.Problem == "" {
			t.Errorf("%+v", x)
		}
	case <-time.After(patience):
		t.Fatal("the test outlasts the relay")
	}
	if got := s.listed(); len(got) != 0 {
		t.Errorf("%v", got)
	}
}
