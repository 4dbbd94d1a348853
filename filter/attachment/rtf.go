package attachment

import (
	"io"
	"regexp"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/filetype"
)

var (
	rtfTemplate = regexp.MustCompile(`(?i)\\\*\s*\\template\s+(https?:|ftp:|\\\\\\\\)`)
	rtfUpdate   = regexp.MustCompile(`(?i)\\objupdate|\\objautlink`)
)

// rtf looks for objects in Rich Text, and for a template elsewhere.
func (x *exam) rtf(f *file) {
	if rtfTemplate.Match(f.data) {
		x.found(f, filter.SymRemoteTemplate, "")
	}
	if rtfUpdate.Match(f.data) {
		x.found(f, filter.SymOLEObject, "that opens by itself")
	}
	if f.depth >= x.budget.Limits().Depth {
		x.limit(f, "depth")
		return
	}
	_, err := archive.Walk("rtf", f.data, x.budget, func(e *archive.Entry, r io.Reader) error {
		e.Name, e.Alias = filetype.Base(e.Name), filetype.Base(e.Alias)
		if e.Packaged {
			x.found(f, filter.SymOLEObject, "a file: "+show(names(e, f)))
		}
		return x.entry(f, e, r)
	})
	x.failed(f, err)
}
