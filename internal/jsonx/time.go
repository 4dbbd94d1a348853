package jsonx

import (
	"sync/atomic"
	"time"
)

// second is what all times of a second have in common in RFC 3339: the lines of a
// message are written within one or two, and to format a time costs as much as the
// rest of a short line.
type second struct {
	unix       int64
	in         *time.Location
	date, zone string
}

// latest are the seconds of the last time in UTC, as files have it, and of the last
// one in the zone of the log.
var latest [2]atomic.Pointer[second]

// AppendTime appends t as time.RFC3339Nano has it.
func AppendTime(b []byte, t time.Time) []byte {
	slot := &latest[0]
	if t.Location() != time.UTC {
		slot = &latest[1]
	}
	s := slot.Load()
	if s == nil || s.unix != t.Unix() || s.in != t.Location() {
		s = &second{t.Unix(), t.Location(), t.Format("2006-01-02T15:04:05"), t.Format("Z07:00")}
		slot.Store(s)
	}
	b = append(b, s.date...)
	b = appendFraction(b, t.Nanosecond())
	return append(b, s.zone...)
}

// appendFraction appends nanoseconds without zeros at the end.
func appendFraction(b []byte, ns int) []byte {
	if ns == 0 {
		return b
	}
	digits := [10]byte{'.'}
	n := 0
	for k := 9; k > 0; k-- {
		digits[k] = byte('0' + ns%10)
		if n == 0 && digits[k] != '0' {
			n = k + 1
		}
		ns /= 10
	}
	return append(b, digits[:n]...)
}
