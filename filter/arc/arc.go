// Package arc validates the Authenticated Received Chain of a message while it
// arrives (RFC 8617), and adapts that to filter.Streamer.
//
// Start collects the ARC Sets and looks at their structure; only a chain that
// can still pass costs look-ups and hashing. Write hashes the body, once for
// each canonicalisation that a message signature asks for; End joins the keys
// and checks the signatures. The cost of the seals is linear in the header
// section, although each of them covers all the sets before it.
package arc

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mailweir/internal/dkimcore"
	"mailweir/internal/dns"
	"mailweir/mail"
)

// Status is a Chain Validation Status (section 4.4). There are no others: all
// failures are permanent, those of DNS included (section 5.2.1).
type Status string

// The results.
const (
	None Status = "none"
	Pass Status = "pass"
	Fail Status = "fail"
)

// The limits.
const (
	MaxSets   = 50      // section 4.2.1
	MaxHeader = 1 << 20 // octets of header section
)

// Resolver is what validation asks of DNS. Errors are told apart by
// dns.IsNotFound; every other error is temporary.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

// Result is what became of the chain of one message.
type Result struct {
	Status  Status
	Sealers []string // d= of the seals, the first sealer first
	// Vouched are the Author Domains for which each sealer has seen DMARC pass,
	// "" for none. They mean as much as one trusts the sealer; only set on Pass.
	Vouched []string
	// OldestPass is the lowest instance whose message signature, and that of
	// all later ones, still verifies; 0 when all do (section 5.2, step 5).
	OldestPass int
	// FromSigned tells that the newest message signature covers From.
	FromSigned bool
	// Temporary tells that the chain failed only because a key could not be
	// looked up.
	Temporary bool
	Reason    string // why it is a fail; for people
	Err       error  // the DNS error behind Temporary, for logs only
}

// Validation is the validation of one message. It is used by one goroutine;
// Write is the only method that may be called more than once.
type Validation struct {
	header *mail.Header
	sets   []*set // those of a chain that is still to be checked, by instance
	bodies *dkimcore.Bodies
	feeds  bool // bodies are ours to write to
	keys   *dkimcore.Keys
	result Result
}

// Start begins the validation of a message with this header. The look-ups of
// keys run in the background until End or Abort, or until ctx ends.
func Start(ctx context.Context, r Resolver, h *mail.Header, now time.Time) *Validation {
	return start(ctx, r, h, now, shared{})
}

// shared is what validations have in common: body hashes with DKIM's
// verification of the same message, parsed keys with other messages.
type shared struct {
	bodies *dkimcore.Bodies   // nil: of its own
	cache  *dkimcore.KeyCache // nil: none
}

func start(ctx context.Context, r Resolver, h *mail.Header, now time.Time, with shared) *Validation {
	v := &Validation{header: h}
	sets, reason := collect(h, now)
	if len(sets) == 0 && reason == "" {
		v.result.Status = None
		return v
	}
	if reason == "" {
		reason = checkStructure(sets)
	}
	v.result.Sealers = sealers(sets)
	if reason != "" {
		v.fail(reason)
		return v
	}
	v.sets = sets
	v.keys = dkimcore.NewKeys(ctx, lookup(r), with.cache)
	if v.bodies = with.bodies; v.bodies == nil {
		v.bodies = &dkimcore.Bodies{}
	}
	v.feeds = v.bodies.Join()
	for _, s := range slices.Backward(sets) {
		v.keys.Fetch(&s.seal.Signature)
		if s.message.fault == "" {
			s.message.wantBody(v.bodies)
			v.keys.Fetch(&s.message.Signature)
		}
	}
	return v
}

// lookup tells an absence from a failure, as dkimcore.TXT wants it.
func lookup(r Resolver) dkimcore.TXT {
	return func(ctx context.Context, name string) ([]string, error) {
		txts, err := r.LookupTXT(ctx, name)
		if dns.IsNotFound(err) {
			return nil, nil
		}
		return txts, err
	}
}

func (v *Validation) fail(reason string) { v.result.Status, v.result.Reason = Fail, reason }

