package mail

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"
)

// ID names one mail transaction from its MAIL command to the last log line:
// it is the trace ID in every reply and log line, and the queue ID after the
// 250. The first 48 bits are the Unix time in milliseconds, so that IDs sort
// by age and an ID alone tells on which day to look; the rest is random, so
// that nobody can guess a neighbour's.
type ID [16]byte

// idAlphabet is Crockford's base 32: no I, L, O or U, so that an ID survives
// being read aloud over the telephone.
const idAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// IDLength is the number of characters in the text form of an ID.
const IDLength = 26

// ErrID is returned by ParseID for text that is not an ID.
var ErrID = errors.New("not a message ID (26 characters of 0-9 A-Z without I, L, O, U)")

// NewID makes the ID of a transaction that began at t.
func NewID(t time.Time) ID {
	var id ID
	rand.Read(id[6:]) // never fails: crypto/rand ends the process instead
	ms := uint64(t.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	return id
}

// Time is the moment the ID was made, to the millisecond.
func (id ID) Time() time.Time {
	ms := uint64(binary.BigEndian.Uint16(id[0:]))<<32 | uint64(binary.BigEndian.Uint32(id[2:]))
	return time.UnixMilli(int64(ms))
}

// IsZero reports whether id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// String is the ID as 26 characters of Crockford's base 32.
func (id ID) String() string {
	return string(id.AppendTo(make([]byte, 0, IDLength)))
}

// AppendTo appends the text form to dst, for callers on the hot path.
func (id ID) AppendTo(dst []byte) []byte {
	hi := binary.BigEndian.Uint64(id[0:])
	lo := binary.BigEndian.Uint64(id[8:])
	// 26 characters carry 130 bits: the first one has only 3 bits of hi.
	for i := 0; i < IDLength; i++ {
		shift := uint(5 * (IDLength - 1 - i))
		var v uint64
		if shift >= 64 {
			v = hi >> (shift - 64)
		} else {
			v = lo >> shift
			if shift > 0 {
				v |= hi << (64 - shift)
			}
		}
		dst = append(dst, idAlphabet[v&31])
	}
	return dst
}

// ParseID reads the text form; lower case is accepted.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != IDLength || s[0] > '7' {
		return id, ErrID
	}
	var hi, lo uint64
	for i := 0; i < len(s); i++ {
		v := idValue(s[i])
		if v < 0 {
			return ID{}, ErrID
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(id[0:], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, nil
}

func idValue(c byte) int {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	for i := 0; i < len(idAlphabet); i++ {
		if idAlphabet[i] == c {
			return i
		}
	}
	return -1
}

// MarshalText and UnmarshalText give IDs their text form in JSON.
func (id ID) MarshalText() ([]byte, error) { return id.AppendTo(nil), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
