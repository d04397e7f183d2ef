package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/printerrelay/printer-relay/controllers/apply"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// lister is an empty cluster. It keeps what was listed, by kind, and how.
type lister struct {
	client.Client
	t    *testing.T
	how  map[string]string
	made map[string]bool // indexes, as "Kind field"
}

// Get implements client.Reader: nothing is there.
func (l *lister) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}

// List implements client.Reader.
func (l *lister) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	l.how[strings.TrimSuffix(l.kind(list), "List")] = fmt.Sprintf("%s %v %v", o.Namespace, o.FieldSelector, o.LabelSelector)
	return nil
}

// IndexField implements client.FieldIndexer.
func (l *lister) IndexField(_ context.Context, o client.Object, field string, _ client.IndexerFunc) error {
	l.made[l.kind(o)+" "+field] = true
	return nil
}

func (l *lister) kind(o runtime.Object) string {
	gvk, err := apiutil.GVKForObject(o, scheme())
	if err != nil {
		l.t.Fatal(err)
	}
	return gvk.Kind
}

// TestIndexed: one look at a relay finds its objects by indexes that are there, and goes
// through those of no other relay of the namespace.
func TestIndexed(t *testing.T) {
	l := &lister{t: t, how: map[string]string{}, made: map[string]bool{}}
	if err := index(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	p := onePod(&relays{client: l, apply: &apply.Applier{}, settings: func() render.Settings { return render.Settings{} }})
	p.set = &render.Set{Plan: &plan.Plan{}}
	if err := p.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.prune(t.Context())
	if len(p.failures) > 0 || len(l.how) != len(indexed()) {
		t.Errorf("failures %v, lists of %v", p.failures, l.how)
	}
	for kind, how := range l.how {
		if how != "office relay=a <nil>" || !l.made[kind+" "+indexRelay] {
			t.Errorf("%s is listed by %q, with indexes %v", kind, how, l.made)
		}
	}
}

// TestRelayOf: by its labels an object is of one relay, as the selectors have it.
func TestRelayOf(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		want   []string
	}{
		"ours":             {render.Selector("office"), []string{"office"}},
		"another program":  {map[string]string{render.LabelName: "postfix", render.LabelRelay: "office"}, nil},
		"no relay":         {map[string]string{render.LabelName: render.ProgramName}, nil},
		"without a label":  {nil, nil},
		"of a relay alone": {map[string]string{render.LabelRelay: "office"}, nil},
	} {
		if got := relayOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: c.labels}}); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// BenchmarkLists is what the lists of one look cost with as many relays in its namespace,
// by the index and by labels, in the store that the cache is made of. Copies that are
// handed out are not among it: they are the same.
func BenchmarkLists(b *testing.B) {
	for _, n := range []int{20, 200, 2000} {
		key := func(name string) string { return "office/" + name }
		x := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, toolscache.Indexers{
			toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc,
			indexRelay: func(o any) (out []string, _ error) {
				for _, name := range relayOf(o.(client.Object)) {
					out = append(out, key(name))
				}
				return out, nil
			},
		})
		for i := range n {
			name := fmt.Sprint("copiers-", i)
			o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "office", Name: name, Labels: render.Selector(name)}}
			if err := x.Add(o); err != nil {
				b.Fatal(err)
			}
		}
		selector := labels.SelectorFromSet(render.Selector("copiers-7"))
		for how, list := range map[string]func() ([]any, error){
			"index":  func() ([]any, error) { return x.ByIndex(indexRelay, key("copiers-7")) },
			"labels": func() ([]any, error) { return x.ByIndex(toolscache.NamespaceIndex, "office") },
		} {
			b.Run(fmt.Sprintf("%s/relays=%d", how, n), func(b *testing.B) {
				for b.Loop() {
					found := 0
					for range indexed() {
						all, err := list()
						if err != nil {
							b.Fatal(err)
						}
						for _, o := range all {
							if selector.Matches(labels.Set(o.(client.Object).GetLabels())) {
								found++
							}
						}
					}
					if found != len(indexed()) {
						b.Fatal(found)
					}
				}
			})
		}
	}
}
