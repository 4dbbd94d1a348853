package mime

import (
	"bytes"
	"strings"

	"mailweir/internal/filetype"
)

// properties passes a calendar or a card on, and looks in it for files: the values
// of properties in base64 (RFC 5545 section 3.8.1.1, RFC 2426 section 5) and data
// URIs (RFC 2397). Clients show and save these as attachments.
//
//	ATTACH;FMTTYPE=application/pdf;ENCODING=BASE64;VALUE=BINARY:JVBERi0x
//	 LjQK
type properties struct {
	next Content // nil when nobody wants the text
	find func(name string) Content

	begun, bol bool
	head       []byte // of the property, while it is not known whether it holds a file
	skip       bool   // it holds none
	file       *base64Decoder
	out        Content
	buf        []byte
}

// maxProperty is how many octets may stand before the value.
const maxProperty = 2048

// hasProperties tells the types whose properties may hold files.
func hasProperties(l *Leaf) bool {
	switch l.Type {
	case "text/calendar", "text/vcard", "text/x-vcard", "text/directory", "text/x-vcalendar", "application/ics":
		return true
	}
	for _, n := range l.Names {
		switch filetype.Extension(n) {
		case "ics", "vcf", "vcs", "ifb", "ical", "icalendar", "vcard":
			return true
		}
	}
	return false
}

// Write implements Content.
func (x *properties) Write(p []byte) bool {
	if x.next != nil && !x.next.Write(p) {
		x.next.End()
		x.next = nil
	}
	for len(p) > 0 {
		if x.bol || !x.begun {
			x.bol, x.begun = false, true
			if p[0] == ' ' || p[0] == '\t' { // the property goes on (RFC 5545 section 3.1)
				p = p[1:]
				continue
			}
			x.finish()
		}
		n := bytes.IndexByte(p, '\n') + 1
		if x.bol = n > 0; !x.bol {
			n = len(p)
		}
		x.octets(bytes.TrimRight(p[:n], "\r\n"))
		p = p[n:]
	}
	return true
}

// octets takes more of a property.
func (x *properties) octets(p []byte) {
	switch {
	case x.skip:
	case x.file != nil:
		x.value(p)
	default:
		x.head = append(x.head, p...)
		at, is := fileValue(x.head)
		switch {
		case at > 0:
			x.file, x.out = new(base64Decoder), x.find(propertyName(x.head[:at]))
			x.value(x.head[at:])
		case !is, len(x.head) > maxProperty:
			x.skip = true
		}
	}
}

// fileValue is where the base64 begins in a property; 0 with true where more of it
// has to be seen.
func fileValue(head []byte) (at int, may bool) {
	lower := bytes.ToLower(head[:min(len(head), maxProperty)])
	colon := bytes.IndexByte(lower, ':')
	if i := bytes.LastIndex(lower, []byte(":data:")); i > colon {
		colon = i // the one before stands in a quoted parameter
	}
	if colon < 0 {
		return 0, true
	}
	for _, encoding := range []string{";encoding=b", ";encoding=\"b", ";base64"} {
		if i := bytes.Index(lower[:colon], []byte(encoding)); i >= 0 {
			return colon + 1, true
		}
	}
	const uri = "data:"
	value := lower[colon+1:]
	if !bytes.HasPrefix(value, []byte(uri)[:min(len(uri), len(value))]) {
		return 0, false
	}
	comma := bytes.IndexByte(value, ',')
	switch {
	case comma < 0:
		return 0, true
	case bytes.HasSuffix(value[:comma], []byte(";base64")):
		return colon + 1 + comma + 1, true
	}
	return 0, false
}

// propertyName is the name of the file, as Outlook and others give it.
func propertyName(params []byte) string {
	_, name, _ := strings.Cut(string(params), "FILENAME=")
	if strings.HasPrefix(name, `"`) {
		name, _, _ = strings.Cut(name[1:], `"`)
		return cut(name)
	}
	if i := strings.IndexAny(name, ";:"); i >= 0 {
		name = name[:i]
	}
	return cut(name)
}

func (x *properties) value(p []byte) {
	x.buf = x.file.decode(x.buf[:0], p)
	x.give(x.buf)
}

func (x *properties) give(p []byte) {
	if x.out != nil && len(p) > 0 && !x.out.Write(p) {
		x.out.End()
		x.out = nil
	}
}

// finish ends a property.
func (x *properties) finish() {
	if x.file != nil {
		rest, _ := x.file.finish(x.buf[:0])
		x.give(rest)
	}
	if x.out != nil {
		x.out.End()
	}
	x.head, x.skip, x.file, x.out = x.head[:0], false, nil, nil
}

// End implements Content.
func (x *properties) End() {
	x.finish()
	if x.next != nil {
		x.next.End()
	}
}
