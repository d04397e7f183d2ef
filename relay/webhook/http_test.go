package webhook

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

func status(code int) func(http.ResponseWriter, told, int) {
	return func(w http.ResponseWriter, _ told, _ int) { w.WriteHeader(code) }
}

// later asks to come again in ten hours.
func later(w http.ResponseWriter, _ told, _ int) {
	w.Header().Set("Retry-After", "36000")
	w.WriteHeader(http.StatusServiceUnavailable)
}

// A receiver that uses a library of Standard Webhooks gets what happened, signed.
func TestTold(t *testing.T) {
	r, s := receive(t, nil), newStage(t)
	s.start(s.hook(r))
	s.happens(1)
	got := r.wait(1)[0]
	if err := verify(got, secret(0)); err != nil {
		t.Error(err)
	}
	if err := verify(got, secret(1)); err == nil {
		t.Error("another secret fits too")
	}
	d := got.Data
	if got.Type != plan.EventFailed || d.Relay != "default/office" || d.Instance != "office-0" || len(d.Messages) != 1 || d.Messages[0].ID != "m0" || got.Timestamp.IsZero() {
		t.Errorf("%s", got.body)
	}
	if ua := got.header.Get("User-Agent"); ua != "printer-relay" || !strings.HasPrefix(got.id, "msg_") || strings.Contains(got.id, ".") {
		t.Errorf("User-Agent %q, ID %q", ua, got.id)
	}
	eventually(t, "it is known that it was told", func() bool { x := s.state(); return !x.Last.IsZero() && x.Waiting == 0 && x.Problem == "" })
}

// While a secret is rotated both sign; what is in the Secret counts for the next
// request, with no restart and no reload.
func TestRotation(t *testing.T) {
	r, s := receive(t, nil), newStage(t)
	s.start(s.hook(r))
	for n, c := range []struct {
		text      string
		good, bad byte
	}{{secret(1) + "\n" + secret(0) + "\n", 0, 2}, {secret(1) + "\r\n\r\n" + secret(2), 2, 0}, {secret(3), 3, 1}} {
		s.put("hook", SecretKey, c.text)
		s.happens(1)
		got := r.wait(n + 1)[n]
		if err := verify(got, secret(c.good)); err != nil {
			t.Errorf("%d: %v", n, err)
		}
		if verify(got, secret(c.bad)) == nil {
			t.Errorf("%d: a secret that is not there signs", n)
		}
	}
}

// What cannot be used is said though nothing waits, and counts as soon as it can be.
func TestASecretThatComesLater(t *testing.T) {
	r, s := receive(t, nil), newStage(t)
	w := s.hook(r)
	w.Secret = "later"
	s.start(w)
	says := func(part string) {
		t.Helper()
		eventually(t, part, func() bool { return strings.Contains(s.state().Problem, part) })
	}
	says(`secret "later": not found`)
	s.put("later", SecretKey, "whsec_c2hvcnQ=")
	s.h.Update(Settings{Webhooks: []plan.Webhook{w}})
	says(`line 1 of signingSecret is no signing secret`)
	s.happens(1)
	s.put("later", SecretKey, secret(1))
	s.put("ca", "ca.crt", "nonsense")
	s.h.Update(Settings{Webhooks: []plan.Webhook{w}})
	says("ca.crt holds no certificate")
	s.put("ca", "ca.crt", string(r.ca()))
	s.h.Update(Settings{Webhooks: []plan.Webhook{w}})
	if err := verify(r.wait(1)[0], secret(1)); err != nil {
		t.Error(err)
	}
	if n := len(r.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// An address that is a credential is in the Secret, whole, and shown nowhere.
func TestAddressInTheSecret(t *testing.T) {
	var uri string
	var mu sync.Mutex
	r := receive(t, nil)
	h := r.Config.Handler
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		uri = q.RequestURI
		mu.Unlock()
		h.ServeHTTP(w, q)
	})
	s := newStage(t)
	w := s.hook(r)
	w.URL = ""
	s.start(w)
	eventually(t, "the address is missed", func() bool { return strings.Contains(s.state().Problem, `secret "hook" has no key "url"`) })
	s.put("hook", "url", "https://user:hunter2@x.example")
	s.h.Update(Settings{Webhooks: []plan.Webhook{w}})
	eventually(t, "the address is refused", func() bool { return strings.Contains(s.state().Problem, `is no URL to post to`) })
	s.put("hook", "url", r.URL+"/services/T0/B1?api-version=1&sig=hunter2%2B\n")
	s.h.Update(Settings{Webhooks: []plan.Webhook{w}})
	s.happens(1)
	r.wait(1)
	mu.Lock()
	defer mu.Unlock()
	if uri != "/services/T0/B1?api-version=1&sig=hunter2%2B" {
		t.Errorf("posted to %s", uri)
	}
}

