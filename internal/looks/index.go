package looks

// Index finds the names that a label is taken for, in time that does not depend
// on how many there are. It is immutable; a nil Index is empty.
type Index struct {
	read map[string]string   // as it is read -> the name
	less map[string][]string // with a letter left out, of long names -> names as they are read
	own  map[string]bool     // labels that are the names themselves
}

// minRead is the shortest name that another is taken for which is read alike.
const minRead = 5

// NewIndex makes an index of labels.
func NewIndex(labels []string) *Index {
	x := &Index{read: map[string]string{}, less: map[string][]string{}, own: map[string]bool{}}
	for _, l := range labels {
		x.own[l] = true
		r := Label(l)
		if _, twice := x.read[r]; twice || len(r) < minRead {
			continue
		}
		x.read[r] = l
		if len(r) < minNear {
			continue
		}
		for _, s := range shorter(r) {
			x.less[s] = append(x.less[s], r)
		}
	}
	return x
}

// shorter are s and all that it becomes without one of its letters.
func shorter(s string) []string {
	out := make([]string, 0, len(s)+1)
	out = append(out, s)
	for i := range len(s) {
		out = append(out, s[:i]+s[i+1:])
	}
	return out
}

// maxLabel bounds what is compared; DNS has no longer labels.
const maxLabel = 63

// Find is the name that a label is taken for, "" for none, and for one of the
// names itself. A letter that differs is not the first one: that is where
// readers look.
func (x *Index) Find(label string) string {
	if x == nil || label == "" || len(label) > maxLabel || x.own[label] {
		return ""
	}
	r := Label(label)
	if name, ok := x.read[r]; ok {
		return name
	}
	if len(r) < minNear-1 || len(x.less) == 0 {
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
