package mime

import (
	"bytes"
	"slices"
	"strings"

	"mailweir/internal/filetype"
	"mailweir/mail"
)

// reading is one content in one encoding.
type reading struct {
	decoder decoder
	leaf    Leaf
	content Content   // nil when nobody wants it
	inner   *Readings // of an encoded message or multipart
	signed  *signedContent
	ends    lineEnds
	head    [48]byte
	headLen int
	scratch []byte
	lines   []byte
}

// begin opens what follows a header section, in every encoding and of every type
// that its fields could mean.
func (r *Readings) begin(block []byte) {
	if r.starts++; r.starts > maxStarts {
		r.Odd.Add(LimitReadings)
		return
	}
	h := mail.ParseHeader(bytes.TrimLeft(block, " \t"))
	m := meaning(h.Fields)
	for _, b := range m.boundaries {
		r.bound(b)
	}
	if m.capable() {
		r.Capable = true
	}
	for _, name := range m.encodings {
		for _, how := range waysToRead(name) {
			r.add(&m, how)
		}
	}
	if m.message {
		r.startBlock(nil, true)
	}
}

func (r *Readings) bound(b string) {
	if b == "" || len(b) > maxDelimiter || r.bounds[b] {
		return
	}
	if len(r.bounds) >= maxBoundaries {
		r.Odd.Add(LimitReadings)
		return
	}
	r.bounds[b] = true
	r.order = append(r.order, []byte(b))
	r.first[b[0]] = true
	r.first[strings.ToLower(b[:1])[0]] = true
	r.first[strings.ToUpper(b[:1])[0]] = true
}

func (r *Readings) add(m *meant, how way) {
	if len(r.open) >= maxReadings || r.left <= 0 {
		r.Odd.Add(LimitReadings)
		return
	}
	c := &reading{decoder: how.decoder(), leaf: Leaf{
		Part:    Part{Type: m.kind, Encoding: how.encoding, Charset: m.charset, Disposition: m.disposition, Name: m.name()},
		Names:   m.names,
		Reading: how.name,
	}}
	signed := m.signed()
	if how.usual && (m.message || m.multipart) || signed {
		if r.level >= MaxEncoded {
			r.Odd.Add(LimitDepth)
		} else {
			c.inner = &Readings{reread: r.reread, take: r.take, level: r.level + 1, bounds: map[string]bool{}}
			for _, b := range m.boundaries {
				c.inner.bound(b)
			}
			if m.message || signed {
				c.inner.startBlock(nil, true)
			}
			if signed {
				c.signed = &signedContent{to: c.inside, inflated: &r.inflated, odd: &r.Odd}
			}
		}
	}
	if r.take != nil {
		c.content = widen(r.take.Begin(&c.leaf), r.take, &c.leaf, &r.files, &r.Odd)
	}
	r.open = append(r.open, c)
}

func (c *reading) write(r *Readings, p []byte) {
	for len(p) > 0 {
		n := min(len(p), decodePiece)
		if c.content == nil && c.inner == nil {
			if c.headLen == len(c.head) {
				return
			}
			n = min(n, 2*len(c.head))
		}
		if r.left -= n; r.left < 0 {
			r.Odd.Add(LimitReadings)
			return
		}
		c.scratch = c.decoder.decode(c.scratch[:0], p[:n])
		c.decoded(c.scratch)
		p = p[n:]
	}
}

func (c *reading) decoded(p []byte) {
	if c.headLen < len(c.head) {
		c.headLen += copy(c.head[c.headLen:], p)
	}
	if c.content != nil && len(p) > 0 && !c.content.Write(p) {
		c.content.End()
		c.content = nil
	}
	switch {
	case c.signed != nil:
		c.signed.write(p)
	case c.inner != nil:
		c.inside(p)
	}
}

// inside goes on with the message that lies in a content.
func (c *reading) inside(p []byte) {
	c.lines = c.ends.all(c.lines[:0], p)
	c.inner.Write(c.lines)
}

func (c *reading) end(r *Readings) {
	rest, _ := c.decoder.finish(c.scratch[:0])
	c.decoded(rest)
	if c.content != nil {
		c.content.End()
	}
	if c.signed != nil {
		c.signed.close()
	}
	if c.inner != nil {
		c.inner.Close()
	}
	if capableMagic(filetype.Detect(c.head[:c.headLen])) {
		r.Capable = true
	}
}

