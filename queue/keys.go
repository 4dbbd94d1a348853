package queue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"hash/crc32"
)

// Three kinds of keys, each 32 octets, AES-256-GCM. A message has a data key of
// its own; it lies in the message's copies, sealed with the key of an epoch. An
// epoch is an hour; its key lies in spool/keys, sealed with the master key, which
// comes from outside of the spool. What an epoch sealed is unreadable for ever
// once its key is destroyed, and that is done as soon as no message in the queue
// needs it (epochs.go).
//
//	spool/keys/%08x.key
//	 0  magic   u64  "MMWQKEY1"    24  created i64  Unix ms
//	 8  version u32  1             32  nonce  [12]
//	12  epoch   u32                44  key    [32], sealed, and tag [16]
//	16  master ID [8]              92  checksum u32  of 0..91
//
// The first 32 octets are the additional data of the seal. The ID of a master
// key is the start of SHA-256("mailweir master key" and the key).

const (
	keyMagic   = 0x3159454b51574d4d // "MMWQKEY1"
	keyFileLen = 96
	nonceSize  = 12
	tagSize    = 16
	dataKeyLen = 32
)

// epochKey is the key of one epoch.
type epochKey struct {
	number  uint32
	created int64 // Unix milliseconds
	key     [32]byte
	aead    cipher.AEAD
	master  [8]byte // ID of the master key that it is sealed with

	// Guarded by Queue.mu.
	live  int  // messages whose copy, the current one or one on its way, is sealed with it
	spent bool // it sealed something that is of no more use, and shall be unreadable
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("queue: " + err.Error()) // the length is ours
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("queue: " + err.Error())
	}
	return aead
}

func (k *epochKey) encode(master Key) []byte {
	b := make([]byte, 44, keyFileLen)
	le.PutUint64(b[0:], keyMagic)
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], k.number)
	id := master.id()
	copy(b[16:], id[:])
	le.PutUint64(b[24:], uint64(k.created))
	rand.Read(b[32:44])
	b = newAEAD(master[:]).Seal(b, b[32:44], k.key[:], b[:32])
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// errOtherMaster: the key that an epoch's key is sealed with is not at hand.
var errOtherMaster = errors.New("sealed with another master key")

// decodeEpochKey reads the file of an epoch's key.
func decodeEpochKey(b []byte, masters []Key) (*epochKey, error) {
	if len(b) != keyFileLen || le.Uint64(b) != keyMagic || le.Uint32(b[8:]) != 1 ||
		le.Uint32(b[92:]) != crc32.Checksum(b[:92], castagnoli) {
		return nil, ErrDamaged
	}
	k := &epochKey{number: le.Uint32(b[12:]), master: [8]byte(b[16:24]), created: int64(le.Uint64(b[24:]))}
	for _, m := range masters {
		if m.id() != k.master {
			continue
		}
		if _, err := newAEAD(m[:]).Open(k.key[:0], b[32:44], b[44:92], b[:32]); err != nil {
			return nil, ErrDamaged
		}
		k.aead = newAEAD(k.key[:])
		return k, nil
	}
	return nil, errOtherMaster
}
