package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/publicsuffix"
)

// validator sees the values together. A value that is zero because it was
// absent or wrong has been reported already: no rule speaks about it again.
type validator struct {
	*decoder
	c     *Config
	known Known
}

// validate runs every rule. whole is false after a syntax error: then nothing
// is said about what is absent, since it may stand in the unread part.
func (d *decoder) validate(c *Config, known Known, whole bool) {
	if !whole {
		d.errs = slices.DeleteFunc(d.errs, func(e *Error) bool { return e.Problem == problemMissing })
		return
	}
	v := &validator{d, c, known}
	v.present()
	v.listeners()
	v.domains()
	v.scores()
	v.greylist()
	v.rates()
	v.engines()
	v.loops()
	v.outbound()
	v.log()
	v.limits()
	v.queue()
	v.dns()
	v.dnsbl()
	v.dkim()
	v.arc()
	v.overrides()
	v.uribl()
	v.vips()
	v.access("allow", v.c.Allow)
	v.access("block", v.c.Block)
	v.checks()
	v.reports()
	v.tls()
	v.files()
}

// at reports a fault of the value at path.
func (v *validator) at(path, problem, hint string) {
	if v.failed[path] {
		return
	}
	v.fault(v.origins[path].line, plainKey(path), problem, hint)
}

// given reports whether the file itself sets path.
func (v *validator) given(path string) bool { return v.origins[path].line > 0 }

func (v *validator) present() {
	if len(v.c.Listeners) == 0 && !v.given("listener") {
		v.fault(0, "listener", problemMissing, "write at least one [[listener]] with its address")
	}
	if len(v.c.Domains) == 0 && !v.given("domain") {
		v.fault(0, "domain", problemMissing, "write at least one [[domain]] with its name and next_hops")
	}
}

func (v *validator) limits() {
	l := &v.c.Limits
	giveWay(v, "limits.header_size", &l.HeaderSize, "limits.message_size", l.MessageSize)
	if l.HeaderSize > l.MessageSize && l.MessageSize > 0 {
		v.at("limits.header_size", fmt.Sprintf("header_size %s is more than message_size %s", l.HeaderSize, l.MessageSize), "no header section is longer than its message")
	}
	giveWay(v, "limits.command_timeout", &l.CommandTimeout, "limits.session_timeout", l.SessionTimeout)
	giveWay(v, "limits.data_timeout", &l.DataTimeout, "limits.session_timeout", l.SessionTimeout)
	v.ordered("limits.command_timeout", l.CommandTimeout, "limits.session_timeout", l.SessionTimeout)
	v.ordered("limits.data_timeout", l.DataTimeout, "limits.session_timeout", l.SessionTimeout)
}

func (v *validator) queue() {
	q := &v.c.Queue
	giveWay(v, "queue.retry_max", &q.RetryMax, "queue.expire", q.Expire)
	giveWay(v, "queue.retry_first", &q.RetryFirst, "queue.retry_max", q.RetryMax)
	v.ordered("queue.retry_first", q.RetryFirst, "queue.retry_max", q.RetryMax)
	v.ordered("queue.retry_max", q.RetryMax, "queue.expire", q.Expire)
	v.ordered("queue.delay_warning", q.DelayWarning, "queue.expire", q.Expire)
}

// giveWay lowers a default to a limit that the file sets below it: that only
// one of the two is written down is no fault.
func giveWay[T ~int64](v *validator, path string, value *T, limitPath string, limit T) {
	if !v.given(path) && limit > 0 && *value > limit {
		*value = limit
		v.origins[path] = origin{from: limitPath}
	}
}

// ordered demands a <= b of two durations of a section.
func (v *validator) ordered(a string, av time.Duration, b string, bv time.Duration) {
	if av > bv && bv > 0 {
		aKey, bKey := a[strings.LastIndexByte(a, '.')+1:], b[strings.LastIndexByte(b, '.')+1:]
		v.at(v.which(a, b), fmt.Sprintf("%s %s is more than %s %s", aKey, FormatDuration(av), bKey, FormatDuration(bv)), fmt.Sprintf("%s <= %s", aKey, bKey))
	}
}

// which is the path of two that the file sets: where the fault is shown.
func (v *validator) which(a, b string) string {
	if v.given(a) {
		return a
	}
	return b
}

func (v *validator) dns() {
	d := &v.c.DNS
	secure := 0
	for _, s := range d.Servers {
		if s.IsTLS() {
			secure++
		}
	}
	if secure > 0 && secure < len(d.Servers) {
		v.at("dns.servers", "has servers over TLS and others", "what one cannot answer would go to the other in clear text: write tls:// before all or none")
	}
	switch {
	case d.CAFile == "":
	case secure == 0:
		v.at("dns.ca_file", "no server is asked over TLS", `write for example servers = ["tls://192.0.2.53:853#dns.example"]`)
	case v.readable("dns.ca_file", d.CAFile):
		v.certificates("dns.ca_file", d.CAFile)
	}
}

