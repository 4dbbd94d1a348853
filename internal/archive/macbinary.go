package archive

import (
	"bytes"
	"encoding/binary"
)

// readMacBinary visits the forks of a file in MacBinary, which mail programs on
// a Mac put together again:
//
//	| 0 | name 1 + 63 | type 4, creator 4, ... | at 83: data 4, resources 4 | ... | at 120: second header 2 | ... |
//
// 128 octets, then the second header, the data and the resources, each filled up
// to a multiple of 128.
func readMacBinary(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	const block = 128
	if len(data) < block {
		return 0, ErrDamaged
	}
	name := decodeName(string(data[2 : 2+min(int(data[1]), 63)]))
	at := min(block+roundUp(int(binary.BigEndian.Uint16(data[120:])), block), len(data))
	for _, field := range []int{83, 87} {
		size := int(binary.BigEndian.Uint32(data[field:]) & 0x7fffffff)
		fork := data[at:min(at+size, len(data))]
		at = min(at+roundUp(size, block), len(data))
		if err := visit(&Entry{Name: name, Size: int64(len(fork)), Data: fork}, &meter{r: bytes.NewReader(fork), b: b}); err != nil {
			return 0, err
		}
	}
	return 0, nil
}
