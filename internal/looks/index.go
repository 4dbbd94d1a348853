package looks

// Index finds the names that a label is taken for, in time that does not depend
// on how many there are. It is immutable; a nil Index is empty.
type Index struct {
	own  map[string]bool     // labels that are the names themselves
	read map[string]string   // as it is read -> the name
	less map[string][]string // with a letter left out, of long names -> names as they are read
	// begins tells with which letters long names of a length begin, a bit each:
	// most labels need no other look.
	begins [maxLabel + 2]uint32
}

// minRead is the shortest name that another is taken for which is read alike.
const minRead = 5

// maxLabel bounds what is compared; DNS has no longer labels.
const maxLabel = 63

// NewIndex makes an index of labels.
func NewIndex(labels []string) *Index {
	x := &Index{read: map[string]string{}, less: map[string][]string{}, own: map[string]bool{}}
	for _, l := range labels {
		x.own[l] = true
		r := NewName(l).Read
		if _, twice := x.read[r]; twice || len(r) < minRead || len(r) > maxLabel {
			continue
		}
		x.read[r] = l
		if len(r) >= minNear {
			x.begins[len(r)] |= letter(r)
			for _, s := range shorter(r) {
				x.less[s] = append(x.less[s], r)
			}
		}
	}
	return x
}

// letter is a bit for the first octet of s; beyond ASCII they share them.
func letter(s string) uint32 { return 1 << (s[0] & 31) }

// shorter are s and all that it becomes without one of its letters.
func shorter(s string) []string {
	out := make([]string, 0, len(s)+1)
	out = append(out, s)
	for i := range len(s) {
		out = append(out, s[:i]+s[i+1:])
	}
	return out
}

// Find is the name that a label is taken for, "" for none, and for one of the
// names itself. A letter that differs is not the first one: that is where
// readers look.
func (x *Index) Find(n Name) string {
	r := n.Read
	if x == nil || r == "" || len(r) > maxLabel || x.own[n.Label] {
		return ""
	}
	if name, ok := x.read[r]; ok {
		return name
	}
	if (x.begins[len(r)-1]|x.begins[len(r)]|x.begins[len(r)+1])&letter(r) == 0 {
		return ""
	}
	var buffer [maxLabel]byte
	key := append(buffer[:0], r...)
	for i := -1; i < len(r); i++ {
		if i >= 0 {
			key = append(append(buffer[:0], r[:i]...), r[i+1:]...)
		}
		for _, name := range x.less[string(key)] {
			if name[0] == r[0] && Near(r, name) {
				return x.read[name]
			}
		}
	}
	return ""
}
