package reload

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/admin/access"
	"github.com/printerrelay/printer-relay/test/rig"
)

// TestAsInAPod runs a relay with the files that an operator gives it: tokens
// open the admin port, probes have a port of their own, and an instance that is
// named is drained, while its queue is delivered.
func TestAsInAPod(t *testing.T) {
	u := rig.StartUpstream(t, greylist)
	dir := t.TempDir()
	control := filepath.Join(dir, "control")
	for _, d := range []string{"manifests", "control"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	port, adminPort, probes := rig.FreePort(t), rig.FreePort(t), rig.FreePort(t)
	put(t, filepath.Join(dir, "manifests", "relay.yaml"), strings.ReplaceAll(setup{upstreams: []string{u.YAML("out", "")}}.yaml(), "{{PORT}}", fmt.Sprint(port)))
	token := issuer(t, filepath.Join(control, access.File))
	ctx, cancel := context.WithCancel(t.Context())
	var log rig.Log
	done := make(chan error, 1)
	go func() {
		done <- relay.Run(ctx, relay.Options{
			Manifests: filepath.Join(dir, "manifests"), State: filepath.Join(dir, "state"), Bind: "127.0.0.1", Grace: 5 * time.Second, Version: "test",
			Admin: fmt.Sprintf("127.0.0.1:%d", adminPort), AdminAccess: filepath.Join(control, access.File), Probes: fmt.Sprintf("127.0.0.1:%d", probes),
			Instance: "office-0", Instances: filepath.Join(control, access.InstancesFile), Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%v\n%s", err, &log)
		}
	})
	readyz := func() (int, string) { return ask(t, fmt.Sprintf("http://127.0.0.1:%d/readyz", probes), "") }
	eventually(t, &log, "it is ready", func() bool { code, _ := readyz(); return code == http.StatusOK })

	state := fmt.Sprintf("https://127.0.0.1:%d/state", adminPort)
	if code, body := ask(t, state, ""); code != http.StatusForbidden || !strings.Contains(body, "kubectl create token") {
		t.Errorf("without a token: %d %s", code, body)
	}
	if code, body := ask(t, state, token("system:serviceaccount:default:default")); code != http.StatusForbidden || !strings.Contains(body, "may not use this relay") {
		t.Errorf("another account: %d %s", code, body)
	}
	if code, body := ask(t, state, token("system:serviceaccount:default:office-queue")); code != http.StatusOK || !strings.Contains(body, "office") {
		t.Errorf("with a token: %d %s", code, body)
	}
	sessions := fmt.Sprintf("https://127.0.0.1:%d/sessions", adminPort)
	if code, _ := ask(t, sessions, ""); code != http.StatusForbidden {
		t.Errorf("transcripts without a token: %d", code)
	}
	if code, body := ask(t, sessions, token("system:serviceaccount:default:office-queue")); code != http.StatusOK || !strings.Contains(body, `"devices"`) {
		t.Errorf("transcripts with a token: %d %s", code, body)
	}
	for _, path := range []string{"/", "/console/"} {
		if code, _ := ask(t, fmt.Sprintf("https://127.0.0.1:%d%s", adminPort, path), token("system:serviceaccount:default:office-queue")); code != http.StatusNotFound {
			t.Errorf("a Pod serves the console at %s: %d", path, code)
		}
	}
	if code, _ := ask(t, fmt.Sprintf("http://127.0.0.1:%d/state", probes), ""); code != http.StatusNotFound {
		t.Errorf("the probes' port serves the state: %d", code)
	}

	c := rig.Connect(t, port)
	rig.QueueID(t, send(c))
	put(t, filepath.Join(control, access.InstancesFile), `{"draining": ["office-1", "office-0"]}`)
	eventually(t, &log, "it is not ready", func() bool {
		code, body := readyz()
		return code == http.StatusServiceUnavailable && strings.Contains(body, "drained by the operator")
	})
	c.Want("421 4.3.2 PR-009", "MAIL FROM:<mfp@copier.test>")
	if _, body := ask(t, state, token("system:serviceaccount:default:office-queue")); !strings.Contains(body, `"phase": "`+admin.PhaseDrained+`"`) || !strings.Contains(body, `"intake": "Refuse"`) {
		t.Errorf("the state of a drained instance: %s", body)
	}
	u.Script(rig.Script{})
	eventually(t, &log, "the queue is delivered", func() bool { return len(u.Messages()) == 1 })
	for range 4 { // ready is said when the intake is open, drained when it is closed, not a moment before
		put(t, filepath.Join(control, access.InstancesFile), `{"draining": ["office-1"]}`)
		eventually(t, &log, "it takes mail again", func() bool { code, _ := readyz(); return code == http.StatusOK })
		rig.QueueID(t, send(rig.Connect(t, port)))
		put(t, filepath.Join(control, access.InstancesFile), `{"draining": ["office-0"]}`)
		eventually(t, &log, "it is drained again", func() bool { code, _ := readyz(); return code == http.StatusServiceUnavailable })
		late := rig.Connect(t, port)
		late.Want("250", "EHLO mfp")
		late.Want("421 4.3.2 PR-009", "MAIL FROM:<mfp@copier.test>")
	}
}

func eventually(t *testing.T, log fmt.Stringer, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(rig.Wait); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after %s: %s\n%s", rig.Wait, what, log)
		}
	}
}

// ask gives 0 when nobody answers.
func ask(t *testing.T, url, token string) (code int, body string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true} //nolint:gosec // it has no name that could be verified
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: rig.Wait}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// issuer writes an access file and gives what makes tokens for a subject.
func issuer(t *testing.T, path string) func(subject string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(access.Access{
		Issuer: "https://cluster.test", Keys: keys, Subjects: []string{access.ServiceAccount("default", "office-queue")}, Audiences: []string{access.Audience},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, string(b))
	return func(subject string) string {
		s, err := jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: "https://cluster.test", Subject: subject, Audience: jwt.Audience{access.Audience}, Expiry: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}
