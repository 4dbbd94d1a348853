package dkimcore

import (
	"context"
	"errors"
	"slices"
	"sync"

	"mailweir/mail"
)

// TXT asks DNS for TXT records. No strings and no error: the name certainly
// has none. Every error is temporary.
type TXT func(ctx context.Context, name string) ([]string, error)

// KeyCache remembers what key records come to: parsing one costs a tenth of a
// verification. It is safe for concurrent use, and bounded. Two generations
// make it forget what has not been used lately.
type KeyCache struct {
	mu           sync.Mutex
	young, elder map[string]parsedKey
}

// The bounds of a KeyCache: records that a generation holds, and octets of one.
// An RSA-4096 key makes 740 octets.
const (
	keyGeneration = 1024
	maxCachedKey  = 1024
)

// parsedKey is a key, or the reason why the record has none.
type parsedKey struct {
	key    *Key
	reason string
}

// get parses txt, unless it is known. A nil cache knows nothing.
func (c *KeyCache) get(txt string) parsedKey {
	if c == nil || len(txt) > maxCachedKey {
		return parse(txt)
	}
	c.mu.Lock()
	p, ok := c.young[txt]
	elder, known := c.elder[txt]
	c.mu.Unlock()
	switch {
	case ok:
		return p
	case known:
		p = elder
	default:
		p = parse(txt)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= keyGeneration {
		c.young, c.elder = make(map[string]parsedKey), c.young
	}
	c.young[txt] = p
	return p
}

func parse(txt string) parsedKey {
	k, err := ParseKey(txt)
	if err != nil {
		return parsedKey{k, err.Error()}
	}
	return parsedKey{k, ""}
}

// Keys are the look-ups of one message's keys: one goroutine a distinct name,
// all of them ended by Stop.
type Keys struct {
	ctx    context.Context
	cancel context.CancelFunc
	txt    TXT
	cache  *KeyCache
	all    []*fetched
	group  sync.WaitGroup
}

// NewKeys makes a set of look-ups that ends with ctx. cache may be nil.
func NewKeys(ctx context.Context, txt TXT, cache *KeyCache) *Keys {
	ctx, cancel := context.WithCancel(ctx)
	return &Keys{ctx: ctx, cancel: cancel, txt: txt, cache: cache}
}

// Fetch starts the look-up of a signature's key, unless it runs already.
func (k *Keys) Fetch(s *Signature) {
	name := s.KeyName()
	i := slices.IndexFunc(k.all, func(f *fetched) bool { return f.name == name })
	if i < 0 {
		i = len(k.all)
		f := &fetched{name: name, done: make(chan struct{}), cache: k.cache}
		k.all = append(k.all, f)
		k.group.Go(func() { f.fetch(k.ctx, k.txt) })
	}
	s.key = k.all[i]
}

// KeyName is where DNS has the signature's key (RFC 6376 section 3.6.2.1).
func (s *Signature) KeyName() string {
	return mail.CanonicalDomain(s.Selector) + "._domainkey." + s.Domain
}

// Wait waits for all keys, or for the end of ctx.
func (k *Keys) Wait(ctx context.Context) {
	for _, f := range k.all {
		select {
		case <-f.done:
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the look-ups and waits for their goroutines, which return as soon
// as their context has ended.
func (k *Keys) Stop() {
	k.cancel()
	k.group.Wait()
}

// fetched is the answer for one name. It may be read once done is closed.
type fetched struct {
	name string
	done chan struct{}
	txts []string
	err  error

	// The record is parsed by whoever reads it first, so that the goroutine
	// of the look-up needs but a small stack.
	parsed bool
	parsedKey
	cache *KeyCache
}

func (f *fetched) fetch(ctx context.Context, txt TXT) {
	defer close(f.done)
	f.txts, f.err = txt(ctx, f.name)
}

var errLate = errors.New("key look-up not finished in time")

// Key is the key that Fetch asked for, once it is there, or the reason why
// there is none; a look-up that failed or has not come back is an error, and
// temporary.
func (s *Signature) Key() (k *Key, reason string, err error) {
	f := s.key
	select {
	case <-f.done:
	default:
		return nil, "", errLate
	}
	if f.err != nil {
		return nil, "", f.err
	}
	if !f.parsed {
		f.parse()
	}
	return f.key, f.reason, nil
}

func (f *fetched) parse() {
	f.parsed = true
	if len(f.txts) > 1 {
		f.txts = slices.DeleteFunc(slices.Clone(f.txts), foreign)
	}
	switch {
	case len(f.txts) == 0:
		f.reason = "no key record"
	case len(f.txts) > 1:
		// Section 3.6.2.2 leaves this undefined: a verifier that picks one
		// would judge the same mail differently from day to day.
		f.reason = "several key records"
	default:
		f.parsedKey = f.cache.get(f.txts[0])
	}
}

// foreign tells of a text that is there for others, beside key records: one of
// another version has to be discarded, and p= is required (section 3.6.1).
func foreign(txt string) bool {
	tags, err := ParseTags(txt)
	if err != nil {
		return true
	}
	v, versioned := Lookup(tags, "v")
	_, key := Lookup(tags, "p")
	return !key || versioned && v.Value != "DKIM1"
}
