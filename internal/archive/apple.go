package archive

import (
	"bytes"
	"encoding/binary"
)

// readApple visits the forks of a file in AppleSingle form (RFC 1740 appendix A),
// which mail programs on a Mac put together again:
//
//	| 00 05 16 00 | version 4 | 16 | entries 2 | then for each: what 4, offset 4, length 4 |
func readApple(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	const header, entry = 26, 12
	const dataFork, resourceFork, realName = 1, 2, 3
	if len(data) < header {
		return 0, ErrDamaged
	}
	var forks [][]byte
	name := ""
	at := data[header:]
	for range binary.BigEndian.Uint16(data[24:]) {
		if len(at) < entry {
			return 0, ErrDamaged
		}
		from, size := uint64(binary.BigEndian.Uint32(at[4:])), uint64(binary.BigEndian.Uint32(at[8:]))
		if from > uint64(len(data)) {
			return 0, ErrDamaged
		}
		content := data[from:min(from+size, uint64(len(data)))]
		switch binary.BigEndian.Uint32(at) {
		case dataFork, resourceFork:
			forks = append(forks, content)
		case realName:
			name = decodeName(string(content[:min(len(content), 255)]))
		}
		at = at[entry:]
	}
	for _, f := range forks {
		if err := visit(&Entry{Name: name, Size: int64(len(f)), Data: f}, &meter{r: bytes.NewReader(f), b: b}); err != nil {
			return 0, err
		}
	}
	return 0, nil
}
