package clamav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"mailweir/internal/archive"
	"mailweir/internal/filetype"
)

// members scans what lies in the archives of one message, as far as clamd may not
// look into it by itself. Which formats it knows depends on how it was built
// (Debian's has no RAR), so that only those are left to it that every clamd
// unpacks. All unpacking of a message is on one budget; how many messages unpack
// at once is bounded.
type members struct {
	k      *Check
	ctx    context.Context
	budget *archive.Budget // nil until the first archive
	turn   chan struct{}   // one archive at a time: the budget has one user
}

// unpackers is how many messages have their archives unpacked at once.
const unpackers = 2

func (k *Check) newMembers(ctx context.Context) *members {
	return &members{k: k, ctx: ctx, turn: make(chan struct{}, 1)}
}

// scan adds to o, the outcome of an archive's own stream, what the members give;
// data is nil for what cannot be an archive.
func (m *members) scan(o outcome, data []byte) outcome {
	if data == nil {
		return o
	}
	for _, c := range []chan struct{}{m.turn, m.k.unpack} {
		select {
		case c <- struct{}{}:
			defer func() { <-c }()
		case <-m.ctx.Done():
			o.v, o.err = Verdict{}, abandoned(m.ctx)
			return o
		}
	}
	if m.budget == nil {
		m.budget = archive.NewBudget(archive.DefaultLimits())
	} else {
		m.budget.Start()
	}
	defer m.budget.Stop()
	w := &memberWalk{m: m, o: &o}
	w.archive(data, 1)
	return o
}

// memberWalk goes through one archive and those in it.
type memberWalk struct {
	m *members
	o *outcome
}

// errFound ends a walk whose outcome is known.
var errFound = errors.New("clamav: the outcome is known")

// familiar are the formats of which every clamd unpacks all that an unpacker
// would, but for what is rare or hidden: of bzip2 it takes the first stream alone.
var familiar = map[string]bool{"zip": true, "gzip": true, "tar": true}

// archive visits the members of what is an archive or a message, and of an archive
// that lies behind other octets. Where unpackers disagree about an archive, all of its members are
// scanned, in all readings.
func (w *memberWalk) archive(data []byte, depth int) error {
	format := filetype.Detect(data[:min(len(data), filetype.ImageHead)])
	appended, at := filetype.Appended(data)
	switch {
	case format == filetype.Zip:
		return w.known(string(format), data, depth, false)
	case isMessage(data[:min(len(data), filetype.HeadSize)]):
		if err := w.message(data, depth); err == errFound {
			return err
		}
	case !archive.Known(string(format)):
	case appended != filetype.Zip:
		return w.known(string(format), data, depth, false)
	default:
		if err := w.known(string(format), data, depth, false); err == errFound {
			return err
		}
	}
	if appended == filetype.Unknown {
		return nil
	}
	return w.known(string(appended), data[at:], depth, true)
}

// known visits the members of an archive of that format.
func (w *memberWalk) known(format string, data []byte, depth int, all bool) error {
	if depth > w.m.budget.Limits().Depth {
		w.limit(&archive.LimitError{Limit: "depth"})
		return nil
	}
	all = all || !familiar[format]
	odd, err := w.walk(format, data, depth, all)
	if !all && odd&^archive.Trailing != 0 && err != errFound {
		_, err = w.walk(format, data, depth, true)
	}
	var limit *archive.LimitError
	if errors.As(err, &limit) {
		w.limit(limit)
	}
	return err
}

func (w *memberWalk) walk(format string, data []byte, depth int, all bool) (archive.Oddities, error) {
	return archive.Walk(format, data, w.m.budget, func(e *archive.Entry, r io.Reader) error {
		if e.Dir || e.Err != nil {
			return nil // what cannot be read is told by the examination of attachments
		}
		return w.member(e, r, depth, all || e.Rare || e.Hidden)
	})
}

// member scans one, if clamd has not seen it, and goes into it if it is an
// archive, or is called one: then it may lie behind other octets. One that cannot
// be read to its end is scanned as far as it goes.
func (w *memberWalk) member(e *archive.Entry, r io.Reader, depth int, unseen bool) error {
	data, err := beginning(r)
	inner := archive.Known(string(filetype.Detect(data))) || isMessage(data[:min(len(data), filetype.HeadSize)]) || filetype.ArchiveName(filetype.Extension(e.Name))
	if !unseen && !inner {
		return w.m.budget.Exceeded()
	}
	if err == nil {
		b := bytes.NewBuffer(data)
		_, _ = io.Copy(b, r)
		data = b.Bytes()
	}
	if unseen {
		if err := w.stream(e, data); err != nil {
			return err
		}
	}
	if inner || unseen {
		if err := w.archive(data, depth+1); err == errFound {
			return err
		}
	}
	return w.m.budget.Exceeded()
}

// beginning is as much of r as tells what it is; the error says that it ends there.
func beginning(r io.Reader) ([]byte, error) {
	head := make([]byte, filetype.HeadSize)
	n, err := io.ReadFull(r, head)
	if err != nil || filetype.Enough(head) {
		return head[:n], err
	}
	rest := make([]byte, filetype.ImageHead-filetype.HeadSize)
	n, err = io.ReadFull(r, rest)
	return append(head, rest[:n]...), err
}

// stream has clamd scan a member. The clock of the budget stands meanwhile.
func (w *memberWalk) stream(e *archive.Entry, data []byte) error {
	if w.o.scans >= maxContents {
		w.limit(fmt.Errorf("more than %d members", maxContents))
		return errFound
	}
	w.m.budget.Stop()
	v, err := w.m.k.client.scanContent(w.m.ctx, bytes.NewReader(data))
	w.m.budget.Start()
	w.o.scans++
	switch {
	case errors.Is(err, ErrOversize):
		w.o.v, w.o.err = Verdict{}, err
	case err != nil, !v.Clean:
		w.o.v, w.o.err = v, err
		w.o.where += " > " + e.Name
		return errFound
	}
	return nil
}

// limit says that not all was scanned.
func (w *memberWalk) limit(err error) {
	w.o.v, w.o.err = Verdict{}, fmt.Errorf("%w: %w", ErrUnscanned, err)
}
