package mime

import (
	"bytes"
	"strings"
)

// embedded passes a text on and looks in it for files in the encodings that are
// older than MIME: uuencode and its base64 form (POSIX.1 uuencode), yEnc, BinHex
// (RFC 1741). Clients still show them as attachments.
type embedded struct {
	next  Content // nil when nobody wants the text
	take  Taker
	leaf  *Leaf // of the text
	held  []byte
	files *int
	odd   *Ambiguities
	skip  bool // what comes is the rest of a line too long to begin a file
	file  decoder
	// likely looks at the next line that is not empty: it may begin a file. nil
	// for none.
	likely func(line []byte)
	out    Content
	buf    []byte
	done   func(line []byte) bool // ends the file
}

// maxLine is how long a line that begins, ends or is part of such a file may be.
const maxLine = 1024

func (x *embedded) Write(p []byte) bool {
	if x.next != nil && !x.next.Write(p) {
		x.next.End()
		x.next = nil
	}
	for len(p) > 0 {
		if x.file == nil && x.likely == nil && len(x.held) == 0 && !x.skip {
			p = p[boring(p):]
			if len(p) == 0 {
				break
			}
		}
		n := bytes.IndexByte(p, '\n') + 1
		switch {
		case x.skip:
			x.skip = n == 0
			if n == 0 {
				return true
			}
		case n == 0:
			if x.held = append(x.held, p...); len(x.held) > maxLine {
				x.line(x.held)
				x.held, x.skip = x.held[:0], true
			}
			return true
		case len(x.held) > 0:
			x.held = append(x.held, p[:n]...)
			x.line(x.held)
			x.held = x.held[:0]
		default:
			x.line(p[:n])
		}
		p = p[n:]
	}
	return true
}

// boring is the length of the complete lines at the beginning of p that begin
// no file.
func boring(p []byte) int {
	at := 0
	for {
		switch p[at] {
		case 'b', 'B', '=', '(':
			return at
		}
		n := bytes.IndexByte(p[at:], '\n')
		if n < 0 {
			return at
		}
		if at += n + 1; at == len(p) {
			return at
		}
	}
}

func (x *embedded) line(line []byte) {
	if x.file != nil {
		if x.done(line) {
			x.finish()
			return
		}
		x.buf = x.file.decode(x.buf[:0], line)
		x.write(x.buf)
		return
	}
	if look := x.likely; look != nil && len(bytes.TrimRight(line, " \t\r\n")) > 0 {
		x.likely = nil
		look(line)
		if x.file != nil {
			return
		}
	}
	switch {
	case bytes.HasPrefix(line, []byte("=ybegin ")):
		_, name, _ := bytes.Cut(line, []byte("name="))
		x.begin("yEnc", string(name), new(yDecoder), func(l []byte) bool { return bytes.HasPrefix(l, []byte("=yend")) })
	case bytes.HasPrefix(line, []byte("(This file must be converted with BinHex")):
		x.binHex()
	case bytes.HasPrefix(line, []byte("(This file ")):
		x.likely = x.hexLine
	case len(line) > 6 && bytes.EqualFold(line[:5], []byte("begin")):
		x.uuencoded(line)
	}
}

func (x *embedded) binHex() {
	d := new(hexDecoder)
	x.begin("BinHex", "", d, func([]byte) bool { return d.done })
}

// hexLine begins a BinHex file of which the usual words do not tell.
func (x *embedded) hexLine(line []byte) {
	if line[0] == ':' {
		x.binHex()
		x.line(line)
	}
}

// uuencoded begins "begin 644 name" and "begin-base64 644 name". Some programs
// want no mode or no name: then the next line has to look like one of a file.
func (x *embedded) uuencoded(line []byte) {
	words := strings.Fields(string(line))
	if len(words) < 3 || len(words[1]) < 3 || strings.Trim(words[1], "01234567") != "" {
		if name := ""; strings.EqualFold(words[0], "begin") {
			if len(words) > 1 {
				name = words[len(words)-1]
			}
			x.likely = func(next []byte) { x.uuLine(name, next) }
		}
		return
	}
	name := strings.Join(words[2:], " ")
	switch strings.ToLower(words[0]) {
	case "begin":
		x.uuFile(name)
	case "begin-base64":
		x.begin("uuencode in base64", name, new(base64Decoder), func(l []byte) bool { return bytes.HasPrefix(l, []byte("====")) })
	}
}

func (x *embedded) uuFile(name string) {
	x.begin("uuencode", name, &uuDecoder{begun: true}, func(l []byte) bool {
		return strings.EqualFold(string(bytes.TrimRight(l, " \t\r\n")), "end")
	})
}

// uuLine begins a file if its first line is as long as it says, or longer by a
// character for a checksum.
func (x *embedded) uuLine(name string, line []byte) {
	text := bytes.TrimRight(line, "\r\n")
	if len(text) == 0 || text[0] <= ' ' || text[0] >= '`' {
		return
	}
	long := 1 + (int(text[0]-' ')+2)/3*4
	if len(text) == long || len(text) == long+1 {
		x.uuFile(name)
		x.line(line)
	}
}

func (x *embedded) begin(reading, name string, d decoder, done func([]byte) bool) {
	if out := x.found(reading, name); *x.files <= MaxParts {
		x.file, x.done, x.out = d, done, out
	}
}

// found tells the taker of a file.
func (x *embedded) found(reading, name string) Content {
	if *x.files++; *x.files > MaxParts {
		x.odd.Add(LimitParts)
		return nil
	}
	name = cut(strings.TrimSpace(name))
	l := Leaf{Part: Part{
		Depth: x.leaf.Depth + 1, Type: "application/octet-stream", Encoding: reading, Name: name,
	}, Reading: reading}
	if name != "" {
		l.Names = []string{name}
	}
	return x.take.Begin(&l)
}

func (x *embedded) write(p []byte) {
	if x.out != nil && len(p) > 0 && !x.out.Write(p) {
		x.out.End()
		x.out = nil
	}
}

func (x *embedded) finish() {
	rest, _ := x.file.finish(x.buf[:0])
	x.write(rest)
	if x.out != nil {
		x.out.End()
	}
	x.file, x.out, x.done = nil, nil, nil
}

// End implements Content.
func (x *embedded) End() {
	if len(x.held) > 0 {
		x.line(x.held)
	}
	if x.file != nil {
		x.finish()
	}
	if x.next != nil {
		x.next.End()
	}
}
