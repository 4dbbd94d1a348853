package dnstest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Fault is what a server does instead of answering properly.
type Fault struct {
	Kind  string        // a word of the package documentation, without "!"
	Type  uint16        // 0: queries of any type
	Delay time.Duration // of "late"
	Times int           // how many queries it spoils; 0: all
}

var faultKinds = map[string]bool{
	"drop": true, "late": true, "servfail": true, "refused": true, "formerr": true, "truncate": true,
	"cut": true, "wrongid": true, "wrongname": true, "garbage": true, "huge": true, "hangup": true, "ad": true,
}

// zone is a parsed zone text. Names are in the wire library's presentation
// form, in lower case, with the trailing dot.
type zone struct {
	records map[string][]dns.RR
	exists  map[string]bool // names with records at or below them
	faults  map[string][]*Fault
}

func parseZone(text string) (*zone, error) {
	z := &zone{records: map[string][]dns.RR{}, exists: map[string]bool{}, faults: map[string][]*Fault{}}
	var records strings.Builder
	for n, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if fault, ok := strings.CutPrefix(trimmed, "!"); ok {
			if err := z.addFault(fault); err != nil {
				return nil, fmt.Errorf("zone line %d: %w", n+1, err)
			}
			trimmed = "" // an empty line keeps the parser's line numbers right
		}
		records.WriteString(trimmed + "\n")
	}
	p := dns.NewZoneParser(strings.NewReader(records.String()), ".", "")
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.add(rr)
	}
	if err := p.Err(); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	return z, nil
}

// add stores a record, and notes that its name and all names above exist.
func (z *zone) add(rr dns.RR) {
	name := canonical(rr.Header().Name)
	z.records[name] = append(z.records[name], rr)
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		z.exists[name[off:]] = true
	}
}

// addFault parses "kind name [TYPE] [DURATION] [*TIMES]".
func (z *zone) addFault(line string) error {
	words := strings.Fields(line)
	if len(words) < 2 || !faultKinds[words[0]] {
		return fmt.Errorf("fault %q is not known", line)
	}
	f := &Fault{Kind: words[0]}
	for _, w := range words[2:] {
		if times, ok := strings.CutPrefix(w, "*"); ok {
			n, err := strconv.Atoi(times)
			if err != nil {
				return fmt.Errorf("fault %q: %w", line, err)
			}
			f.Times = n
		} else if typ, ok := dns.StringToType[w]; ok {
			f.Type = typ
		} else if d, err := time.ParseDuration(w); err == nil {
			f.Delay = d
		} else {
			return fmt.Errorf("fault %q: %q is no type, duration or *times", line, w)
		}
	}
	name := canonical(words[1])
	z.faults[name] = append(z.faults[name], f)
	return nil
}

// fault returns what spoils this query, and uses it up once: a fault of the
// name itself, else of a "*." above it. The caller holds the server's lock.
func (z *zone) fault(name string, typ uint16) Fault {
	f := use(z.faults[name], typ)
	for off, end := dns.NextLabel(name, 0); !end && f.Kind == ""; off, end = dns.NextLabel(name, off) {
		f = use(z.faults["*."+name[off:]], typ)
	}
	return f
}

func use(faults []*Fault, typ uint16) Fault {
	for _, f := range faults {
		if f.Type != 0 && f.Type != typ || f.Times < 0 {
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				f.Times = -1 // used up
			}
		}
		return *f
	}
	return Fault{}
}

// canonical makes a name as the wire library writes it, in lower case.
func canonical(name string) string {
	buf := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(name), buf, 0, nil, false)
	if err != nil {
		return strings.ToLower(dns.Fqdn(name))
	}
	out, _, err := dns.UnpackDomainName(buf[:n], 0)
	if err != nil {
		return strings.ToLower(dns.Fqdn(name))
	}
	return strings.ToLower(out)
}

// answer fills a reply as a recursive server does: with the CNAME chain, the
// records at its end, or the SOA of the zone that does not have them.
func (z *zone) answer(reply *dns.Msg) {
	q := reply.Question[0]
	name := canonical(q.Name)
	for range 20 {
		rrs, exists := z.lookup(name)
		var target string
		found := false
		for _, rr := range rrs {
			rr = dns.Copy(rr)
			rr.Header().Name = dns.Fqdn(name)
			if rr.Header().Rrtype == q.Qtype {
				reply.Answer = append(reply.Answer, rr)
				found = true
			} else if c, ok := rr.(*dns.CNAME); ok {
				reply.Answer = append(reply.Answer, rr)
				target = canonical(c.Target)
			}
		}
		if found {
			return
		}
		if target == "" {
			if !exists {
				reply.Rcode = dns.RcodeNameError
			}
			reply.Ns = append(reply.Ns, z.soa(name))
			return
		}
		name = target
	}
}

// lookup finds the records of a name, or of the wildcard that covers it (RFC
// 4592 section 3.3.1).
func (z *zone) lookup(name string) (rrs []dns.RR, exists bool) {
	if z.exists[name] {
		return z.records[name], true
	}
	for off, end := dns.NextLabel(name, 0); !end; off, end = dns.NextLabel(name, off) {
		encloser := name[off:]
		if rrs := z.records["*."+encloser]; len(rrs) > 0 {
			return rrs, true
		}
		if z.exists[encloser] {
			return nil, false
		}
	}
	return nil, false
}

// soa is the nearest SOA record above a name, or one made up.
func (z *zone) soa(name string) dns.RR {
	for off, end := 0, false; !end; off, end = dns.NextLabel(name, off) {
		for _, rr := range z.records[name[off:]] {
			if soa, ok := rr.(*dns.SOA); ok {
				return soa
			}
		}
	}
	return &dns.SOA{
		Hdr:   dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300},
		Ns:    "ns.invalid.",
		Mbox:  "hostmaster.invalid.",
		Retry: 60, Refresh: 60, Expire: 60, Minttl: 300, Serial: 1,
	}
}
