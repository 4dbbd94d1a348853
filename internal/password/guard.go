package password

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Result of a check.
type Result int

// The results.
const (
	Wrong     Result = iota // the user or the password
	Right                   // both
	Throttled               // too many wrong ones before: not even looked at
	Busy                    // ctx ended before there was room to compute
)

// The limits of guessing. A network is a /24, or a /64 of IPv6.
const (
	// PerNetwork wrong passwords from one network within Window are the last
	// that are looked at.
	PerNetwork = 10
	// PerUser wrong ones for one user, from wherever: only networks that the
	// user has come from before are heard then, so that guessers cannot lock
	// somebody out.
	PerUser = 100
	Window  = 15 * time.Minute

	// atOnce bounds the memory: so many hashes are computed at a time.
	atOnce = 2
	// maxTracked bounds the networks and users that are remembered.
	maxTracked = 100_000
)

// Guard checks passwords against a File. It is safe for concurrent use, and
// outlives reloads of the config, so that these forget no guesses.
type Guard struct {
	slots chan struct{}

	mu       sync.Mutex
	began    time.Time // of the window
	networks map[netip.Prefix]int
	users    map[string]int
	known    map[knownFrom]struct{}
}

// knownFrom is a network that a user has sent from.
type knownFrom struct {
	user    string
	network netip.Prefix
}

// NewGuard makes a guard that has seen nothing.
func NewGuard() *Guard {
	g := &Guard{slots: make(chan struct{}, atOnce), known: map[knownFrom]struct{}{}}
	g.restart(time.Now())
	return g
}

func (g *Guard) restart(now time.Time) {
	g.began = now
	g.networks, g.users = map[netip.Prefix]int{}, map[string]int{}
}

// nobody is computed for users who do not exist: guessers must not learn from
// the time that an answer takes which ones do.
var nobody = &hash{memory: newMemory, time: newTime, lanes: newLanes, salt: make([]byte, saltSize), key: make([]byte, keySize)}

// Check tells whether the password is the user's. client is where it came from.
func (g *Guard) Check(ctx context.Context, f *File, client netip.Addr, user, password string) Result {
	if len(user) > MaxLength || len(password) > MaxLength || password == "" {
		return Wrong
	}
	from := networkOf(client)
	if g.throttled(from, user) {
		return Throttled
	}
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return Busy
	}
	if g.throttled(from, user) { // by others that waited with us
		return Throttled
	}
	h := f.find(user)
	exists := h != nil
	if !exists {
		h = nobody
	}
	right := h.is(password) && exists
	g.note(from, user, right)
	if right {
		return Right
	}
	return Wrong
}

func (g *Guard) throttled(from netip.Prefix, user string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.began) >= Window {
		g.restart(now)
	}
	if g.networks[from] >= PerNetwork {
		return true
	}
	_, known := g.known[knownFrom{user, from}]
	return g.users[user] >= PerUser && !known
}

func (g *Guard) note(from netip.Prefix, user string, right bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if right {
		if len(g.known) >= maxTracked {
			clear(g.known)
		}
		g.known[knownFrom{user, from}] = struct{}{}
		return
	}
	if len(g.networks)+len(g.users) >= 2*maxTracked {
		g.restart(time.Now())
	}
	g.networks[from]++
	g.users[user]++
}

// networkOf is what one guesser is thought to own.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
