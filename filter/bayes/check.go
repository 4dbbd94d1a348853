package bayes

import (
	"context"
	"errors"
	"fmt"

	"mailweir/filter"
	"mailweir/mail"
)

// Check is the check "bayes". It looks at facts, after all other checks, and
// asks nobody.
type Check struct {
	models  *Models
	minimum int
}

// NewCheck makes the check. It has no say until minimum messages of each class
// were learned.
func NewCheck(m *Models, minimum int) *Check { return &Check{m, minimum} }

// Name implements filter.Check.
func (*Check) Name() string { return "bayes" }

var (
	errNothing  = errors.New("nothing was learned (gateway learn)")
	errNewModel = errors.New("the first model came into force while the message arrived")
)

// Run implements filter.Check.
func (c *Check) Run(_ context.Context, tx *filter.Transaction) filter.Report {
	s := c.models.of(recipientDomain(tx.Envelope), c.minimum)
	switch {
	case len(tx.Facts.Header.Names) == 0:
		return skipped(errors.New("the content was not read"))
	case s.model == nil && s.err != nil:
		return filter.Report{State: filter.Error, Cause: s.err}
	case s.model == nil:
		return skipped(errNothing)
	case !s.model.enough(c.minimum):
		return skipped(fmt.Errorf("%d spam and %d ham were learned, %d of each are needed", s.model.spam, s.model.ham, c.minimum))
	}
	if tx.Facts.Body.Words == nil {
		return skipped(errNewModel)
	}
	o := s.model.Judge(tx.Facts)
	symbols := []filter.Symbol{{
		Name:   grade(o.Probability),
		Detail: fmt.Sprintf("%.4f; %d of %d features known; %s", o.Probability, o.Known, o.Features, o.mostly()),
	}}
	if name := fuzzy(o.NearSpam, o.NearHam); name != "" {
		symbols = append(symbols, filter.Symbol{Name: name, Detail: fmt.Sprintf("%d of %d parts", o.NearSpam, sketchSize)})
	}
	if name, parts := s.files.judge(tx.Facts.Body.Files); name != "" {
		symbols = append(symbols, filter.Symbol{Name: name, Detail: fmt.Sprintf("%d of %d parts", parts, sketchSize)})
	}
	return filter.Report{State: filter.OK, Symbols: symbols}
}

func skipped(why error) filter.Report { return filter.Report{State: filter.Skipped, Cause: why} }

// recipientDomain is the domain of all recipients, "" when they differ.
func recipientDomain(env *mail.Envelope) string {
	domain := ""
	for i := range env.Recipients {
		d := mail.CanonicalDomain(env.Recipients[i].Path.Domain())
		if i > 0 && d != domain {
			return ""
		}
		domain = d
	}
	return domain
}

// grades are the symbols, by the probability from which they hold.
var grades = []struct {
	from float64
	name string
}{
	{0.999, "BAYES_999"}, {0.995, "BAYES_995"}, {0.99, "BAYES_99"}, {0.97, "BAYES_97"}, {0.95, "BAYES_95"},
	{0.9, "BAYES_90"}, {0.8, "BAYES_80"}, {0.6, "BAYES_60"}, {0.4, "BAYES_50"}, {0.2, "BAYES_40"},
	{0.05, "BAYES_20"}, {0.01, "BAYES_05"}, {0, "BAYES_00"},
}

func grade(p float64) string {
	for _, g := range grades {
		if p >= g.from {
			return g.name
		}
	}
	return "BAYES_00"
}

// fuzzy names the distance to the nearest learned spam, "" for none that is
// near. A text that is as near to learned ham (a newsletter that one reader
// called spam) is evidence of nothing.
func fuzzy(spam, ham int) string {
	switch {
	case spam <= ham:
		return ""
	case spam >= 15:
		return "FUZZY_SPAM_SAME"
	case spam >= 11:
		return "FUZZY_SPAM_CLOSE"
	case spam >= 7:
		return "FUZZY_SPAM_LIKE"
	}
	return ""
}
