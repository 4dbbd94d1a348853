package queue

import (
	"errors"
	"fmt"
	"io"

	"mailweir/internal/fsx"
)

// The file of a large message is sealed chunk by chunk, as it arrives:
//
//	chunk k, at k × 65552: 65536 octets of the message, sealed, and tag [16]
//	the last one: what is left, at least one octet but in an empty message
//
//	nonce [12]: 1 | 0, 1: the chunk was written again | 0, 1: it is the last |
//	            zero | k u64 big endian
//
// The key is the message's data key. Each chunk can be read by itself; one that
// is missing, exchanged or cut off does not open. The chunks with the header
// section are written again at the end, with zeros in its place.
const (
	chunkPlain  = 64 << 10
	chunkSealed = chunkPlain + tagSize
)

func chunkNonce(k int64, again, last bool) []byte {
	var n [nonceSize]byte
	n[0] = nonceChunk
	if again {
		n[1] = 1
	}
	if last {
		n[2] = 1
	}
	for i := range 8 {
		n[4+i] = byte(uint64(k) >> (56 - 8*i))
	}
	return n[:]
}

// chunksOf is the number of chunks of size octets.
func chunksOf(size int64) int64 { return max((size+chunkPlain-1)/chunkPlain, 1) }

// sealedLen is the length of the file.
func sealedLen(size int64) int64 { return size + chunksOf(size)*tagSize }

// sealedFile is a file of chunks that is being written: a large message on its
// way in.
type sealedFile struct {
	f    fsx.File
	key  *dataKey
	size int64  // of what was written, plain
	tail []byte // of it: the chunk that is not full
}

func newSealedFile(f fsx.File) *sealedFile { return &sealedFile{f: f, key: newDataKey()} }

// write takes the next octets.
func (s *sealedFile) write(p []byte) error {
	s.size += int64(len(p))
	for len(p) > 0 {
		if len(s.tail) == chunkPlain { // it is not the last
			if err := s.put(s.size-int64(len(p))-chunkPlain, s.tail, false, false); err != nil {
				return err
			}
			s.tail = s.tail[:0]
		}
		n := min(len(p), chunkPlain-len(s.tail))
		if s.tail == nil {
			s.tail = pooled(chunkPlain)[:0]
		}
		s.tail = append(s.tail, p[:n]...)
		p = p[n:]
	}
	return nil
}

// put seals and writes the chunk that starts at a plain offset.
func (s *sealedFile) put(at int64, plain []byte, again, last bool) error {
	k := at / chunkPlain
	buf := pooled(chunkSealed)
	defer putPooled(buf)
	_, err := s.f.WriteAt(s.key.aead.Seal(buf[:0], chunkNonce(k, again, last), plain, nil), k*chunkSealed)
	return err
}

// finish writes the last chunk, and the first offset octets as zeros.
func (s *sealedFile) finish(offset int64) error {
	last := chunksOf(s.size) - 1
	for k := int64(0); k <= last; k++ {
		wiped := min(max(offset-k*chunkPlain, 0), chunkPlain)
		if wiped == 0 && k < last {
			k = last - 1 // those between stay as they are
			continue
		}
		plain := s.tail
		if k < last {
			var err error
			if plain, err = s.chunk(k, pooled(chunkPlain)); err != nil {
				return err
			}
		}
		clear(plain[:min(wiped, int64(len(plain)))])
		err := s.put(k*chunkPlain, plain, wiped > 0, k == last)
		if k < last {
			putPooled(plain[:0])
		}
		if err != nil {
			return err
		}
	}
	putPooled(s.tail)
	s.tail = nil
	return nil
}

// chunk reads a full chunk back into buf.
func (s *sealedFile) chunk(k int64, buf []byte) ([]byte, error) {
	return openChunk(s.f, s.key, k, chunkPlain, false, false, buf)
}

// openChunk reads chunk k, of n octets, into buf.
func openChunk(f fsx.File, key *dataKey, k int64, n int, again, last bool, buf []byte) ([]byte, error) {
	sealed := pooled(n + tagSize)
	defer putPooled(sealed)
	if got, err := f.ReadAt(sealed, k*chunkSealed); got < len(sealed) {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: %w", ErrDamaged, io.ErrUnexpectedEOF)
		}
		return nil, err
	}
	plain, err := key.aead.Open(buf[:0], chunkNonce(k, again, last), sealed, nil)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// readAt reads what was written, for the checks that read beside the arrival:
// from tail, the chunk that is not full, of a file of size octets, or from the
// file. The caller has copied both under the lock.
func (s *sealedFile) readAt(p []byte, off, size int64, tail []byte) (int, error) {
	done := 0
	for done < len(p) && off < size {
		if start := size - int64(len(tail)); off >= start {
			n := copy(p[done:], tail[off-start:])
			done, off = done+n, off+int64(n)
			continue
		}
		buf := pooled(chunkPlain)
		plain, err := s.chunk(off/chunkPlain, buf)
		if err != nil {
			putPooled(buf)
			return done, err
		}
		n := copy(p[done:], plain[off%chunkPlain:])
		putPooled(buf)
		done, off = done+n, off+int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// sealedReader reads a stored body. The last chunk tells that nothing is cut
// off: until it has opened, the end is not reported.
type sealedReader struct {
	f     fsx.File
	ref   bigRef
	pos   int64 // in the body
	at    int64 // chunk in plain, -1: none
	buf   []byte
	plain []byte
}

func newSealedReader(f fsx.File, ref bigRef) *sealedReader {
	if ref.key.aead == nil {
		ref.key = &dataKey{ref.key.key, newAEAD(ref.key.key[:])}
	}
	return &sealedReader{f: f, ref: ref, at: -1, buf: pooled(chunkPlain)}
}

// Read implements io.Reader.
func (r *sealedReader) Read(p []byte) (int, error) {
	whole := r.ref.offset + r.ref.size
	off := r.ref.offset + r.pos
	if off >= whole && (r.ref.size > 0 || r.at >= 0) {
		return 0, io.EOF
	}
	k, last := min(off/chunkPlain, chunksOf(whole)-1), chunksOf(whole)-1
	if k != r.at {
		n := int(min(chunkPlain, whole-k*chunkPlain))
		plain, err := openChunk(r.f, r.ref.key, k, n, k*chunkPlain < r.ref.offset, k == last, r.buf)
		if err != nil {
			return 0, err
		}
		r.at, r.plain = k, plain
	}
	n := copy(p, r.plain[off-k*chunkPlain:])
	if n == 0 && len(p) > 0 {
		return 0, io.EOF // an empty body
	}
	r.pos += int64(n)
	return n, nil
}

// Close implements io.Closer.
func (r *sealedReader) Close() error {
	putPooled(r.buf)
	r.buf, r.plain = nil, nil
	return r.f.Close()
}