func (v *validator) dnsbl() {
	zones := make([]Name, len(v.c.DNSBL))
	for i, z := range v.c.DNSBL {
		zones[i] = z.Zone
	}
	v.once("dnsbl", zones)
}

// maxURIBL is how many lists of domains there may be: each question to one of
// them is one less to another.
const maxURIBL = 10

func (v *validator) uribl() {
	zones := make([]Name, len(v.c.URIBL))
	for i, z := range v.c.URIBL {
		zones[i] = z.Zone
	}
	v.once("uribl", zones)
	if len(zones) > maxURIBL {
		v.at(fmt.Sprintf("uribl[%d]", maxURIBL), fmt.Sprintf("is list number %d", maxURIBL+1), fmt.Sprintf("%d at most: all share 20 questions a message", maxURIBL))
	}
}

// once demands that no zone is given twice in a section.
func (v *validator) once(section string, zones []Name) {
	first := map[Name]int{}
	for i, zone := range zones {
		path := fmt.Sprintf("%s[%d].zone", section, i)
		if line, twice := first[zone]; twice && zone != "" {
			v.at(path, fmt.Sprintf("%q is given twice, first on line %d", zone, line), "keep one; its codes can be several")
			continue
		}
		first[zone] = v.origins[path].line
	}
}

func (v *validator) dkim() {
	type name struct {
		domain   Name
		selector Selector
	}
	first := map[name]int{}
	for i, k := range v.c.DKIM {
		path := fmt.Sprintf("dkim[%d].selector", i)
		n := name{k.Domain, k.Selector}
		if line, twice := first[n]; twice && n.domain != "" && n.selector != "" {
			v.at(path, fmt.Sprintf("%q of %s is given twice, first on line %d", n.selector, n.domain, line), "every key has a selector of its own")
			continue
		}
		first[n] = v.origins[path].line
	}
}

func (v *validator) arc() {
	seal := v.c.ARC.Seal
	if seal != "" && !slices.ContainsFunc(v.c.DKIM, func(k DKIM) bool { return k.Domain == seal }) {
		v.at("arc.seal", fmt.Sprintf("%q has no key", seal), "write a [[dkim]] section for the domain: its first RSA key seals")
	}
}

func (v *validator) overrides() {
	for i, o := range v.c.Overrides {
		path := fmt.Sprintf("dmarc_override[%d]", i)
		given := 0
		for _, key := range []string{".network", ".domain", ".author"} {
			if v.given(path + key) {
				given++
			}
		}
		switch {
		case given != 1:
			v.at(path, "needs one of network, domain and author", "each [[dmarc_override]] says one thing")
		case o.Network.IsValid() && o.Network.Bits() == 0:
			v.at(path+".network", fmt.Sprintf("%q is every client there is", o.Network), `dmarc.reject = "never" and the scores of DMARC_ symbols are for that`)
		}
		if to := o.RecipientDomain; to != "" && !slices.ContainsFunc(v.c.Domains, func(d Domain) bool { return d.Name == to }) {
			v.at(path+".recipient_domain", fmt.Sprintf("%q is none of ours", to), "write the name of a [[domain]]")
		}
	}
}

func (v *validator) vips() {
	for i, p := range v.c.VIPs {
		path := fmt.Sprintf("vip[%d].names", i)
		if v.given(path) && len(p.Names) == 0 {
			v.at(path, "is empty", `write for example names = ["Jane Doe"]`)
		}
		for k, name := range p.Names {
			path := fmt.Sprintf("%s[%d]", path, k)
			if strings.Contains(name, "@") {
				v.at(path, fmt.Sprintf("%q is an address", name), "write how mail programs show the name; addresses go into addresses")
			} else if !strings.ContainsFunc(name, unicode.IsLetter) {
				v.at(path, fmt.Sprintf("%q has no letter", name), "write how mail programs show the name")
			}
		}
	}
}

func (v *validator) access(table string, entries []Access) {
	for i, a := range entries {
		path := fmt.Sprintf("%s[%d]", table, i)
		given := 0
		for _, key := range []string{".network", ".domain", ".address"} {
			if v.given(path + key) {
				given++
			}
		}
		switch {
		case given != 1:
			v.at(path, "needs one of network, domain and address", "a domain or an address counts only where DKIM or SPF passed and is aligned")
		case a.Network.IsValid() && a.Network.Bits() == 0:
			v.at(path+".network", fmt.Sprintf("%q is every client there is", a.Network), "name the networks that you know")
		case table == "allow" && IsEverybodys(string(a.Domain)):
			v.at(path+".domain", fmt.Sprintf("%q is no domain of anybody's: everybody can have one below it", a.Domain), "name the domains that you know")
		}
		if v.given(path+".reason") && strings.TrimSpace(a.Reason) == "" {
			v.at(path+".reason", "is empty", "say for whoever reads it later why this is here")
		}
	}
}

