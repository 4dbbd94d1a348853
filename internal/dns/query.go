package dns

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"strings"

	wire "github.com/miekg/dns"
)

// Type is a record type: an index into the metrics' tables and wireTypes.
type Type uint8

// The types that mail needs.
const (
	TypeA Type = iota
	TypeAAAA
	TypeTXT
	TypeMX
	TypePTR
)

var wireTypes = [...]uint16{wire.TypeA, wire.TypeAAAA, wire.TypeTXT, wire.TypeMX, wire.TypePTR}

const (
	headerLen = 12   // RFC 1035 section 4.1.1
	ednsSize  = 1232 // a UDP answer that no path fragments (RFC 9715 section 3)

	flagRD = 0x0100
	flagAD = 0x0020 // authentic data (RFC 4035 section 3.2.3)

	optionPadding = 12  // RFC 7830
	paddingBlock  = 128 // RFC 8467 section 4.1
)

// query is one question on the wire. Each attempt has its own: a new id, and
// a new socket and so a new port, for each datagram (RFC 5452 section 9).
type query struct {
	key      key
	msg      []byte
	question []byte // its question section, part of msg
}

// newQuery builds the message from raw octets: a name with a space, a '%' or a
// ':' in it needs no escape on the wire (RFC 2181 section 11).
func newQuery(k key, edns bool) *query {
	q := &query{key: k, msg: make([]byte, headerLen, headerLen+len(k.name)+2+4+11)}
	// The id must be unpredictable. crypto/rand.Read never fails.
	_, _ = rand.Read(q.msg[:2])
	binary.BigEndian.PutUint16(q.msg[2:], flagRD)
	binary.BigEndian.PutUint16(q.msg[4:], 1) // QDCOUNT
	for label := range strings.SplitSeq(k.name, ".") {
		q.msg = append(q.msg, byte(len(label)))
		q.msg = append(q.msg, label...)
	}
	q.msg = append(q.msg, 0)
	q.msg = binary.BigEndian.AppendUint16(q.msg, wireTypes[k.typ])
	q.msg = binary.BigEndian.AppendUint16(q.msg, wire.ClassINET)
	q.question = q.msg[headerLen:]
	if edns {
		q.msg[11] = 1 // ARCOUNT: an OPT record (RFC 6891 section 6.1.2)
		q.msg = append(q.msg, 0, 0, byte(wire.TypeOPT), ednsSize>>8, ednsSize&255, 0, 0, 0, 0, 0, 0)
	}
	return q
}

func (q *query) id() uint16 { return binary.BigEndian.Uint16(q.msg) }

// renew gives the query another id.
func (q *query) renew() { _, _ = rand.Read(q.msg[:2]) }

// askAD asks the server to say whether it has validated the answer, without
// the records that prove it (RFC 6840 section 5.7).
func (q *query) askAD() { q.msg[3] |= flagAD }

// pad makes all queries of an encrypted connection equally long, so that their
// length does not tell which name is asked. The query must have EDNS.
func (q *query) pad() {
	fill := (paddingBlock - (len(q.msg)+4)%paddingBlock) % paddingBlock
	binary.BigEndian.PutUint16(q.msg[len(q.msg)-2:], uint16(4+fill)) // RDLENGTH of the OPT record, which is the last one
	q.msg = binary.BigEndian.AppendUint16(q.msg, optionPadding)
	q.msg = binary.BigEndian.AppendUint16(q.msg, uint16(fill))
	q.msg = append(q.msg, make([]byte, fill)...)
}

// matches reports that a reply belongs to the query: a response with its id
// and its question, whose letters may differ in case. A FORMERR may come
// without the question, because the server did not understand it.
func (q *query) matches(reply []byte) bool {
	if len(reply) < headerLen || !bytes.Equal(reply[:2], q.msg[:2]) || reply[2]&0x80 == 0 {
		return false
	}
	switch binary.BigEndian.Uint16(reply[4:]) {
	case 0:
		return rcode(reply) == wire.RcodeFormatError
	case 1:
		end := headerLen + len(q.question)
		return len(reply) >= end && equalFold(reply[headerLen:end], q.question)
	}
	return false
}

func rcode(reply []byte) int      { return int(reply[3] & 15) }
func validated(reply []byte) bool { return reply[3]&flagAD != 0 }
func truncated(reply []byte) bool { return reply[2]&0x02 != 0 }

// equalFold compares octets, ASCII letters without their case. Length octets
// are below 64 and never fold; type and class hold no letters.
func equalFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
