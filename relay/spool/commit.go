package spool

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// errNotTrusted fails what was written before a sync failed and not yet synced
// itself. The kernel tells of a write that failed once, to whoever syncs next,
// and counts the page as clean from then on: the next sync would succeed,
// whatever the disk holds.
var errNotTrusted = errors.New("a sync failed while it was being written")

// wholeVolumeFrom is the number of waiting files from which one syncfs of the
// volume costs less than a sync of each (measured: docs/performance.md).
const wholeVolumeFrom = 2

// committer makes files and the names in one folder durable, for all who wait
// at a time with as few syncs as can be: while one batch is being synced the
// next gathers. One goroutine owns it, from newCommitter to close.
type committer struct {
	dir      *os.File           // held open from the start: errors since then are reported through it
	volume   bool               // syncfs may be used
	do       func(*batch) error // sync; tests have it fail
	failures atomic.Uint64      // syncs that failed

	mu     sync.Mutex
	batch  *batch
	kick   chan struct{} // holds one: the batch has somebody in it
	closed bool
	stop   chan struct{}
	done   chan struct{}
}

type batch struct {
	files  []*os.File
	names  bool // the folder changed
	done   chan struct{}
	err    error
	before uint64 // syncs that had failed when this one began
}

func newBatch() *batch { return &batch{done: make(chan struct{})} }

func newCommitter(dir string, volume bool) (*committer, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	c := &committer{dir: d, volume: volume && canSyncVolume, batch: newBatch(), kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	c.do = c.sync
	go c.run()
	return c, nil
}

// mark is taken before the first write of what is to be made durable, and given
// to wait or data behind the last.
func (c *committer) mark() uint64 { return c.failures.Load() }

// wait returns when f (nil: none) and the names in the folder are durable.
func (c *committer) wait(f *os.File, mark uint64) error { return c.join(f, true, mark) }

// data returns when the data of f are durable; its name is already.
func (c *committer) data(f *os.File, mark uint64) error { return c.join(f, false, mark) }

func (c *committer) join(f *os.File, names bool, mark uint64) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	b := c.batch
	if f != nil && !slices.Contains(b.files, f) {
		b.files = append(b.files, f)
	}
	b.names = b.names || names
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
	<-b.done
	if b.err == nil && b.before != mark {
		return errNotTrusted
	}
	return b.err
}

func (c *committer) run() {
	defer close(c.done)
	for {
		select {
		case <-c.kick:
			c.serve()
		case <-c.stop:
			c.serve() // who joined before close
			return
		}
	}
}

func (c *committer) serve() {
	c.mu.Lock()
	b := c.batch
	c.batch = newBatch()
	c.mu.Unlock()
	b.before = c.failures.Load()
	if b.err = c.do(b); b.err != nil {
		c.failures.Add(1)
	}
	close(b.done)
}

func (c *committer) sync(b *batch) error {
	if len(b.files) == 0 && !b.names {
		return nil
	}
	if c.volume && len(b.files) >= wholeVolumeFrom {
		return syncVolume(c.dir)
	}
	errs := make([]error, len(b.files))
	if len(b.files) == 1 {
		errs[0] = syncData(b.files[0])
	} else {
		var wg sync.WaitGroup
		for i, f := range b.files { // at once: the file system joins them in one journal commit
			wg.Go(func() { errs[i] = syncData(f) })
		}
		wg.Wait()
	}
	if err := errors.Join(errs...); err != nil || !b.names {
		return err
	}
	return c.dir.Sync()
}

// close syncs what waits, ends the goroutine and refuses what comes later.
func (c *committer) close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.mu.Unlock()
	close(c.stop)
	<-c.done
	c.dir.Close()
}
