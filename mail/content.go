package mail

import (
	"bytes"
	"io"
)

// Content is a run of octets exactly as received: a whole message while it is
// judged, a body once its header section stands apart. It never changes after
// it was made, and may be opened by several readers at once.
type Content interface {
	// Size is the number of octets that a reader will give.
	Size() int64
	// Open starts a reader at the first octet. The caller closes it.
	Open() (io.ReadCloser, error)
}

// Bytes is Content in memory. Code on the hot path asserts for it to save the
// reader; everything else treats it like any Content.
type Bytes []byte

// Size implements Content.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open implements Content.
func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// Section is the part of c that starts offset octets in. It panics when offset
// is outside c: the caller has measured the header section of this very c.
func Section(c Content, offset int64) Content {
	if b, ok := c.(Bytes); ok {
		return b[offset:]
	}
	if offset < 0 || offset > c.Size() {
		panic("mail: section outside of its content")
	}
	return section{c, offset}
}

type section struct {
	Content
	offset int64
}

// Whole returns the content that a section was cut from and where it starts,
// or c itself and 0. A store that holds the whole content already uses it to
// keep the bytes once.
func Whole(c Content) (Content, int64) {
	if s, ok := c.(section); ok {
		return s.Content, s.offset
	}
	return c, 0
}

func (s section) Size() int64 { return s.Content.Size() - s.offset }

func (s section) Open() (io.ReadCloser, error) {
	r, err := s.Content.Open()
	if err != nil {
		return nil, err
	}
	if seeker, ok := r.(io.Seeker); ok {
		_, err = seeker.Seek(s.offset, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, r, s.offset)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}
