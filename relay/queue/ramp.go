package queue

// ramp is slow start: how many attempts may run at once at what works again after it
// failed. It begins with the one that showed it; each success allows one more, so
// that the number doubles in the time that an attempt takes; each failure halves it.
// What waited while an upstream was away does not fall upon it at once.
//
// What has not failed since the start has no ramp: its limit is what its owner
// allows, and the first failures make one.
type ramp int

// up is what follows from a success, where limit may run at most.
func (r ramp) up(limit int) ramp { return min(r+1, max(1, ramp(limit))) }

// down is what follows from a failure.
func (r ramp) down() ramp { return max(1, r/2) }