// Nothing but 2xx is success; the same request comes again, with the same ID.
func TestWhatAReceiverAnswers(t *testing.T) {
	elsewhere := receive(t, nil)
	for name, c := range map[string]struct {
		answer  func(http.ResponseWriter, told, int)
		problem string
		remedy  string
	}{
		"500": {status(500), "answers 500 Internal Server Error", "it is tried again"},
		"429": {status(429), "answers 429", "it is tried again"},
		"401": {status(401), "answers 401", `signing secret of Secret "hook"`},
		"404": {status(404), "answers 404", "correct its url"},
		"302": {func(w http.ResponseWriter, _ told, _ int) {
			w.Header().Set("Location", elsewhere.URL+"/hunter2")
			w.WriteHeader(302)
		}, "answers 302 Found, a redirect to 127.0.0.1:", "redirects are not followed"},
		"307": {func(w http.ResponseWriter, _ told, _ int) {
			w.Header().Set("Location", elsewhere.URL+"/hunter2")
			w.WriteHeader(307)
		}, "answers 307", "redirects are not followed"},
		"no answer": {func(http.ResponseWriter, told, int) { panic(http.ErrAbortHandler) }, "EOF", "see that it runs"},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := receive(t, c.answer), newStage(t)
			s.start(s.hook(r))
			s.happens(1)
			got := r.wait(3)
			if got[0].id != got[1].id || !bytes.Equal(got[0].body, got[2].body) {
				t.Errorf("%s and then %s: %s", got[0].id, got[1].id, got[2].body)
			}
			if err := verify(got[2], secret(0)); err != nil {
				t.Error(err)
			}
			eventually(t, "the problem", func() bool { return s.state().Problem != "" })
			if x := s.state(); !strings.Contains(x.Problem, c.problem) || !strings.Contains(x.Remedy, c.remedy) || strings.Contains(x.Problem, "hunter2") || x.Since.IsZero() || x.Waiting != 1 {
				t.Errorf("%+v", x)
			}
			r.answers(nil)
			eventually(t, "it is told", func() bool { x := s.state(); return x.Problem == "" && x.Waiting == 0 && x.Since.IsZero() })
		})
	}
	if n := len(elsewhere.all()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// 410 ends it, over restarts, until the address is another.
func TestGone(t *testing.T) {
	r, s := receive(t, status(410)), newStage(t)
	w := s.hook(r)
	s.start(w)
	s.happens(1)
	r.wait(1)
	eventually(t, "it is disabled", func() bool {
		x := s.state()
		return x.Disabled && x.Waiting == 0 && strings.Contains(x.Problem, "410 Gone")
	})
	s.happens(3)
	s.start(w)
	s.happens(3)
	eventually(t, "it is disabled still", func() bool { x := s.state(); return x.Disabled && strings.Contains(x.Problem, "410 Gone") })
	s.h.Close() // has looked at its inbox
	if n := len(r.all()); n != 1 {
		t.Errorf("%d requests", n)
	}
	r.answers(nil)
	w.URL += "/new"
	s.start(w)
	s.happens(1)
	if got := r.wait(2)[1]; got.Data.Dropped != 0 || len(got.Data.Messages) != 1 {
		t.Errorf("%s", got.body)
	}
}

// What an address says that the webhook does not have any more is nothing against the
// one that it has now.
func TestTheAddressChangesWhileItAnswers(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, told, int){
		"gone": status(http.StatusGone),
		"wait": later,
	} {
		t.Run(name, func(t *testing.T) {
			asked, changed := make(chan struct{}), make(chan struct{})
			r := receive(t, func(w http.ResponseWriter, q told, n int) {
				if n > 1 {
					w.WriteHeader(http.StatusNoContent)
					return
				}
				close(asked)
				<-changed
				answer(w, q, n)
			})
			s := newStage(t)
			w := s.hook(r)
			s.start(w)
			s.happens(1)
			<-asked
			w.URL += "/new"
			s.h.Update(Settings{Webhooks: []plan.Webhook{w}})
			close(changed)
			got := r.wait(2)
			if got[1].id != got[0].id || !bytes.Equal(got[1].body, got[0].body) {
				t.Errorf("%s, and then %s", got[0].body, got[1].body)
			}
			eventually(t, "it is told", func() bool { x := s.state(); return !x.Disabled && x.Problem == "" && x.Waiting == 0 })
		})
	}
}

