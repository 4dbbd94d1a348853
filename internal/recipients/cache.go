package recipients

import (
	"container/list"
	"sync"
	"time"
)

// cache remembers results up to a number of recipients; the one that was not
// asked about for the longest time goes first. Its size bounds what a client
// that guesses addresses can make us hold.
type cache struct {
	mu      sync.Mutex
	size    int
	entries map[string]*list.Element
	recent  *list.List // of *entry, the latest in front
}

type entry struct {
	key     string
	result  Result
	expires time.Time
}

func newCache(size int) *cache {
	return &cache{size: size, entries: make(map[string]*list.Element), recent: list.New()}
}

func (c *cache) get(key string) (Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[key]
	if !ok {
		return 0, false
	}
	e := el.Value.(*entry)
	if !time.Now().Before(e.expires) {
		c.remove(el)
		return 0, false
	}
	c.recent.MoveToFront(el)
	return e.result, true
}

func (c *cache) put(key string, r Result, keep time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[key]; ok {
		c.remove(el)
	}
	c.entries[key] = c.recent.PushFront(&entry{key, r, time.Now().Add(keep)})
	if len(c.entries) > c.size {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(el *list.Element) {
	delete(c.entries, el.Value.(*entry).key)
	c.recent.Remove(el)
}
