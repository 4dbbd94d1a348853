package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

const (
	tarBlock     = 512
	maxTarStarts = 64 // archives, or rests of one, that are read behind each other
)

// readTar visits an archive, and what follows it: some unpackers end at a block of
// zeros, others go on after it, or look for the next header where one is damaged.
// So reading begins again at each header that follows, and octets before it that
// belong to no file are visited like one.
func readTar(data []byte, b *Budget, visit Visitor) (odd Oddities, first error) {
	for range maxTarStarts {
		stop, err := readTarOnce(data, b, visit)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return odd, err
		}
		if first == nil {
			first = err
		}
		rest := data[stop:]
		next := nextTarHeader(rest)
		if gap := rest[:next]; len(bytes.Trim(gap, "\x00")) > 0 {
			odd |= Trailing
			if err := visit(&Entry{Hidden: true, Size: int64(next), Data: gap}, bytes.NewReader(gap)); err != nil {
				return odd, err
			}
		}
		if next == len(rest) {
			return odd, first
		}
		odd |= HiddenEntries
		data = rest[next:]
	}
	return odd, &LimitError{"entries"}
}

// readTarOnce visits regular files in place: they cannot overlap, and what they
// were packed in was counted when it was unpacked. stop is where reading ended,
// always beyond the first block.
func readTarOnce(data []byte, b *Budget, visit Visitor) (stop int, err error) {
	src := bytes.NewReader(data)
	t := tar.NewReader(src)
	for {
		h, err := t.Next()
		at := len(data) - src.Len()
		switch {
		case err == io.EOF:
			return at, nil
		case errors.Is(err, tar.ErrHeader) && at >= 2*tarBlock:
			return at - tarBlock, damaged(err) // what is no header may be octets of a file
		case err != nil:
			return max(at, min(tarBlock, len(data))), damaged(err)
		}
		e := &Entry{Name: decodeName(h.Name), Size: h.Size, Dir: h.Typeflag == tar.TypeDir, Rare: rareSize(h, data[at-tarBlock:at])}
		switch {
		case h.Typeflag == tar.TypeReg && h.Size >= 0 && h.Size <= int64(src.Len()) && !sparse(h):
			e.Data = data[at : at+int(h.Size)]
			err = visit(e, bytes.NewReader(e.Data))
		default:
			err = visit(e, &meter{r: t, b: b})
		}
		if err != nil {
			return at, err
		}
	}
}

// nextTarHeader is where the next header lies, len(data) where there is none.
func nextTarHeader(data []byte) int {
	for at := 0; at+tarBlock <= len(data); at += tarBlock {
		if tarSum(data[at : at+tarBlock]) {
			return at
		}
	}
	return len(data)
}

// tarSum reports that a block has the checksum of a header: the sum of its octets,
// the eight of the checksum itself taken for blanks.
func tarSum(block []byte) bool {
	field := strings.Trim(string(block[148:156]), " \x00")
	want, err := strconv.ParseUint(field, 8, 32)
	if err != nil || block[0] == 0 {
		return false
	}
	sum := uint64(8 * ' ')
	for i, c := range block {
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	return sum == want
}

// rareSize reports a size that programs older than its form do not see: in base
// 256, or in a record of its own (POSIX.1 pax, "size").
func rareSize(h *tar.Header, block []byte) bool {
	const size = 124
	_, record := h.PAXRecords["size"]
	return record || block[size]&0x80 != 0 || sparse(h)
}

// sparse files do not lie in the archive as they are.
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}
