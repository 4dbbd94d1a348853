package bayes

import (
	"math/bits"
	"sync"

	"mailweir/filter"
)

// Limits of what is looked at in one message.
const (
	maxURLs     = 100
	maxURLWords = 30 // of one address
	maxParts    = 50
	maxFeatures = 12000
)

// kind keeps features of different places apart: "free" in the subject is
// another feature than in the text.
type kind uint64

const (
	kindWord kind = iota + 1
	kindPair
	kindURLHost
	kindURLDomain
	kindURLTop
	kindURLWord
	kindImageHost
	kindFromName
	kindFromPair
	kindFromAddr
	kindFromDomain
	kindFromTop
	kindReplyTo
	kindSubject
	kindSubjectPair
	kindPart
	kindPartCharset
	kindPartName
	kindTree
	kindMailer
	kindField
	kindNoField
	kindMessageID
	kindAmbiguity
	kindSourcePair
	kindSourceTriple
	kindSubjectGram
	kindFromGram
	kindReplyToGram
	kindHostGram
	kindPathGram
	kindMeasure
	kindLocalShape
	kindDomainShape
	kindNameShape
)

// view is one of three ways to look at a message, each with weights of its own:
// by how it was made, whatever it says, by the words of its text, and by its
// source. What is none of the three (header, links, structure) all views see.
// Some that judge apart, and seldom err on the same message, tell more than one
// that sees everything.
type view int

const (
	viewFrame view = iota // first: it must find room, and needs little
	viewText
	viewSource
	views
)

// place is where features were found, in the order in which they are.
type place int

const (
	placeLinks place = iota
	placeSender
	placeSubject
	placeStructure
	placeFields
	placeFrame // from here on one for each view
	placeText
	placeSource
	places
)

// seenBy: the places of the header, links and structure all views see.
func (p place) seenBy(v view) bool { return p < placeFrame || p-placeFrame == place(v) }

var placeNames = [places]string{"links", "sender", "subject", "MIME structure", "header fields", "frame", "text", "source of the text"}

// features are the different features of a message: those that all views see,
// then those of each view.
type features struct {
	all    []uint32
	shared int        // how many
	own    [views]int // of each view
}

// of are what a view sees.
func (f *features) of(v view) (shared, own []uint32) {
	own = f.all[f.shared:]
	for before := range v {
		own = own[f.own[before]:]
	}
	return f.all[:f.shared], own[:f.own[v]]
}

// close gives the features since those before to a view.
func (f *features) close(v view, out []uint32) {
	f.own[v] = len(out) - f.shared
	for before := range v {
		f.own[v] -= f.own[before]
	}
}

// extractor turns facts into features. It is kept from message to message.
type extractor struct {
	key      uint64
	out      []uint32
	set      set
	measured int         // measures of the message so far
	ends     [places]int // where each place's features end in out
	names    *names      // nil where nobody wants to know
}

var extractors = sync.Pool{New: func() any { return new(extractor) }}

// features are those of a message under a key, valid until the extractor is
// used again.
func (e *extractor) features(f *filter.Facts, key uint64) (out features) {
	e.key, e.out = key, e.out[:0]
	e.set.reset(sharedMostly + 2*len(f.Body.Words) + 2*len(f.Body.Source))
	domains := e.urls(f.Body.URLs)
	e.end(placeLinks)
	e.sender(&f.Header)
	e.end(placeSender)
	subject := e.subject(&f.Header)
	e.end(placeSubject)
	e.structure(&f.Body)
	e.end(placeStructure)
	e.fields(&f.Header)
	e.end(placeFields)
	out.shared = len(e.out)
	e.frame(f, subject, domains)
	e.end(placeFrame)
	out.close(viewFrame, e.out)
	e.words(f.Body.Words)
	e.end(placeText)
	out.close(viewText, e.out)
	e.source(f.Body.Source)
	e.end(placeSource)
	out.close(viewSource, e.out)
	out.all = e.out
	return out
}

func (e *extractor) end(p place) { e.ends[p] = len(e.out) }

// sharedMostly is how many features most messages have besides those of text and source.
const sharedMostly = 600

// feature is what a store with that key knows a hash of that kind by; never 0.
func feature(k kind, h, key uint64) uint32 {
	return max(1, uint32(finish(h+uint64(k)*0x9e3779b97f4a7c15, key)>>32))
}

// add tells how many features are new: one or none.
func (e *extractor) add(k kind, h uint64) int {
	v := feature(k, h, e.key)
	if e.names != nil {
		e.names.add(v, k)
	}
	if len(e.out) < maxFeatures && e.set.add(v, e.out) {
		e.out = append(e.out, v)
		return 1
	}
	return 0
}

func (e *extractor) string(k kind, s string) int {
	e.say(s)
	return e.add(k, hashString(s))
}

func pair(a, b uint64) uint64 { return bits.RotateLeft64(a, 23)*0x9fb21c651e98df25 + b }

// shape is the form of a Message-ID's left side: which program made it.
func shape(s string) uint64 {
	h, last := uint64(basis), byte(0)
	for i := 0; i < len(s) && s[i] != '@'; i++ {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c = '0'
		case 'a' <= c && c <= 'z':
			c = 'a'
		case 'A' <= c && c <= 'Z':
			c = 'A'
		}
		if c != last {
			h, last = (h^uint64(c))*prime, c
		}
	}
	return h
}

// FNV-1a over a string, in any case of ASCII letters.
const (
	basis = 0xcbf29ce484222325
	prime = 0x100000001b3
)

func hashString(s string) uint64 {
	h := uint64(basis)
	for i := 0; i < len(s); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		h = (h ^ uint64(c)) * prime
	}
	return h
}

// finish mixes the key in and spreads it over all bits.
func finish(h, key uint64) uint64 {
	h ^= key
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
