package queue

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// Large bodies have files of their own, big/<id>: they are written while the
// message arrives, so that the log stays short and memory free. The body keeps
// the offset that it arrived at; the header section before it, which may name
// the client, is overwritten with zeros before the sync. Sealed files are in
// bigseal.go.

func (q *Queue) bigName(id mail.ID) string { return q.bigDir() + "/" + id.String() }

// bigContent is a stored body. A reader reports damage instead of the end:
// who relays must not send the final dot after an error.
type bigContent struct {
	fs   fsx.FS
	name string
	ref  bigRef
}

// Size implements mail.Content.
func (c *bigContent) Size() int64 { return c.ref.size }

// Open implements mail.Content.
func (c *bigContent) Open() (io.ReadCloser, error) {
	f, err := c.fs.Open(c.name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if c.ref.key != nil {
		return newSealedReader(f, c.ref), nil
	}
	return &bigReader{f: f, ref: c.ref}, nil
}

type bigReader struct {
	f   fsx.File
	ref bigRef
	pos int64
	sum uint32
	bad bool // a seek made the sum useless
}

func (r *bigReader) Read(p []byte) (int, error) {
	left := r.ref.size - r.pos
	if left <= 0 {
		if !r.bad && r.sum != r.ref.sum {
			return 0, ErrDamaged
		}
		return 0, io.EOF
	}
	n, err := r.f.ReadAt(p[:min(int64(len(p)), left)], r.ref.offset+r.pos)
	r.sum = crc32.Update(r.sum, castagnoli, p[:n])
	r.pos += int64(n)
	// The last octets are withheld until they are known to be right.
	if n > 0 && r.pos == r.ref.size && !r.bad && r.sum != r.ref.sum {
		return 0, ErrDamaged
	}
	if n > 0 {
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, io.ErrUnexpectedEOF)
	}
	return 0, err
}

func (r *bigReader) Close() error { return r.f.Close() }

// durableBig makes the file of a large message durable under its final name.
// ref.offset octets at its start are wiped.
func (q *Queue) durableBig(f fsx.File, sealed *sealedFile, tmp string, id mail.ID, ref bigRef) error {
	var err error
	if sealed != nil {
		err = sealed.finish(ref.offset)
	} else {
		err = writeZeros(f, 0, ref.offset, nil)
	}
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = q.fs.Rename(tmp, q.bigName(id))
	}
	if err == nil {
		err = q.syncDir(q.bigDir())
	}
	if err != nil {
		// After a failed sync nothing is known of the file but that it is
		// not to be used; the message is refused and the client comes back.
		q.logRemove(q.fs.Remove(tmp), tmp)
		q.logRemove(q.fs.Remove(q.bigName(id)), q.bigName(id))
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return nil
}

// dropPrefix is the CRC32C of b, given that of a+b and of a, where b has n
// octets: sum(a+b) = shift(sum(a), n) ^ sum(b).
func dropPrefix(whole, prefix uint32, n int64) uint32 { return whole ^ shiftSum(prefix, n) }

// shiftSum is the effect on a CRC32C of n more octets. Appending one zero bit
// is a linear map over GF(2); squaring it doubles the number of bits.
func shiftSum(sum uint32, n int64) uint32 {
	var m, sq [32]uint32
	m[0] = crc32.Castagnoli // one zero bit
	for i := 1; i < 32; i++ {
		m[i] = 1 << (i - 1)
	}
	square := func(dst, src *[32]uint32) {
		for i := range dst {
			dst[i] = applyMatrix(src, src[i])
		}
	}
	square(&sq, &m) // two
	square(&m, &sq) // four
	for ; n > 0; n >>= 1 {
		square(&sq, &m) // the first time eight: one octet
		m = sq
		if n&1 != 0 {
			sum = applyMatrix(&m, sum)
		}
	}
	return sum
}

func applyMatrix(m *[32]uint32, v uint32) uint32 {
	var r uint32
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			r ^= m[i]
		}
	}
	return r
}
