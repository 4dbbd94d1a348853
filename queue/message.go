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
	bodyBig    = 1 // in big/, plain
	bodySealed = 2 // in big/, sealed chunk by chunk (bigseal.go)
)

// bigRef is a body in its own file: big/<id>.
type bigRef struct {
	size   int64    // of the body
	offset int64    // where it starts in the file; zeros before it
	sum    uint32   // CRC32C of the body; 0 when it is sealed
	key    *dataKey // nil: the body is plain
}

// stored is a decoded copy of a message.
type stored struct {
	env    mail.Envelope
	since  int64       // Unix milliseconds that expiry counts from, by the queue's clock
	states []rcptState // one a recipient, in order
	heads  [][]byte    // alias the payload, or buf
	body   []byte      // inline
	big    *bigRef     // or in its own file

	content
	size  int64  // of the message, as the index counts it
	epoch uint32 // whose key seals it; 0: plain
	buf   []byte // pooled memory with heads and body, when they do not alias the payload
}

// content is header sections and body as they lie in a copy: compressed by
// codec, sealed with key.
type content struct {
	raw   []byte
	codec uint8
	kind  uint8 // of body
	count int   // of header sections
	key   *dataKey
}

// copyFixedSize is the part of a copy's payload that encryption leaves plain.
const copyFixedSize = 16

// outgoing is a copy on its way into the log.
type outgoing struct {
	kind   recordType
	id     mail.ID
	gen    uint32
	env    *mail.Envelope
	since  int64
	states []rcptState // nil for a new message: each recipient is pending then, with its own Hold
	heads  [][]byte
	big    *bigRef
	body   []byte // in line
	size   int64  // of the message, as the index counts it

	epoch *epochKey // nil: plain
	content
	codecs uint8  // what the content may be compressed with
	buf    []byte // pooled memory that raw lies in

	recent bool   // it is about to be relayed: memory shall have it in clear
	clear  *chunk // with the record as it would be in clear
}

// bound is an upper bound of the record.
func (o *outgoing) bound() int {
	n := recordHeaderSize + copyFixedSize + 128 + sealedOverhead + len(o.env.Return) + len(o.env.EnvID) + len(o.env.ReversePath)
	for i := range o.env.Recipients {
		r := &o.env.Recipients[i]
		n += 64 + len(r.Path) + len(r.ORcpt) + len(r.Hold) + len(r.NextHop)
	}
	for i := range o.states {
		n += o.states[i].size()
	}
	if o.raw != nil {
		return n + len(o.raw)
	}
	return n + o.plainSize()
}

// plainSize is the size of the content before it is compressed and sealed.
func (o *outgoing) plainSize() int {
	n := max(len(o.body), 20)
	for _, h := range o.heads {
		n += 4 + len(h)
	}
	return n
}

// prepare does what can be done before the record has its place in a batch, and
// without its lock: the content is compressed and sealed. What a relocation
// finds in the log as it shall be stays as it is.
func (o *outgoing) prepare() {
	switch {
	case o.raw == nil:
		o.count, o.content.kind = len(o.heads), bodyInline
		if o.big != nil {
			o.content.kind = o.big.kind()
		}
		if o.epoch == nil && o.codecs == codecNone {
			return // it goes into the batch as it is
		}
		o.raw = o.plain()
		o.compress()
	case o.key != nil:
		return
	}
	if o.epoch != nil {
		o.seal()
	}
}

// plain lays the content out. For a recent message that is a part of the whole
// record in clear: memory has it ready when the relay wants it, and nothing has
// to be opened and decompressed again.
func (o *outgoing) plain() []byte {
	if !o.recent || o.big != nil {
		o.buf = o.appendPlain(pooled(o.plainSize())[:0])
		return o.buf
	}
	c := *o
	c.epoch = nil
	record := c.append(pooled(c.bound())[:0])
	o.clear = newSingle(record)
	payload := record[recordHeaderSize:]
	return payload[copyFixedSize+int(le.Uint32(payload[8:])):]
}

func (o *outgoing) seal() {
	if o.key == nil {
		o.key = newDataKey()
	}
	buf := pooled(len(o.raw) + tagSize)[:0]
	o.replace(o.key.aead.Seal(buf, contentNonce[:], o.raw, o.contentAAD(o.id)))
}

// replace puts what the content was made into in its place.
func (o *outgoing) replace(raw []byte) {
	putPooled(o.buf)
	o.buf, o.raw = raw, raw
}

var contentNonce [nonceSize]byte // nonceContent: it is used once with a key

func (c *content) contentAAD(id mail.ID) []byte {
	return appendAAD(make([]byte, 0, 32), aadContent, id, c.codec, c.kind)
}

// fileSize is the length of its file.
func (r *bigRef) fileSize() int64 {
	if r.key != nil {
		return sealedLen(r.offset + r.size)
	}
	return r.offset + r.size
}

func (r *bigRef) kind() uint8 {
	if r.key != nil {
		return bodySealed
	}
	return bodyBig
}

