package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// section is where a message lies in a file that holds several.
type section struct{ at, size int64 }

// split makes of a file in mbox format (RFC 4155) its messages. A file of
// another kind, and one that holds a single message, is one message.
func (s stored) split() ([]stored, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return []stored{s}, nil // that is a finding of its own
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return []stored{s}, nil // a pipe can be read once
	}
	parts, err := sections(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	if len(parts) < 2 {
		return []stored{s}, nil
	}
	all := make([]stored, len(parts))
	for i := range parts {
		all[i] = s
		all[i].part, all[i].number = &parts[i], i+1
	}
	return all, nil
}

// sections finds the messages of an mbox file, which begins with a separator.
// Each section begins with its separator line.
func sections(r io.Reader) (found []section, err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	if head, err := b.Peek(5); err != nil || string(head) != "From " {
		return nil, nil
	}
	at, begin, blank, whole := int64(0), int64(0), true, true
	for {
		line, err := b.ReadSlice('\n')
		if blank && whole && isSeparator(line) && at > begin {
			found = append(found, section{begin, at - begin})
			begin = at
		}
		at += int64(len(line))
		blank = whole && len(bytes.TrimRight(line, "\r\n")) == 0
		whole = !errors.Is(err, bufio.ErrBufferFull)
		if errors.Is(err, io.EOF) {
			return append(found, section{begin, at - begin}), nil
		} else if err != nil && whole {
			return nil, err
		}
	}
}

// isSeparator reports "From", an address, and a date with a time of day. It
// follows an empty line; a sentence that begins with "From" has no time.
func isSeparator(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("From ")) {
		return false
	}
	fields := bytes.Fields(line)
	if len(fields) < 5 {
		return false
	}
	for _, f := range fields[2:] {
		if (len(f) == 5 || len(f) == 8) && f[2] == ':' && strings.Trim(string(f), "0123456789:") == "" {
			return true
		}
	}
	return false
}

// readSection reads one message of several, without the ">" that marks lines
// of its text which look like separators.
func (s stored) readSection() ([]byte, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, s.part.size)
	if _, err := f.ReadAt(data, s.part.at); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, end := range []string{"\r\n\r\n", "\n\n"} { // an empty line ends it
		if bytes.HasSuffix(data, []byte(end)) {
			data = data[:len(data)-len(end)/2]
			break
		}
	}
	return unquoteFrom(data), nil
}

// unquoteFrom takes one ">" from each line that begins with ">From ", with any
// number of ">" (the form called mboxrd).
func unquoteFrom(data []byte) []byte {
	if !bytes.Contains(data, []byte(">From ")) {
		return data
	}
	out := data[:0]
	for line := range bytes.Lines(data) {
		if len(line) > 0 && line[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			line = line[1:]
		}
		out = append(out, line...)
	}
	return out
}

// name is what the message is called in reports.
func (s stored) name() string {
	if s.part == nil {
		return s.path
	}
	return fmt.Sprintf("%s:%d", s.path, s.number)
}
