package archive

import (
	"bytes"
	"sort"
)

// overlap finds entries that share octets, as bombs that need not be nested do.
func (z *zipReader) overlap() {
	sort.Slice(z.ranges, func(i, j int) bool {
		a, b := z.ranges[i], z.ranges[j]
		return a.from < b.from || a.from == b.from && a.to < b.to
	})
	end := int64(0)
	for i, r := range z.ranges {
		if i > 0 && r.from < end && r.to > r.from {
			z.odd |= Overlap
		}
		end = max(end, r.to)
	}
}

// covered reports an offset inside of what was told of.
func (z *zipReader) covered(at int64) bool {
	for i := range z.files {
		if l, ok := z.local(z.files[i].offset); ok && at >= l.data && at < l.data+z.files[i].packed {
			return true
		}
	}
	return false
}

// hidden visits the local headers between what the directories tell of. The
// ranges are sorted.
func (z *zipReader) hidden() error {
	end := int64(0)
	for _, r := range append(z.ranges, zipRange{int64(len(z.data)), int64(len(z.data))}) {
		if r.from > end {
			if err := z.gap(end, r.from); err != nil {
				return err
			}
		}
		end = max(end, r.to)
	}
	return nil
}

// gap visits the local headers between two places.
func (z *zipReader) gap(from, to int64) error {
	for {
		i := bytes.Index(z.data[from:to], []byte(sigLocal))
		if i < 0 {
			return nil
		}
		f, ok := z.local(from + int64(i))
		if !ok || !plausible(&f) {
			from += int64(i) + 4
			continue
		}
		z.odd |= HiddenEntries
		if f.flags&flagSizesLate != 0 && f.packed == 0 {
			f.packed, f.size = -1, -1
		}
		if err := z.one(&f, &Entry{Hidden: true}); err != nil {
			return err
		}
		from = min(to, max(f.data, f.data+f.packed))
	}
}

// plausible tells a header from four octets that look like its beginning.
func plausible(f *zipFile) bool {
	return f.name != "" && (f.method <= 21 || f.method >= 93 && f.method <= 99)
}
