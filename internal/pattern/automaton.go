package pattern

// literal is one string that the automaton looks for.
type literal struct {
	text        string
	pattern     int
	left, right bool // must not touch a word's letter on that side
}

// automaton is an Aho-Corasick automaton with all failure transitions filled
// in: one table look-up an octet, whatever the text. Octets that no literal
// distinguishes share a column, which keeps the table small enough for the
// cache.
type automaton struct {
	class   [256]uint8
	columns int32
	// next has a row a state. A negative entry is the bitwise complement of
	// its row's offset, in which a literal ends: so the common case costs no
	// second look-up.
	next     []int32
	found    [][]*literal // by state
	literals []literal
}

func build(lits []literal) *automaton {
	a := &automaton{literals: lits}
	a.classify()
	fail := a.trie()
	a.complete(fail)
	return a
}

func (a *automaton) classify() {
	a.columns = 1 // class 0: in no literal
	for i := range a.literals {
		for _, c := range []byte(a.literals[i].text) {
			if a.class[c] == 0 && a.columns < 256 {
				a.class[c] = uint8(a.columns)
				a.columns++
			}
		}
	}
}

// trie enters the literals; missing transitions are 0, the root.
func (a *automaton) trie() []int32 {
	a.addState()
	for i := range a.literals {
		l := &a.literals[i]
		state := int32(0)
		for _, c := range []byte(l.text) {
			at := state*a.columns + int32(a.class[c])
			if a.next[at] == 0 {
				a.next[at] = a.addState()
			}
			state = a.next[at]
		}
		a.found[state] = append(a.found[state], l)
	}
	return make([]int32, len(a.found))
}

func (a *automaton) addState() int32 {
	a.next = append(a.next, make([]int32, a.columns)...)
	a.found = append(a.found, nil)
	return int32(len(a.found) - 1)
}

// complete fills the missing transitions, breadth first, then turns state
// numbers into row offsets with the mark of a literal's end.
func (a *automaton) complete(fail []int32) {
	queue := make([]int32, 0, len(a.found))
	for c := range a.columns {
		if s := a.next[c]; s != 0 {
			queue = append(queue, s)
		}
	}
	for i := 0; i < len(queue); i++ {
		s := queue[i]
		for c := range a.columns {
			t := &a.next[s*a.columns+c]
			back := a.next[fail[s]*a.columns+c]
			if *t == 0 {
				*t = back
				continue
			}
			fail[*t] = back
			a.found[*t] = append(a.found[*t], a.found[back]...)
			queue = append(queue, *t)
		}
	}
	for i, s := range a.next {
		a.next[i] = s * a.columns
		if len(a.found[s]) > 0 {
			a.next[i] = ^a.next[i]
		}
	}
}

// scan calls hit for each literal that ends at offset end of text.
func (a *automaton) scan(text []byte, hit func(l *literal, end int)) {
	var row int32
	for i, c := range text {
		row = a.next[row+int32(a.class[c])]
		if row < 0 {
			row = ^row
			for _, l := range a.found[row/a.columns] {
				hit(l, i+1)
			}
		}
	}
}
