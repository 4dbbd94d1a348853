package queue

import (
	"cmp"
	"slices"
	"time"
)

// AgeLimits are the upper bounds of all columns of an AgeRow but the last,
// which has none: each is twice the one before.
var AgeLimits = [...]time.Duration{
	5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute,
	160 * time.Minute, 320 * time.Minute, 640 * time.Minute, 1280 * time.Minute,
}

// AgeRow counts the recipients in one domain that wait, by the age of their
// message.
type AgeRow struct {
	Domain string                  `json:"domain"`
	Total  int                     `json:"total"`
	Counts [len(AgeLimits) + 1]int `json:"counts"`
}

func (r *AgeRow) count(age time.Duration) {
	i := 0
	for i < len(AgeLimits) && age >= AgeLimits[i] {
		i++
	}
	r.Total++
	r.Counts[i]++
}

// Total is the Domain of the row that sums the others up. No domain is written
// in capitals.
const Total = "TOTAL"

// Summary counts what f selects, by domain of the recipients and age: who the
// queue is full of, and since when. The sum comes first, then the largest.
func (q *Queue) Summary(f Filter) []AgeRow {
	rows := map[string]*AgeRow{}
	sum := AgeRow{Domain: Total}
	q.mu.Lock()
	m := q.matcher(f)
	q.walk(func(e *entry) bool {
		if !m.memory(e) {
			return true
		}
		meant := q.meant(m, e)
		age := time.Duration(m.now-e.id.Time().UnixMilli()) * time.Millisecond
		for _, name := range meant {
			if rows[name] == nil {
				rows[name] = &AgeRow{Domain: name}
			}
			rows[name].count(age)
			sum.count(age)
		}
		return true
	})
	q.mu.Unlock()
	list := make([]AgeRow, 1, len(rows)+1)
	list[0] = sum
	for _, r := range rows {
		list = append(list, *r)
	}
	slices.SortFunc(list[1:], func(a, b AgeRow) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Domain, b.Domain))
	})
	return list
}

// meant is the domains of the recipients that a filter means. The caller holds
// q.mu, which is given up when the message must be read.
func (q *Queue) meant(m *matcher, e *entry) []string {
	var it Item
	if m.reads() {
		var ok bool
		if it, ok = q.item(e); !ok || !m.selects(&it) {
			return nil
		}
	}
	var names []string
	for i := range e.rcpts {
		r := &e.rcpts[i]
		if r.pending() && m.to(r.dom) && (!m.reads() || m.meant(&it.Recipients[i])) {
			names = append(names, r.dom.name)
		}
	}
	return names
}
