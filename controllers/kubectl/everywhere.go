package kubectl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/api/v1alpha1"
	"github.com/printerrelay/printer-relay/controllers/render"
	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/history"
	"github.com/printerrelay/printer-relay/relay/inventory"
)

// Copiers are the devices that relays have seen.
type Copiers interface {
	AllCopiers(ctx context.Context, f inventory.Filter) ([]inventory.Copier, error)
	Copier(ctx context.Context, a netip.Addr) (inventory.Copier, error)
	ForgetCopier(ctx context.Context, a netip.Addr) error
}

// Bounds of one question to all instances.
const (
	askTime   = 30 * time.Second
	eraseTime = 5 * time.Minute // each writes its whole history anew
	atOnce    = 8
)

// everywhere is all instances of the relays that are meant. One that does not answer is
// not asked again, and what the others say is shown all the same.
type everywhere struct {
	relays    []string // names of those that are meant
	instances []instance
	missing   []missing
	progress  *progress
}

// missing is who did not answer, and why.
type missing struct{ who, why string }

// copiers opens what all instances have seen of devices.
func (f *flags) copiers(cmd *cobra.Command, do func(Copiers) error) error {
	e, err := f.everywhere(cmd)
	if err != nil {
		return err
	}
	return errors.Join(do(e), e.failed())
}

// messages opens the histories of all instances.
func (f *flags) messages(cmd *cobra.Command, do func(admin.Messages) error) error {
	e, err := f.everywhere(cmd)
	if err != nil {
		return err
	}
	return errors.Join(do(e), e.failed())
}

func (f *flags) everywhere(cmd *cobra.Command) (*everywhere, error) {
	c, err := f.introduce(cmd)
	if err != nil {
		return nil, err
	}
	relays, err := c.relays(cmd.Context())
	if err != nil {
		return nil, err
	}
	e := &everywhere{progress: newProgress(cmd.ErrOrStderr())}
	for i := range relays {
		e.relays = append(e.relays, relays[i].Name)
		found, err := c.instances(cmd.Context(), &relays[i])
		if err != nil {
			e.miss("PrinterRelay "+relays[i].Namespace+"/"+relays[i].Name, err)
			continue
		}
		e.instances = append(e.instances, found...)
		e.missPods(&relays[i], found)
	}
	return e, nil
}

// missPods names the instances that are to be and have no Pod that runs.
func (e *everywhere) missPods(r *v1alpha1.PrinterRelay, found []instance) {
	for n := range render.Replicas(r) {
		name := render.InstanceName(r.Name, n)
		if !slices.ContainsFunc(found, func(i instance) bool { return i.name == name }) {
			e.miss("instance "+name, errors.New("its Pod does not run: kubectl printer-relay status says why"))
		}
	}
}

// miss notes who did not answer.
func (e *everywhere) miss(who string, err error) {
	e.missing = append(e.missing, missing{who, strings.TrimPrefix(line(err.Error()), who+" ")})
}

// failed is an error that names who did not answer, those with the same trouble
// together; nil: all did.
func (e *everywhere) failed() error {
	var errs []error
	for i, m := range e.missing {
		if slices.ContainsFunc(e.missing[:i], func(o missing) bool { return o.why == m.why }) {
			continue
		}
		var who []string
		for _, o := range e.missing[i:] {
			if o.why == m.why {
				who = append(who, o.who)
			}
		}
		errs = append(errs, fmt.Errorf("%s: %s", strings.Join(who, ", "), m.why))
	}
	e.missing = nil
	return errors.Join(errs...)
}

// oneRelay keeps what is done, and cannot be undone, from relays that nobody named.
func (e *everywhere) oneRelay(what string) error {
	if len(e.relays) > 1 {
		return fmt.Errorf("%s is of one PrinterRelay: name it with --relay: %s", what, strings.Join(e.relays, ", "))
	}
	return nil
}

