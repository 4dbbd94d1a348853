package bayes

import "math/bits"

// set tells what it has seen since the last reset. It uses as many of its slots
// as it needs, so that they stay in the nearest cache and are soon cleared.
type set struct {
	slots []uint32 // 0: free
	bits  int      // of the slots in use
	n     int
}

const (
	minSetBits = 9
	setBits    = 15 // room for maxFeatures at less than half
)

// reset makes room for n, and for more as they come.
func (s *set) reset(n int) {
	if s.slots == nil {
		s.slots = make([]uint32, 1<<setBits)
	}
	s.bits, s.n = min(setBits, max(minSetBits, bits.Len(uint(2*n)))), 0
	clear(s.slots[:1<<s.bits])
}

// add tells whether v, which is not 0, is new. seen are all values before it.
func (s *set) add(v uint32, seen []uint32) bool {
	if 2*s.n >= 1<<s.bits && s.bits < setBits {
		s.reset(2 * s.n)
		for _, o := range seen {
			s.put(o)
		}
		s.n = len(seen)
	}
	if !s.put(v) {
		return false
	}
	s.n++
	return true
}

func (s *set) put(v uint32) bool {
	slots := s.slots[:1<<s.bits]
	for i := v >> (32 - s.bits); ; i++ {
		switch slot := &slots[i&uint32(len(slots)-1)]; *slot {
		case v:
			return false
		case 0:
			*slot = v
			return true
		}
	}
}
