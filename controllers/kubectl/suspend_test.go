package kubectl

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// Subjects whose names differ in signs alone have a hold each: to suspend or resume one
// leaves the others as they are.
func TestHoldsOfNamesThatAreAlike(t *testing.T) {
	for subject, names := range map[string][]string{
		"login":  {"mfp.1", "mfp-1", "MFP-1", "mfp_1"},
		"device": {"::1", "1::", "10.20.3.7"},
		"domain": {"почта.example", "копир.example", "old.example"},
	} {
		r := &v1alpha1.PrinterRelay{}
		edited := v1alpha1.Hold{Name: "edited", Users: []string{"x"}}
		r.Spec.Holds = []v1alpha1.Hold{edited}
		for _, name := range slices.Concat(names, names) { // the second time they are there
			if _, err := suspended(r, subject, name, "why", false); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[string]bool{}
		for _, h := range r.Spec.Holds {
			if seen[h.Name] || len(validation.IsDNS1123Label(h.Name)) > 0 {
				t.Errorf("%s: %q is there twice, or is no name", subject, h.Name)
			}
			seen[h.Name] = true
		}
		if len(r.Spec.Holds) != len(names)+1 {
			t.Errorf("%s: %d holds, want %d: %+v", subject, len(r.Spec.Holds), len(names)+1, r.Spec.Holds)
		}
		for i, name := range names {
			was := map[string]bool{}
			for _, h := range r.Spec.Holds {
				was[h.Name] = true
			}
			hold, err := resumed(r, subject, name)
			if err != nil || !was[hold] || len(r.Spec.Holds) != len(names)-i {
				t.Errorf("%s %s: %q, %v, %d holds left", subject, name, hold, err, len(r.Spec.Holds))
			}
			if _, err := resumed(r, subject, name); err == nil {
				t.Errorf("%s %s: resumed twice", subject, name)
			}
		}
	}
}

// A hold that somebody has made wider by hand is not made narrower, nor taken away.
func TestAHoldThatWasEditedStays(t *testing.T) {
	r := &v1alpha1.PrinterRelay{}
	wider := v1alpha1.Hold{Name: "login-mfp-1", Users: []string{"mfp-1", "mfp-2"}}
	r.Spec.Holds = []v1alpha1.Hold{wider}
	if _, err := resumed(r, "login", "mfp-1"); err == nil {
		t.Error("it was taken away")
	}
	if _, err := suspended(r, "login", "mfp-1", "why", false); err != nil {
		t.Fatal(err)
	}
	if len(r.Spec.Holds) != 2 || !slices.Equal(r.Spec.Holds[0].Users, wider.Users) {
		t.Errorf("%+v", r.Spec.Holds)
	}
	if hold, err := resumed(r, "login", "mfp-1"); err != nil || hold == wider.Name {
		t.Errorf("%q, %v", hold, err)
	}
}
