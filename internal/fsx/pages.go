package fsx

import "bytes"

// pages is the content of a file in memory. A page is never changed once it is
// made, so that a copy of a file, of a whole disk, or of what a write brought
// costs pointers only: the simulated histories make such copies all the time.
type pages struct {
	size   int64
	list   []*page // nil: zeros
	shared bool    // the list belongs to others too
}

const pageSize = 4 << 10

type page [pageSize]byte

var zeroPage page

// share returns a copy.
func (p *pages) share() pages {
	p.shared = true
	return *p
}

func pageCount(size int64) int { return int((size + pageSize - 1) / pageSize) }

// readAt copies what is there at off, and returns how much that was.
func (p *pages) readAt(b []byte, off int64) int {
	if off >= p.size {
		return 0
	}
	b = b[:min(int64(len(b)), p.size-off)]
	for n := 0; n < len(b); {
		at := off + int64(n)
		from := p.list[at/pageSize]
		if from == nil {
			from = &zeroPage
		}
		n += copy(b[n:], from[at%pageSize:])
	}
	return len(b)
}

// reach makes the list the file's own, and the file at least size long.
func (p *pages) reach(size int64) {
	n := max(pageCount(size), len(p.list))
	if p.shared || n > cap(p.list) {
		list := make([]*page, n, n+n/4)
		copy(list, p.list)
		p.list, p.shared = list, false
	}
	p.list = p.list[:n]
	p.size = max(p.size, size)
}

// write puts b at off.
func (p *pages) write(b []byte, off int64) {
	p.reach(off + int64(len(b)))
	for len(b) > 0 {
		i, in := off/pageSize, off%pageSize
		part := b[:min(int64(len(b)), pageSize-in)]
		p.list[i] = p.list[i].with(part, in)
		b, off = b[len(part):], off+int64(len(part))
	}
}

// with returns the page with b at off.
func (g *page) with(b []byte, off int64) *page {
	if bytes.Equal(b, zeroPage[:len(b)]) && (g == nil || len(b) == pageSize) {
		return nil
	}
	fresh := new(page)
	if g != nil && len(b) < pageSize {
		*fresh = *g
	}
	copy(fresh[off:], b)
	return fresh
}

// take puts what another file, or a part of it that begins with page first, has
// from off to end in the same place.
func (p *pages) take(list []*page, first, off, end int64) {
	p.reach(end)
	for off < end {
		i := off / pageSize
		next := min((i+1)*pageSize, end)
		from := list[i-first]
		switch {
		case from == p.list[i]:
		case next-off == pageSize:
			p.list[i] = from
		case from == nil:
			p.list[i] = p.list[i].with(zeroPage[:next-off], off%pageSize)
		default:
			p.list[i] = p.list[i].with(from[off%pageSize:][:next-off], off%pageSize)
		}
		off = next
	}
}

// resize sets the length; what is new reads as zeros.
func (p *pages) resize(size int64) {
	if size >= p.size {
		p.reach(size)
		return
	}
	p.reach(0)
	n := pageCount(size)
	clear(p.list[n:])
	p.list, p.size = p.list[:n], size
	if in := size % pageSize; in > 0 {
		last := &p.list[size/pageSize]
		*last = (*last).with(zeroPage[in:], in)
	}
}
