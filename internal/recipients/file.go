package recipients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailweir/mail"
)

// Limits of a recipient file.
const (
	maxFile   = 64 << 20
	maxErrors = 20 // reported of one file
	checkEach = time.Second
)

// File is a list of recipients that follows its file: a changed file replaces
// the list, a wrong or missing one does not.
//
// The file has one address a line; "@example.org" is every address of that
// domain; blank lines and what follows a "#" at the beginning of a line or
// after white space are ignored. Looking up ignores case, quoting and
// "+tag": user+tag@example.org is known when user@example.org is.
type File struct {
	path string
	log  *slog.Logger
	list atomic.Pointer[addressList]
	next atomic.Int64 // when to look at the file again, in nanoseconds since start

	mu    sync.Mutex // the fields below, and replacing the list
	stamp stamp      // of the file that was read last, wrong or not
	start time.Time
}

// stamp tells whether a file changed. A file replaced by renaming has another
// inode even if time and size agree, hence the FileInfo.
type stamp struct {
	info os.FileInfo // nil: the file was missing
	err  string      // what was reported for it
}

// Load reads the file. All syntax errors are reported at once, each with file
// and line.
func Load(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log, start: time.Now()}
	l, info, err := read(path)
	if err != nil {
		return nil, err
	}
	f.stamp.info = info
	f.list.Store(l)
	f.next.Store(int64(checkEach))
	return f, nil
}

// Verify implements the check at RCPT: Known or Unknown.
func (f *File) Verify(_ context.Context, p mail.Path) Result {
	if f.Has(p) {
		return Known
	}
	return Unknown
}

// Has reports whether the recipient is in the list. Postmaster always is
// (RFC 5321 section 4.5.1).
func (f *File) Has(p mail.Path) bool {
	f.follow()
	return p.IsPostmaster() || f.list.Load().has(p)
}

// Names reports whether the recipient itself is in the list, not just its domain.
func (f *File) Names(p mail.Path) bool {
	f.follow()
	return f.list.Load().names(p)
}

// Len is the number of entries.
func (f *File) Len() int {
	l := f.list.Load()
	return len(l.addresses) + len(l.domains)
}

// follow reads the file again when it changed; it looks at most once a second.
func (f *File) follow() {
	now := int64(time.Since(f.start))
	next := f.next.Load()
	if now < next || !f.next.CompareAndSwap(next, now+int64(checkEach)) {
		return
	}
	if f.mu.TryLock() { // who comes second while a large file is read goes on with the old list
		defer f.mu.Unlock()
		f.refresh()
	}
}

// Reload reads the file now, changed or not, for SIGHUP. The old list stays
// when the new one is wrong.
func (f *File) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replace()
}

func (f *File) refresh() {
	info, err := os.Stat(f.path)
	if err == nil && f.stamp.info != nil && sameFile(info, f.stamp.info) {
		return
	}
	if err := f.replace(); err == nil {
		f.log.Info("recipient file reloaded", "file", f.path, "entries", f.Len())
	}
}

func sameFile(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// replace reads the file into the list. One fault is logged once, not each
// second until it is mended.
func (f *File) replace() error {
	l, info, err := read(f.path)
	f.stamp.info = info
	if err == nil {
		f.stamp.err = ""
		f.list.Store(l)
		return nil
	}
	if f.stamp.err != err.Error() {
		f.stamp.err = err.Error()
		f.log.Error("recipient file not reloaded, the old list stays", "file", f.path, "error", err.Error())
	}
	return err
}

// read reads and parses a file. info is of the very file that was read, nil
// when there is none.
func read(path string) (*addressList, os.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, info, err
	}
	if len(data) > maxFile {
		return nil, info, fmt.Errorf("%s: larger than %d MiB", path, maxFile>>20)
	}
	l, err := parse(path, data)
	return l, info, err
}

// addressList is a parsed file. Keys are canonical.
type addressList struct {
	addresses map[string]struct{}
	domains   map[string]struct{}
}

// parse reads data; name is for error messages.
func parse(name string, data []byte) (*addressList, error) {
	l := &addressList{
		addresses: make(map[string]struct{}, bytes.Count(data, []byte("\n"))+1),
		domains:   make(map[string]struct{}),
	}
	var errs []error
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		if err := l.add(strip(line)); err != nil && len(errs) < maxErrors {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, n, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return l, nil
}

// strip removes the comment and white space. A "#" inside of an address is
// part of it (RFC 5321 atext); only one at the beginning or after white space
// begins a comment, and none inside of quotes.
func strip(line string) string {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\\' && quoted:
			i++
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '#' && !quoted && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return strings.TrimSpace(line[:i])
		}
	}
	return strings.TrimSpace(line)
}

func (l *addressList) add(entry string) error {
	if entry == "" {
		return nil
	}
	if domain, ok := strings.CutPrefix(entry, "@"); ok {
		if !mail.ValidDomain(domain, true) {
			return fmt.Errorf("%q is not a domain: want @example.org", entry)
		}
		l.domains[mail.CanonicalDomain(domain)] = struct{}{}
		return nil
	}
	p, err := mail.ParsePath(entry, true)
	if err != nil || p.Domain() == "" {
		return fmt.Errorf("%q is not an address: want user@example.org or @example.org", entry)
	}
	l.addresses[key(p.Unquoted(), mail.CanonicalDomain(p.Domain()))] = struct{}{}
	return nil
}

func (l *addressList) has(p mail.Path) bool {
	_, all := l.domains[mail.CanonicalDomain(p.Domain())]
	return all || l.names(p)
}

// names looks p up as it is, then without its tag. A "+" that begins the
// local-part is no separator.
func (l *addressList) names(p mail.Path) bool {
	domain, local := mail.CanonicalDomain(p.Domain()), p.Unquoted()
	if _, ok := l.addresses[key(local, domain)]; ok {
		return true
	}
	if i := strings.IndexByte(local, '+'); i > 0 {
		_, ok := l.addresses[key(local[:i], domain)]
		return ok
	}
	return false
}

// key joins the parts by a character that no domain has, so that a quoted "@"
// in a local-part cannot make two addresses look the same.
func key(local, domain string) string { return strings.ToLower(local) + "\x00" + domain }
