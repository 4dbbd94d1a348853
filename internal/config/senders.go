package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Greylist has doubtful mail of unknown senders come again.
type Greylist struct {
	GreylistPolicy
	Delay  time.Duration `toml:"delay" default:"5m" min:"1s" max:"1d"`    // that an unknown sender waits at least
	Window time.Duration `toml:"window" default:"2d" min:"1m" max:"30d"`  // within which it has to be back
	Keep   time.Duration `toml:"keep" default:"36d" min:"1h" max:"3650d"` // that it stays known without mail
}

// GreylistPolicy is the part of [greylist] that a domain can override.
type GreylistPolicy struct {
	Enabled bool `toml:"enabled" default:"false"`
	// From and To bound the score: From <= score < To.
	From float64 `toml:"from" default:"3.0" min:"-1000" max:"100000"`
	To   float64 `toml:"to" default:"10.0" min:"-1000" max:"100000"`
}

// HasGreylist reports whether any domain has it.
func (c *Config) HasGreylist() bool {
	return slices.ContainsFunc(c.Domains, func(d Domain) bool { return d.Greylist.Enabled })
}

func (v *validator) greylist() {
	g := &v.c.Greylist
	giveWay(v, "greylist.window", &g.Window, "greylist.keep", g.Keep)
	giveWay(v, "greylist.delay", &g.Delay, "greylist.window", g.Window)
	v.ordered("greylist.delay", g.Delay, "greylist.window", g.Window)
	v.ordered("greylist.window", g.Window, "greylist.keep", g.Keep)
	v.doubtful("greylist", g.GreylistPolicy)
	for i := range v.c.Domains {
		v.doubtful(fmt.Sprintf("domain[%d].greylist", i), v.c.Domains[i].Greylist)
	}
}

// doubtful demands that there is a score between the bounds. What a domain
// inherits was reported there.
func (v *validator) doubtful(path string, g GreylistPolicy) {
	from, to := join(path, "from"), join(path, "to")
	if g.From >= g.To && (v.given(from) || v.given(to)) {
		v.at(v.which(to, from), fmt.Sprintf("from %v is not less than to %v", g.From, g.To), "from <= score < to is what has to come again")
	}
}

// RateLimit is one [[rate_limit]]: what a sender may send in a time.
type RateLimit struct {
	By         string         `toml:"by" required:"yes" enum:"client|network|sender_domain|user"`
	Messages   int            `toml:"messages" default:"0" min:"0" max:"1000000000"`   // 0: no limit
	Recipients int            `toml:"recipients" default:"0" min:"0" max:"1000000000"` // 0: no limit
	Per        time.Duration  `toml:"per" default:"1h" min:"1s" max:"30d"`
	Exempt     []netip.Prefix `toml:"exempt"`
}

// maxRates bounds how many buckets there can be.
const maxRates = 16

func (v *validator) rates() {
	if len(v.c.RateLimits) > maxRates {
		v.at(fmt.Sprintf("rate_limit[%d]", maxRates), "is one too many", fmt.Sprintf("write at most %d", maxRates))
	}
	for i, r := range v.c.RateLimits {
		path := fmt.Sprintf("rate_limit[%d]", i)
		if r.Messages == 0 && r.Recipients == 0 && !v.failed[join(path, "messages")] && !v.failed[join(path, "recipients")] {
			v.at(path, "limits nothing", "write messages, recipients or both, each more than 0")
		}
		if r.By == "user" && !v.c.HasOutbound() {
			v.at(join(path, "by"), "there are no users", `they log in at a [[listener]] with role = "outbound"`)
		}
	}
}

// Reputation is what the gateway thinks of senders by what they sent before.
type Reputation struct {
	Enabled  bool          `toml:"enabled" default:"false"`
	Good     float64       `toml:"good" default:"-1.0" min:"-5" max:"0"`
	Bad      float64       `toml:"bad" default:"2.0" min:"0" max:"5"`
	Minimum  int           `toml:"minimum" default:"10" min:"1" max:"50"`
	HalfLife time.Duration `toml:"half_life" default:"14d" min:"1h" max:"365d"`
}
