package logfile

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Mentions tells lines that have one of some addresses in them, whatever the
// case: "bob@example.org" is not in "jbob@example.org" or "bob@example.org.uk".
type Mentions struct {
	words [][]byte
	open  Opener
}

// Opener gives what a line of a file says, where it is not as it stands there;
// nil when nobody can tell any more. Its result is valid until the next call.
type Opener func(line []byte) ([]byte, error)

// NewMentions looks for these; "" is none.
func NewMentions(words ...string) *Mentions {
	m := &Mentions{}
	for _, w := range words {
		if w != "" {
			m.words = append(m.words, []byte(strings.ToLower(w)))
		}
	}
	return m
}

// Through is m for a file whose lines are to be opened first.
func (m *Mentions) Through(open Opener) *Mentions { return &Mentions{m.words, open} }

// read opens a line, and reports whether it has one of the words.
func (m *Mentions) read(line []byte) (opened []byte, in bool, err error) {
	if m.open != nil {
		if line, err = m.open(line); err != nil {
			return nil, false, err
		}
	}
	return line, m.In(line), nil
}

// In reports whether a line has one of them.
func (m *Mentions) In(line []byte) bool {
	_, _, in := m.next(bytes.ToLower(line), 0)
	return in
}

// next finds the first of them that begins at from or later, in a line in lower
// case.
func (m *Mentions) next(line []byte, from int) (at, end int, found bool) {
	for _, w := range m.words {
		for i := from; ; i++ {
			n := bytes.Index(line[i:], w)
			if n < 0 {
				break
			}
			i += n
			if !inAddress(line, i-1) && !inAddress(line, i+len(w)) {
				if !found || i < at {
					at, end, found = i, i+len(w), true
				}
				break
			}
		}
	}
	return at, end, found
}

// inAddress reports an octet that would make the address at its side a longer
// one.
func inAddress(line []byte, i int) bool {
	if i < 0 || i >= len(line) {
		return false
	}
	c := line[i]
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '+', c == '@':
		return true
	case c == '.': // one at the end of a sentence is no part of it
		return i+1 < len(line) && isAlnum(line[i+1])
	}
	return false
}

func isAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// Each calls f with the lines of a file, opened, that mention one of m. A file that is
// gone has none.
func Each(path string, m *Mentions, f func(line []byte) error) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return lines(file, func(_ int64, line []byte) error {
		line, in, err := m.read(line)
		if err != nil || !in {
			return err
		}
		return f(line)
	})
}

// Erase overwrites with blanks, where they are, the lines that mention one of
// m, and gives their number: others may append to the file meanwhile, and no
// copy is made. Lines that cannot be opened are an error, after all others.
// What is not yet in the file is not erased: who writes in
// batches is asked again later.
func Erase(path string, m *Mentions) (n int, err error) {
	return overwrite(path, m, func(line []byte) []byte { return bytes.Repeat([]byte{' '}, len(line)) })
}

// Mask is Erase for lines that are still needed: stars take the place of what is
// mentioned, and the rest stays. The lines are as they stand there.
func Mask(path string, m *Mentions) (n int, err error) {
	return overwrite(path, m, func(line []byte) []byte {
		low, masked := bytes.ToLower(line), slices.Clone(line)
		if len(low) != len(line) { // letters whose case has another length: places in one are none in the other
			return bytes.Repeat([]byte{'*'}, len(line))
		}
		for at, end, found := m.next(low, 0); found; at, end, found = m.next(low, end) {
			copy(masked[at:end], bytes.Repeat([]byte{'*'}, end-at))
		}
		return masked
	})
}

// overwrite puts something of the same length in place of lines.
func overwrite(path string, m *Mentions, instead func(line []byte) []byte) (n int, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var unread error
	err = lines(file, func(at int64, line []byte) error {
		_, in, err := m.read(line)
		if unread = cmp.Or(unread, err); !in {
			return nil
		}
		n++
		_, err = file.WriteAt(instead(line), at)
		return err
	})
	if n > 0 {
		err = errors.Join(err, file.Sync())
	}
	return n, errors.Join(err, unread, file.Close())
}

// maxLine is the longest line that is read whole. Longer ones are looked at
// piece by piece.
const maxLine = 2 << 20

// lines calls f with each line, without its line end, and where it begins.
func lines(file io.Reader, f func(at int64, line []byte) error) error {
	r := bufio.NewReaderSize(file, maxLine)
	for at := int64(0); ; {
		line, err := r.ReadSlice('\n')
		if n := len(line); n > 0 {
			if err := f(at, bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
				return err
			}
			at += int64(n)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
	}
}
