package ses

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sesv2"
)

// account is what GetAccount told of the sending rate.
type account struct {
	rate atomic.Uint64 // float64

	mu      sync.Mutex
	asked   time.Time // zero: never
	fast    bool      // SES said that we are too fast since
	running bool
}

// How old the rate may be: SES raises it as an account gets known, and lowers it
// for bounces.
const (
	rateAge     = time.Hour
	rateAgeFast = time.Minute // where it turned out to be wrong
	rateWait    = 5 * time.Second
)

// perSecond is the account's sending rate; 0: not known.
func (a *account) perSecond() float64 { return math.Float64frombits(a.rate.Load()) }

// tooFast notes that SES throttled.
func (a *account) tooFast() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fast = true
}

// due tells whether the caller is the one to ask now.
func (a *account) due(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	age := now.Sub(a.asked)
	if a.running || !a.asked.IsZero() && age < rateAge && !(a.fast && age >= rateAgeFast) {
		return false
	}
	a.running, a.fast, a.asked = true, false, now
	return true
}

// refresh asks for the rate if it is time. A credential that may only send is
// not told, and then nothing is known.
func (a *account) refresh(ctx context.Context, t *Transport, cred aws.Credentials) {
	if !a.due(time.Now()) {
		return
	}
	defer func() {
		a.mu.Lock()
		a.running = false
		a.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, rateWait)
	defer cancel()
	x := &exchange{http: t.http}
	if out, err := t.api.GetAccount(ctx, &sesv2.GetAccountInput{}, x.options(cred)...); err == nil {
		a.learn(out)
	}
}

func (a *account) learn(out *sesv2.GetAccountOutput) {
	if q := out.SendQuota; q != nil && q.MaxSendRate > 0 {
		a.rate.Store(math.Float64bits(q.MaxSendRate))
	}
}
