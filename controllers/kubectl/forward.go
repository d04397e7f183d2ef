package kubectl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/admin/access"
)

// Dialer reaches a port of a Pod.
type Dialer func(ctx context.Context, pod *corev1.Pod, port int) (net.Conn, error)

// tokenTime is the shortest that an API server gives.
const tokenTime = 10 * time.Minute

// token is one for the admin port of a relay, and worth nothing elsewhere.
func (c *cluster) token(ctx context.Context, relay *v1alpha1.PrinterRelay) (string, error) {
	account := render.QueueServiceAccountName(relay.Name)
	seconds := int64(tokenTime / time.Second)
	got, err := c.typed.CoreV1().ServiceAccounts(relay.Namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{access.AudienceOf(relay.Namespace, relay.Name)}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("no token of ServiceAccount %q (it needs the right to create serviceaccounts/token): %w", account, err)
	}
	return got.Status.Token, nil
}

// instance is one that was reached.
type instance struct {
	name string
	*admin.Client
	http *http.Client // the same way, for what admin.Client does not ask
}

// instances reaches the admin port of every Pod of a relay that runs.
func (c *cluster) instances(ctx context.Context, relay *v1alpha1.PrinterRelay) ([]instance, error) {
	pods, err := c.pods(ctx, relay)
	if err != nil {
		return nil, err
	}
	token, err := c.token(ctx, relay)
	if err != nil {
		return nil, err
	}
	var out []instance
	for i := range pods {
		t := &podTransport{token: token, next: c.transport(&pods[i])}
		name := pods[i].Labels[render.LabelInstance]
		out = append(out, instance{name, admin.NewPodClient(ctx, "instance "+name, relay.Namespace+"/"+relay.Name, t), &http.Client{Transport: t, Timeout: time.Minute}})
	}
	return out, nil
}

// transport speaks HTTPS to the admin port of a Pod. The certificate is made at each
// start of the relay, so that there is none to verify: that the right Pod answers is
// the API server's word, and the token is for this relay only.
func (c *cluster) transport(pod *corev1.Pod) *http.Transport {
	dial := c.dial
	if dial == nil {
		dial = c.forward
	}
	return &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, pod, render.AdminPort) },
		TLSClientConfig:       &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, //nolint:gosec // see above
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: 5 * time.Minute,
		MaxConnsPerHost:       2,
	}
}

// podTransport brings the token.
type podTransport struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *podTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+t.token)
	return t.next.RoundTrip(r)
}

// forward opens a port-forward of one connection. Nothing listens on this machine
// for it, so nobody else here can use it.
func (c *cluster) forward(_ context.Context, pod *corev1.Pod, port int) (net.Conn, error) {
	u := c.typed.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	sockets, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, c.config)
	if err != nil {
		return nil, err
	}
	way := portforward.NewFallbackDialerForStreaming(sockets, old, func(err error) bool { return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) })
	conn, _, err := way.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, fmt.Errorf("port-forward to Pod %q (it needs the right to create pods/portforward): %w", pod.Name, err)
	}
	t, err := newTunnel(conn, port)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("port-forward to Pod %q: %w", pod.Name, err), conn.Close())
	}
	return t, nil
}

// tunnel is one connection through a port-forward.
type tunnel struct {
	conn httpstream.Connection
	httpstream.Stream
}

func newTunnel(conn httpstream.Connection, port int) (*tunnel, error) {
	h := http.Header{}
	h.Set(corev1.StreamType, corev1.StreamTypeError)
	h.Set(corev1.PortHeader, strconv.Itoa(port))
	h.Set(corev1.PortForwardRequestIDHeader, "0")
	faults, err := conn.CreateStream(h)
	if err != nil {
		return nil, err
	}
	faults.Close() //nolint:errcheck // nothing is written to it
	h.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(h)
	if err != nil {
		return nil, err
	}
	go func() {
		if b, err := io.ReadAll(io.LimitReader(faults, 4<<10)); err != nil || len(b) > 0 {
			conn.Close() //nolint:errcheck // the other end is gone: whoever reads is told
		}
	}()
	return &tunnel{conn, data}, nil
}

// Close implements net.Conn.
func (t *tunnel) Close() error { return errors.Join(t.Stream.Close(), t.conn.Close()) }

// LocalAddr implements net.Conn.
func (t *tunnel) LocalAddr() net.Addr { return tunnelAddr{} }

// RemoteAddr implements net.Conn.
func (t *tunnel) RemoteAddr() net.Addr { return tunnelAddr{} }

// SetDeadline implements net.Conn. Each request has a time limit of its own.
func (t *tunnel) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn.
func (t *tunnel) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn.
func (t *tunnel) SetWriteDeadline(time.Time) error { return nil }

type tunnelAddr struct{}

func (tunnelAddr) Network() string { return "port-forward" }
func (tunnelAddr) String() string  { return "port-forward" }
