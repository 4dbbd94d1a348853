package dns

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	wire "github.com/miekg/dns"
)

// Limits of an answer. What exceeds one is a temporary failure, never a part
// of an answer.
const (
	maxAnswer  = 256 // records in the answer section
	maxRecords = 512 // records in all sections
	maxChain   = 8   // CNAME records in a row
)

var (
	errRecords  = fmt.Errorf("%w: too many records", errGarbage)
	errChain    = fmt.Errorf("%w: CNAME chain too long or a loop", errServFail)
	errReferral = fmt.Errorf("%w: the server only refers to others", errRefused)
)

// parse turns a matching reply into an answer: records, or a certain "not
// found". Everything else is an error, which means that nobody knows.
func parse(q *query, reply []byte) (*answer, error) {
	switch code := rcode(reply); code {
	case wire.RcodeSuccess, wire.RcodeNameError:
	case wire.RcodeServerFailure:
		return nil, errServFail
	default:
		return nil, fmt.Errorf("%w: %s", errRefused, cmp.Or(wire.RcodeToString[code], "unknown code"))
	}
	answers := binary.BigEndian.Uint16(reply[6:])
	others := int(binary.BigEndian.Uint16(reply[8:])) + int(binary.BigEndian.Uint16(reply[10:]))
	if answers > maxAnswer || int(answers)+others > maxRecords {
		return nil, errRecords
	}
	var msg wire.Msg
	if err := msg.Unpack(reply); err != nil {
		return nil, fmt.Errorf("%w: %w", errGarbage, err)
	}
	// The library unpacks what it can of a message whose sections are shorter
	// than the header says.
	if len(msg.Answer) != int(answers) || len(msg.Question) != 1 {
		return nil, fmt.Errorf("%w: cut short", errGarbage)
	}
	if msg.Rcode != rcode(reply) { // the OPT record extends it (RFC 6891 section 6.1.3)
		return nil, fmt.Errorf("%w: extended code %d", errRefused, msg.Rcode)
	}
	return answerOf(q.key, &msg)
}

func answerOf(k key, msg *wire.Msg) (*answer, error) {
	owner, ttl, err := follow(msg.Question[0].Name, msg.Answer)
	if err != nil {
		return nil, err
	}
	a := &answer{}
	unusable := false
	for _, rr := range msg.Answer {
		h := rr.Header()
		if h.Rrtype == wireTypes[k.typ] && h.Class == wire.ClassINET && strings.EqualFold(h.Name, owner) {
			ttl = min(ttl, seconds(h.Ttl))
			unusable = !a.add(rr) || unusable
		}
	}
	switch {
	case a.empty() && unusable:
		return nil, fmt.Errorf("%w: no usable record", errGarbage)
	case a.empty():
		return absent(k, msg, owner, ttl)
	case msg.Rcode == wire.RcodeNameError: // RFC 6604 section 3: the code is about the last name
		return nil, fmt.Errorf("%w: records of a name that does not exist", errGarbage)
	}
	slices.SortStableFunc(a.mx, func(x, y MX) int {
		return cmp.Or(cmp.Compare(x.Preference, y.Preference), cmp.Compare(x.Host, y.Host))
	})
	a.ttl = min(max(ttl, minTTL), maxTTL)
	return a, nil
}

// follow walks the CNAME chain from name (RFC 1034 section 3.6.2), in whatever
// order the records stand, to the name that is its end.
func follow(name string, rrs []wire.RR) (owner string, ttl time.Duration, err error) {
	owner, ttl = name, maxTTL
	for range maxChain + 1 {
		c := alias(owner, rrs)
		if c == nil {
			return owner, ttl, nil
		}
		owner, ttl = c.Target, min(ttl, seconds(c.Hdr.Ttl))
	}
	return "", 0, errChain
}

func alias(owner string, rrs []wire.RR) *wire.CNAME {
	for _, rr := range rrs {
		if c, ok := rr.(*wire.CNAME); ok && c.Hdr.Class == wire.ClassINET && strings.EqualFold(c.Hdr.Name, owner) {
			return c
		}
	}
	return nil
}

// absent makes "not found" out of a reply without records, if it is one.
// RFC 2308 section 2.2: NODATA has an SOA or no authority section at all; with
// only NS records there it is a referral, which says nothing.
func absent(k key, msg *wire.Msg, owner string, ttl time.Duration) (*answer, error) {
	var soa *wire.SOA
	referral := false
	for _, rr := range msg.Ns {
		switch rr := rr.(type) {
		case *wire.SOA:
			if wire.IsSubDomain(rr.Hdr.Name, owner) {
				soa = rr
			}
		case *wire.NS:
			referral = true
		}
	}
	a := failed(k, NotFound, nil)
	a.err.NoName = msg.Rcode == wire.RcodeNameError && strings.EqualFold(owner, msg.Question[0].Name)
	switch {
	case soa != nil: // RFC 2308 section 5
		ttl = min(ttl, seconds(soa.Hdr.Ttl), seconds(soa.Minttl), maxNegativeTTL)
		a.ttl = max(ttl, minTTL)
	case msg.Rcode == wire.RcodeSuccess && referral && !msg.Authoritative:
		return nil, errReferral
	default:
		a.ttl = minTTL
	}
	return a, nil
}

// seconds reads a TTL; with the top bit set it is zero (RFC 2181 section 8).
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// add takes one record, and reports false for one that cannot be used.
func (a *answer) add(rr wire.RR) bool {
	switch rr := rr.(type) {
	case *wire.A:
		addr, ok := netip.AddrFromSlice(rr.A.To4())
		return ok && a.addAddr(addr)
	case *wire.AAAA:
		addr, ok := netip.AddrFromSlice(rr.AAAA.To16())
		return ok && a.addAddr(addr)
	case *wire.TXT:
		var b []byte
		for _, s := range rr.Txt {
			b = appendText(b, s)
		}
		a.texts = append(a.texts, string(b))
		return true
	case *wire.PTR:
		host, ok := unescape(rr.Ptr)
		if ok = ok && host != ""; ok {
			a.texts = append(a.texts, host)
		}
		return ok
	case *wire.MX:
		host, ok := unescape(rr.Mx)
		if ok {
			a.mx = append(a.mx, MX{Host: host, Preference: rr.Preference})
		}
		return ok
	}
	return false
}

func (a *answer) addAddr(addr netip.Addr) bool {
	a.addrs = append(a.addrs, addr)
	return true
}

func (a *answer) empty() bool { return len(a.addrs)+len(a.texts)+len(a.mx) == 0 }
