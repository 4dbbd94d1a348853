package bayes

import (
	"math/bits"

	"mailweir/filter"
)

// A sketch is the fingerprint of a text that its variants nearly share: of all
// runs of three words, hashed into sketchSize buckets, the least hash of each
// (one-permutation min-wise hashing). The share of equal entries of two
// sketches is about the share of runs that the texts have in common.
const (
	sketchSize  = 16
	sketchRun   = 3
	sketchWords = 40 // a shorter text is no evidence
)

type sketch [sketchSize]uint32

// sketchOf gives false for a text that is too short.
func sketchOf(f *filter.Facts, key uint64) (s sketch, ok bool) {
	w := f.Body.Words
	if len(w) < sketchWords {
		return s, false
	}
	for i := range s {
		s[i] = ^uint32(0)
	}
	for i := sketchRun - 1; i < len(w); i++ {
		h := finish(pair(pair(w[i-2], w[i-1]), w[i]), key)
		slot, v := h>>60, uint32(h)
		s[slot] = min(s[slot], v)
	}
	s.fill()
	return s, true
}

// fill has empty buckets borrow from the next that is not.
func (s *sketch) fill() {
	for i := range s {
		for k := 1; s[i] == ^uint32(0) && k < sketchSize; k++ {
			s[i] = s[(i+k)%sketchSize] + uint32(k)
		}
	}
}

func (s *sketch) equal(o *sketch) (n int) {
	for i := range s {
		if s[i] == o[i] {
			n++
		}
	}
	return n
}

// sketches finds near ones in a table of entries: those which share one entry
// of at least two neighbouring ones. Of sketches that have half their entries
// in common, 90 % are found; of those with 12 of 16, practically all.
type sketches struct {
	list []sketch
	spam []bool
	at   map[uint32][]int32 // by pair of neighbours
}

func newSketches(n int) *sketches {
	return &sketches{at: make(map[uint32][]int32, n*sketchSize/2)}
}

// maxSame bounds how many entries one key finds: of a campaign that was
// learned a thousand times a few are enough.
const maxSame = 8

func (t *sketches) add(s sketch, spam bool) {
	n := int32(len(t.list))
	t.list, t.spam = append(t.list, s), append(t.spam, spam)
	for i := 0; i < sketchSize; i += 2 {
		if k := s.key(i); len(t.at[k]) < maxSame {
			t.at[k] = append(t.at[k], n)
		}
	}
}

func (s *sketch) key(i int) uint32 {
	return bits.RotateLeft32(s[i], 7)*0x9e3779b1 ^ s[i+1] + uint32(i)
}

// nearest is how many entries the nearest learned spam and ham share with s.
func (t *sketches) nearest(s *sketch) (spam, ham int) {
	for i := 0; i < sketchSize; i += 2 {
		for _, n := range t.at[s.key(i)] {
			same := s.equal(&t.list[n])
			if t.spam[n] {
				spam = max(spam, same)
			} else {
				ham = max(ham, same)
			}
		}
	}
	return spam, ham
}
