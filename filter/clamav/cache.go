package clamav

import (
	"crypto/sha256"
	"sync"
)

// cacheEntries bounds each of the two generations of the cache.
const cacheEntries = 1 << 15

// cache remembers what was said of contents that fit into one chunk, for as long
// as the signatures stay the same: the logo in every newsletter, the text
// that goes to many. It holds hashes, never content.
type cache struct {
	mu         sync.Mutex
	version    string // of the signatures
	young, old map[[sha256.Size]byte]Verdict
}

// get is the verdict on what has this hash, when these signatures gave one.
func (c *cache) get(version string, sum [sha256.Size]byte) (Verdict, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if version == "" || version != c.version {
		return Verdict{}, false
	}
	v, ok := c.young[sum]
	if !ok {
		v, ok = c.old[sum]
	}
	return v, ok
}

// put keeps a verdict. version is what was known before the scan began: where
// the signatures changed meanwhile it goes with the old ones.
func (c *cache) put(version string, sum [sha256.Size]byte, v Verdict) {
	if version == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if version != c.version || c.young == nil {
		c.version, c.young, c.old = version, make(map[[sha256.Size]byte]Verdict), nil
	}
	if len(c.young) >= cacheEntries {
		c.young, c.old = make(map[[sha256.Size]byte]Verdict), c.young
	}
	c.young[sum] = v
}
