package kubectl

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/relay/envelope"
)

// subjects are what can be suspended.
var subjects = []string{"relay", "upstream", "domain", "device", "login"}

func (f *flags) suspend() *cobra.Command {
	var reason string
	var refuse bool
	var wait time.Duration
	c := &cobra.Command{
		Use:   "suspend relay|upstream|domain|device|login NAME --reason WHY",
		Short: "Stop mail of a relay, an upstream, a sender domain, a device or a login: it is held, not lost",
		Long: `Changes one field: intake of a PrinterRelay, suspend of a MailUpstream, or holds of
the PrinterRelay that --relay names. What is held stays until it is released; see
docs/holds.md. Then it waits until every instance has it, and says so; exit status 1
if one does not in time. A tool that keeps manifests as they are in Git (Flux, Argo CD) would
undo it: a warning says so, and then change it there.`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: f.subjects, PreRunE: f.knownOutput,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case reason == "":
				return errors.New("--reason: say why; it is shown with each message that is held")
			case refuse && args[0] != "relay":
				return fmt.Errorf("--refuse: new mail of a %s is held, or waits: only what a relay takes in can be refused", args[0])
			}
			var s suspension
			done, err := f.change(cmd, args[0], args[1], func(_ *cluster, who string, o client.Object) (err error) {
				s, err = suspended(o, args[0], args[1], reason+" ("+who+", "+time.Now().UTC().Format("2006-01-02 15:04")+" UTC)", refuse)
				return err
			})
			if err != nil {
				return err
			}
			instances := f.concerned(cmd, args[0], args[1], wait)
			n, err := inForce(cmd.Context(), instances, s, patience{wait, endLook}, newProgress(cmd.ErrOrStderr()))
			if len(instances) > 0 {
				done.InForce = &n
			}
			out := cmd.OutOrStdout()
			return errors.Join(f.print(out, done, func(bool) (err error) {
				if done.InForce != nil {
					_, err = fmt.Fprintf(out, "in force: %d of %d instances\n", n, len(instances))
				}
				return err
			}), err)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why (required)")
	c.Flags().BoolVar(&refuse, "refuse", false, "of a relay: refuse new mail (421) in place of holding it")
	c.Flags().DurationVar(&wait, "wait", forceTime, "how long to wait until every instance has it; 0: not at all")
	return c
}

func (f *flags) resume() *cobra.Command {
	var release bool
	c := &cobra.Command{
		Use:   "resume relay|upstream|domain|device|login NAME",
		Short: "End a suspension; --release lets what was held go",
		Args:  cobra.ExactArgs(2), ValidArgsFunction: f.subjects, PreRunE: f.knownOutput,
		RunE: func(cmd *cobra.Command, args []string) error {
			if release && args[0] == "upstream" {
				return errors.New("--release: nothing is held for an upstream: what waits for it goes by itself once it is resumed")
			}
			hold := ""
			done, err := f.change(cmd, args[0], args[1], func(_ *cluster, _ string, o client.Object) (err error) {
				hold, err = resumed(o, args[0], args[1])
				return err
			})
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if args[0] == "upstream" {
				return f.print(out, done, nothing)
			}
			what, how := heldByHold(hold), "queue release --held-by "+hold
			if args[0] == "relay" {
				f.relay = args[1]
				what, how = heldByIntake(), "resume relay "+args[1]+" --release"
			}
			if !release {
				done.Next = "kubectl printer-relay " + how
				return f.print(out, done, func(bool) error {
					_, err := fmt.Fprintf(out, "what was held stays held: %s\n", done.Next)
					return err
				})
			}
			instances, err := f.reach(cmd)
			if err != nil {
				return err
			}
			n, err := letGo(cmd.Context(), instances, what, patience{endTime, endLook}, newProgress(cmd.ErrOrStderr()))
			done.Released = &n
			return errors.Join(f.print(out, done, func(bool) error {
				_, err := fmt.Fprintf(out, "%d messages released\n", n)
				return err
			}), err)
		},
	}
	c.Flags().BoolVar(&release, "release", false, "let go what was held, as far as the policy of now allows it")
	return c
}