// append encodes the record, and gives the memory of prepare back. What smtpd
// knew of the client is not stored: the relay does not need it, and what is not
// there cannot leak.
func (o *outgoing) append(dst []byte) []byte {
	dst = appendRecordHeader(dst, o.kind, 0, o.id, o.gen)
	start := len(dst)
	dst = append(dst, make([]byte, copyFixedSize)...)
	from := len(dst)
	if o.epoch != nil {
		dst = append(dst, make([]byte, nonceSize)...)
		from = len(dst)
		dst = append(dst, o.key.key[:]...)
		dst = le.AppendUint64(dst, uint64(o.size))
	}
	meta := len(dst)
	dst = appendMeta(dst, o.env, o.since, o.states)
	fixed := dst[start : start+copyFixedSize]
	fixed[6], fixed[7] = o.codec, o.content.kind
	le.PutUint32(fixed[8:], uint32(len(dst)-meta))
	le.PutUint32(fixed[12:], uint32(o.count))
	if o.epoch != nil {
		le.PutUint32(fixed[0:], o.epoch.number)
		le.PutUint16(fixed[4:], dataKeyLen)
		dst = o.epoch.seal(dst, from, appendAAD(make([]byte, 0, 64), aadCopy, o.id, fixed...))
	}
	if o.raw == nil {
		return o.appendPlain(dst)
	}
	dst = append(dst, o.raw...)
	putPooled(o.buf)
	o.buf = nil
	return dst
}

func (o *outgoing) appendPlain(dst []byte) []byte {
	for _, h := range o.heads {
		dst = le.AppendUint32(dst, uint32(len(h)))
	}
	for _, h := range o.heads {
		dst = append(dst, h...)
	}
	if o.big == nil {
		return append(dst, o.body...)
	}
	dst = le.AppendUint64(dst, uint64(o.big.size))
	dst = le.AppendUint64(dst, uint64(o.big.offset))
	return le.AppendUint32(dst, o.big.sum)
}

const (
	envEightBit = 1 << iota
	envUTF8
	envMayReturn
	envOwn
	envLow
	envSign
)

func appendMeta(dst []byte, env *mail.Envelope, since int64, states []rcptState) []byte {
	var flags byte
	for i, on := range [...]bool{env.EightBit, env.UTF8, env.MayReturn, env.Client.Own, env.Low, env.Sign} {
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
		s := rcptState{index: i, hold: r.Hold, to: r.NextHop}
		dst = s.append(dst)
	}
	return dst
}

// copyMeta reads a copy but for its content: raw aliases the payload.
func (q *Queue) copyMeta(r record) (*stored, error) {
	d := decoder{b: r.payload}
	fixed := d.bytes(copyFixedSize)
	if fixed == nil || fixed[6] > codecLast || fixed[7] > bodySealed {
		return nil, ErrDamaged // or of a later version
	}
	s := &stored{epoch: le.Uint32(fixed)}
	s.codec, s.content.kind, s.count = fixed[6], fixed[7], int(le.Uint32(fixed[12:]))
	n, keyLen := int(le.Uint32(fixed[8:])), int(le.Uint16(fixed[4:]))
	meta := decoder{}
	switch {
	case s.epoch == 0 && keyLen == 0:
		meta.b = d.bytes(n)
	case s.epoch != 0 && keyLen == dataKeyLen:
		k := q.keys.get(s.epoch)
		if k == nil {
			return nil, veiledError{s.epoch}
		}
		if n > len(d.b) {
			return nil, ErrDamaged
		}
		plain, err := k.open(d.bytes(nonceSize+dataKeyLen+8+n+tagSize), appendAAD(make([]byte, 0, 64), aadCopy, r.id, fixed...))
		if err != nil {
			return nil, err
		}
		meta.b = plain
		s.key = &dataKey{key: [dataKeyLen]byte(meta.bytes(dataKeyLen))}
		s.size = int64(meta.uint64())
	default:
		return nil, ErrDamaged
	}
	meta.envelope(s)
	if meta.failed || len(meta.b) != 0 || d.failed || s.size < 0 || !s.valid() {
		return nil, ErrDamaged
	}
	s.raw = d.b
	return s, nil
}

// decodeCopy reads a copy. Heads and body alias its payload, or memory of their
// own, which discard gives back.
func (q *Queue) decodeCopy(r record) (*stored, error) {
	s, err := q.copyMeta(r)
	if err != nil {
		return nil, err
	}
	if err := s.open(r.id); err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// open reads the content.
func (s *stored) open(id mail.ID) error {
	plain := s.raw
	if s.key != nil {
		if len(plain) < tagSize {
			return ErrDamaged
		}
		s.key.aead = newAEAD(s.key.key[:])
		var err error
		s.buf = pooled(len(plain))
		if plain, err = s.key.aead.Open(s.buf[:0], contentNonce[:], plain, s.contentAAD(id)); err != nil {
			return ErrDamaged
		}
	}
	plain, err := s.decompress(plain)
	if err != nil {
		return err
	}
	d := decoder{b: plain}
	s.heads = d.heads(s.count)
	if s.content.kind == bodyInline {
		s.body = d.b
	} else {
		s.big = &bigRef{size: int64(d.uint64()), offset: int64(d.uint64()), sum: d.uint32()}
		if s.content.kind == bodySealed {
			s.big.key = s.key
		}
		if len(d.b) != 0 || s.big.size < 0 || s.big.offset < 0 || s.big.size+s.big.offset < 0 || s.content.kind == bodySealed && s.key == nil {
			d.fail()
		}
	}
	if d.failed {
		return ErrDamaged
	}
	if s.key == nil {
		s.size = int64(len(s.heads[0]) + len(s.body))
		if s.big != nil {
			s.size += s.big.size
		}
	}
	return nil
}

// discard gives memory back; nothing of s may be used any more.
func (s *stored) discard() {
	putPooled(s.buf)
	s.buf, s.heads, s.body, s.raw = nil, nil, nil, nil
}

// valid checks what the rest of the package takes for granted.
func (s *stored) valid() bool {
	if len(s.env.Recipients) == 0 {
		return false
	}
	for i := range s.env.Recipients {
		if s.env.Recipients[i].Head >= s.count || s.states[i].index != i {
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
	env.Low, env.Sign = flags&envLow != 0, flags&envSign != 0
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
		r.Hold, r.NextHop = st.hold, st.to
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
