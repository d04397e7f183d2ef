package status

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// phase is how an instance stands.
type phase int

const (
	steady   phase = iota // ready, and runs the plan
	rolling               // being made, replaced or reloaded
	draining              // it goes when its queue is delivered
	silent                // it does not answer
	broken                // it should be ready and is not
	stuck                 // Kubernetes has given up
	open                  // it would relay for anybody
)

// state is an instance, judged.
type state struct {
	Instance
	phase   phase
	serves  bool   // takes mail
	message string // what is not as it should be
}

// reason for a condition that is not True because of the instance.
func (i state) reason() string {
	switch i.phase {
	case rolling:
		return v1alpha1.ReasonRollingOut
	case draining:
		return v1alpha1.ReasonDraining
	case silent:
		return v1alpha1.ReasonUnreachable
	case open:
		return v1alpha1.ReasonOpenRelay
	case steady, broken, stuck:
	}
	return v1alpha1.ReasonInstanceNotReady
}

// judge says how an instance stands: the first thing that keeps it from being
// steady.
func (s *relay) judge(i Instance) state {
	out := state{Instance: i, serves: podReady(i.Deployment) && !i.Draining}
	is := func(p phase, format string, a ...any) state {
		out.phase, out.message = p, fmt.Sprintf("instance %q ", i.Name)+fmt.Sprintf(format, a...)
		return out
	}
	refused := refusal(i.Deployment)
	switch {
	case openRelay(i.Report) != "":
		return is(open, "%s", openRelay(i.Report))
	case i.Draining:
		return is(draining, "%s", s.left(i))
	case i.Deployment == nil:
		return is(rolling, "is not there yet")
	case refused != "":
		return is(stuck, "cannot be started: %s", Refused(scrub(refused, i.Name)))
	case i.Outdated:
		return is(rolling, "waits for its turn to be replaced")
	case out.serves && behind(i.Deployment):
		return is(rolling, "is being replaced")
	case !out.serves && i.Volume != nil && i.Volume.Status.Phase == corev1.ClaimPending:
		return is(rolling, "waits for its volume, PersistentVolumeClaim %q, to be bound: see its events, and spec.spool.persistentVolume.storageClassName", i.Name)
	case !out.serves && deadlineExceeded(i.Deployment):
		return is(stuck, "does not become ready: see the events and the log of its Pod%s", problems(i.Report))
	case !out.serves && replacing(i.Deployment):
		return is(rolling, "is being started%s", problems(i.Report))
	case !out.serves:
		return is(broken, "is not ready: see the events and the log of its Pod%s", problems(i.Report))
	case i.Report == nil && i.ReportErr != "":
		return is(silent, "does not tell its state: %s", i.ReportErr)
	case i.Report == nil:
		return is(rolling, "has not told its state yet")
	case s.Plan != nil && i.Report.PlanHash != s.Plan.Hash:
		return is(rolling, "has not taken up the configuration yet%s", problems(i.Report))
	}
	if len(i.Report.Problems) > 0 {
		out.message = strings.Join(i.Report.Problems, "; ")
	}
	return out
}

// podReady tells whether an instance's Pod is ready.
func podReady(d *appsv1.Deployment) bool { return d != nil && d.Status.ReadyReplicas > 0 }

// replacing tells whether a Deployment has still to bring up its Pod for the
// first time since it changed.
func replacing(d *appsv1.Deployment) bool {
	if behind(d) {
		return true
	}
	c := condition(d, appsv1.DeploymentProgressing)
	return c == nil || c.Status != corev1.ConditionTrue || c.Reason != "NewReplicaSetAvailable"
}

// behind tells whether the Pod of a Deployment, if there is one, is of a
// template before.
func behind(d *appsv1.Deployment) bool {
	return d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas == 0
}

func deadlineExceeded(d *appsv1.Deployment) bool {
	c := condition(d, appsv1.DeploymentProgressing)
	return d.Status.ObservedGeneration >= d.Generation && c != nil && c.Status == corev1.ConditionFalse && c.Reason == "ProgressDeadlineExceeded"
}

// refusal is why the API server takes no Pod of a Deployment: a quota, an
// admission policy; empty if it does.
func refusal(d *appsv1.Deployment) string {
	if d == nil {
		return ""
	}
	if c := condition(d, appsv1.DeploymentReplicaFailure); c != nil && c.Status == corev1.ConditionTrue {
		return c.Message
	}
	return ""
}

func condition(d *appsv1.Deployment, kind appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range d.Status.Conditions {
		if d.Status.Conditions[i].Type == kind {
			return &d.Status.Conditions[i]
		}
	}
	return nil
}

// scrub takes generated names out of Kubernetes' words: a status that holds
// one is written anew for every Pod.
func scrub(text, instance string) string {
	return regexp.MustCompile(regexp.QuoteMeta(instance)+`-[a-z0-9]{5,10}(-[a-z0-9]{5}|-)?`).ReplaceAllString(text, instance)
}