// Write takes the next octets of the body: CRLF line ends, dots unstuffed.
func (v *Validation) Write(p []byte) {
	if v.feeds {
		v.bodies.Write(p)
	}
}

// End checks the signatures, waiting for keys within ctx.
func (v *Validation) End(ctx context.Context) Result {
	if v.sets != nil {
		v.keys.Wait(ctx)
		v.check()
		v.Abort()
	}
	return v.result
}

// Abort ends the look-ups. It is idempotent.
func (v *Validation) Abort() {
	if v.keys != nil {
		v.keys.Stop()
	}
}

// check takes steps 4 to 7 of section 5.2. A look-up that failed does not end
// it: a chain that is certainly broken must not be called a DNS problem.
func (v *Validation) check() {
	names := dkimcore.IndexFields(v.header)
	newest := v.sets[len(v.sets)-1]
	v.result.FromSigned = slices.Contains(newest.message.Fields, "from")
	reason, temporary := v.checkMessage(newest, names)
	if reason != "" {
		v.fail(fmt.Sprintf("message signature %d: %s", newest.instance, reason))
		return
	}
	digests := v.sealDigests()
	for i, s := range slices.Backward(v.sets) {
		reason, err := checkSeal(s, digests[i])
		if reason != "" {
			v.fail(fmt.Sprintf("seal %d: %s", s.instance, reason))
			return
		}
		if err != nil {
			temporary = err
		}
	}
	if temporary != nil {
		v.fail("key look-up failed")
		v.result.Temporary, v.result.Err = true, temporary
		return
	}
	v.result.Status, v.result.OldestPass = Pass, v.oldestPass(names)
	for _, s := range v.sets {
		v.result.Vouched = append(v.result.Vouched, vouched(s.results.Body()))
	}
}

// oldestPass looks at the older message signatures, newest first, until one
// does not verify: the sealer after it has changed the message.
func (v *Validation) oldestPass(names *dkimcore.FieldIndex) int {
	for _, s := range slices.Backward(v.sets[:len(v.sets)-1]) {
		if reason, err := v.checkMessage(s, names); reason != "" || err != nil {
			return s.instance + 1
		}
	}
	return 0
}

// checkMessage verifies an ARC-Message-Signature; err is a failure of DNS.
func (v *Validation) checkMessage(s *set, names *dkimcore.FieldIndex) (reason string, err error) {
	if s.message.fault != "" {
		return s.message.fault, nil
	}
	k, reason, err := usableKey(&s.message.Signature)
	if k == nil {
		return reason, err
	}
	reason = s.message.Verify(k, v.bodies, v.header, names, s.message.index)
	if reason != "" && s.message.formless {
		s.message.Relax()
		if s.message.Verify(k, v.bodies, v.header, names, s.message.index) == "" {
			return "", nil
		}
	}
	return reason, nil
}

// wantBody asks for the body hashes that the signature may be about. RFC 8617
// takes c= over from RFC 6376, where none means simple/simple; the drafts before
// it knew relaxed/relaxed only, and there are sealers that leave it out still.
func (m *signed) wantBody(b *dkimcore.Bodies) {
	m.WantBody(b)
	if m.formless {
		b.Want(true)
	}
}

// checkSeal verifies an ARC-Seal over the hash of what it covers.
func checkSeal(s *set, digest []byte) (reason string, err error) {
	k, reason, err := usableKey(&s.seal.Signature)
	if k == nil {
		return reason, err
	}
	if !s.seal.VerifyDigest(k, digest) {
		return "signature does not match", nil
	}
	return "", nil
}

// usableKey is the key of a signature, or nil and why there is none.
func usableKey(s *dkimcore.Signature) (*dkimcore.Key, string, error) {
	k, reason, err := s.Key()
	if err != nil || reason != "" {
		return nil, reason, err
	}
	if err := k.Allows(s); err != nil {
		return nil, err.Error(), nil
	}
	return k, "", nil
}

// Validate validates a whole message in memory.
func Validate(ctx context.Context, r Resolver, message []byte, now time.Time) Result {
	n, _ := mail.HeaderLength(message)
	h := mail.ParseHeader(message[:n])
	v := Start(ctx, r, &h, now)
	v.Write(message[n:])
	return v.End(ctx)
}
