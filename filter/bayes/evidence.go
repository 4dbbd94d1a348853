package bayes

import (
	"cmp"
	"math"
	"slices"

	"mailweir/filter"
	"mailweir/mail"
)

// Evidence is what one place of a message adds to the log-odds of spam, and the
// features there that say most: positive speaks for spam, negative for ham. The
// sum over all places, and the Base, is the logit of the probability.
type Evidence struct {
	Place  string    `json:"place"`
	Weight float64   `json:"weight"`
	Most   []Feature `json:"most,omitempty"`
}

// Feature is a thing that a message has, with the text it stands for.
type Feature struct {
	Text   string  `json:"text"`
	Weight float64 `json:"weight"`
}

// Base is the place of what holds for every message.
const Base = "every message"

// mostFeatures is how many are named at one place.
const mostFeatures = 6

// names note which text each feature stands for: the model knows hashes only.
type names struct {
	words map[uint64]string // Facts.Body.Vocabulary
	of    map[uint32]string
	text  string // of the feature that comes next
}

func (n *names) add(v uint32, k kind) {
	if k == kindNoField {
		n.text = "no " + n.text
	}
	if n.of[v] == "" {
		n.of[v] = n.text
	}
	n.text = ""
}

// say gives the text of the feature that is added next.
func (e *extractor) say(s string) {
	if e.names != nil {
		e.names.text = s
	}
}

// sayBoth and sayWords do so for neighbours.
func (e *extractor) sayBoth(a, between, b string) {
	if e.names != nil {
		e.names.text = a + between + b
	}
}

func (e *extractor) sayWords(between string, hashes ...uint64) {
	n := e.names
	if n == nil {
		return
	}
	n.text = ""
	for i, h := range hashes {
		if i > 0 {
			n.text += between
		}
		n.text += n.words[h]
	}
}

// Evidence tells what the model's opinion of a message hangs on, what says most
// first. The words of the text have names where they were kept
// (Facts.Body.Vocabulary), all else always. It is for `check`: all that has a name
// is put into maps.
func (m *Model) Evidence(f *filter.Facts) []Evidence {
	if m.weights[viewText] == nil {
		return nil
	}
	e := &extractor{names: &names{words: f.Body.Vocabulary, of: map[uint32]string{}}}
	features := e.features(f, m.key)
	var o Opinion
	m.weigh(e, &features, &o)
	list := []Evidence{{Place: Base, Weight: m.offset}}
	for p, from := place(0), 0; p < places; p, from = p+1, e.ends[p] {
		list = append(list, Evidence{placeNames[p], o.Says[p], m.most(e, &features, p, features.all[from:e.ends[p]])})
	}
	slices.SortStableFunc(list, func(a, b Evidence) int { return -cmp.Compare(math.Abs(a.Weight), math.Abs(b.Weight)) })
	return list
}

// most are the features of a place that say most. A text may be a word, a run of
// characters and a domain at once.
func (m *Model) most(e *extractor, f *features, p place, at []uint32) (list []Feature) {
	texts := map[string]float64{}
	for v := range views {
		if !p.seenBy(v) {
			continue
		}
		for _, x := range at {
			if text := e.names.of[x]; text != "" {
				texts[text] += m.unit(v, f) * float64(m.weights[v][slotOf(x)])
			}
		}
	}
	for text, weight := range texts {
		if weight != 0 {
			list = append(list, Feature{text, weight})
		}
	}
	slices.SortFunc(list, func(a, b Feature) int {
		return cmp.Or(-cmp.Compare(math.Abs(a.Weight), math.Abs(b.Weight)), cmp.Compare(a.Text, b.Text))
	})
	return list[:min(len(list), mostFeatures)]
}

// Evidence is that of the model which judges mail in this envelope; nil where
// none does.
func (c *Check) Evidence(env *mail.Envelope, f *filter.Facts) []Evidence {
	s := c.models.of(recipientDomain(env), c.minimum)
	if s.model == nil || !s.model.enough(c.minimum) || f.Body.Words == nil {
		return nil
	}
	return s.model.Evidence(f)
}
