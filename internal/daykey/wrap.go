package daykey

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
)

const (
	magic     = "MWDAYKY1"
	headSize  = len(magic) + 8
	nonceSize = 12
	tagSize   = 16
	fileSize  = headSize + nonceSize + Size + tagSize
)

// ErrOtherMaster is a key that is sealed with a master key which is not at hand.
var ErrOtherMaster = errors.New("not in the key file")

// id is the one that the queue has for it.
func (m Master) id() []byte {
	sum := sha256.Sum256(append([]byte("mailweir master key"), m[:]...))
	return sum[:8]
}

// AEAD is AES-256-GCM under a key of 32 octets.
func AEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("daykey: " + err.Error()) // a key of another size is a bug
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("daykey: " + err.Error())
	}
	return aead
}

func wrap(key []byte, day string, m Master) []byte {
	b := make([]byte, 0, fileSize)
	b = append(append(b, magic...), m.id()...)
	b = b[:headSize+nonceSize]
	rand.Read(b[headSize:])
	return AEAD(m[:]).Seal(b, b[headSize:], key, additional(b, day))
}

func additional(b []byte, day string) []byte { return append(bytes.Clone(b[:headSize]), day...) }

func unwrap(b []byte, day string, masters []Master) ([]byte, error) {
	switch {
	case len(b) == Size:
		return b, nil
	case len(b) != fileSize || string(b[:len(magic)]) != magic:
		return nil, fmt.Errorf("the file of %d octets is no key", len(b))
	}
	for _, m := range masters {
		if bytes.Equal(m.id(), b[len(magic):headSize]) {
			key, err := AEAD(m[:]).Open(nil, b[headSize:headSize+nonceSize], b[headSize+nonceSize:], additional(b, day))
			if err != nil {
				return nil, errors.New("the file is damaged")
			}
			return key, nil
		}
	}
	err := fmt.Errorf("it is sealed with the master key %x, which is %w", b[len(magic):headSize], ErrOtherMaster)
	if len(masters) == 0 {
		err = fmt.Errorf("%w: none is configured (queue.encryption_key)", err)
	}
	return nil, err
}

// isUnder reports whether a file is as the first of the masters would have it.
func isUnder(b []byte, masters []Master) bool {
	if len(masters) == 0 {
		return len(b) == Size
	}
	return len(b) == fileSize && bytes.Equal(masters[0].id(), b[len(magic):headSize])
}
