package mime

import "strings"

// way is one way to undo an encoding.
type way struct {
	name     string // Leaf.Reading
	encoding string // "" where nothing is undone
	decoder  func() decoder
	usual    bool // what most clients do: worth a look inside
}

var (
	asIs     = way{"as it is", "", func() decoder { return identity{} }, false}
	asBase64 = []way{
		{"base64", "base64", func() decoder { return new(base64Decoder) }, true},
		{"base64, padding ignored", "base64", func() decoder { return &laxBase64{padding: true} }, false},
		{"base64, ended by padding", "base64", func() decoder { return &laxBase64{stopAtPadding: true} }, false},
		{"base64, ended by other octets", "base64", func() decoder { return &laxBase64{stopAtJunk: true} }, false},
		{"base64, odd lines dropped", "base64", func() decoder { return &laxBase64{dropLines: true} }, false},
		{"base64url", "base64", func() decoder { return &laxBase64{url: true} }, false},
	}
	asQuoted = []way{
		{"quoted-printable", "quoted-printable", func() decoder { return new(qpDecoder) }, true},
		{"quoted-printable, bad escapes dropped", "quoted-printable", func() decoder { return new(laxQuoted) }, false},
		{"quoted-printable, lines joined first", "quoted-printable", func() decoder { return new(joinedQuoted) }, false},
	}
	asUU = way{"uuencode", "uuencode", func() decoder { return new(uuDecoder) }, false}
)

// waysToRead are the ways to read what has this encoding.
func waysToRead(encoding string) []way {
	switch encoding {
	case "":
		return []way{asIs}
	case "base64":
		return asBase64
	case "quoted-printable":
		return asQuoted
	case "uuencode":
		return []way{asUU, asIs}
	}
	return []way{asIs, asBase64[0], asQuoted[0], asUU}
}

// encodingsOf are the encodings that a Content-Transfer-Encoding field could
// mean: "" for none, and "?" for one that nobody knows.
func encodingsOf(s string) []string {
	lower := strings.ToLower(s)
	var out []string
	for _, known := range []struct{ part, encoding string }{
		{"64", "base64"}, {"quoted", "quoted-printable"}, {"printable", "quoted-printable"}, {"uu", "uuencode"},
	} {
		if strings.Contains(lower, known.part) {
			out = append(out, known.encoding)
		}
	}
	plain := fieldValue{}
	text, rest := plain.untilSemicolon(lower)
	switch {
	case text == "7bit" || text == "8bit" || text == "binary" || text == "":
		out = append(out, "")
	case text == "base64" || text == "quoted-printable":
	default:
		out = append(out, "?")
	}
	if rest != "" {
		out = append(out, "?")
	}
	return out
}

// laxBase64 is base64 as the less usual decoders read it.
type laxBase64 struct {
	padding       bool // "=" is skipped like any other octet outside the alphabet
	stopAtPadding bool
	stopAtJunk    bool
	dropLines     bool // a line with anything odd in it does not count
	url           bool // "-" and "_" are the last two of the alphabet (RFC 4648 section 5)

	quantum uint32
	n       uint8
	done    bool
	bad     bool   // the line has something odd in it
	line    []byte // with dropLines: the line so far
}

// maxLaxLine bounds a line that is held until it is known to be good.
const maxLaxLine = 4096

func (d *laxBase64) decode(dst, src []byte) []byte {
	if !d.dropLines {
		return d.octets(dst, src)
	}
	for _, c := range src {
		if c != '\n' {
			v := base64Value[c]
			d.bad = d.bad || v == b64Odd
			if len(d.line) < maxLaxLine {
				d.line = append(d.line, c)
			}
			continue
		}
		dst = d.flush(dst)
	}
	return dst
}

// octets decodes until something ends it. What is a value or white space in
// every way does not need a look at which way this is.
func (d *laxBase64) octets(dst, src []byte) []byte {
	for _, c := range src {
		v := base64Value[c]
		switch {
		case d.done:
			return dst
		case v&b64Not == 0:
			d.quantum = d.quantum<<6 | uint32(v)
			if d.n++; d.n == 4 {
				d.n = 0
				dst = append(dst, byte(d.quantum>>16), byte(d.quantum>>8), byte(d.quantum))
			}
		case v != b64Space:
			dst = d.octet(dst, c)
		}
	}
	return dst
}

func (d *laxBase64) flush(dst []byte) []byte {
	if !d.bad {
		dst = d.octets(dst, d.line)
	}
	d.line, d.bad = d.line[:0], false
	return dst
}

