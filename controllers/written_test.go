package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// TestWritten: a status that was written holds for the object as it was before,
// whoever else changed it meanwhile, and for no other object.
func TestWritten(t *testing.T) {
	object := func(uid, version string) *v1alpha1.PrinterRelay {
		return &v1alpha1.PrinterRelay{ObjectMeta: metav1.ObjectMeta{Namespace: "mail", Name: "office", UID: types.UID(uid), ResourceVersion: version}}
	}
	for name, c := range map[string]struct {
		uid, version string
		want         int64 // observedGeneration
	}{
		"as it was":                      {"a", "98", 7},
		"changed by somebody meanwhile":  {"a", "99", 7},
		"as it was written":              {"a", "100", 0},
		"changed since":                  {"a", "101", 0},
		"another of the same name":       {"b", "99", 0},
		"of a version that says nothing": {"a", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var w written
			w.keep(object("a", "98"), new("100"), v1alpha1.PrinterRelayStatus{ObservedGeneration: 7})
			o := object(c.uid, c.version)
			if w.recall(o); o.Status.ObservedGeneration != c.want {
				t.Errorf("observedGeneration %d, want %d", o.Status.ObservedGeneration, c.want)
			}
		})
	}
}
