package bayes

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path"
	"slices"

	"mailweir/filter"
	"mailweir/internal/fsx"
)

// The fingerprints of attached files that were learned are a file beside the
// model, written anew by each commit, all numbers little-endian: a header of 24
// octets,
//
//	 0  8  "MWFILES1"
//	 8  8  key of the fingerprints, that of the log of lessons
//	16  4  n
//	20  4  CRC-32C of all that follows
//
// and n records of 84 octets:
//
//	 0  8  digest of the message
//	 8  8  digest of the file
//	16 64  sketch, zeros where it has none
//	80  4  1 spam, 2 ham
const (
	filesName   = "files"
	filesMagic  = "MWFILES1"
	filesHead   = 24
	filesRecord = 84
	// maxFilePrints bounds a table; the oldest go.
	maxFilePrints = 200000
)

// learnedFile is the fingerprint of a file, keyed, and whose it is.
type learnedFile struct {
	lesson, digest uint64
	sketch         sketch
	sketched, spam bool
}

// keyedFile makes a fingerprint one that nobody can compute without the key.
func keyedFile(p *filter.FilePrint, key uint64) (f learnedFile) {
	f.digest = finish(p.Digest, key)
	if f.sketched = len(p.Sketch) == sketchSize; f.sketched {
		for i, v := range p.Sketch {
			f.sketch[i] = uint32(finish(uint64(v)<<4|uint64(i), key))
		}
	}
	return f
}

// learnFiles replaces what was learned of a message's files.
func (s *Store) learnFiles(l uint64, f *filter.Facts, spam bool) {
	if len(f.Body.Files) == 0 {
		return
	}
	s.forgetFiles(l)
	for i := range f.Body.Files {
		k := keyedFile(&f.Body.Files[i], s.key)
		k.lesson, k.spam = l, spam
		s.files = append(s.files, k)
	}
	s.changed = true
}

func (s *Store) forgetFiles(l uint64) {
	s.files = slices.DeleteFunc(s.files, func(f learnedFile) bool { return f.lesson == l })
}

// commitFiles writes the fingerprints of the lessons that are in force.
func (s *Store) commitFiles() error {
	s.files = slices.DeleteFunc(s.files, func(f learnedFile) bool { return s.lessons[f.lesson] == nil })
	s.files = s.files[max(0, len(s.files)-maxFilePrints):]
	le := binary.LittleEndian
	b := make([]byte, filesHead, filesHead+filesRecord*len(s.files))
	copy(b, filesMagic)
	le.PutUint64(b[8:], s.key)
	le.PutUint32(b[16:], uint32(len(s.files)))
	for i := range s.files {
		f := &s.files[i]
		b = le.AppendUint64(le.AppendUint64(b, f.lesson), f.digest)
		b = appendSketch(b, &f.sketch)
		b = le.AppendUint32(b, uint32(recordHam-class(f.spam)))
	}
	le.PutUint32(b[20:], crc32.Checksum(b[filesHead:], castagnoli))
	return replace(s.fs, s.dir, filesName, b)
}

// loadFiles reads the fingerprints of a folder; none where nothing was learned.
func loadFiles(f fsx.FS, dir string) (key uint64, files []learnedFile, err error) {
	name := path.Join(dir, filesName)
	b, err := fsx.Content(f, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, err
	}
	le := binary.LittleEndian
	if len(b) < filesHead || string(b[:8]) != filesMagic || crc32.Checksum(b[filesHead:], castagnoli) != le.Uint32(b[20:]) ||
		uint64(len(b)-filesHead) != filesRecord*uint64(le.Uint32(b[16:])) {
		return 0, nil, fmt.Errorf("%s: damaged", name)
	}
	for r := range slices.Chunk(b[filesHead:], filesRecord) {
		l := learnedFile{lesson: le.Uint64(r), digest: le.Uint64(r[8:]), sketch: readSketch(r[16:]), spam: le.Uint32(r[80:]) == recordSpam}
		l.sketched = l.sketch != sketch{}
		files = append(files, l)
	}
	return le.Uint64(b[8:]), files, nil
}

// fileTable finds files that were learned.
type fileTable struct {
	key    uint64
	digest map[uint64][2]bool // by class
	near   *sketches
}

// newFileTable is nil where no file was learned.
func newFileTable(f fsx.FS, dir string) (*fileTable, error) {
	key, files, err := loadFiles(f, dir)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	t := &fileTable{key: key, digest: make(map[uint64][2]bool, len(files)), near: newSketches(len(files))}
	for i := range files {
		l := &files[i]
		seen := t.digest[l.digest]
		seen[class(l.spam)] = true
		t.digest[l.digest] = seen
		if l.sketched {
			t.near.add(l.sketch, l.spam)
		}
	}
	return t, nil
}

// nearFile is from how many equal parts on a file counts as a variant.
const nearFile = 11

// judge names what the files of a message are nearest to; "" for nothing. A
// file that is in ham as well is evidence of nothing: the logo of a bank.
func (t *fileTable) judge(prints []filter.FilePrint) (symbol string, parts int) {
	if t == nil {
		return "", 0
	}
	for i := range prints {
		f := keyedFile(&prints[i], t.key)
		seen := t.digest[f.digest]
		switch {
		case seen[1] && !seen[0]:
			return "FILE_SPAM_SAME", sketchSize
		case seen[0] || !f.sketched:
			continue
		}
		if spam, ham := t.near.nearest(&f.sketch); spam >= nearFile && spam > ham && spam > parts {
			symbol, parts = "FILE_SPAM_LIKE", spam
		}
	}
	return symbol, parts
}
