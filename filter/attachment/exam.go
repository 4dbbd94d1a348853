package attachment

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/filetype"
)

// maxListed is how many files the facts name.
const maxListed = 200

// exam is what is found out about one message.
type exam struct {
	budget *archive.Budget
	walk   Walk

	symbols []filter.Symbol // each once, with the first evidence
	have    map[string]bool
	files   []filter.AttachmentFacts
	count   int
	arrived int64 // octets of the parts so far
	metrics *Metrics
}

func newExam(o Options) *exam {
	return &exam{budget: archive.NewBudget(o.Limits), walk: o.Walk, have: map[string]bool{}, metrics: o.Metrics}
}

// file is a part, or an entry of an archive.
type file struct {
	names    []string
	declared string
	data     []byte
	size     int64
	cut      bool   // data is only the beginning
	depth    int    // archives around it
	path     string // the names of these, for the evidence

	offset int64 // in the body of the message, -1 for what lies deeper

	fact int // in exam.files; -1 beyond maxListed
	kind filetype.Type
	ext  string // of the first name
}

// part looks at one part of the message.
func (x *exam) part(i *item, data []byte) {
	f := &file{names: i.part.Names, declared: i.part.Type, data: data, size: int64(len(data)), cut: i.cut, offset: i.part.Offset}
	if i.part.Reading != "" {
		f.offset = -1
	}
	if i.cut {
		f.size = -1
	}
	x.arrived += int64(len(data))
	x.file(f)
	if int64(len(data)) > x.budget.Limits().Unpacked {
		x.limit(f, "size")
	}
	if i.part.Disposition == "attachment" && f.isHTML() {
		x.found(f, filter.SymHTML, "")
	}
}

// file looks at a file, and at what is in it.
func (x *exam) file(f *file) {
	x.begin(f)
	x.names(f)
	x.types(f)
	if f.cut || len(f.data) == 0 {
		return
	}
	if err := x.budget.Check(); err != nil {
		x.failed(f, err)
		return
	}
	x.inside(f)
}

// begin lists a file.
func (x *exam) begin(f *file) {
	f.kind = filetype.Detect(f.data[:min(len(f.data), filetype.ImageHead)])
	if len(f.names) > 0 {
		f.ext = filetype.Extension(f.names[0])
	}
	x.count++
	if x.metrics != nil {
		x.metrics.files.Inc()
	}
	f.fact = -1
	if f.depth > 0 {
		f.offset = -1
	}
	if len(x.files) < maxListed {
		f.fact = len(x.files)
		x.files = append(x.files, filter.AttachmentFacts{
			Depth: f.depth, Type: string(f.kind), Extension: f.ext, Size: f.size, Shown: show(f.names),
			Offset: f.offset,
		})
	}
}

// found notes a symbol of a file. detail says more than the name does; "" for
// nothing.
func (x *exam) found(f *file, symbol, detail string) {
	if f.fact >= 0 {
		fact := &x.files[f.fact]
		fact.Name = fact.Shown // it is evidence now, and kept
		for _, s := range fact.Symbols {
			if s == symbol {
				return
			}
		}
		fact.Symbols = append(fact.Symbols, symbol)
	}
	if x.have[symbol] {
		return
	}
	x.have[symbol] = true
	words := []string{f.path + show(f.names)}
	if f.kind != filetype.Unknown {
		words = append(words, "("+string(f.kind)+")")
	}
	if detail != "" {
		words = append(words, detail)
	}
	x.symbols = append(x.symbols, filter.Symbol{Name: symbol, Detail: strings.TrimSpace(strings.Join(words, " "))})
}

