package effect

import (
	"slices"
	"strings"

	"mailweir/filter"
	"mailweir/mail"
)

// Routed is where the message of one recipient goes.
type Routed struct {
	// Kept has the recipient himself, or in place of him those that rules
	// redirect his mail to; Copies those who get it too.
	Kept, Copies []mail.Recipient
	Redirected   bool
	Effects      []Effect
}

// Route applies what rules say about where a recipient's mail goes. What it
// makes inherits the recipient's Hold and Head. looped: it has gone that way
// before, and stays here.
func Route(r mail.Recipient, acts []filter.RuleAct, looped bool) Routed {
	to := Routed{}
	for _, a := range acts {
		for _, p := range a.Redirect {
			if to.note(a.Symbol, "redirect "+string(p), looped) && !names(to.Kept, p) {
				to.Kept = append(to.Kept, redirected(r, p, len(to.Kept) > 0))
			}
		}
		for _, p := range a.Copy {
			if to.note(a.Symbol, "copy "+string(p), looped) && p != r.Path && !names(to.Copies, p) {
				to.Copies = append(to.Copies, copied(r, p))
			}
		}
	}
	if to.Redirected = len(to.Kept) > 0; !to.Redirected {
		to.Kept = []mail.Recipient{r}
	}
	to.nextHop(acts)
	return to
}

// note keeps an effect, and tells whether it happens.
func (to *Routed) note(rule, does string, looped bool) bool {
	e := Effect{Rule: rule, Does: does}
	if looped {
		e.Skipped = SkippedLoop
	}
	to.Effects = append(to.Effects, e)
	return !looped
}

func names(list []mail.Recipient, p mail.Path) bool {
	return slices.ContainsFunc(list, func(r mail.Recipient) bool { return r.Path == p })
}

// nextHop: the first rule that names one has its way. Copies go their own.
func (to *Routed) nextHop(acts []filter.RuleAct) {
	for _, a := range acts {
		if a.NextHop == "" {
			continue
		}
		for k := range to.Kept {
			to.Kept[k].NextHop = a.NextHop
		}
		to.note(a.Symbol, "next_hop "+string(a.NextHop), false)
		return
	}
}

// redirected is who gets the mail in place of r. The first one is r to the
// accounts; others are more than the client named.
func redirected(r mail.Recipient, p mail.Path, more bool) mail.Recipient {
	if r.ORcpt == "" && plain(r.Path) { // a DSN names whom the sender knows (RFC 3461 section 4.2)
		r.ORcpt = "rfc822;" + string(r.Path)
	}
	r.Path, r.Generated = p, more
	return r
}

// plain addresses need no encoding as xtext.
func plain(p mail.Path) bool {
	return !strings.ContainsFunc(string(p), func(c rune) bool { return c <= ' ' || c > '~' || c == '+' || c == '=' })
}

// copied is somebody of whom the sender knows nothing, and shall hear nothing.
func copied(r mail.Recipient, p mail.Path) mail.Recipient {
	return mail.Recipient{Path: p, Notify: mail.NotifyNever, Head: r.Head, Hold: r.Hold, Generated: true}
}