// A receiver that takes the request and never answers holds nothing up: neither who
// tells of mail, nor the end of the relay, nor the other webhooks.
func TestAReceiverThatNeverAnswers(t *testing.T) {
	forever := make(chan struct{})
	r := receive(t, func(http.ResponseWriter, told, int) { <-forever })
	t.Cleanup(func() { close(forever) }) // before the server closes
	other, s := receive(t, nil), newStage(t)
	w, second := s.hook(r), s.hook(other)
	second.Name = "second"
	s.put("ca", "ca.crt", string(r.ca())+string(other.ca()))
	s.start(w, second)
	s.happens(1)
	r.wait(1)
	s.happens(100)
	eventually(t, "the other one is told", func() bool { n, _ := sum(other.all()); return n == 101 })
	s.h.Close()
	if n := len(r.all()); n != 1 {
		t.Errorf("%d requests at once", n)
	}

	// A request ends by itself too.
	s.o.pace.request = 50 * time.Millisecond
	s.start(w)
	eventually(t, "the problem is known", func() bool { return strings.Contains(s.state().Problem, "it did not answer in time") })
}

// Where it may be is judged on the address that is connected to.
func TestPrivateAddresses(t *testing.T) {
	r := receive(t, nil)
	port := r.URL[strings.LastIndex(r.URL, ":"):]
	for name, c := range map[string]struct {
		url     string
		private bool
		problem string
	}{
		"a private one":           {r.URL, false, "set allowPrivateHosts of the webhook"},
		"a private one by name":   {"https://localhost" + port, false, "set allowPrivateHosts of the webhook"},
		"a metadata service":      {"https://169.254.169.254", true, "it is link-local or no address of a host"},
		"another":                 {"https://[fd00:ec2::254]", true, "it is link-local or no address of a host"},
		"in clear, to the public": {"http://192.0.2.1", true, "use https"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			w := s.hook(r)
			w.URL, w.Private = c.url, c.private
			s.start(w)
			s.happens(1)
			eventually(t, "the problem", func() bool { return s.state().Problem != "" })
			if x := s.state(); !strings.Contains(x.Problem+"; "+x.Remedy, c.problem) {
				t.Errorf("%+v", x)
			}
		})
	}
	if n := len(r.all()); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

// What is wrong with a certificate is said in the words of the manifest.
func TestCertificates(t *testing.T) {
	r, s := receive(t, nil), newStage(t)
	w := s.hook(r)
	w.CASecret = ""
	s.start(w)
	s.happens(1)
	eventually(t, "the problem", func() bool { return s.state().Problem != "" })
	if x := s.state(); !strings.Contains(x.Problem, "TLS: ") || !strings.Contains(x.Remedy, "caSecretRef") {
		t.Errorf("%+v", x)
	}
}

// Neither the log nor the state shows a secret, or what of an address may be one.
func TestNothingSecretIsSaid(t *testing.T) {
	var log syncBuffer
	s := newStage(t)
	s.o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var states strings.Builder
	for _, answer := range []func(http.ResponseWriter, told, int){status(500), status(400), status(410), func(http.ResponseWriter, told, int) { panic(http.ErrAbortHandler) }} {
		r := receive(t, answer)
		w := s.hook(r)
		w.URL = ""
		s.put("hook", "url", r.URL+"/swordfish?sig=hunter2")
		s.start(w)
		s.happens(1)
		r.wait(1)
		eventually(t, "the problem", func() bool { return s.state().Problem != "" })
		states.WriteString(s.state().Problem + s.state().Remedy)
		r.Close()
	}
	s.h.Close()
	all := log.String() + states.String() + s.state().Problem
	for _, word := range []string{"hunter2", "swordfish", "whsec_", strings.TrimPrefix(secret(0), secretPrefix)} {
		if strings.Contains(all, word) {
			t.Errorf("%q is shown:\n%s", word, all)
		}
	}
	if !strings.Contains(all, "the webhook cannot be told") {
		t.Errorf("the log says nothing:\n%s", all)
	}
}

// syncBuffer is a buffer that a log writes to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