// changed is what suspend and resume did, for machines.
type changed struct {
	Action   string `json:"action"`             // suspend or resume
	Subject  string `json:"subject"`            // of subjects
	Name     string `json:"name"`               // of the subject
	Object   string `json:"object"`             // namespace/name of what was changed
	Next     string `json:"next,omitempty"`     // the command that lets go what stays held
	Released *int   `json:"released,omitempty"` // messages
	InForce  *int   `json:"inForce,omitempty"`  // instances that have what was suspended; null: they were not asked
}

// nothing is left to say to people.
func nothing(bool) error { return nil }

// knownOutput is an error where --output is none that is printed: before anything changes.
func (f *flags) knownOutput(*cobra.Command, []string) error {
	return f.print(io.Discard, nil, nothing)
}

// change changes the object that a subject stands for, unless somebody else did
// meanwhile: then once more on what they made of it. It tells people at once.
func (f *flags) change(cmd *cobra.Command, subject, name string, do func(c *cluster, who string, o client.Object) error) (*changed, error) {
	c, err := f.connect()
	if err != nil {
		return nil, err
	}
	ctx := cmd.Context()
	who := c.who(ctx)
	done := &changed{Action: cmd.Name(), Subject: subject, Name: name}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		o, err := c.object(ctx, subject, name)
		if err != nil {
			return err
		}
		before := o.DeepCopyObject().(client.Object)
		if err := do(c, who, o); err != nil {
			return err
		}
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		if err := c.client.Patch(ctx, o, patch, client.FieldOwner("kubectl-printer-relay")); err != nil {
			return err
		}
		if by := keeper(o); by != "" {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s applies this object, and will undo the change: make it there too\n", by)
		}
		done.Object = o.GetNamespace() + "/" + o.GetName()
		return nil
	})
	if err == nil && f.output != "json" && f.output != "yaml" {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s: changed %s\n", done.Action, subject, done.Object)
	}
	return done, err
}

// object is what holds the field of a subject.
func (c *cluster) object(ctx context.Context, subject, name string) (client.Object, error) {
	key := client.ObjectKey{Namespace: c.namespace, Name: name}
	switch subject {
	case "relay":
		o := &v1alpha1.PrinterRelay{}
		return o, c.client.Get(ctx, key, o)
	case "upstream":
		o := &v1alpha1.MailUpstream{}
		return o, c.client.Get(ctx, key, o)
	case "domain", "device", "login":
		o, err := c.theRelay(ctx)
		return o, err
	}
	return nil, fmt.Errorf("%q cannot be suspended: name one of %s", subject, strings.Join(subjects, ", "))
}

// keepers apply what stands in Git.
var keepers = []string{"kustomize-controller", "helm-controller", "argocd-controller", "argocd-application-controller"}

// keeper names who would undo a change of an object by hand; empty: nobody is known.
func keeper(o client.Object) string {
	for _, m := range o.GetManagedFields() {
		if m.Subresource == "" && slices.Contains(keepers, m.Manager) {
			return m.Manager
		}
	}
	return ""
}

var noLabel = regexp.MustCompile(`[^a-z0-9]+`)

// holdNames are those that the hold on a subject may have: one that people read
// easily, and where another subject's has that, as mfp.1 and mfp-1 would, one that
// tells them apart.
func holdNames(subject, name string) (short, long string) {
	s := subject + "-" + noLabel.ReplaceAllString(strings.ToLower(name), "-")
	short = strings.Trim(s[:min(len(s), 63)], "-")
	sum := sha256.Sum256([]byte(subject + " " + name))
	return short, fmt.Sprintf("%s-%x", strings.TrimRight(short[:min(len(short), 54)], "-"), sum[:4])
}

