package queue

import (
	"time"

	"github.com/printerrelay/printer-relay/relay/remedy"
	"github.com/printerrelay/printer-relay/relay/upstream"
)

// lostText is why recipients fail whose message the spool has no more: it was on stable
// storage, and something other than the relay took it away. Nobody can send it again.
const lostText = "the relay has no copy of it any more: its entry is gone from the folder of the spool"

var lostAdvice = remedy.Advice{
	Cause:  "the scan is lost: something other than the relay removed it from the relay's volume",
	Remedy: "scan it again; then find what removes or replaces files in the spool's folder: a clean-up job, a volume that was restored, or that something else uses",
}

// lose fails the recipients that wait for an attempt, since the spool has nothing of it
// any more, and lets it go when whoever is to hear of it was told: that is the last that
// is known of it, and it is in memory only. What is being tried may be accepted still.
// It wants q.mu held and it locked.
func (q *Queue) lose(it *item) {
	q.withdraw(it)
	st := &step{rec: &record{At: time.Now(), Event: evLost}}
	for i := range it.rcpts {
		if x := &it.rcpts[i]; x.status == waiting && !x.busy {
			st.add(i, result{Scope: upstream.ScopeMessage, Text: lostText, Status: failed})
		}
	}
	if len(st.rec.Results) > 0 {
		q.loseRecipients(it, st)
	}
	if t := it.ticket; t != nil && t.undecided && it.trying == 0 {
		t.undecided = false
		t.announce(Queued)
	}
	if it.trying == 0 && !it.hasFailed() {
		q.drop(it)
	}
}

func (q *Queue) loseRecipients(it *item, st *step) {
	m := it.msg
	it.lost, it.held, it.unkept = true, "", false
	q.log.Error("a scan is lost: its entry is gone from the spool, and the relay did not remove it",
		"id", m.ID, "client", m.Client.text(), "user", m.Client.User, "sender", m.ShownSender(), "arrived", m.Arrived,
		"recipients", len(st.rec.Results[0].Rcpts), "remedy", lostAdvice.Remedy)
	if q.o.Metrics != nil {
		q.o.Metrics.SpoolCorrupt.Inc()
	}
	q.settle(it, st, 0)
	q.tellOutcome(m, st.rec, nil, 0)
}

// settle makes st, which is written, count, and tells of it: who watches, and by the
// notification that was made for it. It wants q.mu held and it locked.
func (q *Queue) settle(it *item, st *step, took time.Duration) {
	q.commit(it, st)
	q.witness(it, st, took)
	q.letGo(st.posted)
	if st.lost {
		q.lose(it)
	}
}
