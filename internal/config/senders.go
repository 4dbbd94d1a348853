package config

import (
	"fmt"
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
