package mime

import "bytes"

// uuDecoder is uuencode. What does not look like a line of it is skipped, and
// lines before "begin" are, unless begun says that it is behind us.
type uuDecoder struct {
	begun, ended bool
	held         []byte
}

func (d *uuDecoder) decode(dst, src []byte) []byte {
	for len(src) > 0 {
		n := bytes.IndexByte(src, '\n') + 1
		if n == 0 {
			if len(d.held) < maxLine {
				d.held = append(d.held, src...)
			}
			return dst
		}
		line := src[:n]
		if len(d.held) > 0 {
			d.held = append(d.held, line...)
			dst = d.line(dst, d.held)
			d.held = d.held[:0]
		} else {
			dst = d.line(dst, line)
		}
		src = src[n:]
	}
	return dst
}

func (d *uuDecoder) line(dst, line []byte) []byte {
	line = bytes.TrimRight(line, "\r\n")
	switch {
	case !d.begun:
		d.begun = len(line) > 6 && bytes.EqualFold(line[:6], []byte("begin "))
		return dst
	case d.ended, len(line) == 0, line[0] <= ' ', line[0] > '`':
		return dst
	case bytes.EqualFold(line, []byte("end")):
		d.ended = true
		return dst
	}
	want := int(line[0]-' ') & 0x3f
	at := func(i int) byte {
		if i < len(line) {
			return (line[i] - ' ') & 0x3f
		}
		return 0 // blanks at the end of a line are lost on the way
	}
	for i := 1; want > 0 && i < len(line); i += 4 {
		a, b, c, e := at(i), at(i+1), at(i+2), at(i+3)
		three := [3]byte{a<<2 | b>>4, b<<4 | c>>2, c<<6 | e}
		n := min(want, 3)
		dst = append(dst, three[:n]...)
		want -= n
	}
	return dst
}

func (d *uuDecoder) check([]byte) {}

func (d *uuDecoder) finish(dst []byte) ([]byte, Ambiguities) {
	if len(d.held) > 0 {
		dst = d.line(dst, d.held)
		d.held = nil
	}
	return dst, 0
}

// yDecoder is yEnc (yEnc draft 1.3): octets plus 42, "=" escapes. It gets whole
// lines.
type yDecoder struct{ escaped bool }

func (d *yDecoder) decode(dst, src []byte) []byte {
	if bytes.HasPrefix(src, []byte("=ypart ")) {
		return dst
	}
	for _, c := range src {
		switch {
		case c == '\r' || c == '\n':
		case d.escaped:
			dst = append(dst, c-64-42)
			d.escaped = false
		case c == '=':
			d.escaped = true
		default:
			dst = append(dst, c-42)
		}
	}
	return dst
}

func (d *yDecoder) check([]byte)                            {}
func (d *yDecoder) finish(dst []byte) ([]byte, Ambiguities) { return dst, 0 }

// hexDecoder is BinHex 4.0 (RFC 1741): six bits a character, then runs, then a
// header in front of the data fork and the resource fork. What it gives are the
// octets of both forks, one after the other.
type hexDecoder struct {
	begun, done bool
	bits        uint32
	n           uint8
	last        byte
	run         bool // the octet before was 0x90

	head []byte // the header, until it is complete
	fork [2]uint32
	crc  uint8 // octets to skip before the next fork
	at   int   // fork; 2 after both
}

const hexAlphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr"

var hexSextet = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(hexAlphabet) {
		t[hexAlphabet[i]] = byte(i)
	}
	return t
}()

func (d *hexDecoder) decode(dst, src []byte) []byte {
	for _, c := range src {
		switch {
		case d.done:
			return dst
		case c == ':':
			d.done = d.begun
			d.begun = true
		case !d.begun || hexSextet[c] == 0xff:
		default:
			d.bits = d.bits<<6 | uint32(hexSextet[c])
			if d.n += 6; d.n >= 8 {
				d.n -= 8
				dst = d.octet(dst, byte(d.bits>>d.n))
			}
		}
	}
	return dst
}

// octet undoes the runs: 0x90 and a count repeat the octet before them, 0x90
// and 0 is 0x90 itself.
func (d *hexDecoder) octet(dst []byte, c byte) []byte {
	switch {
	case d.run && c == 0:
		d.run, d.last = false, 0x90
		return d.put(dst, 0x90)
	case d.run:
		d.run = false
		for range int(c) - 1 {
			dst = d.put(dst, d.last)
		}
		return dst
	case c == 0x90:
		d.run = true
		return dst
	}
	d.last = c
	return d.put(dst, c)
}

// put takes an octet of the file: name length, name, 0, type (4), creator (4),
// flags (2), lengths of data and resource fork (4 each), CRC (2), data, CRC (2),
// resource, CRC (2).
func (d *hexDecoder) put(dst []byte, c byte) []byte {
	if d.head == nil || len(d.head) < int(d.head[0])+22 {
		if d.head = append(d.head, c); len(d.head) == int(d.head[0])+22 {
			at := int(d.head[0]) + 12
			for i := range 2 {
				for _, c := range d.head[at+4*i : at+4*i+4] {
					d.fork[i] = d.fork[i]<<8 | uint32(c)
				}
			}
		}
		return dst
	}
	for d.at < 2 {
		switch {
		case d.fork[d.at] > 0:
			d.fork[d.at]--
			return append(dst, c)
		case d.crc < 2:
			d.crc++
			return dst
		}
		d.at, d.crc = d.at+1, 0
	}
	return dst
}

func (d *hexDecoder) check([]byte)                            {}
func (d *hexDecoder) finish(dst []byte) ([]byte, Ambiguities) { return dst, 0 }
