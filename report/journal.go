package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailweir/mail"
)

// State is what became of a report.
type State string

// The states. A report that waits has no entry.
const (
	Queued  State = "queued"  // the queue has it, durably
	Skipped State = "skipped" // nobody may get it, or it is too large for everybody
	Done    State = "done"    // all of the day's reports have an entry
)

// Entry is one line of the journal of a day: DIR/YYYY-MM-DD.jsonl.
type Entry struct {
	At       time.Time `json:"at"`
	State    State     `json:"state"`
	ID       string    `json:"report_id,omitempty"`
	Domain   string    `json:"domain,omitempty"`
	Messages int       `json:"messages,omitempty"`
	To       []string  `json:"to,omitempty"`
	Queue    string    `json:"queue_id,omitempty"`
	Problems []string  `json:"problems,omitempty"`
}

func journalPath(dir string, d Day) string { return filepath.Join(dir, string(d)+".jsonl") }

// ReadJournal is what was done about a day; nothing when there is no journal.
// A line that a crash has torn is as good as none: its report is made again.
func ReadJournal(dir string, d Day) ([]Entry, error) {
	f, err := os.Open(journalPath(dir, d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []Entry
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		var e Entry
		if json.Unmarshal(line, &e) == nil && e.State != "" {
			list = append(list, e)
		}
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// journal appends to the file of one day. An entry is durable when add returns.
type journal struct{ f *os.File }

func openJournal(dir string, d Day) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(journalPath(dir, d), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	// A torn last line must not swallow the next one.
	if _, err := f.WriteString("\n"); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &journal{f}, syncDir(dir)
}

func (j *journal) add(e Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.f.Write(append(b, '\n')); err != nil {
		return err
	}
	return j.f.Sync()
}

func (j *journal) close() error { return j.f.Close() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Journals are the days of which there is one, by the path of its file.
func Journals(dir string) (map[string]Day, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	days := map[string]Day{}
	for _, e := range entries {
		if d, perr := ParseDay(strings.TrimSuffix(e.Name(), ".jsonl")); perr == nil {
			days[journalPath(dir, d)] = d
		}
	}
	return days, err
}

// expireJournals deletes those of days before first.
func expireJournals(dir string, first Day) error {
	days, err := Journals(dir)
	for path, d := range days {
		if d < first {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}

// Queuer is the queue: Generate makes a message of ours durable.
type Queuer interface {
	Generate(env *mail.Envelope, head, body []byte) error
}
