package password

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// File is a file of users. It is read again when it changes; one that has
// become wrong leaves the users of before, and is reported once.
type File struct {
	name   string
	report func(error)

	mu      sync.Mutex
	users   map[string]*hash
	time    time.Time
	size    int64
	checked time.Time
}

// recheck is how often a look-up looks at the file's time.
const recheck = time.Second

// maxFile bounds the file.
const maxFile = 64 << 20

// Open reads the file. report hears of later readings that failed.
func Open(name string, report func(error)) (*File, error) {
	f := &File{name: name, report: report}
	return f, f.read()
}

func (f *File) read() error {
	f.checked = time.Now()
	info, err := os.Stat(f.name)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return fmt.Errorf("%s: larger than %d bytes", f.name, maxFile)
	}
	f.time, f.size = info.ModTime(), info.Size()
	data, err := os.ReadFile(f.name)
	if err != nil {
		return err
	}
	users, err := parseFile(f.name, data)
	if err != nil {
		return err
	}
	f.users = users
	return nil
}

func parseFile(name string, data []byte) (map[string]*hash, error) {
	users := map[string]*hash{}
	s := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		user, phc, ok := strings.Cut(line, ":")
		if !ok || user == "" || len(user) > MaxLength {
			return nil, fmt.Errorf("%s:%d: is not USER:HASH; `gateway passwd USER` makes such a line", name, n)
		}
		h, err := parse(phc)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: the hash of %q %w; `gateway passwd %s` makes one", name, n, user, err, user)
		}
		if users[user] != nil {
			return nil, fmt.Errorf("%s:%d: %q is given twice", name, n, user)
		}
		users[user] = h
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return users, nil
}

// find is the hash of a user; nil when there is none.
func (f *File) find(user string) *hash {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) >= recheck {
		f.checked = time.Now()
		// A file that is gone is one that is being replaced: wait for it.
		if info, err := os.Stat(f.name); err == nil && (!info.ModTime().Equal(f.time) || info.Size() != f.size) {
			if err := f.read(); err != nil && f.report != nil {
				f.report(err)
			}
		}
	}
	return f.users[user]
}
