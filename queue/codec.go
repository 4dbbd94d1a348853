package queue

import (
	"github.com/klauspost/compress/s2"
)

// The codecs of a copy's content. It is compressed before it is sealed, and
// only where that gains something: base64 does not. Why s2, and why it is off:
// docs/adr/.
const (
	codecNone = 0
	codecS2   = 1 // an S2 block
	codecLast = codecS2
)

const (
	// minCompressed is the smallest content that is worth a try.
	minCompressed = 512
	// maxContent bounds what a compressed content may say that it comes to:
	// MaxHeads, and a body that is not in big/.
	maxContent = 64 << 20
)

// codec is what new messages are compressed with.
func (o *Options) codec() uint8 {
	if o.Compress {
		return codecS2
	}
	return codecNone
}

// compress compresses the content when that saves an eighth.
func (o *outgoing) compress() {
	if o.codecs != codecS2 || len(o.raw) < minCompressed {
		return
	}
	out := s2.Encode(pooled(s2.MaxEncodedLen(len(o.raw))), o.raw)
	if len(out) > len(o.raw)-len(o.raw)/8 {
		putPooled(out)
		return
	}
	o.replace(out)
	o.codec = codecS2
}

// decompress is the inverse; the result is in memory of s.
func (s *stored) decompress(content []byte) ([]byte, error) {
	if s.codec == codecNone {
		return content, nil
	}
	n, err := s2.DecodedLen(content)
	if err != nil || n > maxContent {
		return nil, ErrDamaged
	}
	buf := pooled(n)
	plain, err := s2.Decode(buf, content)
	if err != nil {
		putPooled(buf)
		return nil, ErrDamaged
	}
	putPooled(s.buf)
	s.buf = buf
	return plain, nil
}
