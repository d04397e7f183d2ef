package apiserver

import (
	"encoding/pem"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"k8s.io/client-go/rest"
)

// Proxy stands before the API server until the end of the test and counts the
// writes of a client that runs as a process of its own. It gives a copy of cfg
// that leads to it, which has to be a user's with a token: a client certificate
// ends here.
func (s *Server) Proxy(t testing.TB, cfg *rest.Config) (*rest.Config, *Writes) {
	t.Helper()
	// HTTP/1.1 on both sides: a reply that comes before the request's body was read
	// got stuck in a proxy of HTTP/2 now and then.
	plain := rest.AnonymousClientConfig(s.Config)
	plain.NextProtos = []string{"http/1.1"}
	onward, writes := Counted(plain)
	transport, err := rest.TransportFor(onward)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(s.Config.Host)
	if err == nil && target.Host == "" { // HOST:PORT is no URL
		target, err = url.Parse("https://" + s.Config.Host)
	}
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // a watch tells at once
	})
	proxy.StartTLS()
	t.Cleanup(func() { proxy.CloseClientConnections(); proxy.Close() })
	cfg = rest.CopyConfig(cfg)
	cfg.Host = proxy.URL
	cfg.CAFile, cfg.CAData = "", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	return cfg, writes
}
