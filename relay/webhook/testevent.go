package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/printerrelay/printer-relay/relay/plan"
)

// Tested is what came of a test event.
type Tested struct {
	Webhook  string `json:"webhook"`
	Instance string `json:"instance,omitempty"` // that told it
	OK       bool   `json:"ok"`
	Host     string `json:"host,omitempty"`
	ID       string `json:"id"`              // webhook-id of the request
	Reply    *Reply `json:"reply,omitempty"` // none: there was none
	Took     int64  `json:"tookMilliseconds"`
	Relay    string `json:"relay"`             // namespace/name of the PrinterRelay
	Field    string `json:"field,omitempty"`   // of its spec that Problem is about
	Problem  string `json:"problem,omitempty"` // why it was not taken
	Remedy   string `json:"remedy,omitempty"`  // what to do about it
}

var errTesting = errors.New("a test of the webhooks is under way: wait until it has ended, half a minute at most")

// Test tells a webhook, or all of them where name is empty, that somebody tries whether
// they are told: at once, beside what waits, and once. One that takes it is told what
// waits without further delay, also where it wanted no more (410).
func (h *Hooks) Test(ctx context.Context, name string) ([]Tested, error) {
	which, err := h.named(name)
	if err != nil {
		return nil, err
	}
	if !h.testing.TryLock() {
		return nil, errTesting
	}
	defer h.testing.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	out := make([]Tested, len(which))
	var wg sync.WaitGroup
	for i, k := range which {
		wg.Go(func() { out[i] = k.test(ctx) })
	}
	wg.Wait()
	return out, nil
}

func (h *hook) test(ctx context.Context) Tested {
	ctx, cancel := context.WithTimeout(ctx, h.o.pace.request)
	defer cancel()
	c, began := h.config.Load(), time.Now()
	d := delivery{ID: newRequestID(), Body: mustJSON(&Payload{
		Type: plan.EventTest, Timestamp: began.UTC(), Data: Data{Relay: h.o.Relay, Instance: h.o.Instance, Messages: []Message{}},
	})}
	r := h.send(ctx, c, &d)
	t := Tested{
		Webhook: h.name, Instance: h.o.Instance, OK: r.kind == taken, Host: r.host, ID: d.ID, Reply: r.reply,
		Took: time.Since(began).Milliseconds(), Relay: h.o.Relay, Problem: r.problem, Remedy: r.remedy,
	}
	if t.Remedy == passes {
		t.Remedy = "see why it answers so, or tell who runs it; what waits is tried again by itself"
	}
	if r.field != "" {
		t.Field = fmt.Sprintf("spec.webhooks[%d].%s", c.place, r.field)
	}
	if t.OK {
		h.ask(ctx, func() { h.proven(r.address) }) //nolint:errcheck // then nothing waits any more
	}
	return t
}

// proven is what follows from a request that was made beside run and taken at an
// address: what waits for it is told now.
func (h *hook) proven(address string) {
	if h.elsewhere(&result{address: address}) {
		return
	}
	h.dirty = h.dirty || h.box.Gone != ""
	h.box.Gone = ""
	h.wait, h.next = 0, time.Time{}
	h.says("", "")
	h.publish()
}

func newRequestID() string { return "msg_" + rand.Text() }
