package status

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/plan"
)

// holding: the plan keeps mail in the queue. It holds no counts, so that each change
// of it is one of the manifests.
func (s *relay) holding() verdict {
	if s.Plan == nil {
		return unknown(v1alpha1.ReasonPending, "there is no configuration to run yet")
	}
	var why []string
	if s.Plan.Intake == plan.IntakeHold {
		why = append(why, "intake is Hold: all new mail is kept"+suspendedFor(s.Object))
	}
	for i := range s.Plan.Holds {
		why = append(why, holdSays(&s.Plan.Holds[i]))
	}
	end := "; what is held stays until `printer-relay queue release`"
	if len(why) == 0 {
		end = "; what waits for it goes by itself once it is resumed"
	}
	for _, name := range slices.Sorted(maps.Keys(s.Plan.Upstreams)) {
		if s.Plan.Upstreams[name].Suspend {
			text := fmt.Sprintf("MailUpstream %q is suspended", name)
			if u := s.Upstreams[name]; u != nil {
				text += suspendedFor(u)
			}
			why = append(why, text)
		}
	}
	if len(why) == 0 {
		return no(v1alpha1.ReasonNotHeld, "nothing that the manifests say keeps mail in the queue")
	}
	return yes(v1alpha1.ReasonHeld, firstOf(why)+end)
}

// maxWhy is what is shown of why something is suspended: an annotation has no bound.
const maxWhy = 200

// suspendedFor is why, and by whom, where an annotation says so.
func suspendedFor(o metav1.Object) string {
	why := strings.Join(strings.Fields(o.GetAnnotations()[v1alpha1.AnnotationSuspended]), " ")
	if r := []rune(why); len(r) > maxWhy {
		why = string(r[:maxWhy]) + "..."
	}
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

// holdSays is a hold in a few words.
func holdSays(h *plan.Hold) string {
	var of []string
	for _, n := range h.Networks {
		if n.IsSingleIP() {
			of = append(of, n.Addr().String())
			continue
		}
		of = append(of, n.String())
	}
	for _, u := range h.Users {
		of = append(of, "user "+u)
	}
	for _, p := range h.Senders {
		of = append(of, "sender "+p.String())
	}
	text := fmt.Sprintf("hold %q keeps the mail of %s", h.Name, firstOf(of))
	if h.Reason != "" {
		text += " (" + h.Reason + ")"
	}
	return text
}

const maxHolds = 64 // that a status names

var holdName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// holds are those of the plan, and others that an instance says it keeps mail by.
func (s *relay) holds() []v1alpha1.HoldStatus {
	kept := map[string]int32{}
	if s.Plan != nil {
		for i := range s.Plan.Holds {
			kept[s.Plan.Holds[i].Name] = 0
		}
	}
	for _, i := range s.states {
		if i.Report == nil {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(i.Report.Queue.HeldBy)) {
			n := i.Report.Queue.HeldBy[name]
			if _, known := kept[name]; !known && (n <= 0 || len(kept) >= maxHolds || !holdName.MatchString(name)) {
				continue // an instance may say what it likes
			}
			kept[name] += int32(min(max(n, 0), 1<<20)) //nolint:gosec // bounded here
		}
	}
	var out []v1alpha1.HoldStatus
	for name, n := range kept {
		out = append(out, v1alpha1.HoldStatus{Name: name, Messages: n})
	}
	slices.SortFunc(out, func(a, b v1alpha1.HoldStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}