// holdOn is the hold on a subject, and where it stands among those of a relay; below
// 0: it does not, and the name is one that is free.
func holdOn(r *v1alpha1.PrinterRelay, subject, name string) (h v1alpha1.Hold, at int, err error) {
	switch subject {
	case "device":
		n, err := networkOf(name)
		if err != nil {
			return h, -1, err
		}
		h.ClientNetworks = []v1alpha1.CIDR{v1alpha1.CIDR(n)}
	case "login":
		h.Users = []string{name}
	case "domain":
		h.Senders = []v1alpha1.AddressPattern{v1alpha1.AddressPattern("*@" + strings.TrimPrefix(name, "*@"))}
	}
	short, long := holdNames(subject, name)
	named := func(name string) int {
		return slices.IndexFunc(r.Spec.Holds, func(x v1alpha1.Hold) bool { return x.Name == name })
	}
	for _, h.Name = range []string{short, long} {
		at = named(h.Name)
		if at < 0 {
			continue
		}
		if x := &r.Spec.Holds[at]; slices.Equal(x.ClientNetworks, h.ClientNetworks) && slices.Equal(x.Users, h.Users) && slices.Equal(x.Senders, h.Senders) {
			return h, at, nil
		}
	}
	if h.Name = short; named(short) >= 0 {
		h.Name = long
	}
	return h, -1, nil
}

// suspended changes the object as the subject asks, and gives what that is where it runs.
func suspended(o client.Object, subject, name, reason string, refuse bool) (suspension, error) {
	if u, ok := o.(*v1alpha1.MailUpstream); ok {
		u.Spec.Suspend = true
		annotate(u, reason)
		return stopsUpstream(name), nil
	}
	r := o.(*v1alpha1.PrinterRelay)
	if subject == "relay" {
		r.Spec.Intake = v1alpha1.IntakeHold
		if refuse {
			r.Spec.Intake = v1alpha1.IntakeRefuse
		}
		annotate(r, reason)
		return stopsIntake(refuse), nil
	}
	h, at, err := holdOn(r, subject, name)
	if err != nil {
		return suspension{}, err
	}
	if h.Reason = reason[:min(len(reason), 200)]; at < 0 {
		r.Spec.Holds = append(r.Spec.Holds, h)
	} else {
		r.Spec.Holds[at] = h
	}
	return heldByHold(h.Name), nil
}

// resumed takes back what suspended did, and gives the name of the hold, if that was one.
func resumed(o client.Object, subject, name string) (hold string, err error) {
	if u, ok := o.(*v1alpha1.MailUpstream); ok {
		u.Spec.Suspend = false
		annotate(u, "")
		return "", nil
	}
	r := o.(*v1alpha1.PrinterRelay)
	if subject == "relay" {
		r.Spec.Intake = v1alpha1.IntakeAccept
		annotate(r, "")
		return "", nil
	}
	h, at, err := holdOn(r, subject, name)
	if err != nil {
		return "", err
	}
	if at < 0 {
		short, _ := holdNames(subject, name)
		return "", fmt.Errorf("PrinterRelay %s/%s has no hold %q for that alone: spec.holds names those that it has", r.Namespace, r.Name, short)
	}
	r.Spec.Holds = slices.Delete(slices.Clone(r.Spec.Holds), at, at+1)
	return h.Name, nil
}

// annotate says why and by whom an object is suspended.
func annotate(o client.Object, reason string) {
	a := o.GetAnnotations()
	delete(a, v1alpha1.AnnotationSuspended)
	if reason != "" {
		if a == nil {
			a = map[string]string{}
		}
		a[v1alpha1.AnnotationSuspended] = reason
	}
	o.SetAnnotations(a)
}

// networkOf is a device's address or network as a network: of an IPv6 address its /64, within which
// the device takes another when it likes.
func networkOf(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return envelope.Device(a).String(), nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked().String(), nil
	}
	return "", fmt.Errorf("device %q: want an address or a network: 10.20.3.7, 10.20.3.0/24", s)
}
