package mail

import (
	"bytes"
	"strconv"
	"strings"
)

// EnhancedCode is an enhanced status code (RFC 3463); the zero value is none.
type EnhancedCode [3]int

// String is "5.7.1", or "" for none.
func (c EnhancedCode) String() string {
	if c == (EnhancedCode{}) {
		return ""
	}
	return string(c.append(nil))
}

func (c EnhancedCode) append(b []byte) []byte {
	b = append(strconv.AppendInt(b, int64(c[0]), 10), '.')
	b = append(strconv.AppendInt(b, int64(c[1]), 10), '.')
	return strconv.AppendInt(b, int64(c[2]), 10)
}

// Reply is an SMTP reply: ours to a client, or a next hop's to us. Text is
// without the codes; several lines are separated by "\n".
type Reply struct {
	Code     int
	Enhanced EnhancedCode
	Text     string
}

// Positive, Transient and Permanent tell a reply's class (RFC 5321 section
// 4.2.1). The zero Reply is of none: nothing was answered.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 300 }

// Transient reports a 4yz reply.
func (r Reply) Transient() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent reports a 5yz reply.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// String is the reply on one line, as logs show it.
func (r Reply) String() string {
	b := make([]byte, 0, len("250 2.0.0 ")+len(r.Text))
	if r.Code != 0 {
		b = append(strconv.AppendInt(b, int64(r.Code), 10), ' ')
	}
	if r.Enhanced != (EnhancedCode{}) {
		b = append(r.Enhanced.append(b), ' ')
	}
	b = append(b, strings.ReplaceAll(r.Text, "\n", " ")...)
	return string(bytes.TrimSuffix(b, []byte(" ")))
}

// Result is what an attempt meant for one recipient.
type Result uint8

// The results of an attempt. A connection that broke after the end of data
// and before the reply is Deferred: delivery is at least once.
const (
	Relayed  Result = iota + 1 // the next hop took responsibility
	Deferred                   // try again later
	Failed                     // will never succeed
)

// String is the word for logs and metrics.
func (r Result) String() string {
	switch r {
	case Relayed:
		return "relayed"
	case Deferred:
		return "deferred"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Outcome is the end of one attempt for one recipient.
type Outcome struct {
	Recipient int // index into Envelope.Recipients
	Result    Result
	NextHop   string // address that we spoke to, "" when none answered
	Reply     Reply  // the next hop's; Code 0 with a Text when none came (connection refused, time-out)

	// Reports tells of a relayed recipient that the next hop was told what its
	// sender wants to know, and reports it from here on (DSN, RFC 3461).
	Reports bool
}

// Destination names where a recipient's mail goes: the unit of scheduling,
// concurrency and back-off. It is a short stable string such as the domain or
// the list of next hops; "" means that there is no route.
type Destination string
