package attachment

import (
	"bytes"
	"io"
	"strings"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/filetype"
)

// archive looks into an archive: at the name of every entry, at its first
// octets, and where they say that there is more to see, at all of it.
func (x *exam) archive(f *file, format string) {
	if f.depth >= x.budget.Limits().Depth {
		x.limit(f, "depth")
		return
	}
	doc := &office{x: x, f: f}
	odd, err := archive.Walk(format, f.data, x.budget, func(e *archive.Entry, r io.Reader) error {
		if doc.see(e, r) {
			return nil
		}
		return x.entry(f, e, r)
	})
	if odd.Has(archive.Overlap) {
		x.found(f, filter.SymBomb, "entries share their octets")
	}
	if odd.Has(archive.HeadersDisagree) || odd.Has(archive.SeveralDirectories) || odd.Has(archive.HiddenEntries) {
		x.found(f, filter.SymZipAmbiguous, odd.String())
	}
	x.failed(f, err)
}

// entry looks at one file of an archive.
func (x *exam) entry(parent *file, e *archive.Entry, r io.Reader) error {
	f := &file{names: names(e, parent), size: e.Size, depth: parent.depth + 1, path: x.pathOf(parent), cut: true}
	if e.Dir {
		return nil
	}
	if e.Err != nil {
		x.begin(f)
		x.names(f)
		x.failed(f, e.Err)
		return nil
	}
	err := x.fill(f, e, r)
	x.file(f)
	x.failed(f, err)
	return x.budget.Exceeded()
}

// names are an entry's. What a stream holds that names nothing is called as the
// archive is, without its last extension.
func names(e *archive.Entry, parent *file) []string {
	var out []string
	for _, n := range []string{e.Name, e.Alias} {
		if n != "" {
			out = append(out, n)
		}
	}
	if len(out) > 0 || len(parent.names) == 0 {
		return out
	}
	name := filetype.Base(parent.names[0])
	ext := filetype.Extension(name)
	if !filetype.ArchiveName(ext) {
		return nil
	}
	stem := strings.TrimRight(name, ". ")
	stem = stem[:len(stem)-len(ext)-1]
	if strings.HasPrefix(ext, "t") && ext != "tar" { // .tgz, .txz
		stem += ".tar"
	}
	return []string{stem}
}

func (x *exam) pathOf(parent *file) string {
	return parent.path + show(parent.names) + ": "
}

// fill reads what has to be seen of an entry.
func (x *exam) fill(f *file, e *archive.Entry, r io.Reader) error {
	head := make([]byte, filetype.HeadSize)
	n, err := io.ReadFull(r, head)
	f.data = head[:n]
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		f.cut, f.size = false, int64(n)
		return nil
	}
	if err != nil {
		return err
	}
	p := Part{Names: f.names}
	if !p.wanted(f.data) {
		return nil
	}
	if e.Data != nil {
		f.data, f.cut = e.Data, false
		f.size = int64(len(e.Data))
		return nil
	}
	b := bytes.NewBuffer(f.data)
	_, err = io.Copy(b, r)
	f.data, f.size = b.Bytes(), int64(b.Len())
	f.cut = false // what could be read of a damaged file is looked at all the same
	return err
}

// message looks at a message that lies in a file.
func (x *exam) message(f *file) {
	if f.depth >= x.budget.Limits().Depth {
		x.limit(f, "depth")
		return
	}
	x.walk(f.data, func(p Part) Content {
		if p.IsBody() || x.budget.Check() != nil {
			return nil
		}
		return &inner{x: x, parent: f, part: p}
	})
	x.failed(f, x.budget.Exceeded())
}

// inner is a part of a message in a file.
type inner struct {
	x       *exam
	parent  *file
	part    Part
	data    []byte
	decided bool
	enough  bool
}

// Write implements Content.
func (c *inner) Write(p []byte) bool {
	c.data = append(c.data, p...)
	if !c.decided && len(c.data) >= filetype.HeadSize {
		c.decided = true
		c.enough = !c.part.wanted(c.data)
	}
	return !c.enough
}

// End implements Content.
func (c *inner) End() {
	c.x.file(&file{
		names: c.part.Names, declared: c.part.Type, data: c.data, size: int64(len(c.data)), cut: c.enough,
		depth: c.parent.depth + 1, path: c.x.pathOf(c.parent),
	})
}
