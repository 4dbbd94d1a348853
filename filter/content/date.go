package content

import (
	"strconv"
	"strings"
	"time"
)

// parseDate reads a date-time of RFC 5322 section 3.3 with the obsolete forms
// of section 4.3: "Fri, 21 Nov 1997 09:55:06 -0600 (CST)". The day of the week
// is not checked.
func parseDate(s string) (time.Time, bool) {
	if len(s) > 128 {
		return time.Time{}, false
	}
	if i := strings.IndexByte(s, ','); i >= 0 {
		s = s[i+1:]
	}
	f := strings.Fields(s)
	if len(f) < 4 {
		return time.Time{}, false
	}
	day, err1 := strconv.Atoi(f[0])
	month := monthOf(f[1])
	year, err2 := strconv.Atoi(f[2])
	hour, minute, second, ok := clock(f[3])
	if err1 != nil || err2 != nil || month == 0 || !ok || day < 1 || day > 31 || year < 0 || year > 9999 {
		return time.Time{}, false
	}
	switch { // section 4.3
	case year < 50:
		year += 2000
	case year < 1000:
		year += 1900
	}
	offset := 0
	if len(f) > 4 {
		offset = zone(f[4])
	}
	return time.Date(year, month, day, hour, minute, second, 0, time.UTC).Add(-time.Duration(offset) * time.Minute), true
}

func monthOf(s string) time.Month {
	const months = "janfebmaraprmayjunjulaugsepoctnovdec"
	if len(s) < 3 {
		return 0
	}
	i := strings.Index(months, strings.ToLower(s[:3]))
	if i < 0 || i%3 != 0 {
		return 0
	}
	return time.Month(i/3 + 1)
}

func clock(s string) (h, m, sec int, ok bool) {
	part := strings.Split(s, ":")
	if len(part) < 2 || len(part) > 3 {
		return 0, 0, 0, false
	}
	var n [3]int
	for i, p := range part {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 || v > 60 {
			return 0, 0, 0, false
		}
		n[i] = v
	}
	return n[0], n[1], n[2], n[0] < 24
}

// zone is the offset from UTC in minutes; what is unknown is UTC, as section
// 4.3 asks.
func zone(s string) int {
	if len(s) == 5 && (s[0] == '+' || s[0] == '-') {
		v, err := strconv.Atoi(s[1:])
		if err != nil || v < 0 {
			return 0
		}
		v = v/100*60 + v%100
		if s[0] == '-' {
			return -v
		}
		return v
	}
	switch s {
	case "EST", "CDT":
		return -5 * 60
	case "EDT":
		return -4 * 60
	case "CST", "MDT":
		return -6 * 60
	case "MST", "PDT":
		return -7 * 60
	case "PST":
		return -8 * 60
	}
	return 0
}
