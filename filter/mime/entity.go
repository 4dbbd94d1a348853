package mime

import (
	"bytes"
	"strings"

	"mailweir/mail"
)

// header takes octets of a part's header section and returns how many: 0 when
// the section ended without them.
func (w *Walker) header(p []byte) int {
	n := bytes.IndexByte(p, '\n') + 1
	complete := n > 0
	if !complete {
		n = len(p)
	}
	if len(w.head)+n > MaxHeader || w.headers+n > MaxHeaders {
		w.Odd.Add(LimitHeader)
		w.begin() // the rest is read as the body
		return 0
	}
	w.head = append(w.head, p[:n]...)
	w.headers += n
	if complete {
		w.headerLine()
	}
	return n
}

// headerLine looks at the line that just became complete in w.head.
func (w *Walker) headerLine() {
	line := w.head[w.lineAt:]
	switch {
	case len(line) <= 2 && (line[0] == '\n' || line[0] == '\r'):
		w.begin()
		return
	case len(line) > 2 && line[0] == '-' && line[1] == '-':
		if i, _ := w.match(line); i >= 0 {
			w.brokenOff(line)
			return
		}
	}
	w.lineAt = len(w.head)
}

// brokenOff ends a header section at a delimiter line: the part has no body.
func (w *Walker) brokenOff(line []byte) {
	w.Odd.Add(NoBreak)
	held := append([]byte(nil), line...)
	w.head = w.head[:w.lineAt]
	w.begin()
	if w.state == inHeader { // a message/rfc822 without even a header section
		w.begin()
	}
	if !w.delimiter(held) {
		w.body(held)
	}
}

// begin opens the part whose header section is complete in w.head.
func (w *Walker) begin() {
	h := mail.ParseHeader(w.head)
	for _, f := range h.Fields {
		if f.Name() == "" {
			w.Odd.Add(NotAField)
			break
		}
	}
	w.headLen = int64(len(w.head))
	w.offset += w.headLen
	w.state, w.bol, w.lastCRLF = inBody, true, 0
	w.head, w.lineAt = w.head[:0], 0
	w.open(h.Fields, false)
}

// entity is what a header section says about its body.
type entity struct {
	kind        fieldValue
	disposition fieldValue
	encoding    string
	hasType     bool
	more        []fieldValue // of fields that are there again
}

// open begins the entity with these fields: a container is walked into, a leaf
// is read.
func (w *Walker) open(fields []mail.Field, top bool) {
	if len(w.Parts) >= MaxParts {
		w.Odd.Add(LimitParts)
		w.full = true
		return
	}
	w.stray = 1 // a line begins
	before := w.Odd
	w.Odd = 0
	e := w.read(fields, top)
	part := Part{
		Depth: w.depth, Type: w.mediaType(&e), Encoding: e.encoding,
		Disposition: cut(firstWord(e.disposition.main)), Name: cut(e.name()), Offset: w.offset,
		header: w.headLen, inner: w.level > 0,
	}
	if len(w.frames) > 0 {
		part.Depth = w.frames[len(w.frames)-1].depth + 1
	}
	label, _ := e.kind.get("charset")
	part.Charset = cut(strings.ToLower(label))
	names := e.names(part.Name)
	part.capable = part.mayRun(names)
	w.Parts = append(w.Parts, part)
	defer func() {
		w.Parts[len(w.Parts)-1].Odd = w.Odd
		w.Odd |= before
	}()
	if part.Type == "message/partial" {
		w.Odd.Add(PartialMessage)
	}
	switch {
	case part.Depth >= MaxDepth:
		w.Odd.Add(LimitDepth)
	case strings.HasPrefix(part.Type, "multipart/"):
		if w.multipart(&e, &part) {
			return
		}
	case part.Type == "message/rfc822" || part.Type == "message/global":
		if w.message(&part) {
			return
		}
	}
	w.leaf.begin(w, &part, names)
}