// show is a name for people: without what a terminal would act on, and with
// the characters that play tricks made visible.
func show(names []string) string {
	if len(names) == 0 {
		return ""
	}
	const most = 120
	var b strings.Builder
	for _, r := range names[0] {
		if b.Len() > most {
			b.WriteString("...")
			break
		}
		if !unicode.IsPrint(r) {
			r = '\ufffd'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// names looks for what a name does on a double click, and for tricks in it.
func (x *exam) names(f *file) {
	for _, n := range f.names {
		ext := filetype.Extension(n)
		tricks := filetype.NameTricks(n)
		switch {
		case filetype.DangerousName(ext) && !excused(f, ext):
			x.found(f, filter.SymExecutable, "by its name: ."+ext)
		case filetype.ImageName(ext):
			x.found(f, filter.SymDiskImage, "by its name: ."+ext)
		case filetype.MacroName(ext):
			x.found(f, filter.SymMacro, "by its name: ."+ext)
		}
		for _, t := range []struct {
			trick  filetype.Tricks
			symbol string
		}{
			{filetype.DoubleExtension, filter.SymDoubleExtension}, {filetype.BidiOverride, filter.SymBidiName},
			{filetype.ZeroWidth, filter.SymHiddenName}, {filetype.Padding, filter.SymHiddenName},
			{filetype.ControlInName, filter.SymHiddenName},
		} {
			if tricks.Has(t.trick) && (t.trick != filetype.DoubleExtension || !excused(f, ext)) {
				x.found(f, t.symbol, "")
			}
		}
		if f.depth > 0 && filetype.Traverses(n) {
			x.found(f, filter.SymArchivePath, "")
		}
	}
}

// excused are names that look like a program's and are none: a message that is
// named after its sender's domain, a text about one.
func excused(f *file, ext string) bool {
	return ext == "com" && (f.declared == "message/rfc822" || f.kind == filetype.Message || f.kind.Group() == filetype.Media)
}

// types looks at what the octets say, and whether the rest agrees.
func (x *exam) types(f *file) {
	switch f.kind.Group() {
	case filetype.Executable:
		if f.kind == filetype.Script {
			x.found(f, filter.SymShellScript, "")
		} else {
			x.found(f, filter.SymExecutable, "")
		}
	case filetype.Image:
		x.found(f, filter.SymDiskImage, "")
	}
	if f.declared != "" && declaredOther(f.declared, f.kind) {
		x.found(f, filter.SymTypeMismatch, "declared "+f.declared)
	}
	for _, n := range f.names {
		if ext := filetype.Extension(n); namedOther(ext, f.kind) {
			x.found(f, filter.SymTypeMismatch, "named ."+ext)
		}
	}
}

// inside looks at the content.
func (x *exam) inside(f *file) {
	switch kind := f.kind; {
	case kind == filetype.RTF:
		x.rtf(f)
	case archive.Known(string(kind)):
		x.archive(f, string(kind))
	case kind == filetype.OLE:
		x.ole(f)
	case kind == filetype.PDF:
		x.pdf(f)
	case kind == filetype.OneNote:
		x.oneNote(f)
	case kind.Group() == filetype.Archive:
		x.found(f, filter.SymUnreadable, "no reader for it")
	case f.isMessage():
		x.message(f)
	case f.isSVG():
		x.svg(f)
	case f.isHTML():
		x.html(f)
	case kind == filetype.XML:
		x.flatOffice(f)
	}
	x.appended(f)
}

// appended looks into an archive behind other octets. Of files that have others
// in them, and may end with one, only those that are called an archive are
// searched.
func (x *exam) appended(f *file) {
	switch f.kind.Group() {
	case filetype.Archive, filetype.Document, filetype.Image:
		if f.kind == filetype.Zip || !f.named(filetype.ArchiveName) {
			return
		}
	}
	if kind, at := filetype.Appended(f.data); kind != filetype.Unknown && kind != f.kind {
		behind := *f
		behind.data = f.data[at:]
		x.archive(&behind, string(kind))
	}
}

// named reports that one of the names has such an extension.
func (f *file) named(as func(ext string) bool) bool {
	return slices.ContainsFunc(f.names, func(n string) bool { return as(filetype.Extension(n)) })
}

func (f *file) hasExtension(list ...string) bool {
	for _, n := range f.names {
		ext := filetype.Extension(n)
		for _, want := range list {
			if ext == want {
				return true
			}
		}
	}
	return false
}

func (f *file) isMessage() bool {
	return f.declared == "message/rfc822" || f.declared == "message/global" || f.hasExtension("eml", "mht", "mhtml")
}

func (f *file) isSVG() bool {
	return f.kind == filetype.SVG || f.declared == "image/svg+xml" || f.hasExtension("svg")
}

func (f *file) isHTML() bool {
	return f.kind == filetype.HTML || f.declared == "text/html" || f.declared == "application/xhtml+xml" ||
		f.hasExtension("htm", "html", "shtml", "xhtml", "xht")
}

// failed notes why a file, or what is in it, could not be looked at.
func (x *exam) failed(f *file, err error) {
	var limit *archive.LimitError
	switch {
	case err == nil:
	case errors.As(err, &limit):
		x.limit(f, limit.Limit)
	case errors.Is(err, archive.ErrEncrypted):
		x.found(f, filter.SymEncrypted, "")
	case errors.Is(err, archive.ErrUnsupported):
		x.found(f, filter.SymUnreadable, "packed by a method that is not known here")
	default:
		x.found(f, filter.SymUnreadable, "damaged")
	}
}

// limit notes a limit that was reached: honest files reach some of them, but
// not all the octets from next to nothing.
func (x *exam) limit(f *file, name string) {
	l := x.budget.Limits()
	switch {
	case name == "ratio", name == "depth", name == "unpacked" && x.budget.Unpacked()/max(1, x.arrived) >= l.Ratio:
		x.found(f, filter.SymBomb, "limit: "+name)
	default:
		x.found(f, filter.SymLimit, "limit: "+name)
	}
}

// report is all that was found.
func (x *exam) report() filter.Report {
	files := x.files
	more := x.count - len(x.files)
	return filter.Report{
		State: filter.OK, Symbols: x.symbols,
		Set: func(f *filter.Facts) { f.Attachments, f.AttachmentsMore = files, more },
	}
}
