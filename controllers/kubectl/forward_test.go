package kubectl

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// kubelet is an API server that knows port-forwards by SPDY only, as old ones do: it
// connects to backend, or says on the error stream that it cannot.
func kubelet(t *testing.T, backend string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/printers/pods/office-0-abc/portforward" || r.Method != http.MethodPost {
			http.Error(w, "websockets are not known here", http.StatusBadRequest)
			return
		}
		if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
			return
		}
		streams := make(chan httpstream.Stream, 2)
		conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, _ <-chan struct{}) error {
			streams <- s
			return nil
		})
		if conn == nil {
			return
		}
		defer conn.Close()
		var data, faults httpstream.Stream
		for range 2 {
			s := <-streams
			if s.Headers().Get(corev1.PortHeader) != "8080" {
				t.Errorf("port %q", s.Headers().Get(corev1.PortHeader))
			}
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
				faults = s
			} else {
				data = s
			}
		}
		to, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", backend)
		if err != nil {
			fmt.Fprint(faults, "cannot connect")
			faults.Close()
			<-conn.CloseChan()
			return
		}
		defer to.Close()
		go io.Copy(to, data) //nolint:errcheck // ends with the connection
		io.Copy(data, to)    //nolint:errcheck // the same
		data.Close()
		<-conn.CloseChan()
	}))
	t.Cleanup(s.Close)
	return s
}

func forwarded(t *testing.T, backend string) (net.Conn, error) {
	t.Helper()
	config := &rest.Config{Host: kubelet(t, backend).URL}
	typed, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{flags: &flags{}, config: config, typed: typed}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return c.forward(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "printers", Name: "office-0-abc"}}, 8080)
}

func TestForward(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		line, _ := bufio.NewReader(c).ReadString('\n') //nolint:errcheck // an empty line is not what is wanted
		fmt.Fprint(c, strings.ToUpper(line))
		c.Close()
	}()
	conn, err := forwarded(t, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, "scan"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "SCAN\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// A Pod that does not answer ends the connection: nobody waits for ever.
func TestForwardToNobody(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	conn, err := forwarded(t, nobody)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); len(got) > 0 || err == nil && len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRedact(t *testing.T) {
	r := newRedactor(true)
	for in, want := range map[string]string{
		"Authorization: Bearer abcdefgh12345678":                               "REMOVED",
		"token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0abc.c2lnbmF0dXJl":           "token REMOVED",
		"mfp:$2a$10$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":     "mfp:REMOVED",
		"key AKIAIOSFODNN7EXAMPLE":                                             "key REMOVED",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": "REMOVED",
		`"clientSecret": "abc~def"`:                                            `"clientSecret": REMOVED`,
		"secretRef: {name: smtp}":                                              "secretRef: {name: smtp}",
		"to 127.0.0.1:8080":                                                    "to 127.0.0.1:8080",
		"2026-11-26T05:09:31.673Z":                                             "2026-11-26T05:09:31.673Z",
		"version 1.31.0":                                                       "version 1.31.0",
	} {
		if got := r.text(in); !strings.Contains(got, want) || strings.Contains(got, "abcdefgh") {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	a, b := r.text("from <Pat@corp.example> at 10.20.3.7 and 2001:db8::7"), r.text("pat@CORP.example, 10.20.3.7, ceo@corp.example")
	if a != "from <person-2@domain-1.invalid> at address-1 and address-2" || b != "person-2@domain-1.invalid, address-1, person-3@domain-1.invalid" {
		t.Errorf("%q\n%q", a, b)
	}
}

func TestNetworkOf(t *testing.T) {
	for in, want := range map[string]string{"10.20.3.7": "10.20.3.7/32", "::ffff:10.20.3.7": "10.20.3.7/32", "2001:db8::7": "2001:db8::/64", "10.20.3.7/24": "10.20.3.0/24", "floor 3": ""} {
		if got, err := networkOf(in); got != want || (want == "") != (err != nil) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestHoldNames(t *testing.T) {
	for in, want := range map[string]string{"10.20.3.7": "device-10-20-3-7", "2001:db8::7": "device-2001-db8-7", strings.Repeat("x.", 80): "device-" + strings.TrimSuffix(strings.Repeat("x-", 28), "-")} {
		if got, _ := holdNames("device", in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
