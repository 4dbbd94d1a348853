package clamav

import (
	"context"
	"io"
	"sync"
	"time"

	"mailweir/internal/archive"
	"mailweir/internal/filetype"
)

// source is a content on its way to clamd. Of an archive, of a message, and of what
// may have an archive behind other octets, it keeps the octets.
type source struct {
	r    io.Reader
	read chan struct{} // closed when nothing of r is read any more
	once sync.Once

	data    []byte // those that are kept; else the last ones, in which a signature may begin
	decided bool
	plain   bool  // no archive, so far: data is not kept
	dropped int64 // octets before data
	err     error
}

// signatureTail is one octet less than the longest signature of an archive.
const signatureTail = 7

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(b)
	s.data = append(s.data, b[:n]...)
	if s.err = err; !s.decided && (filetype.Enough(s.data) || err != nil) {
		s.decided = true
		s.plain = !archive.Known(string(filetype.Detect(s.data))) && !isMessage(s.data[:min(len(s.data), filetype.HeadSize)])
	}
	if s.decided && s.plain {
		s.look()
	}
	if err != nil {
		s.end()
	}
	return n, err
}

// look decides on what was read of something that did not begin as an archive:
// what comes before one that is found is kept as zeros.
func (s *source) look() {
	if filetype.MayAppend(s.data, s.dropped) {
		s.plain = false
		s.data = append(make([]byte, s.dropped, s.dropped+int64(len(s.data))), s.data...)
		return
	}
	if drop := len(s.data) - signatureTail; drop > 0 {
		s.dropped += int64(drop)
		s.data = s.data[:copy(s.data, s.data[drop:])]
	}
}

// end says that nothing is read any more.
func (s *source) end() { s.once.Do(func() { close(s.read) }) }

// whole is what may be an archive, with all its octets, those that clamd did not
// want included; nil for anything else.
func (s *source) whole() []byte {
	_, _ = io.Copy(io.Discard, s)
	if s.err != io.EOF || s.plain {
		return nil
	}
	return s.data
}

// impatience is how long the scans of a message may wait for more of it, in all,
// while they hold slots of the scanner. A sender who is slower gets scanned
// after his final dot: a few of them would else keep everybody's mail from the
// scanner.
type impatience struct {
	left   time.Duration
	cancel context.CancelCauseFunc
}

// watch cancels when reads of src past the first chunk, from where on a slot is
// held, have taken too long in all. A nil impatience does not.
func (i *impatience) watch(src io.Reader) io.Reader {
	if i == nil {
		return src
	}
	return &impatient{src: src, i: i}
}

type impatient struct {
	src io.Reader
	i   *impatience
	n   int
}

func (p *impatient) Read(b []byte) (int, error) {
	if p.n >= chunkBytes {
		timer := time.AfterFunc(p.i.left, func() { p.i.cancel(errSlow) })
		defer timer.Stop()
		start := time.Now()
		defer func() { p.i.left -= time.Since(start) }()
	}
	n, err := p.src.Read(b)
	p.n += n
	return n, err
}
