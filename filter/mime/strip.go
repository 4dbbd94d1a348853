package mime

import (
	"errors"
	"io"
	"sort"

	"mailweir/filter"
	"mailweir/mail"
)

// ErrNotPlain is what Strip says of a message whose parts cannot be taken out:
// clients could disagree about its structure, or the part is all that there is.
var ErrNotPlain = errors.New("mime: the part cannot be told from the rest")

// span is octets of a body that are replaced.
type span struct {
	from, to int64
	text     string
}

// Strip copies body to w, with other parts in place of those whose bodies begin
// at the offsets of with. These are whole parts, header section included, with
// CRLF line ends, without the line end before the next delimiter.
func Strip(w io.Writer, h *mail.Header, body mail.Content, with map[int64]string) error {
	spans, err := spansOf(h, body, with)
	if err != nil {
		return err
	}
	r, err := body.Open()
	if err != nil {
		return err
	}
	err = replace(w, r, spans)
	return errors.Join(err, r.Close())
}

// spansOf finds where the parts begin and end.
func spansOf(h *mail.Header, body mail.Content, with map[int64]string) ([]span, error) {
	walker := NewWalker(h, nil, nil)
	if err := filter.Feed(walker, body); err != nil {
		return nil, err
	}
	walker.Close()
	if walker.Odd != 0 || walker.full {
		return nil, ErrNotPlain
	}
	var spans []span
	for i := range walker.Parts {
		p := &walker.Parts[i]
		text, wanted := with[p.Offset]
		if !wanted || p.inner || p.header == 0 || i+1 < len(walker.Parts) && walker.Parts[i+1].Depth > p.Depth {
			continue
		}
		spans = append(spans, span{p.Offset - p.header, p.Offset + p.Size, text})
	}
	if len(spans) != len(with) {
		return nil, ErrNotPlain
	}
	sort.Slice(spans, func(i, j int) bool { return spans[i].from < spans[j].from })
	return spans, nil
}

func replace(w io.Writer, r io.Reader, spans []span) error {
	at := int64(0)
	for _, s := range spans {
		if s.from < at {
			return ErrNotPlain
		}
		if _, err := io.CopyN(w, r, s.from-at); err != nil {
			return err
		}
		if _, err := io.WriteString(w, s.text); err != nil {
			return err
		}
		if _, err := io.CopyN(io.Discard, r, s.to-s.from); err != nil {
			return err
		}
		at = s.to
	}
	_, err := io.Copy(w, r)
	return err
}
