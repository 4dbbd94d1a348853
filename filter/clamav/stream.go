package clamav

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	command     = "zINSTREAM\x00"
	lengthBytes = 4
	chunkBytes  = 64 << 10
	// maxEmptyReads ends a reader that gives neither data nor an error.
	maxEmptyReads = 100
	// lateReply is how long we look for a reply after a write failed: it was
	// sent before, so that it is here already or never comes.
	lateReply = 250 * time.Millisecond
)

// stream is one INSTREAM exchange. Its buffer leaves room for the framing, so
// that a message of up to 64 KiB is a single write:
//
//	| zINSTREAM\0 | length | data ... 64 KiB | 0 0 0 0 |
type stream struct {
	src   io.Reader
	n     int  // octets of data in buf
	first bool // the command was not sent yet
	last  bool // src has ended

	buf [len(command) + lengthBytes + chunkBytes + lengthBytes]byte
}

const dataStart = len(command) + lengthBytes

var streams = sync.Pool{New: func() any { return new(stream) }}

func newStream(src io.Reader) *stream {
	s := streams.Get().(*stream)
	s.src, s.n, s.first, s.last = src, 0, true, false
	return s
}

func (s *stream) release() {
	s.src = nil
	streams.Put(s)
}

// fill reads until the chunk is full or the source ends. Chunks are filled
// because clamd begins only after the last one: more writes gain nothing.
func (s *stream) fill() error {
	s.n = 0
	for empty := 0; s.n < chunkBytes; {
		n, err := s.src.Read(s.buf[dataStart+s.n : dataStart+chunkBytes])
		s.n += n
		if err == io.EOF {
			s.last = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrAborted, err)
		}
		if n > 0 {
			empty = 0
		} else if empty++; empty == maxEmptyReads {
			return fmt.Errorf("%w: %w", ErrAborted, io.ErrNoProgress)
		}
	}
	return nil
}

// data is the current chunk, before frame.
func (s *stream) data() []byte { return s.buf[dataStart : dataStart+s.n] }

// frame is what goes on the wire for the current chunk.
func (s *stream) frame() []byte {
	start, end := len(command), dataStart+s.n
	if s.n == 0 {
		end = start // a length of 0 is the terminator's
	} else {
		binary.BigEndian.PutUint32(s.buf[start:], uint32(s.n))
	}
	if s.first {
		start = copy(s.buf[:], command) - len(command)
		s.first = false
	}
	if s.last {
		end += copy(s.buf[end:], "\x00\x00\x00\x00")
	}
	return s.buf[start:end]
}

// exchange writes the stream, of which the first chunk is filled already, and
// reads the verdict. The deadline moves on while the source is waited for: its
// slowness is not clamd's.
func (s *stream) exchange(conn net.Conn, deadline time.Time) (Verdict, error) {
	for {
		if err := conn.SetDeadline(deadline); err != nil {
			return Verdict{}, broken(err)
		}
		if _, err := conn.Write(s.frame()); err != nil {
			return Verdict{}, refused(conn, err)
		}
		if s.last {
			return readReply(conn)
		}
		waiting := time.Now()
		if err := s.fill(); err != nil {
			return Verdict{}, err
		}
		deadline = deadline.Add(time.Since(waiting))
	}
}

// refused looks for the reason of a failed write. clamd answers and closes when
// a stream exceeds its limit, so that the write fails and the reply waits to be
// read. No other reply counts: clamd has not seen the whole stream, and who
// breaks the protocol must not refuse mail for good.
func refused(conn net.Conn, cause error) error {
	if conn.SetReadDeadline(time.Now().Add(lateReply)) == nil {
		if _, err := readReply(conn); errors.Is(err, ErrOversize) {
			return err
		}
	}
	return broken(cause)
}

// readReply reads up to the NUL that ends a reply to a z command.
func readReply(conn io.Reader) (Verdict, error) {
	b, err := readUntilNUL(conn)
	if err != nil {
		return Verdict{}, err
	}
	return parseReply(b)
}

func readUntilNUL(conn io.Reader) ([]byte, error) {
	buf := make([]byte, 0, 256)
	for {
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if end := bytes.IndexByte(buf, 0); end >= 0 {
			if end != len(buf)-1 {
				return nil, fmt.Errorf("%w: more than one: %q", ErrReply, printable(string(buf)))
			}
			return buf[:end], nil
		}
		switch {
		case err == io.EOF:
			return nil, fmt.Errorf("%w after %d octets", ErrTruncated, len(buf))
		case err != nil:
			return nil, broken(err)
		case len(buf) >= maxReply:
			return nil, fmt.Errorf("%w: longer than %d octets", ErrReply, maxReply)
		case len(buf) == cap(buf):
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
	}
}

// broken gives a network error its kind.
func broken(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
