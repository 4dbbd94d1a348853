package archive

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// directories reads the directory that the last end record tells of, and then
// those of others that do not lie inside of an entry.
func (z *zipReader) directories() error {
	ends := z.ends()
	read := 0
	for i := len(ends) - 1; i >= 0 && read < maxDirectories; i-- {
		at := ends[i]
		if read > 0 && z.covered(at) {
			continue // of an archive in the archive
		}
		found, err := z.directory(at)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if read++; read > 1 {
			z.odd |= SeveralDirectories
		}
	}
	if read == 0 {
		z.note(ErrDamaged) // all of it is hidden from who goes by the directory
	}
	return nil
}

// ends are the places of all end records whose comment fits.
func (z *zipReader) ends() []int64 {
	from := max(0, len(z.data)-maxTail)
	var at []int64
	for i := from; i+endSize <= len(z.data); i++ {
		j := bytes.Index(z.data[i:], []byte(sigEnd))
		if j < 0 || i+j+endSize > len(z.data) {
			break
		}
		i += j
		if i+endSize+int(binary.LittleEndian.Uint16(z.data[i+20:])) <= len(z.data) {
			at = append(at, int64(i))
		}
	}
	return at
}

// directory reads what the end record at tells of: by the place that it names,
// and by the place right before it, where those differ.
func (z *zipReader) directory(at int64) (found bool, err error) {
	end := z.data[at:]
	size, offset := int64(binary.LittleEndian.Uint32(end[12:])), int64(binary.LittleEndian.Uint32(end[16:]))
	before := at
	if s, o, r, ok := z.end64(at); ok && (size == 0xffffffff || offset == 0xffffffff || binary.LittleEndian.Uint16(end[10:]) == 0xffff) {
		size, offset, before = s, o, r
	}
	stop := at + endSize + int64(binary.LittleEndian.Uint16(end[20:]))
	if stop < int64(len(z.data)) {
		z.odd |= Trailing
	}
	starts := []int64{before - size}
	if offset != before-size {
		starts = append(starts, offset)
	}
	if size == 0 {
		return true, nil // an empty archive
	}
	for i, start := range starts {
		base := int64(0)
		if i == 0 {
			base = start - offset // octets that were put before the archive
		}
		if start < 0 || start > at || !bytes.HasPrefix(z.data[start:], []byte(sigCentral)) {
			continue
		}
		switch {
		case found:
			z.odd |= SeveralDirectories
		case base > 0:
			z.odd |= Prefix
		}
		found = true
		if err := z.list(start, at, base); err != nil {
			return true, err
		}
	}
	if found {
		z.ranges = append(z.ranges, zipRange{at, stop})
	}
	return found, nil
}

// end64 reads the zip64 end record, through its locator right before the end
// record: the directory's size and offset, and where the record begins.
func (z *zipReader) end64(at int64) (size, offset, record int64, ok bool) {
	if at < 20 || !bytes.HasPrefix(z.data[at-20:], []byte("PK\x06\x07")) {
		return 0, 0, 0, false
	}
	record = int64(binary.LittleEndian.Uint64(z.data[at-12:]))
	if record < 0 || record > at-20-56 || !bytes.HasPrefix(z.data[record:], []byte("PK\x06\x06")) {
		record = at - 20 - 56 // octets were put before the archive
		if record < 0 || !bytes.HasPrefix(z.data[record:], []byte("PK\x06\x06")) {
			return 0, 0, 0, false
		}
	}
	r := z.data[record:]
	size, offset = int64(binary.LittleEndian.Uint64(r[40:])), int64(binary.LittleEndian.Uint64(r[48:]))
	return size, offset, record, size >= 0 && offset >= 0
}

// list collects the entries of a directory.
func (z *zipReader) list(start, end, base int64) error {
	at := start
	for at+centralSize <= end && bytes.HasPrefix(z.data[at:], []byte(sigCentral)) {
		if err := z.b.Check(); err != nil {
			return err
		}
		if len(z.files) >= z.b.limits.Entries {
			return &LimitError{"entries"}
		}
		h := z.data[at:]
		n, x, c := binary.LittleEndian.Uint16(h[28:]), binary.LittleEndian.Uint16(h[30:]), binary.LittleEndian.Uint16(h[32:])
		next := at + centralSize + int64(n) + int64(x) + int64(c)
		if next > end {
			break
		}
		f := zipFile{
			flags: binary.LittleEndian.Uint16(h[8:]), method: binary.LittleEndian.Uint16(h[10:]),
			crc: binary.LittleEndian.Uint32(h[16:]), packed: int64(binary.LittleEndian.Uint32(h[20:])),
			size: int64(binary.LittleEndian.Uint32(h[24:])), offset: int64(binary.LittleEndian.Uint32(h[42:])),
		}
		f.name = zipName(h[centralSize:centralSize+int(n)], f.flags)
		f.wide(h[centralSize+int(n) : centralSize+int(n)+int(x)])
		f.offset += base
		z.add(f)
		at = next
	}
	if at == start {
		return nil
	}
	z.ranges = append(z.ranges, zipRange{start, at})
	return nil
}

