// Package dkim verifies the DKIM signatures of a message while it arrives
// (RFC 6376, with RFC 8301, RFC 8463 and RFC 8616), and adapts that to
// filter.Streamer.
//
// Start parses the signatures and begins the key look-ups; Write hashes the
// body, once for each canonicalisation that a signature asks for; End joins
// the keys and checks the signatures. The cost is linear in the message, and
// the number of signatures that are checked is bounded. See docs/adr/0003.
package dkim

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// Status is a result of RFC 8601 section 2.7.1.
type Status string

// The results of one signature. Neutral is one that was not checked, because
// the message has too many.
const (
	Pass      Status = "pass"
	Fail      Status = "fail"
	Neutral   Status = "neutral"
	TempError Status = "temperror"
	PermError Status = "permerror"
)

// The limits.
const (
	MaxSignatures = 10      // that are checked
	MaxKeys       = 5       // that are looked up for them
	MaxHeader     = 1 << 20 // octets of header section
)

// Resolver is what verification asks of DNS. Errors are told apart by
// dns.IsNotFound; every other error is temporary.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Result is what became of one signature.
type Result struct {
	Status    Status
	Domain    string // d=, canonical
	Selector  string // s=
	Identity  string // i=, as it came, "" when absent
	Algorithm string // a=
	Signature string // b=, without white space
	Fields    []string
	Index     int // of the DKIM-Signature in the header
	KeyBits   int
	Testing   bool   // the key has t=y
	DNSSEC    bool   // the answer to the key's look-up was validated
	Reason    string // why it is no pass; for people
	Err       error  // the DNS error behind a temperror, for logs only
}

// Verification is the verification of one message. It is used by one
// goroutine; Write is the only method that may be called more than once.
type Verification struct {
	header *mail.Header
	sigs   []*signature // all, in the header's order
	chosen []*signature // those that are checked
	bodies *dkimcore.Bodies
	feeds  bool // bodies are ours to write to
	keys   *dkimcore.Keys
	signed signedNames
}

// signedNames are the names of keys whose answer was validated with DNSSEC.
type signedNames struct {
	mu    sync.Mutex
	names []string
}

func (s *signedNames) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, name)
}

func (s *signedNames) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.names, name)
}

// Start begins the verification of a message with this header. The look-ups
// of keys run in the background until End or Abort, or until ctx ends.
func Start(ctx context.Context, r Resolver, h *mail.Header, now time.Time) *Verification {
	return start(ctx, r, h, now, shared{})
}

// shared is what verifications have in common: body hashes with ARC's
// validation of the same message, parsed keys with other messages.
type shared struct {
	bodies *dkimcore.Bodies   // nil: of its own
	cache  *dkimcore.KeyCache // nil: none
}

func start(ctx context.Context, r Resolver, h *mail.Header, now time.Time, with shared) *Verification {
	v := &Verification{header: h}
	for i, f := range h.Fields {
		if f.Is("DKIM-Signature") {
			v.sigs = append(v.sigs, parseSignature(f, i, now))
		}
	}
	if len(v.sigs) == 0 {
		return v
	}
	if len(h.Raw) > MaxHeader {
		for _, s := range v.sigs {
			s.end(PermError, "header section too large")
		}
	}
	v.choose(authorDomains(h))
	v.keys = dkimcore.NewKeys(ctx, v.lookup(r), with.cache)
	if v.bodies = with.bodies; v.bodies == nil {
		v.bodies = &dkimcore.Bodies{}
	}
	v.feeds = v.bodies.Join()
	for _, s := range v.chosen {
		s.WantBody(v.bodies)
		v.keys.Fetch(&s.Signature)
	}
	return v
}

// lookup tells an absence from a failure, as dkimcore.TXT wants it.
func (v *Verification) lookup(r Resolver) dkimcore.TXT {
	return func(ctx context.Context, name string) ([]string, error) {
		ctx, answer := dns.Observe(ctx)
		txts, err := r.LookupTXT(ctx, name)
		if answer.All() {
			v.signed.add(name)
		}
		if dns.IsNotFound(err) {
			return nil, nil
		}
		return txts, err
	}
}

// choose picks the signatures that are worth a key look-up. Those of a domain
// related to the author's come first, as DMARC needs them, and of these the
// lowest and the topmost in turns: whoever puts junk on top of a message, or
// below its fields, cannot push the signature that counts over the limit.
func (v *Verification) choose(authors []string) {
	var keys []string
	for _, related := range []bool{true, false} {
		for _, s := range alternating(v.sigs) {
			if s.done() || s.relatedTo(authors) != related {
				continue
			}
			name := s.KeyName()
			known := slices.Contains(keys, name)
			if len(v.chosen) == MaxSignatures || !known && len(keys) == MaxKeys {
				s.end(Neutral, "too many signatures")
				continue
			}
			if !known {
				keys = append(keys, name)
			}
			v.chosen = append(v.chosen, s)
		}
	}
}

// alternating is the list from both ends: the last, the first, the last but
// one, the second.
func alternating(list []*signature) []*signature {
	out := make([]*signature, 0, len(list))
	for low, high := 0, len(list)-1; low <= high; low, high = low+1, high-1 {
		if out = append(out, list[high]); low < high {
			out = append(out, list[low])
		}
	}
	return out
}

func (s *signature) relatedTo(authors []string) bool {
	return slices.ContainsFunc(authors, func(a string) bool {
		return mail.WithinDomain(a, s.Domain) || mail.WithinDomain(s.Domain, a)
	})
}

// authorDomains are the domains that may stand in From, by a scan that knows
// no grammar: it only orders the work.
func authorDomains(h *mail.Header) []string {
	f, ok := h.Get("From")
	if !ok {
		return nil
	}
	var out []string
	for rest := string(f.Body()); len(out) < 8; {
		_, after, found := strings.Cut(rest, "@")
		if !found {
			break
		}
		n := strings.IndexAny(after, " \t\r\n<>\",;()@")
		if n < 0 {
			n = len(after)
		}
		out = append(out, mail.CanonicalDomain(after[:n]))
		rest = after[n:]
	}
	return out
}

// Write takes the next octets of the body: CRLF line ends, dots unstuffed.
func (v *Verification) Write(p []byte) {
	if v.feeds {
		v.bodies.Write(p)
	}
}

// End checks the signatures, waiting for keys within ctx. The results stand in
// the header's order.
func (v *Verification) End(ctx context.Context) []Result {
	if len(v.chosen) > 0 {
		v.keys.Wait(ctx)
		names := dkimcore.IndexFields(v.header)
		for _, s := range v.chosen {
			v.check(s, names)
		}
	}
	v.Abort()
	out := make([]Result, len(v.sigs))
	for i, s := range v.sigs {
		out[i] = s.result()
		out[i].DNSSEC = v.keys != nil && v.signed.has(s.KeyName())
	}
	return out
}

// Abort ends the look-ups. It is idempotent.
func (v *Verification) Abort() {
	if v.keys != nil {
		v.keys.Stop()
	}
}

// Verify verifies a whole message in memory.
func Verify(ctx context.Context, r Resolver, message []byte, now time.Time) []Result {
	n, _ := mail.HeaderLength(message)
	h := mail.ParseHeader(message[:n])
	v := Start(ctx, r, &h, now)
	v.Write(message[n:])
	return v.End(ctx)
}
