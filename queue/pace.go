package queue

import "sync"

// pace lets the maker write the zeros of the next segment between the commits of
// the writer, not against them: a commit that finds a megabyte of somebody else
// in the disk's queue takes ten times as long. Where there is no time between
// commits the maker gets on as the writer does, so that the next segment is made
// when three quarters of the active one are full.
type pace struct {
	mu     sync.Mutex
	calm   sync.Cond
	urgent int     // commits under way: one inside the other after a failure
	full   float64 // of the active segment, 0 to 1
}

func (p *pace) init() { p.calm.L = &p.mu }

func (p *pace) begin() { p.resume(1) }

// end ends a commit that filled the active segment so far.
func (p *pace) end(full float64) {
	p.mu.Lock()
	p.urgent--
	p.full = full
	p.calm.Broadcast()
	p.mu.Unlock()
}

// pause says that the writer itself waits for the maker. It returns what to
// resume with.
func (p *pace) pause() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.urgent
	p.urgent = 0
	p.calm.Broadcast()
	return n
}

func (p *pace) resume(n int) {
	p.mu.Lock()
	p.urgent += n
	p.mu.Unlock()
}

// wait returns when it is the turn of who has made so much, 0 to 1, of the next
// segment.
func (p *pace) wait(made float64) {
	p.mu.Lock()
	for p.urgent > 0 && made*3 > p.full*4 {
		p.calm.Wait()
	}
	p.mu.Unlock()
}