// ask puts one question to all instances at once, and gives what they answered in
// their order. Where none did within the time, the error says why.
func ask[T any](ctx context.Context, e *everywhere, within time.Duration, question func(context.Context, instance) (T, error)) ([]T, error) {
	e.progress.say("asking %d instances", len(e.instances))
	defer e.progress.done()
	answers := make([]T, len(e.instances))
	errs := make([]error, len(e.instances))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for n, i := range e.instances {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			answers[n], errs[n] = question(ctx, i)
			if errors.Is(errs[n], context.DeadlineExceeded) {
				errs[n] = fmt.Errorf("no answer within %s", within)
			}
		})
	}
	wg.Wait()
	var out []T
	var left []instance
	for n, i := range e.instances {
		if errs[n] != nil {
			e.miss("instance "+i.name, errs[n])
			continue
		}
		left = append(left, i)
		out = append(out, answers[n])
	}
	e.instances = left
	if len(left) == 0 {
		return nil, e.failed()
	}
	return out, nil
}

// AllCopiers implements Copiers: a device that several instances saw is one.
func (e *everywhere) AllCopiers(ctx context.Context, f inventory.Filter) ([]inventory.Copier, error) {
	lists, err := ask(ctx, e, askTime, func(ctx context.Context, i instance) ([]inventory.Copier, error) {
		all, err := i.Client.AllCopiers(ctx, inventory.Filter{Network: f.Network}) // the rest is for all of them to say
		for n := range all {
			all[n].Instances = []string{i.name}
		}
		return all, err
	})
	if err != nil {
		return nil, err
	}
	return inventory.Together(f, lists...), nil
}

// Copier implements Copiers.
func (e *everywhere) Copier(ctx context.Context, a netip.Addr) (inventory.Copier, error) {
	all, err := e.AllCopiers(ctx, inventory.Filter{Network: netip.PrefixFrom(a, a.BitLen())})
	switch {
	case err != nil:
		return inventory.Copier{}, err
	case len(all) == 0:
		return inventory.Copier{}, fmt.Errorf("%s: %w", a, inventory.ErrNotFound)
	}
	return all[0], nil
}

// ForgetCopier implements Copiers.
func (e *everywhere) ForgetCopier(ctx context.Context, a netip.Addr) error {
	if err := e.oneRelay("to forget"); err != nil {
		return err
	}
	knew, err := ask(ctx, e, askTime, func(ctx context.Context, i instance) (bool, error) {
		err := i.Client.ForgetCopier(ctx, a)
		if notFound(err) {
			return false, nil
		}
		return true, err
	})
	if err == nil && !slices.Contains(knew, true) {
		return fmt.Errorf("%s: %w", a, inventory.ErrNotFound)
	}
	return err
}

// notFound tells whether an instance answered that it has none.
func notFound(err error) bool {
	var status *admin.StatusError
	return errors.As(err, &status) && status.Status == http.StatusNotFound
}

// historyPage is how many entries a page has at most.
const historyPage = 1000

// List implements admin.Messages.
func (e *everywhere) List(ctx context.Context, f history.Filter) (history.Page, error) {
	if f.Limit <= 0 || f.Limit > historyPage {
		f.Limit = historyPage
	}
	pages, err := ask(ctx, e, askTime, func(ctx context.Context, i instance) (history.Page, error) {
		p, err := i.History().List(ctx, f)
		for n := range p.Entries {
			p.Entries[n].Instance = i.name
		}
		return p, err
	})
	if err != nil {
		return history.Page{}, err
	}
	return history.Together(f.Limit, pages...), nil
}

// Show implements admin.Messages. An ID is of one instance: where that tells of it, the others
// are not missed.
func (e *everywhere) Show(ctx context.Context, id string) (history.Detail, error) {
	found, err := ask(ctx, e, askTime, func(ctx context.Context, i instance) (*history.Detail, error) {
		d, err := i.History().Show(ctx, id)
		if notFound(err) {
			return nil, nil //nolint:nilnil // it has none
		}
		d.Instance = i.name
		return &d, err
	})
	if err != nil {
		return history.Detail{}, err
	}
	for _, d := range found {
		if d != nil {
			e.missing = nil
			return *d, nil
		}
	}
	return history.Detail{}, fmt.Errorf("%s: %w", line(id), history.ErrNotFound)
}

// Forget implements admin.Messages: the sum of what all instances erased.
func (e *everywhere) Forget(ctx context.Context, f history.Filter) (int, error) {
	if err := e.oneRelay("to forget"); err != nil {
		return 0, err
	}
	erased, err := ask(ctx, e, eraseTime, func(ctx context.Context, i instance) (int, error) { return i.History().Forget(ctx, f) })
	n := 0
	for _, k := range erased {
		n += k
	}
	return n, err
}
