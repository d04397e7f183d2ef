// Package share divides what there is only so much of among clients: places,
// memory, octets of the spool. One rule serves all of them: a client may take
// more while what it has is less than three times what is left to everybody.
//
// So one client alone gets three quarters, four greedy ones twelve thirteenths
// between them, and there is always something left for whoever has little. No
// figure has to be set, and no client has to be known beforehand.
//
// It imports the standard library only.
package share

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// factor is how many times what is left a client may have.
const factor = 3

// ErrFull says that a client cannot have more now: there is nothing left, or
// what is left is for those who have less.
var ErrFull = errors.New("the client has its share")

// May tells whether a client that has so much may take want of what is left.
// With nothing it may take all that is left.
func May(have, want, left int64) bool { return want <= left && have < factor*left }

// Pool is something that is shared. It is safe for concurrent use.
type Pool struct {
	room func() int64 // what is left beside what Take gave

	mu      sync.Mutex
	clients map[string]int64 // what each has, held and taken
	taken   int64            // of all of them
	waiting []*waiter        // in the order in which they came
}

type waiter struct {
	client string
	want   int64
	got    chan struct{} // closed when it has it
}

// New makes a pool. room gives what is left of it, without what Take gave and
// Give did not take back; it is called with the pool locked and must not wait.
func New(room func() int64) *Pool { return &Pool{room: room, clients: map[string]int64{}} }

// Left is what nobody has.
func (p *Pool) Left() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left()
}

func (p *Pool) left() int64 { return max(p.room()-p.taken, 0) }

// Has is what a client has.
func (p *Pool) Has(client string) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients[client]
}

// May tells whether client could take n now.
func (p *Pool) May(client string, n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return May(p.clients[client], n, p.left())
}

// Take gives client n of it; Give must follow. Where there is no room it waits
// until ctx ends, and gives ErrFull then. Of those who wait, who has least comes
// first.
func (p *Pool) Take(ctx context.Context, client string, n int64) error {
	p.mu.Lock()
	if May(p.clients[client], n, p.left()) {
		p.add(client, n)
		p.taken += n
		p.mu.Unlock()
		return nil
	}
	w := &waiter{client: client, want: n, got: make(chan struct{})}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	select {
	case <-w.got:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, w)
	if i < 0 { // it was given meanwhile
		return nil
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	return ErrFull
}

// Give takes back what Take gave.
func (p *Pool) Give(client string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken -= n
	p.add(client, -n)
	p.serve()
}

// Hold counts n against client that room knows of already: what it left in a
// store. Drop is the reverse.
func (p *Pool) Hold(client string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(client, n)
}

// Drop takes back what Hold counted.
func (p *Pool) Drop(client string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(client, -n)
	p.serve()
}

func (p *Pool) add(client string, n int64) {
	if p.clients[client] += n; p.clients[client] == 0 {
		delete(p.clients, client) // who has nothing takes no memory
	}
}

// serve gives those who wait what can be had now.
func (p *Pool) serve() {
	for len(p.waiting) > 0 {
		next := -1
		for i, w := range p.waiting {
			if May(p.clients[w.client], w.want, p.left()) && (next < 0 || p.clients[w.client] < p.clients[p.waiting[next].client]) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := p.waiting[next]
		p.waiting = slices.Delete(p.waiting, next, next+1)
		p.add(w.client, w.want)
		p.taken += w.want
		close(w.got)
	}
}
