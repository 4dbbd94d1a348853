package archive

import (
	"bytes"
	"errors"
	"io"

	"github.com/nwaples/rardecode/v2"
)

// readRAR visits the files of a RAR archive, versions 1.5 to 5. Only one volume
// is there, so that the library has no other file to look for.
func readRAR(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	r, err := rardecode.NewReader(bytes.NewReader(data), rardecode.MaxDictionarySize(b.limits.Dictionary))
	if err != nil {
		return 0, rarError(err)
	}
	var first error
	for {
		h, err := r.Next()
		if err == io.EOF {
			return 0, first
		}
		if err != nil {
			return 0, rarError(err)
		}
		e := &Entry{Name: decodeName(h.Name), Dir: h.IsDir, Size: h.UnPackedSize}
		if h.UnKnownSize {
			e.Size = -1
		}
		if h.Encrypted || h.HeaderEncrypted {
			e.Encrypted, e.Err = true, ErrEncrypted
			if err := visit(e, nil); err != nil {
				return 0, err
			}
			continue
		}
		m := &meter{r: rarErrors{r}, b: b, slow: true}
		if err := visit(e, m); err != nil {
			return 0, err
		}
		// The next file may need this one's octets, and they cost time.
		if err := drain(m); err != nil && first == nil {
			first = damaged(err)
		}
		if b.Exceeded() != nil {
			return 0, b.Exceeded()
		}
	}
}

type rarErrors struct{ r io.Reader }

func (x rarErrors) Read(p []byte) (int, error) {
	n, err := x.r.Read(p)
	if err != nil && err != io.EOF {
		err = rarError(err)
	}
	return n, err
}

func rarError(err error) error {
	switch {
	case errors.Is(err, rardecode.ErrArchiveEncrypted), errors.Is(err, rardecode.ErrArchivedFileEncrypted):
		return ErrEncrypted
	case errors.Is(err, rardecode.ErrDictionaryTooLarge):
		return &LimitError{"dictionary"}
	case errors.Is(err, rardecode.ErrMultiVolume), errors.Is(err, rardecode.ErrUnsupportedDecoder),
		errors.Is(err, rardecode.ErrUnknownDecoder), errors.Is(err, rardecode.ErrUnknownVersion):
		return ErrUnsupported
	}
	return damaged(err)
}
