package relay

import (
	"bytes"
	"strconv"
)

// extensions is what a next hop offered in its reply to EHLO.
type extensions struct {
	pipelining bool  // RFC 2920
	chunking   bool  // RFC 3030
	eightBit   bool  // RFC 6152
	utf8       bool  // RFC 6531
	dsn        bool  // RFC 3461
	startTLS   bool  // RFC 3207
	size       bool  // RFC 1870
	maxSize    int64 // 0: none stated
	maxMail    int   // RFC 9422, transactions on one connection; 0: none stated
	maxRcpt    int   // RFC 9422, recipients of one transaction; 0: none stated
}

// parseExtensions reads the lines of an EHLO reply after the first
// (RFC 5321 section 4.1.1.1). Unknown keywords are no concern of ours.
func parseExtensions(text []byte) (e extensions) {
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		keyword, args, _ := bytes.Cut(line, []byte(" "))
		e.add(string(bytes.ToUpper(keyword)), string(args))
	}
	return e
}

func (e *extensions) add(keyword, args string) {
	switch keyword {
	case "PIPELINING":
		e.pipelining = true
	case "CHUNKING":
		e.chunking = true
	case "8BITMIME":
		e.eightBit = true
	case "SMTPUTF8":
		e.utf8 = true
	case "DSN":
		e.dsn = true
	case "STARTTLS":
		e.startTLS = true
	case "SIZE":
		e.size = true
		if n, err := strconv.ParseInt(args, 10, 64); err == nil && n > 0 {
			e.maxSize = n
		}
	case "LIMITS":
		e.limits(args)
	}
}

func (e *extensions) limits(args string) {
	for _, limit := range bytes.Fields([]byte(args)) {
		name, value, _ := bytes.Cut(limit, []byte("="))
		n, err := strconv.Atoi(string(value))
		if err != nil || n <= 0 {
			continue
		}
		switch string(bytes.ToUpper(name)) {
		case "MAILMAX":
			e.maxMail = n
		case "RCPTMAX":
			e.maxRcpt = n
		}
	}
}
