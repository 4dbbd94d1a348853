package archive

import (
	"bytes"
	"errors"
	"io"

	"github.com/bodgit/sevenzip"
)

// readSevenZip visits the files of a 7z archive. The library makes what the
// header asks for, whatever that is: it is called only for headers that
// guardSevenZip has read to their end.
func readSevenZip(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	folders, err := guardSevenZip(data, b)
	if err != nil {
		return 0, err
	}
	z, err := sevenzip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return 0, sevenZipError(err)
	}
	var first error
	for _, f := range z.File {
		e := &Entry{Name: f.Name, Dir: f.FileInfo().IsDir(), Size: int64(min(f.UncompressedSize, 1<<62))}
		if f.UncompressedSize > 0 && f.Stream < len(folders) && folders[f.Stream].err != nil {
			e.Err = folders[f.Stream].err
			e.Encrypted = encrypted(e.Err)
			if err := visit(e, nil); err != nil {
				return 0, err
			}
			continue
		}
		left, err := sevenZipFile(f, e, b, visit)
		if err != nil {
			return 0, err
		}
		if first == nil {
			first = left
		}
	}
	return 0, first
}

// sevenZipFile visits one file. What is left of it is unpacked all the same:
// the next one follows it in the same stream, and the budget has to know. left
// is how that ended; err ends the walk.
func sevenZipFile(f *sevenzip.File, e *Entry, b *Budget, visit Visitor) (left, err error) {
	in, err := f.Open()
	if err != nil {
		e.Err = sevenZipError(err)
		e.Encrypted = encrypted(e.Err)
		return nil, visit(e, nil)
	}
	m := &meter{r: sevenZipErrors{in}, b: b, slow: true}
	c := &checked{r: m, crc: f.CRC32, size: e.Size}
	var r io.Reader = c
	if f.CRC32 == 0 {
		r = m
	}
	if err := visit(e, r); err != nil {
		return nil, err
	}
	left = damaged(drain(r))
	if left == nil {
		left = damaged(in.Close())
	}
	return left, b.Exceeded()
}

type sevenZipErrors struct{ r io.Reader }

func (s sevenZipErrors) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = sevenZipError(err)
	}
	return n, err
}

func sevenZipError(err error) error {
	var read *sevenzip.ReadError
	if errors.As(err, &read) && read.Encrypted {
		return ErrEncrypted
	}
	return damaged(err)
}
