package queue

import (
	"encoding/binary"
	"time"

	"mailweir/mail"
)

// MaxHeads bounds the header sections of one message taken together.
const MaxHeads = 16 << 20

// The kinds of body in a copy.
const (
	bodyInline = 0
	bodyBig    = 1
)

// bigRef is a body in its own file: big/<id>.
type bigRef struct {
	size   int64  // of the body
	offset int64  // where it starts in the file; zeros before it
	sum    uint32 // CRC32C of the body
}

// stored is a decoded copy of a message.
type stored struct {
	env    mail.Envelope
	since  int64       // Unix milliseconds that expiry counts from, by the queue's clock
	states []rcptState // one a recipient, in order
	heads  [][]byte    // alias the payload
	body   []byte      // inline
	big    *bigRef     // or in its own file
}

// copyFixedSize is the part of a copy's payload that encryption leaves plain.
const copyFixedSize = 16

// copySize is an upper bound of the payload of a copy.
func copySize(env *mail.Envelope, states []rcptState, heads [][]byte, inline int64) int64 {
	n := copyFixedSize + 128 + int64(len(env.Return)+len(env.EnvID)+len(env.ReversePath))
	for i := range env.Recipients {
		r := &env.Recipients[i]
		n += int64(64 + len(r.Path) + len(r.ORcpt) + len(r.Hold))
	}
	for i := range states {
		n += int64(states[i].size())
	}
	for _, h := range heads {
		n += 4 + int64(len(h))
	}
	return n + max(inline, 20)
}

// appendCopy encodes a message. states is nil for a new one: each recipient is
// pending then, with its own Hold. The inline body, when there is one, is
// appended by the caller.
//
// What smtpd knew of the client is not stored: the relay does not need it, and
// what is not there cannot leak.
func appendCopy(dst []byte, env *mail.Envelope, since int64, states []rcptState, heads [][]byte, big *bigRef) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, copyFixedSize)...)
	// [0:4] key epoch and [4:6] length of the wrapped key: 0, not encrypted.
	// [6] codec: 0, not compressed.
	metaStart := len(dst)
	dst = appendMeta(dst, env, since, states)
	fixed := dst[start : start+copyFixedSize]
	if big != nil {
		fixed[7] = bodyBig
	}
	le.PutUint32(fixed[8:], uint32(len(dst)-metaStart))
	le.PutUint32(fixed[12:], uint32(len(heads)))
	for _, h := range heads {
		dst = le.AppendUint32(dst, uint32(len(h)))
	}
	for _, h := range heads {
		dst = append(dst, h...)
	}
	if big != nil {
		dst = le.AppendUint64(dst, uint64(big.size))
		dst = le.AppendUint64(dst, uint64(big.offset))
		dst = le.AppendUint32(dst, big.sum)
	}
	return dst
}

const (
	envEightBit = 1 << iota
	envUTF8
	envMayReturn
	envOwn
)

func appendMeta(dst []byte, env *mail.Envelope, since int64, states []rcptState) []byte {
	var flags byte
	for i, on := range [...]bool{env.EightBit, env.UTF8, env.MayReturn, env.Client.Own} {
		if on {
			flags |= 1 << i
		}
	}
	dst = append(dst, flags)
	dst = binary.AppendVarint(dst, env.Arrived.UnixMilli())
	dst = binary.AppendVarint(dst, since)
	dst = appendString(dst, env.Return)
	dst = appendString(dst, env.EnvID)
	dst = appendString(dst, string(env.ReversePath))
	dst = binary.AppendUvarint(dst, uint64(len(env.Recipients)))
	for i := range env.Recipients {
		r := &env.Recipients[i]
		dst = appendString(dst, string(r.Path))
		dst = append(dst, byte(r.Notify))
		dst = appendString(dst, r.ORcpt)
		dst = binary.AppendUvarint(dst, uint64(r.Head))
		if states != nil {
			dst = states[i].append(dst)
			continue
		}
		s := rcptState{index: i, hold: r.Hold}
		dst = s.append(dst)
	}
	return dst
}

// decodeCopy reads the payload of a copy. Heads and body alias it.
func decodeCopy(payload []byte) (*stored, error) {
	d := decoder{b: payload}
	fixed := d.bytes(copyFixedSize)
	if fixed == nil || le.Uint32(fixed) != 0 || le.Uint16(fixed[4:]) != 0 || fixed[6] != 0 || fixed[7] > bodyBig {
		return nil, ErrDamaged // or sealed with a key that this version does not have
	}
	s := &stored{}
	meta := decoder{b: d.bytes(int(le.Uint32(fixed[8:])))}
	meta.envelope(s)
	if meta.failed || len(meta.b) != 0 {
		return nil, ErrDamaged
	}
	s.heads = d.heads(int(le.Uint32(fixed[12:])))
	if fixed[7] == bodyBig {
		s.big = &bigRef{size: int64(d.uint64()), offset: int64(d.uint64()), sum: d.uint32()}
		if len(d.b) != 0 || s.big.size < 0 || s.big.offset < 0 {
			d.fail()
		}
	} else {
		s.body = d.b
	}
	if d.failed || !s.valid() {
		return nil, ErrDamaged
	}
	return s, nil
}

// valid checks what the rest of the package takes for granted.
func (s *stored) valid() bool {
	if len(s.env.Recipients) == 0 {
		return false
	}
	for i := range s.env.Recipients {
		if s.env.Recipients[i].Head >= len(s.heads) || s.states[i].index != i {
			return false
		}
	}
	return true
}

func (d *decoder) envelope(s *stored) {
	flags := d.byte()
	env := &s.env
	env.EightBit, env.UTF8 = flags&envEightBit != 0, flags&envUTF8 != 0
	env.MayReturn, env.Client.Own = flags&envMayReturn != 0, flags&envOwn != 0
	env.Arrived = time.UnixMilli(d.varint())
	s.since = d.varint()
	env.Return = d.string()
	env.EnvID = d.string()
	env.ReversePath = mail.Path(d.string())
	n := d.count(8)
	env.Recipients = make([]mail.Recipient, 0, n)
	s.states = make([]rcptState, 0, n)
	for range n {
		var r mail.Recipient
		r.Path = mail.Path(d.string())
		r.Notify = mail.Notify(d.byte())
		r.ORcpt = d.string()
		r.Head = d.int()
		st := d.state()
		r.Hold = st.hold
		env.Recipients = append(env.Recipients, r)
		s.states = append(s.states, st)
	}
}

func (d *decoder) heads(n int) [][]byte {
	if n > len(d.b)/4 {
		d.fail()
		return nil
	}
	lengths := d.bytes(4 * n)
	heads := make([][]byte, 0, n)
	for i := range n {
		heads = append(heads, d.bytes(int(le.Uint32(lengths[4*i:]))))
	}
	return heads
}
