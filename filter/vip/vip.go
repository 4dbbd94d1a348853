// Package vip recognizes mail that shows the name of somebody whom a listed
// person's staff would obey at once, and comes from another address.
package vip

import (
	"slices"
	"strings"
	"unicode"

	"mailweir/filter"
	"mailweir/internal/looks"
	"mailweir/mail"
)

// Person is one whose name is not for others.
type Person struct {
	Names     []string      // as they are written; the first is how findings call him
	Addresses []string      // his (mail.Path.Mailbox)
	Domains   []string      // of services that write in his name, where that is proved; canonical
	Scope     *filter.Scope // recipients that it is for; nil: all
}

// list is the persons by all forms of their names.
type list struct {
	persons []Person
	byName  map[string][]int // keys as nameKeys makes them
	byAddr  map[string][]int
}

func newList(persons []Person) *list {
	l := &list{persons: persons, byName: map[string][]int{}, byAddr: map[string][]int{}}
	for n, p := range persons {
		for _, name := range p.Names {
			for _, spelling := range []string{name, umlauts.Replace(name)} {
				for _, key := range personKeys(spelling) {
					l.byName[key] = appendNew(l.byName[key], n)
				}
			}
		}
		for _, a := range p.Addresses {
			l.byAddr[a] = appendNew(l.byAddr[a], n)
		}
	}
	return l
}

func appendNew(list []int, n int) []int {
	if slices.Contains(list, n) {
		return list
	}
	return append(list, n)
}

// umlauts are written in two ways, and read as the same.
var umlauts = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "Ä", "Ae", "Ö", "Oe", "Ü", "Ue", "å", "aa", "Å", "Aa", "ø", "oe", "Ø", "Oe")

// shown are the persons whom a display name shows.
func (l *list) shown(name string) (found []int) {
	for _, part := range parts(name) {
		if a := address(part); a != "" {
			for _, n := range l.byAddr[a] {
				found = appendNew(found, n)
			}
			continue
		}
		w := words(part)
		if len(w) == 0 {
			continue
		}
		for _, key := range []string{strings.Join(w, ""), sorted(w)} {
			for _, n := range l.byName[key] {
				found = appendNew(found, n)
			}
		}
	}
	return found
}

// parts of a display name that may each be a name: all of it, what stands before
// a bracket or a stroke, what stands in front of an address, and an address. What
// a service shows for somebody ("Jane Doe via Service") is no name of his.
func parts(name string) []string {
	if len(name) > maxName {
		name = name[:maxName]
	}
	out := []string{name}
	if i := strings.IndexAny(name, "(<[|/:;–—"); i > 0 && !byService(name[i:]) {
		out = append(out, name[:i])
	}
	if i := strings.Index(name, " - "); i > 0 {
		out = append(out, name[:i])
	}
	if at := strings.IndexByte(name, '@'); at > 0 {
		for _, f := range strings.FieldsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("<>()[]\"',;:", r) }) {
			if strings.IndexByte(f, '@') > 0 {
				out = append(out, f, strings.Replace(name, f, " ", 1))
			}
		}
	}
	return out[:min(len(out), maxParts)]
}

const (
	maxName  = 256 // octets of a display name that are looked at
	maxParts = 8
)

func byService(rest string) bool {
	first := strings.ToLower(strings.TrimLeft(rest, "(<[|/:;–— "))
	for _, w := range []string{"via ", "über ", "durch ", "par ", "através "} {
		if strings.HasPrefix(first, w) {
			return true
		}
	}
	return false
}

// address is s as an address of a list, "" when it is none.
func address(s string) string {
	if strings.IndexByte(s, '@') <= 0 {
		return ""
	}
	p, err := mail.ParsePath(strings.ToLower(s), true)
	if err != nil || p.Domain() == "" {
		return ""
	}
	return p.Mailbox()
}

// words are those of a name as they are read, without titles, ranks and
// initials, unless there is nothing else.
func words(name string) []string {
	var all, kept []string
	for _, f := range strings.FieldsFunc(name, separates) {
		w := looks.Word(f)
		if w == "" {
			continue
		}
		all = append(all, w)
		if !titles[w] && !(len(w) == 1 && w[0] < 0x80) {
			kept = append(kept, w)
		}
	}
	if len(kept) < 2 && len(all) > len(kept) {
		kept = withoutTitles(all)
	}
	if len(kept) == 0 {
		return all
	}
	return kept
}

// withoutTitles keeps initials: "J. Doe" is not everybody's Doe.
func withoutTitles(all []string) (kept []string) {
	for _, w := range all {
		if !titles[w] {
			kept = append(kept, w)
		}
	}
	return kept
}

// separates reports what stands between words. Apostrophes, and what has no
// width, stand inside of them.
func separates(r rune) bool {
	switch {
	case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), unicode.Is(unicode.Cf, r), r == '|', r == '$', r == '!':
		return false
	}
	return !strings.ContainsRune("'’‘ʼ`´", r)
}

// sorted words are the same in whatever order they are written.
func sorted(words []string) string {
	w := slices.Clone(words)
	slices.Sort(w)
	return strings.Join(w, " ")
}

// personKeys are the forms that a listed name is found by: its words in any
// order, and written as one, the last or the first of them in front.
func personKeys(name string) []string {
	w := words(name)
	if len(w) == 0 {
		return nil
	}
	keys := []string{sorted(w)}
	for i := range w {
		keys = append(keys, strings.Join(w[i:], "")+strings.Join(w[:i], ""))
	}
	return keys
}

// titles and ranks that are written beside names, as they are read.
var titles = func() map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(`
		mr mrs ms miss mx sir dame lord lady dr prof professor rev hon herr frau hr fr dipl ing mag med phd dphil md mba
		msc bsc ba ma llm jur rer nat oec habil univ jr sr junior senior esq cpa ceo cfo cto coo cio cmo ciso evp svp vp
		president chairman chairwoman chairperson chair director managing executive chief officer vice general manager
		owner founder partner office the of from via mobile phone iphone geschäftsführer geschäftsführerin
		geschäftsführung vorstand vorstandsvorsitzender vorstandsvorsitzende direktor direktorin leiter leiterin
		monsieur madame mme mlle me señor señora sra don doña signor signora sig dott dottor avv pdg gérant directeur
		directrice président présidente director directora presidente gerente diretor diretora`) {
		m[looks.Word(w)] = true
	}
	return m
}()
