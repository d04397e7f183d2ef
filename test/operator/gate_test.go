package operator

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers"
	"github.com/printerrelay/printer-relay/controllers/render"
)

// gate holds the operator's watch of one resource back while it is shut.
type gate struct {
	resource string
	next     http.RoundTripper

	mu   sync.Mutex
	shut chan struct{} // nil: open
}

// RoundTrip implements http.RoundTripper.
func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(r)
	if err == nil && r.URL.Query().Get("watch") != "" && strings.HasSuffix(r.URL.Path, "/"+g.resource) {
		resp.Body = &gated{ReadCloser: resp.Body, gate: g, done: r.Context().Done()}
	}
	return resp, err
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case shut && g.shut == nil:
		g.shut = make(chan struct{})
	case !shut && g.shut != nil:
		close(g.shut)
		g.shut = nil
	}
}

type gated struct {
	io.ReadCloser
	gate *gate
	done <-chan struct{}
}

// Read passes what was read when the gate is open.
func (b *gated) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.gate.mu.Lock()
	shut := b.gate.shut
	b.gate.mu.Unlock()
	if shut != nil {
		select {
		case <-shut:
		case <-b.done:
		}
	}
	return n, err
}

// watched gives all changes of a kind in the rig's namespace from now on.
func (r *rig) watched(list client.ObjectList) watch.Interface {
	r.Helper()
	c, err := client.NewWithWatch(r.server.Config, client.Options{Scheme: r.client.Scheme()})
	if err != nil {
		r.Fatal(err)
	}
	w, err := c.Watch(r.ctx(), list, client.InNamespace(r.ns))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(w.Stop)
	return w
}

// TestTogether: a policy that was made just before the relay that names it does
// not close the relay's intake, though the operator's cache has it later.
func TestTogether(t *testing.T) {
	r := newRig(t)
	g := &gate{resource: "senderpolicies"}
	r.run(func(o *controllers.Options) {
		o.API.Wrap(func(next http.RoundTripper) http.RoundTripper {
			g.next = next
			return g
		})
	})
	r.copiersReady()
	g.set(true)
	defer g.set(false)
	r.kubectl(strings.ReplaceAll(strings.ReplaceAll(office, "office", "second"), "floor-3", "floor-4"))
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.SenderPolicyRefs[0].Name = "second" })
	r.eventually("the ConfigMap is written", func() string {
		text := must[corev1.ConfigMap](r, "copiers-relay").Data[render.ManifestsKey]
		if strings.Contains(text, "intake: Refuse") {
			t.Fatal("the intake was closed")
		}
		if !strings.Contains(text, "floor-4") {
			return text
		}
		return ""
	})
	r.ready("copiers")
}

// TestReadyOfGeneration: Ready is never True of a generation whose Pods are not
// there yet: kubectl wait would go on too early.
func TestReadyOfGeneration(t *testing.T) {
	r := newRig(t)
	r.run()
	r.copiersReady()
	before := r.relay("copiers").Generation
	seen := r.watched(&v1alpha1.PrinterRelayList{})
	r.node.set("copiers-0", func(i *instance) { i.stays = true }) // the new one cannot come
	edit(r, "copiers", func(o *v1alpha1.PrinterRelay) { o.Spec.Pod.Annotations = map[string]string{"a": "b"} })
	r.condition("copiers", "Ready=False/RollingOut")
	r.node.set("copiers-0", func(i *instance) { i.stays = false })
	r.ready("copiers")
	wanted := r.relay("copiers").ResourceVersion
	waited := false
	for e := range seen.ResultChan() {
		o, ok := e.Object.(*v1alpha1.PrinterRelay)
		if !ok {
			t.Fatalf("%+v", e)
		}
		switch {
		case conditionDiffers(o, o.Status.Conditions, "Ready=False/RollingOut", nil) == "":
			waited = true
		case !waited && o.Generation > before && conditionDiffers(o, o.Status.Conditions, "Ready=True", nil) == "":
			t.Fatalf("Ready before its Pod is replaced:\n%s", describe(o, o.Status.Conditions))
		}
		if o.ResourceVersion == wanted {
			return
		}
	}
	t.Error("the watch has ended before")
}
