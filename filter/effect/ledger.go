package effect

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// Ledger remembers who has been answered, over restarts: a file of lines
//
//	until, Unix seconds   16 octets of HMAC-SHA-256 of Reply.Key, and 8 of it of the sender's and of the recipient's mailbox, in hex
//	1796046307            0123456789abcdef0123456789abcdef 0123456789abcdef 0123456789abcdef
//
// after one with a random key, "key " and 16 octets in hex: nobody's address can
// be read from it, and who knows an address finds its lines. It only grows until
// the next start, or Forget, drops what is over. A line that a crash has cut short
// is nothing: the answer was not sent yet.
type Ledger struct {
	mu   sync.Mutex
	fs   fsx.FS
	name string
	file fsx.File
	size int64
	answers
}

// maxLedger bounds the senders that are remembered, some 150 octets each.
const maxLedger = 100_000

var (
	// ErrLedgerFull is returned by Claim when too many have been answered.
	ErrLedgerFull = fmt.Errorf("effect: more than %d senders have been answered lately", maxLedger)
	errNoFile     = errors.New("effect: the file of answers failed")
)

// OpenLedger reads the file, and drops what is over.
func OpenLedger(f fsx.FS, name string, now time.Time) (*Ledger, error) {
	a, err := readAnswers(f, name, now)
	if err != nil {
		return nil, err
	}
	l := &Ledger{fs: f, name: name, answers: a}
	return l, l.rewrite()
}

// rewrite makes a new file of what there is. The caller holds l.mu, or is alone.
func (l *Ledger) rewrite() error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "key %x\n", l.key)
	for key, v := range l.list {
		b.WriteString(v.line(key))
	}
	err := fsx.Replace(l.fs, l.name, b.Bytes())
	if err == nil {
		l.size = int64(b.Len())
		l.file, err = l.fs.Open(l.name, os.O_RDWR, 0o600)
	}
	if err != nil {
		l.file = nil
	}
	return err
}

// Forget drops the answers that were sent to a mailbox, or for it, and gives
// their number. They may be sent again.
func (l *Ledger) Forget(p mail.Path) (n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return 0, errNoFile
	}
	party := l.party(p)
	for key, v := range l.list {
		if v.to == party || v.from == party {
			delete(l.list, key)
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	// The new file is another one: nothing is written to the old one again.
	err = l.file.Close()
	l.file = nil
	if err == nil {
		err = l.rewrite()
	}
	return n, err
}

// Claim tells whether an answer may be sent now; if so it is remembered, durably,
// and may not be sent again before days are over.
func (l *Ledger) Claim(r *Reply, now time.Time) (bool, error) {
	key := l.hash(16, r.Key())
	v := answer{now.AddDate(0, 0, r.Days).Unix(), l.party(r.To), l.party(r.From)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list[key].until > now.Unix() {
		return false, nil
	}
	if l.file == nil {
		return false, errNoFile
	}
	if len(l.list) >= maxLedger && l.expire(now) >= maxLedger {
		return false, ErrLedgerFull
	}
	line := v.line(key)
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
	l.list[key] = v
	return true, nil
}

// expire forgets what is over, and tells how many are left.
func (l *Ledger) expire(now time.Time) int {
	for key, v := range l.list {
		if v.until <= now.Unix() {
			delete(l.list, key)
		}
	}
	return len(l.list)
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
