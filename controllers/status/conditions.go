package status

import (
	"strings"
	"time"
	"unicode/utf8"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxMessage bounds a condition's message, and a message in a status, in octets.
const maxMessage = 1024

// verdict is a condition without its type and times.
type verdict struct {
	status  metav1.ConditionStatus
	reason  string
	message string
}

func yes(reason, message string) verdict { return verdict{metav1.ConditionTrue, reason, message} }
func no(reason, message string) verdict  { return verdict{metav1.ConditionFalse, reason, message} }
func unknown(reason, message string) verdict {
	return verdict{metav1.ConditionUnknown, reason, message}
}

// conditions collects those of one object.
type conditions struct {
	old        []metav1.Condition
	generation int64
	now        time.Time
	out        []metav1.Condition
}

// set adds a condition. Its time is that of the last change of its status.
func (c *conditions) set(kind string, v verdict) {
	at := metav1.NewTime(c.now.Truncate(time.Second))
	if old := apimeta.FindStatusCondition(c.old, kind); old != nil && old.Status == v.status {
		at = old.LastTransitionTime
	}
	c.out = append(c.out, metav1.Condition{
		Type: kind, Status: v.status, Reason: v.reason, Message: clip(v.message),
		ObservedGeneration: c.generation, LastTransitionTime: at,
	})
}

// keep leaves a condition as it was, if that is about the spec as it is.
func (c *conditions) keep(kind string) bool {
	old := apimeta.FindStatusCondition(c.old, kind)
	if old == nil || old.ObservedGeneration != c.generation {
		return false
	}
	c.out = append(c.out, *old)
	return true
}

// clip keeps a message within its bound, whole runes only.
func clip(s string) string { return cut(s, maxMessage) }

// cut keeps a text within a bound in octets.
func cut(s string, most int) string {
	const more = " ..."
	if len(s) <= most {
		return s
	}
	s = s[:most-len(more)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + more
}

// firstOf says the first of several findings, and how many more there are.
func firstOf(all []string) string {
	if len(all) <= maxListed {
		return strings.Join(all, "; ")
	}
	return strings.Join(all[:maxListed], "; ") + "; and " + count(len(all)-maxListed, "more", "more")
}

// maxListed is how many findings a message names.
const maxListed = 3
