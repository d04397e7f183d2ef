// Package apply brings objects to what is rendered, by server-side apply, and
// only where they differ: at rest nothing is written, drift is repaired, and the
// fields of other managers stay theirs.
//
// It may import controller-runtime's client and client-go's apply
// configurations; nothing of this module.
package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Applier writes as one field manager.
type Applier struct {
	Client  client.Client // reads are cached: of the objects that carry Labels
	Live    client.Reader // not cached: of all
	Manager string

	mu    sync.Mutex
	taken map[takenKey]taken
}

// maxTaken bounds what is remembered of objects that are gone. To forget one costs a
// write that changes nothing.
const maxTaken = 4096

// taken is an object as the API server has it since it was applied: it may not have
// taken all that was wanted, if an admission policy or a webhook has its own mind.
type taken struct {
	want    string // its digest
	version string // of the object
}

// Foreign says that an object has the name that is wanted, and belongs to
// somebody else. It is never taken over: it would go with our owner.
type Foreign struct {
	Kind, Namespace, Name string
	Owner                 string // "PrinterRelay default/office", or empty
	Leaving               bool   // it is being deleted, or its owner is gone: it will not be there for long
}

func (e *Foreign) Error() string {
	what := fmt.Sprintf("%s %q is in namespace %q already and", e.Kind, e.Name, e.Namespace)
	if e.Owner != "" {
		return fmt.Sprintf("%s belongs to %s: delete it, or give one of the two another name", what, e.Owner)
	}
	return what + " does not belong to a PrinterRelay: delete it, or give the PrinterRelay another name"
}

// Ensure applies want unless what Manager owns of the object is just that. The
// object has to be controlled by owner; with an empty owner it is told by its
// labels, so that a volume is found again by the next relay of its name. It
// tells whether it wrote.
func (a *Applier) Ensure(ctx context.Context, want runtime.ApplyConfiguration, owner types.UID) (bool, error) {
	k, err := kindOf(want)
	if err != nil {
		return false, err
	}
	is := k.object()
	err = a.Client.Get(ctx, k.key, is)
	switch {
	case apierrors.IsNotFound(err):
		err = a.vacant(ctx, k, owner)
	case err == nil:
		err = k.belongs(is, owner)
	}
	if err != nil {
		return false, err
	}
	if is.GetUID() != "" {
		same, err := a.same(k, is)
		if same || err != nil {
			return false, err
		}
	}
	wanted, err := digest(k.want)
	if err != nil {
		return false, err
	}
	if err := a.Client.Apply(ctx, want, client.FieldOwner(a.Manager), client.ForceOwnership); err != nil {
		return false, fmt.Errorf("%s %q: %w", k.name, k.key.Name, err)
	}
	return true, a.keep(want, wanted)
}

type takenKey struct {
	kind string
	name types.NamespacedName
}

// keep remembers what a write made of an object; want is what the API server
// answered.
func (a *Applier) keep(want runtime.ApplyConfiguration, wanted string) error {
	k, err := kindOf(want)
	if err != nil || k.version == "" {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken == nil || len(a.taken) >= maxTaken {
		a.taken = map[takenKey]taken{}
	}
	a.taken[takenKey{k.name, k.key}] = taken{wanted, k.version}
	return nil
}

// same tells whether an object is what is wanted, or what the API server made of
// that: to write it again would change nothing, again and again.
func (a *Applier) same(k kind, is client.Object) (bool, error) {
	same, err := k.same(is, a.Manager)
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if same {
		delete(a.taken, takenKey{k.name, k.key})
		return true, nil
	}
	last, ok := a.taken[takenKey{k.name, k.key}]
	if !ok || last.version != is.GetResourceVersion() {
		return false, nil
	}
	want, err := digest(k.want)
	return err == nil && last.want == want, err
}

// Differs tells whether Ensure would write.
func (a *Applier) Differs(ctx context.Context, want runtime.ApplyConfiguration) (bool, error) {
	k, err := kindOf(want)
	if err != nil {
		return false, err
	}
	is := k.object()
	if err := a.Client.Get(ctx, k.key, is); err != nil {
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	}
	same, err := a.same(k, is)
	return !same, err
}

// vacant looks whether somebody else has an object of that name. The cache
// holds none but ours.
func (a *Applier) vacant(ctx context.Context, k kind, owner types.UID) error {
	var there metav1.PartialObjectMetadata
	there.SetGroupVersionKind(k.gvk)
	err := a.Live.Get(ctx, k.key, &there)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	return k.belongs(&there, owner)
}

// belongs is nil if an object that is there is the owner's, else a *Foreign.
func (k kind) belongs(is client.Object, owner types.UID) error {
	f := &Foreign{Kind: k.name, Namespace: k.key.Namespace, Name: k.key.Name, Leaving: is.GetDeletionTimestamp() != nil}
	ref := metav1.GetControllerOf(is)
	switch {
	case owner == "" && ref == nil && k.labelled(is):
		return nil // one that is being deleted too: its name is ours
	case owner != "" && ref != nil && ref.UID == owner:
		return nil
	case ref != nil:
		f.Owner = ref.Kind + " " + is.GetNamespace() + "/" + ref.Name
		// Of a former owner of the same name: the garbage collector is on its way.
		f.Leaving = f.Leaving || ref.Name == k.ownerName
	}
	return f
}

// labelled tells whether an object has the labels that are wanted of it.
func (k kind) labelled(is client.Object) bool {
	have := is.GetLabels()
	for name, v := range k.labels {
		if have[name] != v {
			return false
		}
	}
	return len(k.labels) > 0
}

// same compares what the manager owns of an object with what is wanted. The
// cache has the digest of what it owns (Reduce).
func (k kind) same(is client.Object, manager string) (bool, error) {
	want, err := digest(k.want)
	if err != nil {
		return false, err
	}
	if owned, reduced := is.GetAnnotations()[ownedKey]; reduced {
		return owned == want, nil
	}
	owned, err := k.extract(is, manager)
	if err != nil {
		return false, fmt.Errorf("%s %q: %w", k.name, k.key.Name, err)
	}
	have, err := digest(owned)
	return have == want, err
}

// Temporary tells an error that goes away by itself from one that a person has
// to mend: a refusal of the API server or of an admission policy.
func Temporary(err error) bool {
	var f *Foreign
	if errors.As(err, &f) {
		return f.Leaving
	}
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) {
		return true // the connection broke, or the time ran out
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return true
	}
	return !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) && !apierrors.IsBadRequest(err) && !apierrors.IsNotAcceptable(err)
}
