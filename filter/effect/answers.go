package effect

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// answers are what the file says.
type answers struct {
	key  []byte // of the hashes
	list map[string]answer
}

// answer is until when a sender is not answered again.
type answer struct {
	until    int64
	to, from string // hashes of mailboxes: who was answered, and for whom
}

// readAnswers reads what is not over. A file that is not there has nothing, and a
// key of its own.
func readAnswers(f fsx.FS, name string, now time.Time) (answers, error) {
	data, err := fsx.Content(f, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return answers{}, err
	}
	a := answers{list: map[string]answer{}}
	first, _, _ := strings.Cut(string(data), "\n")
	if a.key, err = hex.DecodeString(strings.TrimPrefix(first, "key ")); err != nil || len(a.key) != 16 {
		a.key = make([]byte, 16)
		rand.Read(a.key) // never fails
	}
	for line := range strings.Lines(string(data)) {
		var key string
		var v answer
		n, err := fmt.Sscanf(line, "%d %32s %16s %16s\n", &v.until, &key, &v.to, &v.from)
		if n == 4 && err == nil && len(key) == 32 && len(v.from) == 16 && line[len(line)-1] == '\n' && v.until > now.Unix() {
			a.list[key] = v
		}
	}
	return a, nil
}

func (a *answers) hash(octets int, s string) string {
	mac := hmac.New(sha256.New, a.key)
	mac.Write([]byte(s))
	return hex.EncodeToString(mac.Sum(nil)[:octets])
}

// party is the hash of an address by itself.
func (a *answers) party(p mail.Path) string { return a.hash(8, p.Mailbox()) }

func (v answer) line(key string) string {
	return fmt.Sprintf("%d %s %s %s\n", v.until, key, v.to, v.from)
}

// Answered tells until when each of the answers counts that were sent to a
// mailbox, or for it, as the file in name has it: the ledger may be open.
func Answered(f fsx.FS, name string, p mail.Path, now time.Time) (until []time.Time, err error) {
	a, err := readAnswers(f, name, now)
	if err != nil {
		return nil, err
	}
	party := a.party(p)
	for _, v := range a.list {
		if v.to == party || v.from == party {
			until = append(until, time.Unix(v.until, 0).UTC())
		}
	}
	slices.SortFunc(until, time.Time.Compare)
	return until, nil
}