// meant is all that the fields of a header section could say of what follows.
type meant struct {
	kind, charset, disposition string
	kinds, names, encodings    []string
	boundaries                 []string
	message, multipart         bool
}

func (m *meant) name() string {
	if len(m.names) == 0 {
		return ""
	}
	return m.names[0]
}

// meaning reads fields in every way. Field names count with white space before
// the colon; of fields that are there twice all count.
func meaning(fields []mail.Field) meant {
	m := meant{kind: "text/plain"}
	var e entity
	for _, f := range fields {
		value := f.Value()
		switch {
		case f.Is("Content-Type"):
			v := parseValue(value)
			e.again(value)
			m.kinds = append(m.kinds, v.main, strings.ToLower(value))
			m.boundaries = append(m.boundaries, boundaries(value, &v)...)
			for _, p := range v.params {
				if p.name == "charset" && recoderFor(m.charset) == nil {
					m.charset = strings.ToLower(p.value)
				}
			}
			if len(m.kinds) == 2 {
				m.kind = cut(v.main)
			}
		case f.Is("Content-Disposition"):
			v := parseValue(value)
			e.again(value)
			m.disposition = cut(firstWord(v.main))
		case f.Is("Content-Transfer-Encoding"):
			for _, enc := range encodingsOf(value) {
				if !slices.Contains(m.encodings, enc) {
					m.encodings = append(m.encodings, enc)
				}
			}
		}
	}
	for _, k := range m.kinds {
		m.message = m.message || strings.Contains(k, "message/") || strings.HasPrefix(k, "message")
		m.multipart = m.multipart || strings.Contains(k, "multipart")
	}
	if len(m.encodings) == 0 {
		m.encodings = []string{""}
	}
	m.names = e.names("")
	return m
}

// signed reports that a client could take what follows for a signed message.
func (m *meant) signed() bool {
	for _, k := range m.kinds {
		if isSigned(k, nil) {
			return true
		}
	}
	return isSigned("", m.names)
}

// lowerASCII changes no lengths, as lower case beyond ASCII may.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 0x20
		}
	}
	return string(b)
}

// boundaries are the values that readers could take for the boundary parameter:
// the first, the last, in RFC 2231 form, with the quotes, comments and blanks
// read in one way or the other.
func boundaries(s string, v *fieldValue) (out []string) {
	add := func(b string) {
		for _, b := range []string{strings.TrimSpace(b), strings.Trim(b, " \t\r\n\"';")} {
			if b != "" && !slices.Contains(out, b) {
				out = append(out, b)
			}
		}
	}
	for _, p := range v.params {
		if strings.HasPrefix(p.name, "boundary") {
			add(p.value)
			add(string(unpercent(p.value)))
		}
	}
	lower := lowerASCII(s)
	i := strings.Index(lower, "boundary")
	for range maxBoundaries {
		if i < 0 {
			break
		}
		rest := s[i+len("boundary"):]
		if _, value, ok := strings.Cut(rest, "="); ok {
			value = strings.TrimLeft(value, " \t\r\n")
			until := func(set string) string {
				if j := strings.IndexAny(value, set); j >= 0 {
					return value[:j]
				}
				return value
			}
			add(until(";"))
			add(until("; \t\r\n("))
			if value != "" && value[0] == '"' {
				end, _, _ := strings.Cut(value[1:], `"`)
				add(end)
				add(strings.ReplaceAll(end, `\`, ""))
			}
			text, _ := dropComment(value)
			add(text)
		}
		next := strings.Index(lower[i+1:], "boundary")
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return out
}

// lineEnds makes every CR the end of a line, as some clients do. What it means
// to the others is the reading of the walker.
type lineEnds struct{ cr bool }

func (e *lineEnds) all(dst, src []byte) []byte {
	for len(src) > 0 {
		if e.cr && src[0] != '\n' {
			dst = append(dst, '\n')
		}
		n := bytes.IndexByte(src, '\r') + 1
		if e.cr = n > 0; !e.cr {
			n = len(src)
		}
		dst, src = append(dst, src[:n]...), src[n:]
	}
	return dst
}
