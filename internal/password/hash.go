// Package password keeps the passwords of those who may send mail through us:
// a file of argon2id hashes, and a guard against guessing.
//
// A line of the file is a user name, a colon, and a hash in the PHC string
// format that other software reads, too:
//
//	anna@example.org:$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA
//
// Empty lines and lines that start with # are skipped. User names are compared
// with case.
package password

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of new hashes: 19 MiB, two passes, one lane. RFC 9106 section 4 asks
// for more memory than a mail gateway can give to every guesser; this is what
// OWASP's password storage cheat sheet has as the least.
const (
	newMemory = 19456 // KiB
	newTime   = 2
	newLanes  = 1
	saltSize  = 16
	keySize   = 32
)

// The highest cost of a hash that is accepted: what one check may take from
// the gateway. Two run at once (Guard).
const (
	MaxMemory = 256 << 10 // KiB
	maxTime   = 16
	maxLanes  = 16
)

// MaxLength bounds user names and passwords (RFC 4616 section 2 has 255).
const MaxLength = 255

// hash is a parsed PHC string.
type hash struct {
	memory, time uint32
	lanes        uint8
	salt, key    []byte
}

// Hash is the PHC string of a password, with a salt of its own.
func Hash(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("password: is empty")
	case len(password) > MaxLength:
		return "", fmt.Errorf("password: longer than %d octets", MaxLength)
	case strings.ContainsAny(password, "\x00\r\n"):
		return "", errors.New("password: has a line break or NUL in it")
	}
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, newTime, newMemory, newLanes, keySize)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, newMemory, newTime, newLanes,
		b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// parse reads a PHC string.
func parse(s string) (*hash, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return nil, errors.New("is no $argon2id$ hash")
	}
	var version int
	h := &hash{}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return nil, fmt.Errorf("is of another version of argon2 than %d", argon2.Version)
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); err != nil {
		return nil, errors.New("has no m=,t=,p= parameters")
	}
	if h.memory < 8*uint32(h.lanes) || h.memory > MaxMemory || h.time < 1 || h.time > maxTime || h.lanes < 1 || h.lanes > maxLanes {
		return nil, fmt.Errorf("has a cost out of bounds: m at most %d, t at most %d, p at most %d", MaxMemory, maxTime, maxLanes)
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.key) < 16 || len(h.key) > 64 {
		return nil, errors.New("has a salt or key that is not base64, or of a strange length")
	}
	return h, nil
}

// is computes the hash: some 20 ms and h.memory KiB.
func (h *hash) is(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}
