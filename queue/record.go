package queue

import (
	"encoding/binary"
	"hash/crc32"
	"strings"

	"mailweir/mail"
)

// recordType says what a record means. The numbers are on disk: they never
// change.
type recordType uint8

const (
	recAccept   recordType = 1 // a message: envelope, header sections, body
	recDone     recordType = 2 // recipients came to their end
	recDefer    recordType = 3 // recipients wait for another attempt
	recHold     recordType = 4 // recipients wait for an admin
	recRelease  recordType = 5 // and do so no more
	recErase    recordType = 6 // the message is gone by an admin's or the law's will
	recRelocate recordType = 7 // a copy of an ACCEPT with the state of its recipients
)

// flagLast marks the record after which the message is over: no recipient is
// left. It alone keeps the message dead, whatever else was compacted away.
const flagLast = 1

// flagSealed marks state records whose states are sealed.
const flagSealed = 2

// record is one decoded record header with its payload.
type record struct {
	kind    recordType
	flags   uint8
	id      mail.ID
	gen     uint32 // of the copy: 0 for ACCEPT, one more for each RELOCATE
	payload []byte
}

// isCopy reports whether the record holds a whole message.
func (r record) isCopy() bool { return r.kind == recAccept || r.kind == recRelocate }

// appendRecordHeader starts a record; endRecord fills in the length.
func appendRecordHeader(dst []byte, kind recordType, flags uint8, id mail.ID, gen uint32) []byte {
	var h [recordHeaderSize]byte
	le.PutUint16(h[0:], recordMagic)
	h[2], h[3] = byte(kind), flags
	copy(h[8:24], id[:])
	le.PutUint32(h[24:], gen)
	return append(dst, h[:]...)
}

// endRecord ends the record that starts at b[0].
func endRecord(b []byte) { le.PutUint32(b[4:], uint32(len(b)-recordHeaderSize)) }

func sealRecord(b []byte, epoch uint64, offset int64) {
	sum := crc32.Update(seed(epoch, offset), castagnoli, b[:28])
	le.PutUint32(b[28:], crc32.Update(sum, castagnoli, b[recordHeaderSize:]))
}

// decodeRecord reads the record that b starts with, as it stands at offset of
// a segment of that epoch. It never trusts a length before it is bounded.
func decodeRecord(b []byte, epoch uint64, offset int64) (record, bool) {
	r, ok := recordIn(b)
	if !ok {
		return record{}, false
	}
	sum := crc32.Update(seed(epoch, offset), castagnoli, b[:28])
	return r, le.Uint32(b[28:]) == crc32.Update(sum, castagnoli, r.payload)
}

// recordIn is decodeRecord for bytes whose checksum was verified already.
func recordIn(b []byte) (record, bool) {
	if len(b) < recordHeaderSize || le.Uint16(b) != recordMagic {
		return record{}, false
	}
	n := int64(le.Uint32(b[4:]))
	if n > maxRecord || recordHeaderSize+n > int64(len(b)) {
		return record{}, false
	}
	return record{recordType(b[2]), b[3], mail.ID(b[8:24]), le.Uint32(b[24:]), b[recordHeaderSize : recordHeaderSize+n : recordHeaderSize+n]}, true
}

// The statuses of a recipient on disk.
const (
	statusPending uint8 = iota
	statusRelayed
	statusFailed
	statusExpired
	statusDiscarded
	statusDeleted
	statusDamaged
	statusErased
)

func statusName(s uint8) string {
	switch s {
	case statusRelayed:
		return Relayed
	case statusFailed:
		return Failed
	case statusExpired:
		return Expired
	case statusPending:
		return Pending
	}
	return Discarded
}

// rcptState is what is known of one recipient: the payload of DONE, DEFER,
// HOLD and RELEASE is a list of them, and so is the state in a copy. Each is
// complete by itself: a later one replaces an earlier one.
type rcptState struct {
	index    int
	status   uint8
	attempts int
	next     int64 // Unix milliseconds of the next attempt, 0 for now
	hold     string
	nextHop  string           // that the last attempt spoke to
	to       mail.Destination // where an admin or a rule rerouted it to, "" for the routes of the config
	reply    mail.Reply

	// unreached is what reply and attempts say: the last one did not get as
	// far as the next hop.
	unreached bool
	told      bool // the sender was told of the delay
}

