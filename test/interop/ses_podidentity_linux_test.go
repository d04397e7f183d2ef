package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/printerrelay/printer-relay/test/env"
	"github.com/printerrelay/printer-relay/test/netns"
)

// agent is the EKS Pod Identity agent at its own address, in a network of the
// test's: it gives a credential to who shows the Pod's token.
type agent struct {
	mu    sync.Mutex
	asked []string // method, path and token of each request
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	a.mu.Unlock()
	fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":%q,"AccountId":"123456789012"}`,
		sesKey, sesSecret, sesToken, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

func (a *agent) requests() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.asked, "; ")
}

// In a Pod the credential comes from a link-local address, where no upstream may
// be: the relay gets it from there, signs with it, and refuses a MailUpstream that
// says that SES is there.
func TestSESPodIdentity(t *testing.T) {
	t.Parallel()
	env.NeedRoot(t)
	const ready = "network of the test"
	holder := env.Start(t, t.TempDir(), "unshare", "--net", "sh", "-c", "ip link set lo up && ip address add 169.254.170.23/32 dev lo && echo "+ready+" && exec sleep 600")
	env.Eventually(t, "the network is there", holder.Output, func() bool { return strings.Contains(holder.Output(), ready) })
	space := fmt.Sprintf("/proc/%d/ns/net", holder.Pid())
	network := netns.Open(t, space)

	serve := func(address string, h http.Handler) string {
		var l net.Listener
		var err error
		network.Do(func() { l, err = net.Listen("tcp", address) })
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		go s.Serve(l) //nolint:errcheck // ends with the test
		t.Cleanup(func() { s.Close() })
		return l.Addr().String()
	}
	pods := &agent{}
	serve("169.254.170.23:80", pods)
	var mu sync.Mutex
	var sent []sesRequest
	ses := serve("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.NotFound(w, r)
			return
		}
		q := newSESRequest(r)
		q.body, _ = io.ReadAll(r.Body) //nolint:errcheck // what is missing has another signature
		mu.Lock()
		sent = append(sent, q)
		mu.Unlock()
		json.NewEncoder(w).Encode(map[string]string{"MessageId": "0107018f-example"}) //nolint:errcheck // the relay sees it
	}))
	requests := func() []sesRequest {
		mu.Lock()
		defer mu.Unlock()
		return append([]sesRequest(nil), sent...)
	}

	dir := t.TempDir()
	const up = "---\napiVersion: printerrelay.dev/v1alpha1\nkind: MailUpstream\nmetadata: {name: %s}\nspec:\n  type: SES\n  ses: {region: eu-central-1, endpoint: \"%s\"}\n  allowPrivateHosts: true\n"
	env.WriteFile(t, filepath.Join(dir, "manifests", "relay.yaml"), strings.ReplaceAll(head, "{{CLEAR}}", "2525")+
		"  upstreamRef: {name: ses}\n  routes:\n  - {name: agent, recipientDomains: [agent.example], upstreamRef: {name: agent}}\n"+
		fmt.Sprintf(up, "ses", "http://"+ses)+fmt.Sprintf(up, "agent", "http://169.254.170.23"))
	env.WriteFile(t, filepath.Join(dir, "token"), "token-of-the-pod")
	var relay *env.Process
	network.Do(func() {
		relay = env.Start(t, dir, "env", "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE="+filepath.Join(dir, "token"),
			"AWS_ACCESS_KEY_ID=", "AWS_ROLE_ARN=", "AWS_PROFILE=", "HOME="+dir, binary, "relay", "--manifests", filepath.Join(dir, "manifests"), "--state", filepath.Join(dir, "state"), "--bind", "127.0.0.1", "--admin", "127.0.0.1:8080")
	})
	env.Eventually(t, "the relay listens", relay.Output, func() bool { return !relay.Running() || strings.Contains(relay.Output(), "msg=listening") })
	env.MustRun(t, "", "nsenter", "--net="+space, "swaks", "--server", "127.0.0.1:2525", "--helo", "mfp", "--from", sender, "--to", "it@corp.example,it@agent.example", "--suppress-data")

	env.Eventually(t, "the mail is sent", relay.Output, func() bool { return len(requests()) > 0 })
	q := requests()[0]
	if got := q.verified(t, sesSecret); !strings.HasPrefix(got, "ok "+sesKey+" eu-central-1 ses ") {
		t.Errorf("botocore says %s", got)
	}
	if got := q.Headers["X-Amz-Security-Token"]; got != sesToken {
		t.Errorf("sent with token %q, not the agent's", got)
	}
	env.Eventually(t, "the agent is no SES", relay.Output, func() bool {
		return regexp.MustCompile(`outcome=Deferred.* upstream=agent reply="169\.254\.170\.23: 169\.254\.170\.23 is link-local`).MatchString(relay.Output())
	})
	for _, r := range strings.Split(pods.requests(), "; ") {
		if r != "GET /v1/credentials token-of-the-pod" {
			t.Errorf("the agent was asked for %q", r)
		}
	}
}