// wide takes the zip64 extra field (APPNOTE 4.5.3).
func (f *zipFile) wide(extra []byte) {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			return
		}
		if id == 1 {
			field := extra[:n]
			for _, v := range []*int64{&f.size, &f.packed, &f.offset} {
				if *v == 0xffffffff && len(field) >= 8 {
					*v = int64(binary.LittleEndian.Uint64(field) & (1<<62 - 1))
					field = field[8:]
				}
			}
		}
		extra = extra[n:]
	}
}

// add takes an entry, unless another directory had it.
func (z *zipReader) add(f zipFile) {
	if i, twice := z.seen[f.offset]; twice && z.files[i] == f {
		return
	}
	z.seen[f.offset] = len(z.files)
	z.files = append(z.files, f)
}

func zipName(raw []byte, flags uint16) string {
	if flags&flagUTF8 != 0 {
		return strings.ToValidUTF8(string(raw), "\ufffd")
	}
	return decodeName(string(raw))
}

// local reads the local header at an offset.
func (z *zipReader) local(offset int64) (zipFile, bool) {
	if offset < 0 || offset+localSize > int64(len(z.data)) || !bytes.HasPrefix(z.data[offset:], []byte(sigLocal)) {
		return zipFile{}, false
	}
	h := z.data[offset:]
	n, x := int64(binary.LittleEndian.Uint16(h[26:])), int64(binary.LittleEndian.Uint16(h[28:]))
	if offset+localSize+n+x > int64(len(z.data)) {
		return zipFile{}, false
	}
	f := zipFile{
		flags: binary.LittleEndian.Uint16(h[6:]), method: binary.LittleEndian.Uint16(h[8:]),
		crc: binary.LittleEndian.Uint32(h[14:]), packed: int64(binary.LittleEndian.Uint32(h[18:])),
		size: int64(binary.LittleEndian.Uint32(h[22:])), offset: offset, data: offset + localSize + n + x,
	}
	f.name = zipName(h[localSize:localSize+n], f.flags)
	f.wide(h[localSize+n : localSize+n+x])
	return f, true
}

// central visits a file of the directory, and what its local header makes of
// it where that is something else.
func (z *zipReader) central(f *zipFile) error {
	l, ok := z.local(f.offset)
	if !ok {
		z.note(ErrDamaged)
		return z.one(f, &Entry{Err: ErrDamaged})
	}
	f.data = l.data
	if f.packed > int64(len(z.data))-f.data {
		z.note(ErrDamaged)
	}
	z.ranges = append(z.ranges, zipRange{f.offset, min(f.data+f.packed, int64(len(z.data)))})
	e := &Entry{}
	differs := z.disagrees(f, &l)
	if differs {
		z.odd |= HeadersDisagree
		if l.name != f.name {
			e.Alias = l.name
		}
	}
	if err := z.one(f, e); err != nil || !differs {
		return err
	}
	late := l.flags&flagSizesLate != 0 && l.packed == 0
	sameExtent := !late && l.packed == f.packed || late && z.endsAsTold(f)
	if l.method == f.method && l.flags&flagEncrypted == f.flags&flagEncrypted && sameExtent {
		return nil // only the name is another
	}
	if late {
		l.packed, l.size = -1, -1
	}
	return z.one(&l, &Entry{Alias: f.name, Hidden: true})
}

// disagrees compares the two headers of a file.
func (z *zipReader) disagrees(f, l *zipFile) bool {
	switch {
	case strings.ReplaceAll(f.name, `\`, "/") != strings.ReplaceAll(l.name, `\`, "/"):
		// A masked or differently coded name is no other name.
		return l.flags&flagMasked == 0 && l.flags&flagUTF8 == f.flags&flagUTF8
	case f.method != l.method, f.flags&flagEncrypted != l.flags&flagEncrypted:
		return true
	}
	if l.flags&flagSizesLate != 0 {
		return l.packed == 0 && !z.endsAsTold(f)
	}
	return l.packed != 0 && (f.packed != l.packed || f.size != l.size)
}

// endsAsTold reports that the content of a file whose sizes follow it ends where
// the directory says: with these sizes (APPNOTE 4.3.9), or, where an archiver
// forgot them, with the next record.
func (z *zipReader) endsAsTold(f *zipFile) bool {
	end := f.data + f.packed
	if end < f.data || end+12 > int64(len(z.data)) {
		return false
	}
	rest := z.data[end:]
	if bytes.HasPrefix(rest, []byte(sigLocal)) || bytes.HasPrefix(rest, []byte(sigCentral)) {
		return true
	}
	rest = bytes.TrimPrefix(rest, []byte("PK\x07\x08"))
	return len(rest) >= 8 && int64(binary.LittleEndian.Uint32(rest[4:])) == f.packed&0xffffffff
}