// octet decodes one that octets does not.
func (d *laxBase64) octet(dst []byte, c byte) []byte {
	if d.url && c == '-' {
		c = '+'
	} else if d.url && c == '_' {
		c = '/'
	}
	v := base64Value[c]
	switch {
	case v == b64Pad && d.padding:
		return dst
	case v == b64Pad:
		dst = d.rest(dst)
		d.done = d.stopAtPadding
		return dst
	case v == b64Odd:
		d.done = d.stopAtJunk
		return dst
	}
	d.quantum = d.quantum<<6 | uint32(v)
	if d.n++; d.n == 4 {
		d.n = 0
		return append(dst, byte(d.quantum>>16), byte(d.quantum>>8), byte(d.quantum))
	}
	return dst
}

// rest is what an incomplete quantum holds.
func (d *laxBase64) rest(dst []byte) []byte {
	switch d.n {
	case 2:
		dst = append(dst, byte(d.quantum>>4))
	case 3:
		dst = append(dst, byte(d.quantum>>10), byte(d.quantum>>2))
	}
	d.n = 0
	return dst
}

func (d *laxBase64) check([]byte) {}

func (d *laxBase64) finish(dst []byte) ([]byte, Ambiguities) {
	if d.dropLines {
		dst = d.flush(dst)
	}
	return d.rest(dst), 0
}

// laxQuoted is quoted-printable where the "=" of a bad escape is dropped, and
// white space at the end of a line is too (RFC 2045 section 6.7, rule 3).
type laxQuoted struct {
	held []byte // "=" and what followed, or white space
}

func (d *laxQuoted) decode(dst, src []byte) []byte {
	for _, c := range src {
		dst = d.octet(dst, c)
	}
	return dst
}

func (d *laxQuoted) octet(dst []byte, c byte) []byte {
	if len(d.held) > 0 && d.held[0] == '=' {
		return d.escape(dst, c)
	}
	switch {
	case c == ' ' || c == '\t':
		if len(d.held) < maxLaxLine {
			d.held = append(d.held, c)
		}
		return dst
	case c == '=':
		dst = append(dst, d.held...)
		d.held = append(d.held[:0], '=')
		return dst
	case c != '\r' && c != '\n':
		dst = append(dst, d.held...)
	}
	d.held = d.held[:0]
	return append(dst, c)
}

func (d *laxQuoted) escape(dst []byte, c byte) []byte {
	switch {
	case c == '\n':
		d.held = d.held[:0]
	case len(d.held) == 1 && (hexValue[c] < 16 || c == '\r' || c == ' ' || c == '\t'):
		d.held = append(d.held, c)
	case len(d.held) == 2 && hexValue[d.held[1]] < 16 && hexValue[c] < 16:
		dst = append(dst, hexValue[d.held[1]]<<4|hexValue[c])
		d.held = d.held[:0]
	case len(d.held) == 2 && hexValue[d.held[1]] >= 16 && (c == ' ' || c == '\t' || c == '\r'):
		// transport padding of a soft line break
	default:
		rest := append([]byte(nil), d.held[1:]...)
		d.held = d.held[:0]
		dst = append(dst, rest...)
		return d.octet(dst, c)
	}
	return dst
}

func (d *laxQuoted) check([]byte) {}

func (d *laxQuoted) finish(dst []byte) ([]byte, Ambiguities) {
	if len(d.held) > 0 && d.held[0] == '=' {
		dst = append(dst, d.held[1:]...)
	}
	d.held = nil
	return dst, 0
}

// joinedQuoted is quoted-printable where soft line breaks go before escapes are
// undone, so that one may lie in an escape.
type joinedQuoted struct {
	held   []byte // "=" and white space, which may be a soft line break
	joined []byte
	qp     qpDecoder
}

func (d *joinedQuoted) decode(dst, src []byte) []byte {
	d.joined = d.joined[:0]
	for _, c := range src {
		switch {
		case len(d.held) > 0 && c == '\n':
			d.held = d.held[:0]
			continue
		case len(d.held) > 0 && len(d.held) < maxLaxLine && (c == ' ' || c == '\t' || c == '\r'):
			d.held = append(d.held, c)
			continue
		}
		d.joined = append(d.joined, d.held...)
		if d.held = d.held[:0]; c == '=' {
			d.held = append(d.held, c)
			continue
		}
		d.joined = append(d.joined, c)
	}
	return d.qp.decode(dst, d.joined)
}

func (d *joinedQuoted) check([]byte) {}

func (d *joinedQuoted) finish(dst []byte) ([]byte, Ambiguities) {
	dst, _ = d.qp.finish(d.qp.decode(dst, d.held))
	return dst, 0
}
