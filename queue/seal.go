package queue

import (
	"crypto/cipher"
	"crypto/rand"

	"mailweir/mail"
)

// This file seals records and opens them (format in doc.go). A seal that does
// not open is damage, like a checksum that does not match: nothing is relayed
// from it.

// dataKey is the key of one message.
type dataKey struct {
	key  [dataKeyLen]byte
	aead cipher.AEAD
}

func newDataKey() *dataKey {
	d := &dataKey{}
	rand.Read(d.key[:])
	d.aead = newAEAD(d.key[:])
	return d
}

// The first octet of a data key's nonces. Each of them occurs once with a key:
// the content never changes, a relocation copies it as it is sealed.
const (
	nonceContent = 0
	nonceChunk   = 1
)

// Additional data binds what is sealed to its message and its place.
const (
	aadCopy    = 'M' // with ID and the fixed part of the copy
	aadContent = 'C' // with ID, codec and body
	aadStates  = 'S' // with ID, type and flags
	aadDigest  = 'D' // with the header of the digest
)

func appendAAD(dst []byte, kind byte, id mail.ID, rest ...byte) []byte {
	dst = append(dst, kind)
	dst = append(dst, id[:]...)
	return append(dst, rest...)
}

// sealedOverhead is what sealing adds to a copy at most.
const sealedOverhead = nonceSize + dataKeyLen + 8 + tagSize + tagSize

// sealMeta seals dst[from:], the data key, the size and the meta, with the
// epoch's key; its nonce lies before.
func (k *epochKey) seal(dst []byte, from int, aad []byte) []byte {
	rand.Read(dst[from-nonceSize : from])
	return k.aead.Seal(dst[:from], dst[from-nonceSize:from], dst[from:], aad)
}

// open is the inverse: b is nonce, sealed octets and tag. The result is fresh
// memory.
func (k *epochKey) open(b, aad []byte) ([]byte, error) {
	if len(b) < nonceSize+tagSize {
		return nil, ErrDamaged
	}
	plain, err := k.aead.Open(nil, b[:nonceSize], b[nonceSize:], aad)
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// sealStates turns the states in dst[from:] into sealed ones:
//
//	key epoch u32, nonce [12], states, tag [16]
func (k *epochKey) sealStates(dst []byte, from int, id mail.ID, kind recordType, flags uint8) []byte {
	const head = 4 + nonceSize
	n := len(dst) - from
	dst = append(dst, make([]byte, head)...)
	copy(dst[from+head:], dst[from:from+n])
	le.PutUint32(dst[from:], k.number)
	return k.seal(dst, from+head, appendAAD(make([]byte, 0, 32), aadStates, id, byte(kind), flags))
}

// sealedStates is what sealing adds to states.
const sealedStates = 4 + nonceSize + tagSize

// veiledError: the key of the epoch is destroyed or lost.
type veiledError struct{ epoch uint32 }

func (veiledError) Error() string { return "queue: the key of this record is gone" }

// epoch is whose key seals the states of a record; 0: none.
func (r record) epoch() uint32 {
	if r.flags&flagSealed == 0 || len(r.payload) < 4 {
		return 0
	}
	return le.Uint32(r.payload)
}

// states reads the payload of a state record.
func (q *Queue) states(r record) (since int64, states []rcptState, err error) {
	payload := r.payload
	if r.flags&flagSealed != 0 {
		number := r.epoch()
		if number == 0 {
			return 0, nil, ErrDamaged
		}
		k := q.keys.get(number)
		if k == nil {
			return 0, nil, veiledError{number}
		}
		if payload, err = k.open(payload[4:], appendAAD(make([]byte, 0, 32), aadStates, r.id, byte(r.kind), r.flags)); err != nil {
			return 0, nil, err
		}
	}
	return decodeStates(payload)
}