// read picks the fields that matter. Where one is there twice the first is
// followed, and the fact noted.
func (w *Walker) read(fields []mail.Field, top bool) entity {
	var e entity
	var types, encodings, dispositions int
	mimeFields, version := false, false
	for _, f := range fields {
		switch {
		case f.Is("Content-Type"):
			if types++; types == 1 {
				e.kind, e.hasType = parseValue(f.Value()), true
				w.Odd |= e.kind.odd
			} else {
				e.again(f.Value())
			}
		case f.Is("Content-Transfer-Encoding"):
			if encodings++; encodings == 1 {
				e.encoding = w.encodingOf(f.Value())
			}
		case f.Is("Content-Disposition"):
			if dispositions++; dispositions == 1 {
				e.disposition = parseValue(f.Value())
				w.Odd |= e.disposition.odd
			} else {
				e.again(f.Value())
			}
		case f.Is("MIME-Version"):
			version = true
			continue
		default:
			continue
		}
		mimeFields = true
		if f.SpaceBeforeColon() {
			w.Odd.Add(SpaceBeforeColon)
		}
	}
	w.duplicates(types, encodings, dispositions)
	if top && mimeFields && !version && changesReading(&e) {
		w.Odd.Add(NoMIMEVersion)
	}
	return e
}

func (w *Walker) duplicates(types, encodings, dispositions int) {
	if types > 1 {
		w.Odd.Add(DuplicateContentType)
	}
	if encodings > 1 {
		w.Odd.Add(DuplicateTransferEncoding)
	}
	if dispositions > 1 {
		w.Odd.Add(DuplicateDisposition)
	}
}

// changesReading reports that a client without MIME would show something else.
func changesReading(e *entity) bool {
	return strings.HasPrefix(e.kind.main, "multipart/") || e.encoding == "base64" || e.encoding == "quoted-printable"
}

// encodingOf reads a Content-Transfer-Encoding (RFC 2045 section 6).
func (w *Walker) encodingOf(s string) string {
	v := fieldValue{}
	text, rest := v.untilSemicolon(s)
	w.Odd |= v.odd
	text = strings.ToLower(text)
	if rest != "" {
		w.Odd.Add(UnknownEncoding)
	}
	switch text {
	case "7bit", "8bit", "binary", "base64", "quoted-printable":
	case "":
	default:
		w.Odd.Add(UnknownEncoding)
	}
	return cut(text)
}

// mediaType is the type that the entity is read as.
func (w *Walker) mediaType(e *entity) string {
	main := e.kind.main
	if !e.hasType {
		if len(w.frames) > 0 && w.digest {
			return "message/rfc822"
		}
		return "text/plain"
	}
	kind, sub, ok := strings.Cut(main, "/")
	if !ok || kind == "" || sub == "" || strings.ContainsAny(main, " \t\"=") {
		w.Odd.Add(MalformedContentType)
		if kind != "multipart" && kind != "message" {
			return "text/plain" // RFC 2045 section 5.2
		}
	}
	return cut(main)
}

// firstWord is the disposition where the semicolon after it was forgotten.
func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// multipart opens a container; false when its parts cannot be told apart.
func (w *Walker) multipart(e *entity, part *Part) bool {
	if isEncoded(part.Encoding) {
		w.Odd.Add(EncodedMultipart) // RFC 2045 section 6.4; read as if it were not
	}
	boundary, ok := e.kind.get("boundary")
	if !ok {
		w.Odd.Add(MissingBoundary)
		return false
	}
	boundary = strings.TrimRight(boundary, " \t") // gateways add and strip it
	if boundary == "" || len(boundary) > maxDelimiter-8 {
		w.Odd.Add(BadBoundary)
		return false
	}
	if !validBoundary(boundary) {
		w.Odd.Add(BadBoundary)
	}
	for i := range w.frames {
		if w.frames[i].boundary == boundary {
			w.Odd.Add(BoundaryReuse)
		}
	}
	w.frames = append(w.frames, frame{
		boundary: boundary, index: len(w.Parts) - 1, depth: part.Depth, digest: part.Type == "multipart/digest",
	})
	return true
}

// validBoundary is the grammar of RFC 2046 section 5.1.1.
func validBoundary(s string) bool {
	if len(s) > maxBoundary {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("'()+_,-./:=? ", c) >= 0) {
			return false
		}
	}
	return true
}

// message opens a message inside the message; false when it is encoded, which
// RFC 2046 section 5.2.1 forbids and clients decode: the leaf walks into it.
func (w *Walker) message(part *Part) bool {
	if isEncoded(part.Encoding) {
		w.Odd.Add(EncodedMessage)
		return false
	}
	w.frames = append(w.frames, frame{index: len(w.Parts) - 1, depth: part.Depth})
	w.digest = false
	w.state = inHeader
	return true
}

func isEncoded(encoding string) bool {
	return encoding == "base64" || encoding == "quoted-printable"
}

// cut bounds a string of the facts.
func cut(s string) string {
	const most = 512
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "")
	}
	return s
}
