package controllers

import (
	"reflect"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"k8s.io/apimachinery/pkg/types"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// written are the statuses that were written and are perhaps not in the cache
// yet: who looks again at once must neither write nor tell of them twice.
type written struct {
	mu sync.Mutex
	of map[writtenKey]writtenStatus
}

type writtenKey struct {
	kind string
	name types.NamespacedName
}

type writtenStatus struct {
	uid     types.UID
	version string // of the object that the status was made for
	status  any
}

// keep remembers the status of an object that was just written.
func (w *written) keep(o client.Object, status any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[writtenKey]writtenStatus{}
	}
	w.of[keyOf(o)] = writtenStatus{o.GetUID(), o.GetResourceVersion(), status}
}

// recall gives an object the status that was written, if the object is still
// as it was before.
func (w *written) recall(o client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := keyOf(o)
	s, ok := w.of[k]
	if !ok {
		return
	}
	if s.uid != o.GetUID() || s.version != o.GetResourceVersion() {
		delete(w.of, k)
		return
	}
	switch o := o.(type) {
	case *v1alpha1.PrinterRelay:
		o.Status = s.status.(v1alpha1.PrinterRelayStatus)
	case *v1alpha1.MailUpstream:
		o.Status = s.status.(v1alpha1.MailUpstreamStatus)
	case *v1alpha1.SenderPolicy:
		o.Status = s.status.(v1alpha1.SenderPolicyStatus)
	}
}

func (w *written) forget(kind string, name types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of, writtenKey{kind, name})
}

func keyOf(o client.Object) writtenKey {
	return writtenKey{reflect.TypeOf(o).Elem().Name(), client.ObjectKeyFromObject(o)}
}
