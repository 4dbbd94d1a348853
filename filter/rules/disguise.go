package rules

import (
	"strings"
	"unicode"

	"mailweir/filter"
	"mailweir/internal/looks"
)

// maxDisguises is how many domains of a message are compared with names that
// they could be taken for.
const maxDisguises = 100

// disguises looks at where links lead, one host after the other, each once.
func (s *urlSummary) disguises(urls []filter.URL, own *ownNames) {
	seen := make(map[string]bool, 8)
	for i := range urls {
		u := &urls[i]
		if u.Image || u.Domain == "" || seen[u.Host] && !u.Disguised || len(seen) >= maxDisguises {
			continue
		}
		name := looks.NewName(ownName(u.Domain))
		if s.lookalike == "" && u.Disguised && name.Similar(looks.NewName(ownName(filter.Organization(u.Text)))) {
			s.lookalike = u.Domain
		}
		if seen[u.Host] {
			continue
		}
		seen[u.Host] = true
		count(&s.homographs, homograph(u.Host))
		if s.lookalike == "" && own.takenFor(u.Domain, name) {
			s.lookalike = u.Domain
		}
		if s.brand == "" && brands.Find(name) != "" {
			s.brand = u.Domain
		}
		if s.brandWord == "" && brandWord(u.Host, u.Domain, name.Label) {
			s.brandWord = u.Host
		}
	}
}

// homograph reports a host with a label that mixes Latin letters with Greek or
// Cyrillic ones, or has nothing but such of these as look like Latin ones under a
// Latin top-level domain.
func homograph(host string) bool {
	if !strings.Contains(host, "xn--") {
		return false
	}
	labels := strings.Split(host, ".")
	for k, label := range labels {
		if !strings.HasPrefix(label, "xn--") {
			continue
		}
		latin, other, told := 0, 0, 0
		for _, r := range looks.Unicode(label) {
			switch {
			case unicode.Is(unicode.Latin, r):
				latin++
			case unicode.In(r, unicode.Greek, unicode.Cyrillic, unicode.Armenian):
				if other++; looks.Word(string(r))[0] >= 0x80 {
					told++
				}
			}
		}
		if other > 0 && (latin > 0 || told == 0 && k < len(labels)-1 && !strings.HasPrefix(labels[len(labels)-1], "xn--")) {
			return true
		}
	}
	return false
}