// IsEverybodys tells a suffix below which domains are registered: whoever allows it
// allows what anybody can have.
func IsEverybodys(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(strings.ToLower(domain))
	return domain != "" && icann && suffix == strings.ToLower(domain)
}

// minHistory is what DMARC reports need: a report is made of the history of the
// day before, and may be made a day late.
const minHistory = 3 * 24 * time.Hour

func (v *validator) reports() {
	r := &v.c.DMARC.Reports
	if r.Email == "" {
		for _, key := range []string{"organization", "contact"} {
			if path := "dmarc.reports." + key; v.given(path) && !v.given("dmarc.reports.email") {
				v.at(path, "says who reports, but email is not set", "write email too, the address that reports come from, or no [dmarc.reports]")
			}
		}
		return
	}
	if strings.TrimSpace(r.Organization) == "" {
		v.at("dmarc.reports.email", "needs an organization to report as", `write for example organization = "Example Ltd"`)
	}
	if v.c.Relay.Outbound == "" && !v.failed["relay.outbound"] {
		v.at("dmarc.reports.email", "needs relay.outbound: reports would be held for ever", `write for example [relay] outbound = "mx"`)
	}
	if keep := v.c.History.Keep; keep > 0 && keep < minHistory {
		v.at("history.keep", fmt.Sprintf("%s is too short for DMARC reports, which are made of the history", FormatDuration(keep)), "keep >= 3d, or no [dmarc.reports]")
	}
	if slices.Contains(v.c.Checks.Disabled, "dmarc") {
		v.at("dmarc.reports.email", "needs the check dmarc, which is disabled", "take it out of checks.disabled, or leave [dmarc.reports] out")
	}
}

func (v *validator) checks() {
	if v.known.Checks == nil {
		return
	}
	for i, name := range v.c.Checks.Disabled {
		if slices.Contains(v.known.Checks, name) {
			continue
		}
		hint := "known checks: " + strings.Join(v.known.Checks, ", ")
		if near := nearest(name, v.known.Checks); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		v.at(fmt.Sprintf("checks.disabled[%d]", i), fmt.Sprintf("%q is not a check", name), hint)
	}
}

// scores demands tag <= quarantine <= reject, at the top and in each domain.
// Defaults, and what a domain inherits, give way to what is written down: who
// only sets tag = 100 wants nothing tagged, and nothing rejected below it.
func (v *validator) scores() {
	v.score("score", &v.c.Score)
	for i := range v.c.Domains {
		path, s := fmt.Sprintf("domain[%d].score", i), &v.c.Domains[i].Score
		for _, t := range s.thresholds(&v.c.Score) {
			if !v.given(join(path, t.key)) {
				*t.value = *t.inherited
			}
		}
		v.score(path, s)
	}
}

// threshold is one of a Score's.
type threshold struct {
	key              string
	value, inherited *float64
}

func (s *Score) thresholds(from *Score) []threshold {
	return []threshold{
		{"tag", &s.Tag, &from.Tag}, {"quarantine", &s.Quarantine, &from.Quarantine}, {"reject", &s.Reject, &from.Reject},
	}
}

func (v *validator) score(path string, s *Score) {
	low := threshold{key: "tag", value: &s.Tag}
	if s.Quarantine > 0 {
		high := threshold{key: "quarantine", value: &s.Quarantine}
		v.scoreOrder(path, low, high)
		low = high
	}
	v.scoreOrder(path, low, threshold{key: "reject", value: &s.Reject})
}

func (v *validator) scoreOrder(path string, low, high threshold) {
	if *low.value <= *high.value {
		return
	}
	lowPath, highPath := join(path, low.key), join(path, high.key)
	switch {
	case v.given(lowPath) && v.given(highPath):
		v.at(v.which(highPath, lowPath), fmt.Sprintf("%s %v is more than %s %v", low.key, *low.value, high.key, *high.value), "tag <= quarantine <= reject")
	case v.given(highPath):
		*low.value = *high.value
		v.origins[lowPath] = origin{from: highPath}
	default:
		*high.value = *low.value
		v.origins[highPath] = origin{from: lowPath}
	}
}

func (v *validator) log() {
	if v.c.Log.Dir != "" && v.c.Log.Format == "text" {
		v.at("log.dir", "is for lines in JSON", `write format = "json", or leave dir out`)
	}
}