// problems are the instance's own words, for the end of a message.
func problems(r *Report) string {
	if r == nil || len(r.Problems) == 0 {
		return ""
	}
	return "; it says: " + firstOf(r.Problems)
}

// left says what keeps an instance that drains, and what a person can do.
func (s *relay) left(i Instance) string {
	if i.Report == nil {
		if i.ReportErr != "" {
			return "is to go, and does not tell what it has: " + i.ReportErr
		}
		return "is to go, and has not told yet what it has"
	}
	q := i.Report.Queue
	waits := count(q.Waiting, "message", "messages") + " to deliver"
	if !s.deletesVolumes() {
		if q.Waiting == 0 {
			return "has delivered what it had, and goes; its volume stays"
		}
		return "goes when it has delivered what it has: " + waits
	}
	if q.Empty() {
		return "has nothing left, and goes with its volume"
	}
	return fmt.Sprintf("goes with its volume when nothing is left: %s, %d held, %d failed; deliver, release or remove them (printer-relay queue), or give them up by the annotation %s: \"true\"",
		waits, q.Held, q.Failed, v1alpha1.AnnotationAbandonQueue)
}

// deletesVolumes tells whether volumes go with their instances.
func (s *relay) deletesVolumes() bool {
	v := s.Object.Spec.Spool.PersistentVolume
	return s.Object.Spec.Spool.Type != v1alpha1.SpoolEphemeral && v != nil && v.ReclaimPolicy == v1alpha1.ReclaimDelete
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// replicas counts the instances that are there.
func (s *relay) replicas() (n int32) {
	for _, i := range s.states {
		if i.Deployment != nil {
			n++
		}
	}
	return n
}

// instances of the status. Of one that does not answer, the queue is what it
// was: nothing says that it is empty.
func (s *relay) instances() []v1alpha1.InstanceStatus {
	old := map[string]*v1alpha1.QueueStatus{}
	for _, i := range s.Object.Status.Instances {
		old[i.Name] = i.Queue
	}
	var out []v1alpha1.InstanceStatus
	for _, i := range s.states {
		st := v1alpha1.InstanceStatus{Name: i.Name, Ready: i.serves, Message: clip(i.message), Queue: old[i.Name]}
		if i.Report != nil {
			st.PlanHash = i.Report.PlanHash
			st.Queue = s.queueOf(i.Report.Queue, old[i.Name])
		}
		out = append(out, st)
	}
	return out
}

// queueOf is a report as status. The oldest message's arrival is reckoned from
// its age: as long as it is about the same it is the same.
func (s *relay) queueOf(q QueueReport, old *v1alpha1.QueueStatus) *v1alpha1.QueueStatus {
	out := &v1alpha1.QueueStatus{Messages: int32(q.Waiting), Held: int32(q.Held), Failed: int32(q.Failed)} //nolint:gosec // messages on a volume
	if q.Waiting == 0 {
		return out
	}
	oldest := metav1.NewTime(s.Now.Add(-q.Oldest).Truncate(time.Second))
	if old != nil && old.Oldest != nil && oldest.Sub(old.Oldest.Time).Abs() <= sameArrival {
		oldest = *old.Oldest
	}
	out.Oldest = &oldest
	return out
}

// sameArrival is how far two reckonings of one arrival may lie apart.
const sameArrival = 5 * time.Second

// queue of all instances together; nil if none is known.
func (s *relay) queue() *v1alpha1.QueueStatus {
	var out *v1alpha1.QueueStatus
	for _, i := range s.instances() {
		if i.Queue == nil {
			continue
		}
		if out == nil {
			out = &v1alpha1.QueueStatus{}
		}
		out.Messages += i.Queue.Messages
		out.Held += i.Queue.Held
		out.Failed += i.Queue.Failed
		if o := i.Queue.Oldest; o != nil && (out.Oldest == nil || o.Before(out.Oldest)) {
			out.Oldest = o
		}
	}
	return out
}

// listeners of the status, over the instances that stay.
func (s *relay) listeners() []v1alpha1.ListenerStatus {
	var out []v1alpha1.ListenerStatus
	for i := range s.Object.Spec.Listeners {
		l := v1alpha1.ListenerStatus{Name: s.Object.Spec.Listeners[i].Name}
		for _, st := range s.states {
			if st.Report == nil || st.Draining {
				continue
			}
			for _, r := range st.Report.Listeners {
				switch {
				case r.Name != l.Name:
				case r.Problem != "" && l.Message == "":
					l.Message = clip(fmt.Sprintf("instance %q: %s", st.Name, r.Problem))
				case r.Open && r.Problem == "" && st.serves:
					l.Ready++
				}
			}
		}
		out = append(out, l)
	}
	return out
}
