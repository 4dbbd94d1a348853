package queue

import "time"

// Schedule says when a deferred recipient is tried again: First after the
// first attempt, then twice as long each time, up to Max.
type Schedule struct {
	First  time.Duration
	Max    time.Duration
	Jitter float64 // 0.2: each delay is spread evenly over ±20 %
}

// Delay is the time between attempt number attempts and the next one. r in
// [0,1) decides where in the jitter it falls: messages that failed together
// must not come back together.
func (s Schedule) Delay(attempts int, r float64) time.Duration {
	d := s.First
	for i := 1; i < attempts && d < s.Max; i++ {
		d *= 2
	}
	d = min(d, s.Max)
	return time.Duration(float64(d) * (1 + s.Jitter*(2*r-1)))
}

// next is the moment of the next attempt. The last one is made when the
// message expires, so that expiry is always decided by an attempt and not by
// a clock alone.
func (s Schedule) next(now, expires time.Time, attempts int, r float64) time.Time {
	t := now.Add(s.Delay(attempts, r))
	if t.After(expires) && now.Before(expires) {
		return expires
	}
	return t
}
