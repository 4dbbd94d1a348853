package clamav

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mailweir/filter"
)

// Contents gives what clamd might not find in the raw message by itself: the
// decoded parts, in every way that clients could read them.
type Contents interface {
	// Next is the next content, and words for what it is; nil after the last
	// one. What it gave before is not read any more then.
	Next() (io.Reader, string, error)
	// Incomplete says why Next did not give all; "" when it did.
	Incomplete() string
}

// maxContents is how many contents of one message are scanned.
const maxContents = 2000

// scanContents scans what the message holds, each content as a stream of its
// own: in one stream a file would no longer begin where its type can be told.
// They come one after the other, so that a message holds no slot while it waits
// for a second one.
func (k *Check) scanContents(ctx context.Context, tx *filter.Transaction, facts *filter.VirusFacts) (Verdict, string, error) {
	if k.contents == nil {
		return Verdict{Clean: true}, "", nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, k.client.o.Timeout, errSlowContents)
	defer cancel()
	list := k.contents(tx, func() io.Reader { return tx.Follow(ctx) })
	var over error
	for {
		r, where, err := list.Next()
		switch {
		case err != nil && ctx.Err() != nil:
			return Verdict{}, "", abandoned(ctx)
		case err != nil:
			return Verdict{}, "", fmt.Errorf("%w: %w", ErrAborted, err)
		case r == nil && list.Incomplete() != "":
			return Verdict{}, "", fmt.Errorf("%w: %s", ErrUnscanned, list.Incomplete())
		case r == nil:
			return Verdict{Clean: over == nil}, "", over
		case facts.Contents >= maxContents:
			return Verdict{}, "", fmt.Errorf("%w: more than %d contents", ErrUnscanned, maxContents)
		}
		v, err := k.client.scanContent(ctx, r)
		facts.Contents++
		switch {
		case errors.Is(err, ErrOversize):
			over = err
		case err != nil, !v.Clean:
			return v, where, err
		}
	}
}

// errSlowContents ends the scan of contents that take too long in all.
var errSlowContents = errors.New("clamav: the contents of the message take too long")
