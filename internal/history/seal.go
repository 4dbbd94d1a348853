package history

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"mailweir/internal/daykey"
)

// Keys are those of the days, by which entries are sealed. A nil Keys leaves
// them in clear.
type Keys interface {
	Make(day time.Time) ([]byte, error)
	Read(day time.Time) ([]byte, error) // fs.ErrNotExist: destroyed, or never made
	Expire(now time.Time) error
}

// What stands behind the head of a line.
const (
	clearData  = `,"data":`
	sealedData = `,"sealed":"`
	// maxHead bounds the head: ID, a short kind, time.
	maxHead = 256
)

const nonceSize = 12

// seal replaces the data of the line at buf[start:], whose head ends at head,
// by nonce, ciphertext and tag in base64. The head is the additional data: an
// entry cannot be passed off as another.
func (w *writer) seal(start, head int) {
	line := w.buf.Bytes()[start:]
	data := line[head-start+len(clearData):]
	w.plain = append(w.plain[:0], data...)
	w.sealed = append(w.sealed[:0], make([]byte, nonceSize)...)
	rand.Read(w.sealed) // never fails
	w.sealed = w.aead.Seal(w.sealed, w.sealed[:nonceSize], w.plain, line[:head-start])
	w.buf.Truncate(head)
	b := append(w.buf.AvailableBuffer(), sealedData...)
	b = base64.StdEncoding.AppendEncode(b, w.sealed)
	w.buf.Write(append(b, '"'))
}

// opener reads the lines of one day.
type opener struct {
	keys   Keys
	day    time.Time
	aead   cipher.AEAD
	failed error // why a line could not be opened: the first reason
}

// Opener gives the function that opens the lines of the file of a day; it gives
// those in clear as they are. Its result is valid until the next call. A line
// that nobody can read any more, since its key is destroyed, is nil.
func Opener(keys Keys, end time.Time) func(line []byte) ([]byte, error) {
	o := &opener{keys: keys, day: end.Add(-time.Second)}
	return func(line []byte) ([]byte, error) {
		o.failed = nil
		line = o.open(line)
		return line, o.failed
	}
}

// open is the line as it would be in clear; nil when it cannot be opened.
func (o *opener) open(line []byte) []byte {
	start := line[:min(len(line), maxHead)]
	head := bytes.Index(start, []byte(sealedData))
	if clear := bytes.Index(start, []byte(clearData)); head < 0 || clear >= 0 && clear < head {
		return line
	}
	code, ok := bytes.CutSuffix(line[head+len(sealedData):], []byte(`"}`))
	if !ok {
		return nil // torn
	}
	if o.aead == nil && !o.key() {
		return nil
	}
	sealed, err := base64.StdEncoding.AppendDecode(nil, code)
	if err != nil || len(sealed) < nonceSize {
		return nil // torn, and mended
	}
	b := append(bytes.Clone(line[:head]), clearData...)
	b, err = o.aead.Open(b, sealed[:nonceSize], sealed[nonceSize:], line[:head])
	if err != nil {
		o.fail(fmt.Errorf("history: an entry of %s is damaged, or its key is another one", dayOf(o.day)))
		return nil
	}
	return append(b, '}')
}

func (o *opener) key() bool {
	if o.keys == nil {
		o.fail(fmt.Errorf("history: the entries of %s are sealed, and there are no keys", dayOf(o.day)))
		return false
	}
	key, err := o.keys.Read(o.day)
	switch {
	case errors.Is(err, fs.ErrNotExist): // too old: the file goes, too
		return false
	case err != nil:
		o.fail(fmt.Errorf("history: %w", err))
		return false
	}
	o.aead = daykey.AEAD(key)
	return true
}

func (o *opener) fail(err error) {
	if o.failed == nil {
		o.failed = err
	}
}

// decode reads a line; false when it is torn, or not ours.
func decode(line []byte) (e Entry, ok bool) {
	return e, len(line) > 0 && json.Unmarshal(line, &e) == nil
}
