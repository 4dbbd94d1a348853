package archive

import (
	"bytes"
	"strconv"
	"strings"
)

// readAr visits the files of an archive of Unix's ar:
//
//	| "!<arch>\n" | then for each: name 16, date 12, owner 6, group 6, mode 8, size 10, "`\n" | data, even |
//
// A long name stands in the data ("#1/20") or in a file called "//", to which
// "/15" points.
func readAr(data []byte, b *Budget, visit Visitor) (Oddities, error) {
	const magic, header = 8, 60
	var long []byte
	for at := magic; at < len(data); {
		if at+header > len(data) || string(data[at+58:at+header]) != "`\n" {
			return 0, ErrDamaged
		}
		name := strings.TrimRight(string(data[at:at+16]), " ")
		size, err := strconv.ParseUint(strings.TrimSpace(string(data[at+48:at+58])), 10, 40)
		if at += header; err != nil || size > uint64(len(data)-at) {
			return 0, ErrDamaged
		}
		content := data[at : at+int(size)]
		at += int(size + size&1)
		if name == "//" {
			long = content
			continue
		}
		if n, ok := strings.CutPrefix(name, "#1/"); ok {
			if k, err := strconv.Atoi(n); err == nil && k >= 0 && k <= len(content) {
				name, content = strings.TrimRight(string(content[:k]), "\x00"), content[k:]
			}
		}
		e := &Entry{Name: decodeName(arName(name, long)), Size: int64(len(content)), Data: content}
		if err := visit(e, &meter{r: bytes.NewReader(content), b: b}); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

func arName(name string, long []byte) string {
	if k, err := strconv.Atoi(strings.TrimPrefix(name, "/")); err == nil && name[0] == '/' && k >= 0 && k < len(long) {
		line, _, _ := bytes.Cut(long[k:], []byte("\n"))
		name = string(line)
	}
	return strings.TrimSuffix(name, "/")
}
