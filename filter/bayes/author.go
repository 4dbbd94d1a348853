package bayes

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// Reference is what the store can tell of a lesson: no text of it is kept.
type Reference struct {
	Scope  string `json:"scope,omitempty"` // the domain that it was learned for; none: all
	Class  string `json:"learned_as"`      // spam, ham
	Day    string `json:"day"`             // UTC
	Digest string `json:"digest"`          // keyed, of what its author wrote
	Files  int    `json:"files,omitempty"` // attached, whose fingerprints are kept
}

// By gives the lessons in force whose author is an address: those that have the
// features which the store makes of it in From. These are hashes of 32 bits: in a
// full store there is a chance of some percent that one by another author of
// the same domain is taken for his.
func (s *Store) By(address string) []Reference {
	by := s.author(address)
	var list []Reference
	for _, l := range s.order {
		if s.lessons[l.digest] != l || !by(l) {
			continue
		}
		r := Reference{
			Scope: scopeOf(s.dir), Class: [...]string{"ham", "spam"}[class(l.spam)],
			Day:    time.Unix(int64(l.day)*86400, 0).UTC().Format(time.DateOnly),
			Digest: hex.EncodeToString(binary.BigEndian.AppendUint64(nil, l.digest)),
		}
		for _, f := range s.files {
			if f.lesson == l.digest {
				r.Files++
			}
		}
		list = append(list, r)
	}
	return list
}

// ForgetBy forgets them, and gives their number. The next Commit writes the log
// anew, without them and all that is in it although it is in force no more.
func (s *Store) ForgetBy(address string) int {
	by := s.author(address)
	n := 0
	for _, l := range slices.Clone(s.order) {
		if !by(l) {
			continue
		}
		s.anew, s.changed = true, true // also for one that was forgotten, and is still in the log
		if s.lessons[l.digest] == l {
			s.record(l, true)
			s.forgetFiles(l.digest)
			n++
		}
	}
	return n
}

// author tells the lessons whose From field has that address first.
func (s *Store) author(address string) func(*lesson) bool {
	domain := mail.CanonicalDomain(address[strings.LastIndexByte(address, '@')+1:])
	want := []uint32{
		feature(kindFromAddr, hashString(address), s.key),
		feature(kindFromDomain, hashString(domain), s.key),
	}
	return func(l *lesson) bool {
		shared, _ := l.of(viewText)
		return !slices.ContainsFunc(want, func(f uint32) bool { return !slices.Contains(shared, f) })
	}
}

// Scopes are the folders below learned in which something was learned.
func Scopes(f fsx.FS, learned string) (dirs []string, err error) {
	domains, err := f.ReadDir(path.Join(learned, domainsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	all := []string{Dir(learned, "")}
	for _, d := range domains {
		all = append(all, Dir(learned, d.Name))
	}
	for _, dir := range all {
		list, err := f.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if slices.ContainsFunc(list, func(i fsx.Info) bool { return i.Name == logName }) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// scopeOf is the domain of a folder that Dir gave.
func scopeOf(dir string) string {
	if parent, name := path.Split(dir); path.Base(parent) == domainsDir {
		return name
	}
	return ""
}
