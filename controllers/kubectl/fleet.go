package kubectl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/printerrelay/printer-relay/relay/admin"
	"github.com/printerrelay/printer-relay/relay/queue"
)

// fleet is the queues of all instances of a relay as one. Queue IDs are unique over
// instances.
type fleet []instance

// queue opens the queue of the relay that the flags name.
func (f *flags) queue(cmd *cobra.Command, do func(admin.Queue) error) error {
	all, err := f.reach(cmd)
	if err != nil {
		return err
	}
	return do(fleet(all))
}

// test opens the first instance: a test is of one of them.
func (f *flags) test(cmd *cobra.Command, do func(admin.Trier) error) error {
	all, err := f.reach(cmd)
	if err != nil {
		return err
	}
	return do(all[0])
}

// reach connects to all instances of one relay, and tells them who asks.
func (f *flags) reach(cmd *cobra.Command) ([]instance, error) {
	c, err := f.introduce(cmd)
	if err != nil {
		return nil, err
	}
	ctx := cmd.Context()
	relay, err := c.theRelay(ctx)
	if err != nil {
		return nil, err
	}
	return c.instances(ctx, relay)
}

// introduce connects, and has the command's context tell who asks.
func (f *flags) introduce(cmd *cobra.Command) (*cluster, error) {
	c, err := f.connect()
	if err != nil {
		return nil, err
	}
	ctx := cmd.Context()
	p := queue.PersonOf(ctx)
	if name := c.who(ctx); name != "" {
		p.Name = name
	}
	cmd.SetContext(queue.WithPerson(ctx, p))
	return c, nil
}

// each asks every instance; the errors name them.
func (f fleet) each(do func(instance) error) error {
	var errs []error
	for _, i := range f {
		if err := do(i); err != nil {
			errs = append(errs, fmt.Errorf("instance %s: %w", i.name, err))
		}
	}
	return errors.Join(errs...)
}

// ListAll gives all messages of a filter.
func (f fleet) ListAll(s queue.Filter) ([]queue.Summary, error) {
	out := []queue.Summary{}
	if len(s.IDs) > 0 {
		by, err := f.owners(s.IDs)
		if err != nil {
			return nil, err
		}
		return out, f.each(func(i instance) error {
			if len(by[i.name]) == 0 {
				return nil
			}
			mine := s
			mine.IDs = by[i.name]
			all, err := i.ListAll(mine)
			out = append(out, all...)
			return err
		})
	}
	err := f.each(func(i instance) error {
		all, err := i.ListAll(s)
		out = append(out, all...)
		return err
	})
	slices.SortFunc(out, func(a, b queue.Summary) int { return strings.Compare(a.ID, b.ID) })
	return out, err
}

// List implements admin.Queue, in one page.
func (f fleet) List(s queue.Filter) (queue.Page, error) {
	all, err := f.ListAll(s)
	return queue.Page{Messages: all}, err
}

// owners finds the instance of each queue ID.
func (f fleet) owners(ids []string) (map[string][]string, error) {
	out := map[string][]string{}
	for _, id := range ids {
		i, err := f.owner(id)
		if err != nil {
			return nil, err
		}
		out[i.name] = append(out[i.name], id)
	}
	return out, nil
}

func (f fleet) owner(id string) (instance, error) {
	var errs []error
	for _, i := range f {
		_, err := i.Show(id)
		if err == nil {
			return i, nil
		}
		errs = append(errs, fmt.Errorf("instance %s: %w", i.name, err))
	}
	return instance{}, errors.Join(errs...)
}

// Show implements admin.Queue.
func (f fleet) Show(id string) (queue.Detail, error) {
	i, err := f.owner(id)
	if err != nil {
		return queue.Detail{}, err
	}
	return i.Show(id)
}

// Export implements admin.Queue.
func (f fleet) Export(ctx context.Context, id string) (io.ReadCloser, error) {
	i, err := f.owner(id)
	if err != nil {
		return nil, err
	}
	return i.Export(ctx, id)
}

// verb does the same everywhere, and gathers what was changed and what was kept.
func (f fleet) verb(s queue.Filter, do func(instance, queue.Filter) ([]string, error)) ([]string, error) {
	var by map[string][]string
	if len(s.IDs) > 0 {
		var err error
		if by, err = f.owners(s.IDs); err != nil {
			return nil, err
		}
	}
	var changed []string
	var kept queue.KeptError
	err := f.each(func(i instance) error {
		mine := s
		if by != nil {
			if mine.IDs = by[i.name]; len(mine.IDs) == 0 {
				return nil
			}
		}
		ids, err := do(i, mine)
		changed = append(changed, ids...)
		var k *queue.KeptError
		if errors.As(err, &k) {
			kept.Messages = append(kept.Messages, k.Messages...)
			return nil
		}
		return err
	})
	slices.Sort(changed)
	if err == nil && len(kept.Messages) > 0 {
		err = &kept
	}
	return changed, err
}

// Retry implements admin.Queue.
func (f fleet) Retry(ctx context.Context, s queue.Filter) ([]string, error) {
	return f.verb(s, func(i instance, s queue.Filter) ([]string, error) { return i.Retry(ctx, s) })
}

// Hold implements admin.Queue.
func (f fleet) Hold(ctx context.Context, s queue.Filter, reason string) ([]string, error) {
	return f.verb(s, func(i instance, s queue.Filter) ([]string, error) { return i.Hold(ctx, s, reason) })
}

// Release implements admin.Queue.
func (f fleet) Release(ctx context.Context, s queue.Filter) ([]string, error) {
	return f.verb(s, func(i instance, s queue.Filter) ([]string, error) { return i.Release(ctx, s) })
}

// Bounce implements admin.Queue.
func (f fleet) Bounce(ctx context.Context, s queue.Filter, reason string) ([]string, error) {
	return f.verb(s, func(i instance, s queue.Filter) ([]string, error) { return i.Bounce(ctx, s, reason) })
}

// Reroute implements admin.Queue.
func (f fleet) Reroute(ctx context.Context, s queue.Filter, to string) ([]string, error) {
	return f.verb(s, func(i instance, s queue.Filter) ([]string, error) { return i.Reroute(ctx, s, to) })
}

// Remove implements admin.Queue.
func (f fleet) Remove(ctx context.Context, s queue.Filter) ([]string, error) {
	return f.verb(s, func(i instance, s queue.Filter) ([]string, error) { return i.Remove(ctx, s) })
}
