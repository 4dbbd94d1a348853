package bayes

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"mailweir/filter"
)

const (
	// A shorter file is in too much mail to be evidence.
	minFile = 256
	// maxFile is how much of a file is looked at for its sketch.
	maxFile = 1 << 20
	// A point of the content is one octet in about 64, by what the 64 octets up to
	// it are: what is put in or taken out elsewhere does not move it. pointShift
	// leaves the bits that are zero there.
	pointShift = 58
	// minPoints are needed for a sketch: about 4 KiB.
	minPoints = 64
	// maxFiles is how many files of a message have fingerprints.
	maxFiles = 20
)

// Files takes the fingerprints of the attached files of one message.
type Files struct{ prints []filter.FilePrint }

// Prints are those of the files that have ended.
func (f *Files) Prints() []filter.FilePrint { return f.prints }

// Begin starts a file; nil when there are enough.
func (f *Files) Begin() *Fingerprint {
	if len(f.prints) >= maxFiles {
		return nil
	}
	p := &Fingerprint{files: f}
	p.digest.Reset()
	for i := range p.least {
		p.least[i] = ^uint32(0)
	}
	return p
}

// Fingerprint takes the content of one file.
type Fingerprint struct {
	files  *Files
	digest xxhash.Digest
	n      int64
	roll   uint64
	points int
	least  sketch
}

// Write takes the next octets.
func (p *Fingerprint) Write(b []byte) {
	p.digest.Write(b)
	rest := b[:max(0, min(int64(len(b)), maxFile-p.n))]
	p.n += int64(len(b))
	roll := p.roll
	for _, c := range rest {
		roll = roll<<1 + gear[c]
		if roll>>pointShift == 0 {
			p.point(roll)
		}
	}
	p.roll = roll
}

// point takes a point of the content into the sketch (sketch.go).
func (p *Fingerprint) point(roll uint64) {
	h := finish(roll, 0)
	slot, v := h>>60, uint32(h)
	p.least[slot] = min(p.least[slot], v)
	p.points++
}

// End is called after the last octet.
func (p *Fingerprint) End() {
	if p.n < minFile {
		return
	}
	print := filter.FilePrint{Digest: p.digest.Sum64()}
	if p.points >= minPoints {
		p.least.fill()
		print.Sketch = p.least[:]
	}
	p.files.prints = append(p.files.prints, print)
}

// gear has a random number for each octet; the same in every process.
var gear = func() (g [256]uint64) {
	x := uint64(0x9e3779b97f4a7c15)
	for i := range g {
		x += 0x9e3779b97f4a7c15
		g[i] = finish(x, bits.RotateLeft64(x, 17))
	}
	return g
}()
