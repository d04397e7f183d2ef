package status

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// Statuses are those of the three kinds.
type Statuses interface {
	v1alpha1.PrinterRelayStatus | v1alpha1.MailUpstreamStatus | v1alpha1.SenderPolicyStatus
}

// Changed tells whether a status is to be written: at once if anything but its
// figures changed; for figures (what is queued, and messages that hold numbers
// or the words of other programs) only if they are due.
func Changed[S Statuses](old, now S, due bool) bool {
	if equality.Semantic.DeepEqual(old, now) {
		return false
	}
	return due || !equality.Semantic.DeepEqual(still(old), still(now))
}

// LastWrite is when a field manager last changed an object's status; zero if
// it never did.
func LastWrite(o metav1.Object, manager string) time.Time {
	for _, e := range o.GetManagedFields() {
		if e.Manager == manager && e.Subresource == "status" && e.Time != nil {
			return e.Time.Time
		}
	}
	return time.Time{}
}

// still is a status without its figures.
func still[S Statuses](s S) any {
	switch s := any(s).(type) {
	case v1alpha1.PrinterRelayStatus:
		return stillRelay(s)
	case v1alpha1.MailUpstreamStatus:
		s.Conditions = stillConditions(s.Conditions)
		s.Quota = nil
		return s
	case v1alpha1.SenderPolicyStatus:
		s.Conditions = stillConditions(s.Conditions)
		return s
	}
	return s
}

func stillRelay(s v1alpha1.PrinterRelayStatus) v1alpha1.PrinterRelayStatus {
	s.Conditions = stillConditions(s.Conditions)
	s.Queue, s.Copiers = nil, nil
	s.Holds = slices.Clone(s.Holds)
	for i := range s.Holds {
		s.Holds[i].Messages = 0
	}
	s.Listeners = slices.Clone(s.Listeners)
	for i := range s.Listeners {
		s.Listeners[i].Message = ""
	}
	s.Instances = slices.Clone(s.Instances)
	for i := range s.Instances {
		s.Instances[i].Message, s.Instances[i].Queue = "", nil
	}
	return s
}

// figures are the reasons whose messages hold numbers or others' words.
var figures = []string{
	v1alpha1.ReasonReady, v1alpha1.ReasonDraining, v1alpha1.ReasonDeleting,
	v1alpha1.ReasonUnreachable, v1alpha1.ReasonInstanceNotReady, v1alpha1.ReasonRejected, v1alpha1.ReasonValid, v1alpha1.ReasonUnknown,
}

func stillConditions(in []metav1.Condition) []metav1.Condition {
	out := slices.Clone(in)
	for i := range out {
		if slices.Contains(figures, out[i].Reason) {
			out[i].Message = ""
		}
	}
	return out
}
