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

// places are where features lie, as an admin would call it.
var places = [...]string{
	kindWord: "text", kindPair: "text",
	kindURLHost: "links", kindURLDomain: "links", kindURLTop: "links", kindURLWord: "links", kindImageHost: "links",
	kindHostGram: "links", kindPathGram: "links",
	kindFromName: "sender", kindFromPair: "sender", kindFromAddr: "sender", kindFromDomain: "sender", kindFromTop: "sender",
	kindFromGram: "sender", kindReplyTo: "sender", kindReplyToGram: "sender", kindLocalShape: "sender", kindDomainShape: "sender",
	kindNameShape: "sender",
	kindSubject:   "subject", kindSubjectPair: "subject", kindSubjectGram: "subject",
	kindPart: "MIME structure", kindPartCharset: "MIME structure", kindPartName: "MIME structure", kindTree: "MIME structure",
	kindAmbiguity: "MIME structure",
	kindMailer:    "header fields", kindField: "header fields", kindNoField: "header fields", kindMessageID: "header fields",
	kindSourcePair: "source of the text", kindSourceTriple: "source of the text",
	kindMeasure: "sizes and numbers",
}

// names note which text each feature stands for: the model knows hashes only.
type names struct {
	words map[uint64]string // Facts.Body.Vocabulary
	of    map[uint32]name
	text  string // of the feature that comes next
}

type name struct {
	kind kind
	text string
}

func (n *names) add(v uint32, k kind) {
	if k == kindNoField {
		n.text = "no " + n.text
	}
	if _, again := n.of[v]; !again {
		n.of[v] = name{k, n.text}
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
// (Facts.Body.Vocabulary), all else always. It is for `check`: it costs ten
// times what Judge does.
func (m *Model) Evidence(f *filter.Facts) []Evidence {
	if m.weights[viewText] == nil {
		return nil
	}
	e := &extractor{names: &names{words: f.Body.Vocabulary, of: map[uint32]name{}}}
	type said struct{ place, text string }
	all := map[said]float64{} // a text may be a word, a run of characters and a domain at once
	for v, weight := range m.says(e.features(f, m.key)) {
		n := e.names.of[v]
		all[said{places[n.kind], n.text}] += weight
	}
	at := map[string]*Evidence{}
	for what, weight := range all {
		e := at[what.place]
		if e == nil {
			e = &Evidence{Place: what.place}
			at[what.place] = e
		}
		if e.Weight += weight; what.text != "" && weight != 0 {
			e.Most = append(e.Most, Feature{what.text, weight})
		}
	}
	list := []Evidence{{Place: Base, Weight: m.offset}}
	for _, e := range at {
		slices.SortFunc(e.Most, func(a, b Feature) int {
			return cmp.Or(-cmp.Compare(math.Abs(a.Weight), math.Abs(b.Weight)), cmp.Compare(a.Text, b.Text))
		})
		e.Most = e.Most[:min(len(e.Most), mostFeatures)]
		list = append(list, *e)
	}
	slices.SortFunc(list, func(a, b Evidence) int {
		return cmp.Or(-cmp.Compare(math.Abs(a.Weight), math.Abs(b.Weight)), cmp.Compare(a.Place, b.Place))
	})
	return list
}

// says is what each feature adds to the log-odds, in all views together.
func (m *Model) says(features features) map[uint32]float64 {
	says := make(map[uint32]float64, len(features.all))
	for v := range views {
		shared, own := features.of(v)
		unit := m.slope[v] * weightUnit / scale(len(shared)+len(own))
		for _, list := range [...][]uint32{shared, own} {
			for _, x := range list {
				says[x] += unit * float64(m.weights[v][slotOf(x)])
			}
		}
	}
	return says
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
