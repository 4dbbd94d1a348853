package main

import (
	"mailweir/filter"
)

// chain is THE order of the checks: each phase begins when its input exists,
// groups run one after the other, the checks of a group beside each other, and
// reports are merged in the order written here. docs/flow.md follows it.
func chain(c *checks) filter.Chain {
	return filter.Chain{
		Connect: group(c.dnsbl, c.iprev),
		Mail:    group(c.spf, c.spfHelo),
		Data:    group(append([]filter.Check{c.dkim, c.arc, c.mime, c.clamav}, c.engines...)...),
		Done: []filter.Group{
			group(c.dmarc, c.uribl),
			group(c.reputation, c.vip),
			group(c.bayes),
			group(c.greylist),
			group(c.access),
		},
	}
}

// checks are the parts that the chain is made of; a part that the config has
// no use for is nil.
type checks struct {
	dnsbl, iprev            filter.Check
	spf, spfHelo            filter.Check
	dkim, arc, mime, clamav filter.Check
	dmarc, uribl, bayes     filter.Check
	reputation, greylist    filter.Check
	vip, access             filter.Check

	engines []filter.Check // [[engine]], in the order of the config
}

// needDNS are the checks that `gateway check --no-dns` skips.
var needDNS = []string{"dnsbl", "iprev", "spf", "spf_helo", "dkim", "arc", "dmarc", "uribl"}

// checkNames are what `[checks] disabled` may hold.
var checkNames = []string{
	"dnsbl", "iprev", "spf", "spf_helo", "dkim", "arc", "mime", "content", "attachment", "clamav",
	"dmarc", "uribl", "reputation", "bayes", "greylist", "vip", "access", "rules",
}

func group(list ...filter.Check) filter.Group {
	var g filter.Group
	for _, c := range list {
		if c != nil {
			g = append(g, c)
		}
	}
	return g
}
