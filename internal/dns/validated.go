package dns

import (
	"context"
	"sync/atomic"
)

// Validated tells whether the answers that look-ups got were validated with
// DNSSEC by a server that is trusted to do it. Absences count as answers.
type Validated struct {
	parent       *Validated
	answers, yes atomic.Int32
}

type validatedKey struct{}

// Observe returns a context whose look-ups, also those of contexts made from
// it, are noted in the returned Validated.
func Observe(ctx context.Context) (context.Context, *Validated) {
	parent, _ := ctx.Value(validatedKey{}).(*Validated)
	v := &Validated{parent: parent}
	return context.WithValue(ctx, validatedKey{}, v), v
}

// All reports that there was an answer, and that every answer was validated.
// One that was not makes the conclusion from all of them as weak as it is.
func (v *Validated) All() bool {
	n := v.answers.Load()
	return n > 0 && v.yes.Load() == n
}

// note takes one answer down with whoever observes ctx.
func note(ctx context.Context, validated bool) {
	v, _ := ctx.Value(validatedKey{}).(*Validated)
	for ; v != nil; v = v.parent {
		if validated {
			v.yes.Add(1)
		}
		v.answers.Add(1)
	}
}
