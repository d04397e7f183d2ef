package controllers

import (
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	version string // of the object with the status
	status  any
}

// keep remembers the status of an object that was just written. version is
// what the API server then gave the object.
func (w *written) keep(o client.Object, version *string, status any) {
	if version == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[writtenKey]writtenStatus{}
	}
	w.of[keyOf(o)] = writtenStatus{o.GetUID(), *version, status}
}

// recall gives an object the status that was written, if the object is older.
// Somebody else may have changed it meanwhile: its spec, or an annotation.
func (w *written) recall(o client.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := keyOf(o)
	s, ok := w.of[k]
	if !ok {
		return
	}
	age, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), s.version)
	if s.uid != o.GetUID() || err != nil || age >= 0 {
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
