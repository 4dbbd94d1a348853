package queue

import (
	"iter"
	"strings"

	"mailweir/mail"
)

// List yields the messages that f selects, oldest first. It reads them a few
// at a time and holds no lock while the caller has one: what arrives or leaves
// meanwhile may or may not be seen, and a caller may take its time.
func (q *Queue) List(f Filter) iter.Seq[Item] {
	return pages(q, f, func(e *entry) (Item, bool) {
		it, ok := q.item(e)
		return it, ok && f.selects(&it)
	})
}

// IDs is List for who wants to know no more. It reads messages only when the
// filter must.
func (q *Queue) IDs(f Filter) iter.Seq[mail.ID] {
	return pages(q, f, func(e *entry) (mail.ID, bool) {
		if !f.reads() {
			return e.id, true
		}
		it, ok := q.item(e)
		return it.ID, ok && f.selects(&it)
	})
}

// pageSize is how much is collected before the caller gets it.
const pageSize = 64

// breath is how many messages are described before others get the lock.
const breath = 8

// pages yields what of makes of the messages that match, a page at a time.
func pages[T any](q *Queue, f Filter, of func(*entry) (T, bool)) iter.Seq[T] {
	return func(yield func(T) bool) {
		q.mu.Lock()
		defer q.mu.Unlock()
		m, c := q.matcher(f), q.openCursor()
		defer q.closeCursor(c)
		page := make([]T, 0, pageSize)
		for c.next != nil {
			page = page[:0]
			for steps := 0; c.next != nil && len(page) < cap(page) && steps < walkPortion; steps++ {
				if e := c.step(); m.memory(e) {
					if v, ok := of(e); ok {
						if page = append(page, v); len(page)%breath == 0 {
							q.breathe()
						}
					}
				}
			}
			if !unlocked(q, page, yield) {
				return
			}
		}
	}
}

// unlocked yields a page without the lock.
func unlocked[T any](q *Queue, page []T, yield func(T) bool) bool {
	q.mu.Unlock()
	defer q.mu.Lock() // also when yield panics
	for _, v := range page {
		if !yield(v) {
			return false
		}
	}
	return true
}

// matcher is a filter made ready for many messages.
type matcher struct {
	Filter
	now    int64
	domain string
}

func (q *Queue) matcher(f Filter) *matcher {
	m := &matcher{Filter: f, now: q.nowMilli()}
	if f.Domain != "" {
		m.domain = mail.CanonicalDomain(f.Domain)
	}
	return m
}

// memory decides what memory alone can.
func (m *matcher) memory(e *entry) bool {
	if m.State != "" && e.state() != m.State {
		return false
	}
	if m.OlderThan > 0 && m.now-e.id.Time().UnixMilli() < m.OlderThan.Milliseconds() {
		return false
	}
	if m.domain == "" && m.Dest == "" {
		return true
	}
	for i := range e.rcpts {
		if r := &e.rcpts[i]; r.pending() && m.to(r.dom) {
			return true
		}
	}
	return false
}

// to tells whether mail to d is meant.
func (m *matcher) to(d *domain) bool {
	return (m.domain == "" || d.name == m.domain) && (m.Dest == "" || d.dest != nil && d.dest.name == m.Dest)
}

// NullReverse is Filter.Reverse for DSNs: their reverse-path is empty, and so
// is a filter's that selects any.
const NullReverse mail.Path = "<>"

// reads reports that memory is not enough.
func (f Filter) reads() bool { return f.Reverse != "" || f.Recipient != "" }

// selects decides what needs the message.
func (f *Filter) selects(it *Item) bool {
	switch {
	case f.Reverse == "":
	case f.Reverse == NullReverse:
		if !it.ReversePath.IsNull() {
			return false
		}
	case !strings.EqualFold(string(f.Reverse), string(it.ReversePath)):
		return false
	}
	if f.Recipient == "" {
		return true
	}
	for i := range it.Recipients {
		if f.meant(&it.Recipients[i]) {
			return true
		}
	}
	return false
}

func (f *Filter) meant(r *ItemRecipient) bool {
	return r.State == Pending && (f.Recipient == "" || strings.EqualFold(string(r.Address), string(f.Recipient)))
}
