package queue

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Key is a master key. It never shows itself.
type Key [32]byte

// String keeps the key out of logs.
func (Key) String() string { return "***" }

// GoString keeps the key out of %#v.
func (Key) GoString() string { return "***" }

// MarshalText keeps the key out of JSON.
func (Key) MarshalText() ([]byte, error) { return []byte("***"), nil }

func (k Key) id() [8]byte {
	sum := sha256.Sum256(append([]byte("mailweir master key"), k[:]...))
	return [8]byte(sum[:8])
}

// keyPrefix starts a line of a key file with a key.
const keyPrefix = "mailweir-key-1 "

// NewKeyLine makes a master key, as a line for a key file.
func NewKeyLine() string {
	var k Key
	rand.Read(k[:]) // never fails
	return keyPrefix + base64.StdEncoding.EncodeToString(k[:]) + "\n"
}

// ParseKeys reads a key file: one key a line, the one in use first, those that
// are still to be read with after it. Lines that are empty or start with # do
// not count. Errors never show what stands there.
func ParseKeys(text []byte) ([]Key, error) {
	var keys []Key
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		code, ok := bytes.CutPrefix(line, []byte(keyPrefix))
		raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(code)))
		if !ok || err != nil || len(raw) != len(Key{}) {
			return nil, fmt.Errorf("line %d is no key: want %q and 44 characters of base64, as 'gateway queue key new' writes it", number, strings.TrimSpace(keyPrefix))
		}
		keys = append(keys, Key(raw))
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return keys, nil
}
