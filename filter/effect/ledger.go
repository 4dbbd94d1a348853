package effect

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"mailweir/internal/fsx"
)

// Ledger remembers who has been answered, over restarts: a file of lines
//
//	until, Unix seconds   16 octets of HMAC-SHA-256 of Reply.Key, in hex
//	1796046307            0123456789abcdef0123456789abcdef
//
// after one with a random key, "key " and 16 octets in hex: nobody's address can
// be read from it. It only grows until the next start drops what is over. A line that a crash
// has cut short is nothing: the answer was not sent yet.
type Ledger struct {
	mu    sync.Mutex
	file  fsx.File
	size  int64
	until map[string]int64
	key   []byte // of the hashes
}

// maxLedger bounds the senders that are remembered, some 100 octets each.
const maxLedger = 100_000

var (
	// ErrLedgerFull is returned by Claim when too many have been answered.
	ErrLedgerFull = fmt.Errorf("effect: more than %d senders have been answered lately", maxLedger)
	errNoFile     = errors.New("effect: the file of answers failed")
)

// OpenLedger reads the file, and drops what is over.
func OpenLedger(f fsx.FS, name string, now time.Time) (*Ledger, error) {
	data, err := fsx.Content(f, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l := &Ledger{until: map[string]int64{}}
	first, _, _ := strings.Cut(string(data), "\n")
	if l.key, err = hex.DecodeString(strings.TrimPrefix(first, "key ")); err != nil || len(l.key) != 16 {
		l.key = make([]byte, 16)
		rand.Read(l.key) // never fails
	}
	var kept bytes.Buffer
	fmt.Fprintf(&kept, "key %x\n", l.key)
	for line := range strings.Lines(string(data)) {
		var until int64
		var key string
		if n, err := fmt.Sscanf(line, "%d %32s\n", &until, &key); n != 2 || err != nil || len(key) != 32 || line[len(line)-1] != '\n' || until <= now.Unix() {
			continue
		}
		l.until[key] = until
		kept.WriteString(line)
	}
	if err := fsx.Replace(f, name, kept.Bytes()); err != nil {
		return nil, err
	}
	l.size = int64(kept.Len())
	l.file, err = f.Open(name, os.O_RDWR, 0o600)
	return l, err
}

// Claim tells whether an answer may be sent now; if so it is remembered, durably,
// and may not be sent again before days are over.
func (l *Ledger) Claim(r *Reply, now time.Time) (bool, error) {
	mac := hmac.New(sha256.New, l.key)
	mac.Write([]byte(r.Key()))
	key := hex.EncodeToString(mac.Sum(nil)[:16])
	until := now.AddDate(0, 0, r.Days).Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until[key] > now.Unix() {
		return false, nil
	}
	if l.file == nil {
		return false, errNoFile
	}
	if len(l.until) >= maxLedger && l.expire(now) >= maxLedger {
		return false, ErrLedgerFull
	}
	line := fmt.Sprintf("%d %s\n", until, key)
	_, err := l.file.WriteAt([]byte(line), l.size)
	if err == nil {
		err = l.file.Datasync()
	}
	if err != nil { // what is on the disk is not known: nothing more is promised on it
		l.file.Close()
		l.file = nil
		return false, err
	}
	l.size += int64(len(line))
	l.until[key] = until
	return true, nil
}

// expire forgets what is over, and tells how many are left.
func (l *Ledger) expire(now time.Time) int {
	for key, until := range l.until {
		if until <= now.Unix() {
			delete(l.until, key)
		}
	}
	return len(l.until)
}

// Close ends it.
func (l *Ledger) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}
