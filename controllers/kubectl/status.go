package kubectl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
)

// report is what `status` says, for machines.
type report struct {
	Relays    []v1alpha1.PrinterRelay `json:"relays"`
	Upstreams []v1alpha1.MailUpstream `json:"upstreams"`
	Policies  []v1alpha1.SenderPolicy `json:"policies"`
	Problems  []problem               `json:"problems"`
}

// problem is a condition that is not as it should be. Its message says what to do.
type problem struct {
	Object    string `json:"object"` // PrinterRelay printers/office
	Condition string `json:"condition"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

func (f *flags) status() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "status", Short: "Relays, their instances, listeners, upstreams and queues, and what is to be mended", Args: cobra.NoArgs,
		Long: `Reads the kinds and what the operator says of them: the right to view them is enough.
Exit status 1 if something is not as it should be; what to do stands with it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.connect()
			if err != nil {
				return err
			}
			if all {
				c.namespace = ""
			}
			r, err := c.report(cmd.Context())
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if err := f.print(out, r, func(wide bool) error { return r.write(out, wide) }); err != nil {
				return err
			}
			if len(r.Problems) > 0 {
				return f.said
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&all, "all-namespaces", "A", false, "of all namespaces")
	return c
}

func (c *cluster) report(ctx context.Context) (*report, error) {
	var relays v1alpha1.PrinterRelayList
	var upstreams v1alpha1.MailUpstreamList
	var policies v1alpha1.SenderPolicyList
	for _, l := range []client.ObjectList{&relays, &upstreams, &policies} {
		if err := c.client.List(ctx, l, client.InNamespace(c.namespace)); err != nil {
			return nil, err
		}
	}
	r := &report{Relays: relays.Items, Upstreams: upstreams.Items, Policies: policies.Items, Problems: []problem{}}
	for i := range r.Relays {
		r.problems("PrinterRelay", &r.Relays[i], r.Relays[i].Status.Conditions)
	}
	for i := range r.Upstreams {
		r.problems("MailUpstream", &r.Upstreams[i], r.Upstreams[i].Status.Conditions)
	}
	for i := range r.Policies {
		r.problems("SenderPolicy", &r.Policies[i], r.Policies[i].Status.Conditions)
	}
	return r, nil
}

// problems notes the conditions of an object that are not as they should be. Ready
// repeats the others: it is left out where one of them says more.
func (r *report) problems(kind string, o client.Object, all []metav1.Condition) {
	object := kind + " " + o.GetNamespace() + "/" + o.GetName()
	var found []problem
	for _, c := range all {
		bad := c.Status == metav1.ConditionFalse
		switch c.Type {
		case v1alpha1.ConditionHolding, v1alpha1.ConditionStalled: // while True
			bad = c.Status == metav1.ConditionTrue
		case v1alpha1.ConditionReconciling:
			bad = false
		}
		if bad {
			found = append(found, problem{object, c.Type, c.Reason, line(c.Message)})
		}
	}
	if len(all) == 0 {
		found = append(found, problem{object, v1alpha1.ConditionReady, v1alpha1.ReasonUnknown, "the operator has not looked at it: see that it runs (kubectl get pods -A -l app.kubernetes.io/name=printer-relay)"})
	}
	if len(found) > 1 {
		found = slices.DeleteFunc(found, func(p problem) bool {
			return p.Condition == v1alpha1.ConditionReady && slices.ContainsFunc(found, func(q problem) bool { return q.Condition != p.Condition && q.Message == p.Message })
		})
	}
	r.Problems = append(r.Problems, found...)
}

func (r *report) write(out io.Writer, wide bool) error {
	p := PainterFor(out)
	if len(r.Relays)+len(r.Upstreams) == 0 {
		fmt.Fprintln(out, "no PrinterRelay and no MailUpstream: choose another namespace with -n, or -A for all")
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "RELAY\tREADY\tADDRESS\tINSTANCES\tWAITING\tHELD\tFAILED\tUPSTREAM")
	for i := range r.Relays {
		x := &r.Relays[i]
		s := &x.Status
		q := s.Queue
		if q == nil {
			q = &v1alpha1.QueueStatus{}
		}
		ready := 0
		for _, n := range s.Instances {
			if n.Ready {
				ready++
			}
		}
		fmt.Fprintf(w, "%s/%s\t%s\t%s\t%d/%d\t%d\t%d\t%d\t%s\n", x.Namespace, x.Name, readyOf(s.Conditions), addresses(x), ready, len(s.Instances), q.Messages, q.Held, q.Failed, x.Spec.UpstreamRef.Name)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i := range r.Relays {
		writeInstances(out, &r.Relays[i], wide)
	}
	fmt.Fprintln(out)
	fmt.Fprintln(w, "UPSTREAM\tTYPE\tREADY\tCREDENTIALS\tDNS\tSUSPENDED")
	for i := range r.Upstreams {
		x := &r.Upstreams[i]
		fmt.Fprintf(w, "%s/%s\t%s\t%s\t%s\t%s\t%t\n", x.Namespace, x.Name, x.Spec.Type, readyOf(x.Status.Conditions),
			statusOf(x.Status.Conditions, v1alpha1.ConditionCredentialsValid), statusOf(x.Status.Conditions, v1alpha1.ConditionDNSReady), x.Spec.Suspend)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(r.Problems) == 0 {
		fmt.Fprintln(out, "\n"+p.good("all is well"))
		return nil
	}
	fmt.Fprintln(out)
	for _, x := range r.Problems {
		paint := p.bad
		if x.Condition == v1alpha1.ConditionHolding {
			paint = p.note
		}
		fmt.Fprintf(out, "%s: %s\n    %s\n", x.Object, paint(x.Condition+" ("+x.Reason+")"), x.Message)
	}
	return nil
}

// writeInstances writes what is wrong with instances and listeners, and the holds; all
// of them where it is to be wide.
func writeInstances(out io.Writer, r *v1alpha1.PrinterRelay, wide bool) {
	for _, n := range r.Status.Instances {
		if wide || n.Message != "" {
			fmt.Fprintf(out, "  instance %s: ready %t %s\n", n.Name, n.Ready, line(n.Message))
		}
	}
	for _, l := range r.Status.Listeners {
		if wide || l.Message != "" {
			fmt.Fprintf(out, "  listener %s: open at %d instances %s\n", l.Name, l.Ready, line(l.Message))
		}
	}
	for _, h := range r.Status.Holds {
		fmt.Fprintf(out, "  hold %s: %d messages\n", h.Name, h.Messages)
	}
}

// addresses are those of a relay with the ports that copiers use.
func addresses(r *v1alpha1.PrinterRelay) string {
	var ports []string
	for i := range r.Spec.Listeners {
		ports = append(ports, fmt.Sprint(r.Spec.Listeners[i].Port))
	}
	if len(r.Status.Addresses) == 0 {
		return "none yet"
	}
	return r.Status.Addresses[0].Value + ":" + strings.Join(ports, ",")
}

func readyOf(all []metav1.Condition) string { return statusOf(all, v1alpha1.ConditionReady) }

func statusOf(all []metav1.Condition, kind string) string {
	if c := apimeta.FindStatusCondition(all, kind); c != nil {
		return string(c.Status)
	}
	return "Unknown"
}
