package controllers

import "context"

// places for work bound how many looks at relays work at once, with the API server's
// answers in memory and more questions for it. A look gives its place up while it waits
// for the relay's instances.
type places chan struct{}

// enterWork waits for a place.
func (p *pass) enterWork(ctx context.Context) error {
	select {
	case p.work <- struct{}{}:
		p.working = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leaveWork gives the place up, if the look has one.
func (p *pass) leaveWork() {
	if p.working {
		p.working = false
		<-p.work
	}
}
