package bayes

import (
	"math/bits"
	"strings"

	"mailweir/filter"
)

// Limits of what the frame takes of links.
const (
	maxGramHosts = 20
	maxGramPaths = 20
	maxGramPath  = 40 // octets
)

// frame takes what shows how a message was made, and by whom, whatever it says:
// measures, the form of the sender's names, and runs of characters of links.
// domains is how many different ones the links have.
func (e *extractor) frame(f *filter.Facts, subject string, domains int) {
	e.measured = 0
	e.measure(steps(domains))
	e.sizes(&f.Body)
	e.capitals(subject)
	e.links(f.Body.URLs, &f.Header)
	e.author(&f.Header, subject)
}

// measure adds the next measure. A message has them in the same order as every
// other, so that the number tells which it is; where it has not, 0 stands.
func (e *extractor) measure(x int) {
	e.add(kindMeasure, uint64(e.measured)<<16|uint64(uint16(x)))
	e.measured++
}

// steps are two for each doubling: 1,000 octets and 1,100 are alike, 10 and 20
// are not.
func steps(x int) int { return bits.Len64(uint64(x) * uint64(x)) }

func (e *extractor) sizes(b *filter.BodyFacts) {
	for _, x := range [...]int{
		b.TextLength, b.HTMLLength, b.LeafText, b.Images, b.Remote, b.Links, b.Mailtos, b.Forms, b.Scripts, b.Hidden,
		b.Split, b.Invisible, b.Mixed, b.Quoted, len(b.URLs), 1000 * b.Links / (b.TextLength + 100),
	} {
		e.measure(steps(x))
	}
	e.measure(steps(b.HTMLLength) - steps(b.TextLength))
	e.measure(b.Upper / 4)
}

func (e *extractor) capitals(subject string) {
	n := 0
	for i := range len(subject) {
		if c := subject[i]; 'A' <= c && c <= 'Z' {
			n++
		}
	}
	e.measure(steps(len(subject)))
	e.measure(8 * n / (len(subject) + 1))
}

// links takes runs of characters of their addresses, and how many lead to the
// author's own domain.
func (e *extractor) links(list []filter.URL, h *filter.HeaderFacts) {
	author := ""
	if len(h.From) > 0 {
		author = h.From[0].Domain
	}
	list = list[:min(len(list), maxURLs)]
	own, addresses := 0, 0
	for i := range list {
		u := &list[i]
		if i < maxGramHosts {
			e.grams(kindHostGram, u.Host)
		}
		if i < maxGramPaths {
			e.grams(kindPathGram, u.Path[:min(len(u.Path), maxGramPath)])
		}
		if u.IP {
			addresses++
		} else if u.Domain != "" && strings.HasSuffix(author, u.Domain) {
			own++
		}
	}
	e.measure(steps(addresses))
	if len(list) > 0 {
		e.measure(1 + 4*own/len(list))
	} else {
		e.measure(0)
	}
}

// author takes the form of name and address, and what the two, and what stands
// beside them, have in common: a firm's own mail names it everywhere.
func (e *extractor) author(h *filter.HeaderFacts, subject string) {
	e.measure(len(h.ReplyTo))
	if len(h.From) == 0 {
		return
	}
	a := &h.From[0]
	local, _, _ := strings.Cut(a.Addr, "@")
	e.add(kindLocalShape, shape(local))
	e.add(kindDomainShape, shape(a.Domain))
	e.add(kindNameShape, shape(a.Name))
	e.measure(steps(len(local)))
	e.measure(strings.Count(a.Name, " "))
	e.measure(strings.Count(a.Domain, "."))
	shared := 0
	for w := range strings.FieldsSeq(a.Name) {
		if len(w) > 2 && containsFold(a.Addr, w) {
			shared++
		}
	}
	e.measure(shared)
	firm := longestLabel(a.Domain)
	for _, s := range [...]string{a.Name, subject, h.MessageID} {
		e.measure(class(containsFold(s, firm)))
	}
	if len(h.ReplyTo) > 0 {
		e.measure(class(h.ReplyTo[0].Domain == a.Domain))
	}
}

// longestLabel is the one of a domain that most likely names its owner. The
// last does not.
func longestLabel(domain string) (longest string) {
	for {
		label, rest, more := strings.Cut(domain, ".")
		if !more {
			return longest
		}
		if len(label) > len(longest) {
			longest = label
		}
		domain = rest
	}
}

// containsFold tells whether sub, in any case, is in s.
func containsFold(s, sub string) bool {
	for i := 0; sub != "" && i+len(sub) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(sub)], sub) {
			return true
		}
	}
	return false
}
