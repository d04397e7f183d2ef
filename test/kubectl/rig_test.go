// Package kubectl tests the kubectl plugin against a real API server and real relays.
// A port-forward needs a kubelet, which test/e2e has: here a connection to the relay's
// admin port takes its place.
package kubectl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay"
	"github.com/printerrelay/printer-relay/relay/admin/access"
	"github.com/printerrelay/printer-relay/relay/cli"
	"github.com/printerrelay/printer-relay/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

const wait = 60 * time.Second

// manifests of one relay in a namespace; %s is that.
const manifests = `apiVersion: printerrelay.dev/v1alpha1
kind: PrinterRelay
metadata: {name: office, namespace: %[1]s}
spec:
  hostname: relay.test
  upstreamRef: {name: out}
  senderPolicyRefs: [{name: office}]
  listeners: [{name: smtp, port: 2525, tls: {mode: None}, proxyProtocol: {trustedNetworks: [127.0.0.1/32]}}]
  delivery: {bounce: {to: None}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: MailUpstream
metadata: {name: out, namespace: %[1]s}
spec: {type: Maildir, maildir: {path: out}}
---
apiVersion: printerrelay.dev/v1alpha1
kind: SenderPolicy
metadata: {name: office, namespace: %[1]s}
spec:
  rules:
  - {name: floor, match: {clientNetworks: [10.20.0.0/16]}, senders: {allowed: ["*@copier.test"]}, recipients: {allowed: ["*@corp.example"]}}
`

// rig is a namespace with the kinds, and instances that run.
type rig struct {
	*testing.T
	server     *apiserver.Server
	ns         string
	kubeconfig string
	manifests  []string          // folders of the instances
	ports      map[string]string // instance -> admin port
	listeners  map[string]string // instance -> where copiers connect, behind a proxy at 127.0.0.1
}

func newRig(t *testing.T, instances int) *rig {
	t.Helper()
	s := apiserver.Start(t)
	r := &rig{T: t, server: s, ns: s.Namespace(t), kubeconfig: apiserver.Kubeconfig(t, s.Config), ports: map[string]string{}, listeners: map[string]string{}}
	text := fmt.Sprintf(manifests, r.ns)
	for i, doc := range strings.Split(text, "---\n") {
		o := []client.Object{&v1alpha1.PrinterRelay{}, &v1alpha1.MailUpstream{}, &v1alpha1.SenderPolicy{}}[i]
		r.must(yaml.Unmarshal([]byte(doc), o))
		r.create(o)
	}
	r.account("office")
	r.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: render.ConfigMapName("office"), Namespace: r.ns, Labels: map[string]string{render.LabelManagedBy: render.ProgramName}}, Data: map[string]string{render.ManifestsKey: text}})
	for i := range instances {
		r.instance(fmt.Sprintf("office-%d", i), text)
	}
	return r
}

// account is what tokens for the admin ports of a relay are of.
func (r *rig) account(relay string) {
	r.Helper()
	r.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: render.QueueServiceAccountName(relay), Namespace: r.ns}})
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) create(o client.Object) {
	r.Helper()
	r.must(r.server.Client.Create(apiserver.Context(r), o))
}

// access is what the operator would write for a relay.
func (r *rig) access(relay string) []byte {
	r.Helper()
	api, err := kubernetes.NewForConfig(r.server.Config)
	r.must(err)
	ctx := apiserver.Context(r)
	b, err := api.RESTClient().Get().AbsPath("/.well-known/openid-configuration").DoRaw(ctx)
	r.must(err)
	var found struct {
		Issuer string `json:"issuer"`
	}
	r.must(json.Unmarshal(b, &found))
	keys, err := api.RESTClient().Get().AbsPath("/openid/v1/jwks").SetHeader("Accept", "application/jwk-set+json").DoRaw(ctx)
	r.must(err)
	b, err = json.Marshal(access.Access{
		Issuer: found.Issuer, Keys: keys, Audiences: []string{access.Audience, access.AudienceOf(r.ns, relay)},
		Subjects: []string{access.ServiceAccount(r.ns, render.QueueServiceAccountName(relay))},
	})
	r.must(err)
	return b
}

