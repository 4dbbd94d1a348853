package mime

import (
	"context"

	"mailweir/filter"
	"mailweir/mail"
)

// Text reads the text of one message, as the walk comes to it.
type Text interface {
	Sink
	// Report is called after the last octet, Abort instead of it.
	Report() filter.Report
	Abort()
}

// Parts looks at the content of the parts of one message, as the walk comes to
// them.
type Parts interface {
	Taker
	// Report is called after the last leaf of the last reading, Abort instead
	// of it. A State other than OK becomes that of the whole check.
	Report() filter.Report
	Abort()
}

// Check is the check "mime": structure, through Text content and through Parts
// attachments. It is a filter.Streamer, so that all cost one pass over the body.
type Check struct {
	text  func(tx *filter.Transaction) Text
	parts func(tx *filter.Transaction) Parts
}

// New makes the check. text and parts start the reading of one message's text
// and parts, when its header section is complete; where they, or what they
// return, are nil these are not read.
func New(text func(tx *filter.Transaction) Text, parts func(tx *filter.Transaction) Parts) *Check {
	return &Check{text: text, parts: parts}
}

// Name implements filter.Check.
func (c *Check) Name() string { return "mime" }

// Run implements filter.Check for a message that is complete.
func (c *Check) Run(ctx context.Context, tx *filter.Transaction) filter.Report {
	return filter.RunStream(ctx, c, tx)
}

// Start implements filter.Streamer.
func (c *Check) Start(_ context.Context, tx *filter.Transaction) filter.Stream {
	s := &stream{tx: tx}
	var sink Sink
	var take Taker
	if c.text != nil {
		if s.text = c.text(tx); s.text != nil {
			sink = s.text
		}
	}
	if c.parts != nil {
		if s.parts = c.parts(tx); s.parts != nil {
			take = s.parts
		}
	}
	s.walker = NewWalker(tx.Header, sink, take)
	return s
}

type stream struct {
	tx     *filter.Transaction
	text   Text
	parts  Parts
	walker *Walker
}

// Write implements filter.Stream.
func (s *stream) Write(p []byte) { s.walker.Write(p) }

// Ready implements filter.Ready.
func (s *stream) Ready() {}

// Abort implements filter.Stream.
func (s *stream) Abort() {
	if s.text != nil {
		s.text.Abort()
	}
	if s.parts != nil {
		s.parts.Abort()
	}
}

// End implements filter.Stream.
func (s *stream) End(context.Context) filter.Report {
	s.walker.Close()
	others, err := s.readAgain()
	if err != nil {
		s.Abort()
		return filter.Report{State: filter.Error, Cause: err}
	}
	utf8 := s.tx.Envelope != nil && s.tx.Envelope.UTF8
	report := filter.Report{State: filter.OK, Symbols: headerSymbols(s.tx.Header, utf8)}
	report.Symbols = append(report.Symbols, s.symbols()...)
	if s.walker.conflict(others) {
		report.Symbols = append(report.Symbols, filter.Symbol{Name: filter.SymAmbiguous})
	}
	body := s.facts()
	var text, parts filter.Report
	if s.text != nil {
		text = s.text.Report()
		report.Symbols = append(report.Symbols, text.Symbols...)
	}
	if s.parts != nil {
		parts = s.parts.Report()
		report.Symbols = append(report.Symbols, parts.Symbols...)
		if parts.State != filter.OK {
			report.State, report.Cause = parts.State, parts.Cause
		}
	}
	report.Set = func(f *filter.Facts) {
		f.Body.Parts, f.Body.Ambiguities = body.Parts, body.Ambiguities
		for _, set := range []func(*filter.Facts){text.Set, parts.Set} {
			if set != nil {
				set(f)
			}
		}
	}
	return report
}

// readAgain goes through the other readings of a message that has any. It
// reports whether one of them has a part that can carry executable content.
func (s *stream) readAgain() (capable bool, err error) {
	if s.walker.Odd == 0 {
		return false, nil
	}
	var take Taker
	if s.parts != nil {
		take = s.parts
	}
	r := NewReadings(s.tx.Header, take)
	if err := filter.Feed(r, mail.Section(s.tx.Content, int64(len(s.tx.Header.Raw)))); err != nil {
		return false, err
	}
	r.Close()
	s.walker.Odd |= r.Odd
	return r.Capable, nil
}

func (s *stream) symbols() []filter.Symbol {
	var out []filter.Symbol
	for _, a := range s.walker.Odd.List() {
		out = append(out, filter.Symbol{Name: a.Symbol()})
	}
	return out
}

func (s *stream) facts() filter.BodyFacts {
	var f filter.BodyFacts
	for _, a := range s.walker.Odd.List() {
		f.Ambiguities = append(f.Ambiguities, a.String())
	}
	f.Parts = make([]filter.Part, len(s.walker.Parts))
	for i, p := range s.walker.Parts {
		f.Parts[i] = filter.Part{
			Depth: p.Depth, Type: p.Type, Encoding: p.Encoding, Charset: p.Charset,
			Disposition: p.Disposition, Name: p.Name, Size: p.Size, Magic: p.Magic,
		}
		for _, a := range p.Odd.List() {
			f.Parts[i].Ambiguities = append(f.Parts[i].Ambiguities, a.String())
		}
	}
	return f
}
