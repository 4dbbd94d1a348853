package archive

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Oddities are what an honest archiver does not write.
type Oddities uint16

// The oddities.
const (
	HeadersDisagree    Oddities = 1 << iota // zip: a local header tells of another file than the directory
	SeveralDirectories                      // zip: unpackers choose among them
	HiddenEntries                           // zip: entries that the directory does not tell of
	Overlap                                 // zip: entries that share their octets
	Prefix                                  // zip: other octets before the first entry
	Trailing                                // octets after the end
)

var oddityNames = []string{
	"headers_disagree", "several_directories", "hidden_entries", "overlap", "prefix", "trailing",
}

// Has reports whether o holds one of the oddities.
func (o Oddities) Has(one Oddities) bool { return o&one != 0 }

func (o Oddities) String() string {
	var words []string
	for i, name := range oddityNames {
		if o.Has(1 << i) {
			words = append(words, name)
		}
	}
	return strings.Join(words, " ")
}

// Entry is one file in an archive, as one reading has it.
type Entry struct {
	// Name is what the archive calls it; never a path of ours. Alias is the
	// name in another reading, "" where all agree.
	Name, Alias string
	Dir         bool
	Encrypted   bool
	Hidden      bool  // some unpackers do not see it
	Packaged    bool  // rtf: a file that somebody put into the document
	Rare        bool  // packed by a method, or of a size in a form, that many unpackers do not know
	Size        int64 // octets as the archive declares, -1 where it does not
	// Data is the content where it lies in the archive as it is.
	Data []byte
	// Err is why the entry cannot be read; nil where it can.
	Err error
}

// Visitor looks at an entry. r gives its content, and ends with io.EOF or what
// stopped it; it is nil where e.Err is set. Not to read on is fine. An error
// ends the walk.
type Visitor func(e *Entry, r io.Reader) error

// reader walks one format.
type reader func(data []byte, b *Budget, visit Visitor) (Oddities, error)

// readers by the words of package filetype.
var readers = map[string]reader{
	"zip": readZip, "gzip": readGzip, "bzip2": readBzip2, "xz": readXZ, "lzma": readLZMA, "zstd": readZstd,
	"tar": readTar, "7z": readSevenZip, "rar": readRAR, "tnef": readTNEF, "cab": readCabinet, "iso": readISO, "applesingle": readApple,
	"macbinary": readMacBinary, "cpio": readCpio, "ar": readAr, "lz4": readLZ4,
	"rtf": readRTF,
}

// Known reports whether archives of a format can be looked into.
func Known(format string) bool { return readers[format] != nil }

// Walk visits the entries of an archive. The error is nil when all of it could
// be read, or what the walk ended with: ErrEncrypted (of the archive's
// directory), ErrUnsupported, ErrDamaged or a LimitError, or the visitor's own.
func Walk(format string, data []byte, b *Budget, visit Visitor) (odd Oddities, err error) {
	read := readers[format]
	switch {
	case read == nil:
		return 0, ErrUnsupported
	case len(data) == 0:
		return 0, ErrDamaged
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: the reader of %s panicked: %v", ErrDamaged, format, v)
		}
	}()
	return read(data, b, func(e *Entry, r io.Reader) error {
		if err := b.entry(); err != nil {
			return err
		}
		return visit(e, r)
	})
}

// drain reads what the visitor left: formats whose entries lie in one stream
// unpack it anyway, and the budget has to know.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// decodeName reads octets as UTF-8, or as the code page 437 of old archivers.
func decodeName(raw string) string {
	if utf8.ValidString(raw) {
		return raw
	}
	s, err := charmap.CodePage437.NewDecoder().String(raw)
	if err != nil {
		return strings.ToValidUTF8(raw, "\ufffd")
	}
	return s
}

// encrypted reports an error that says so, whatever wraps it.
func encrypted(err error) bool { return errors.Is(err, ErrEncrypted) }