// log takes a relay's log and says where its admin port is, and its listener.
type log struct {
	mu       sync.Mutex
	all      bytes.Buffer
	addr     chan string
	listener chan string
}

var (
	adminPort = regexp.MustCompile(`msg="admin port open" address=(\S+)`)
	listening = regexp.MustCompile(`msg=listening .* address=(\S+)`)
)

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := adminPort.FindSubmatch(p); m != nil {
		l.addr <- string(m[1])
	}
	if m := listening.FindSubmatch(p); m != nil {
		l.listener <- string(m[1])
	}
	return l.all.Write(p)
}

// instance runs a relay, and has a Pod that stands for it. Its name is that of the
// relay with a number.
func (r *rig) instance(name, text string) {
	r.Helper()
	of := name[:strings.LastIndex(name, "-")]
	dir, control := r.TempDir(), r.TempDir()
	r.manifests = append(r.manifests, dir)
	r.must(os.WriteFile(filepath.Join(dir, render.ManifestsKey), []byte(text), 0o600))
	r.must(os.WriteFile(filepath.Join(control, access.File), r.access(of), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	l := &log{addr: make(chan string, 1), listener: make(chan string, 1)}
	done := make(chan error, 1)
	go func() {
		done <- relay.Run(ctx, relay.Options{
			Manifests: dir, Name: r.ns + "/" + of, State: r.TempDir(), Bind: "127.0.0.1", Admin: "127.0.0.1:0", PortOffset: -2525, Grace: time.Second,
			AdminAccess: filepath.Join(control, access.File), Version: "test", Log: slog.New(slog.NewTextHandler(l, nil)),
		})
	}()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.Errorf("%v\n%s", err, l.all.String())
		}
	})
	select {
	case r.ports[name] = <-l.addr:
	case <-time.After(wait):
		r.Fatal("no admin port")
	}
	select {
	case r.listeners[name] = <-l.listener:
	case <-time.After(wait):
		r.Fatal("no listener")
	}
	labels := render.Selector(of)
	labels[render.LabelManagedBy], labels[render.LabelInstance] = render.ProgramName, name
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-abc", Namespace: r.ns, Labels: labels},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "relay", Image: "x", Env: []corev1.EnvVar{{Name: "PLANTED_PASSWORD", Value: "planted-in-the-environment"}},
		}}},
	}
	r.create(pod)
	pod.Status.Phase = corev1.PodRunning
	r.must(r.server.Client.Status().Update(apiserver.Context(r), pod))
}

// dial takes the place of a port-forward.
func (r *rig) dial(ctx context.Context, pod *corev1.Pod, port int) (net.Conn, error) {
	if port != render.AdminPort || pod.Namespace != r.ns {
		return nil, fmt.Errorf("port %d of %s/%s is not the admin port", port, pod.Namespace, pod.Name)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", r.ports[pod.Labels[render.LabelInstance]])
}

// run runs a command of the plugin.
func (r *rig) run(args ...string) (stdout, stderr string, err error) {
	r.Helper()
	c := cli.Kubectl(r.dial)
	c.SilenceUsage, c.SilenceErrors = true, true
	var out, errs bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&errs)
	where := []string{"--kubeconfig", r.kubeconfig, "-n", r.ns}
	if args[0] == "__complete" { // what is to be completed comes last
		last := len(args) - 1
		args = append(append(args[:last:last], where...), args[last])
	} else {
		args = append(args, where...)
	}
	c.SetArgs(args)
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	err = c.ExecuteContext(ctx)
	return out.String(), errs.String(), err
}

// ok is run, which must succeed.
func (r *rig) ok(args ...string) string {
	r.Helper()
	out, errs, err := r.run(args...)
	if err != nil {
		r.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

func (r *rig) eventually(what string, ok func() bool) {
	r.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			r.Fatalf("not so after %s: %s", wait, what)
		}
	}
}

func contains(t *testing.T, what, s string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(s, want) {
			t.Errorf("%s lacks %q:\n%s", what, want, s)
		}
	}
}
