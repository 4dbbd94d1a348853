package clamav

import (
	"bytes"
	"io"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/mail"
)

// isMessage tells from its first octets a file that mail programs open as a
// message: it begins with a field, and has one of MIME, or a header section that is
// longer than what is there.
func isMessage(head []byte) bool {
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	name, _, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 || bytes.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return false
	}
	section, long := head, true
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(section, []byte(end)); i >= 0 {
			section, long = section[:i], false
		}
	}
	lower := bytes.ToLower(section)
	for _, field := range []string{"content-type:", "content-transfer-encoding:", "mime-version:"} {
		if bytes.HasPrefix(lower, []byte(field)) || bytes.Contains(lower, []byte("\n"+field)) {
			return true
		}
	}
	return long && bytes.Contains(rest, []byte(":")) && len(head) >= 1024
}

// message visits the contents of a message that lies in a file, as those of the
// message itself are: clamd reads its parts in one way, and not what is signed
// around them.
func (w *memberWalk) message(data []byte, depth int) error {
	if depth > w.m.budget.Limits().Depth {
		w.limit(&archive.LimitError{Limit: "depth"})
		return nil
	}
	if i := bytes.IndexByte(data, '\n'); i == 0 || i > 0 && data[i-1] != '\r' { // stored with LF
		data = bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	}
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	list := w.m.k.contents(&filter.Transaction{Header: &h}, func() io.Reader { return w.m.budget.Meter(bytes.NewReader(data)) })
	for {
		r, where, err := list.Next()
		if err != nil {
			w.limit(err)
			return w.m.budget.Exceeded()
		}
		if r == nil {
			break
		}
		if err := w.member(&archive.Entry{Name: where}, r, depth, true); err != nil {
			if err != errFound {
				w.limit(err)
			}
			return err
		}
	}
	if why := list.Incomplete(); why != "" {
		w.limit(&archive.LimitError{Limit: why})
	}
	return nil
}