// toldOnDisk is set in the number of attempts of a recipient whose sender was
// told of the delay: the format has no other room, and a version that knows
// nothing of it takes it for many attempts.
const toldOnDisk = 1 << 16

func (s *rcptState) attemptsOnDisk() uint64 {
	n := uint64(min(s.attempts, toldOnDisk-1))
	if s.told {
		n |= toldOnDisk
	}
	return n
}

func (s *rcptState) setAttempts(onDisk int) {
	s.attempts, s.told = onDisk&(toldOnDisk-1), onDisk&toldOnDisk != 0
}

// maxReply bounds what is kept of a next hop's reply.
const maxReply = 512

func (s *rcptState) size() int {
	return 10 + 1 + 3*binary.MaxVarintLen64 + 4*binary.MaxVarintLen32 + 4*binary.MaxVarintLen32 +
		len(s.hold) + len(s.nextHop) + 1 + len(s.to) + min(len(s.reply.Text), maxReply)
}

func (s *rcptState) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.index))
	dst = append(dst, s.status)
	dst = binary.AppendUvarint(dst, s.attemptsOnDisk())
	dst = binary.AppendVarint(dst, s.next)
	dst = appendString(dst, s.hold)
	dst = appendString(dst, s.hop())
	dst = binary.AppendUvarint(dst, uint64(s.reply.Code))
	for _, n := range s.reply.Enhanced {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	return appendString(dst, s.reply.Text[:min(len(s.reply.Text), maxReply)])
}

// hop is next hop and reroute in one text, since the format has no other room.
// An address has no space in it, and a version that knows nothing of reroutes
// only shows the text and relays as its config says.
func (s *rcptState) hop() string {
	hop := strings.ReplaceAll(s.nextHop, " ", "_")
	if s.to == "" {
		return hop
	}
	return hop + " " + string(s.to)
}

func (d *decoder) state() rcptState {
	var s rcptState
	s.index = d.int()
	s.status = d.byte()
	s.setAttempts(d.int())
	s.next = d.varint()
	s.hold = d.string()
	hop, to, _ := strings.Cut(d.string(), " ")
	s.nextHop, s.to = hop, mail.Destination(to)
	s.reply.Code = d.int()
	for i := range s.reply.Enhanced {
		s.reply.Enhanced[i] = d.int()
	}
	s.reply.Text = d.string()
	s.unreached = s.status == statusPending && s.attempts > 0 && unreached(mail.Outcome{Result: mail.Deferred, Reply: s.reply})
	return s
}

// decodeStates reads the payload of a state record: since when the message is
// here, for its expiry, and the states.
func decodeStates(payload []byte) (since int64, states []rcptState, err error) {
	d := decoder{b: payload}
	since = d.varint()
	n := d.count(1)
	states = make([]rcptState, 0, n)
	for range n {
		states = append(states, d.state())
	}
	if d.failed || len(d.b) != 0 {
		return 0, nil, ErrDamaged
	}
	return since, states, nil
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// decoder reads a payload. After the first fault everything reads as zero and
// failed stays set, so that callers check once.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) fail() { d.failed, d.b = true, nil }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// int reads a number that fits an int of 32 bits: every count that we write.
func (d *decoder) int() int {
	v := d.uvarint()
	if v > 1<<31-1 {
		d.fail()
		return 0
	}
	return int(v)
}

// count reads the number of elements that each take at least size bytes.
func (d *decoder) count(size int) int {
	n := d.int()
	if n*size > len(d.b) {
		d.fail()
		return 0
	}
	return n
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uint32() uint32 {
	b := d.bytes(4)
	if b == nil {
		return 0
	}
	return le.Uint32(b)
}

func (d *decoder) uint64() uint64 {
	b := d.bytes(8)
	if b == nil {
		return 0
	}
	return le.Uint64(b)
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes(d.int())) }

func appendStates(dst []byte, since int64, states []rcptState) []byte {
	dst = binary.AppendVarint(dst, since)
	dst = binary.AppendUvarint(dst, uint64(len(states)))
	for i := range states {
		dst = states[i].append(dst)
	}
	return dst
}
