package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"mailweir/filter"
	"mailweir/internal/config"
	"mailweir/mail"
)

// Limits of what a rule can want, so that no message grows without bound.
const (
	maxAddresses = 20   // of redirect, and of copy
	maxEdits     = 20   // of a kind
	maxHeader    = 500  // octets of a field's value
	maxPrefix    = 100  // octets of subject_prefix
	maxReply     = 200  // octets of a reply's text
	maxAutoReply = 4000 // octets
	maxScope     = 1000 // domains and recipients
)

// actKeys are the keys of a [[rule]] that make it act.
var actKeys = []string{
	"action", "strip", "add_header", "set_header", "remove_header", "subject_prefix",
	"redirect", "copy", "next_hop", "auto_reply",
}

func (e entry) acts() bool {
	return slices.ContainsFunc(actKeys, func(k string) bool { _, ok := e.values[k]; return ok })
}

// place is that of a key, or of the table where the key is not there.
func (e entry) place(name string) place {
	if v, ok := e.values[name]; ok {
		return v.place
	}
	return e.at
}

// act takes the keys of an action out of a [[rule]]; nil when it has none.
func (e entry) act() *filter.Act {
	if !e.acts() {
		for _, k := range []string{"reply", "reply_code", "signed_fields", "auto_reply_days"} {
			if v, ok := e.values[k]; ok {
				e.errs.add(v.place, "%s: the rule does nothing that it could be for", k)
				delete(e.values, k)
			}
		}
		return nil
	}
	a := &filter.Act{}
	e.decision(a)
	e.strip(a)
	e.edits(a)
	a.Redirect, a.Copy = e.addresses("redirect"), e.addresses("copy")
	e.nextHop(a)
	e.autoReply(a)
	return a
}

// decision reads action, reply and reply_code.
func (e entry) decision(a *filter.Act) {
	at, replyAt, codeAt := e.place("action"), e.place("reply"), e.place("reply_code")
	text, code := e.text("reply", false), e.text("reply_code", false)
	a.Action = filter.Action(e.text("action", false))
	switch a.Action {
	case "", filter.Tag, filter.Quarantine, filter.Discard:
		if text != "" || code != "" {
			e.errs.add(replyAt, `reply and reply_code are for action = "reject" and action = "defer"`)
		}
		return
	case filter.Reject, filter.Defer:
	default:
		e.errs.add(at, `action = %q: want "tag", "quarantine", "defer", "reject" or "discard"`, a.Action)
		return
	}
	if text == "" {
		if code != "" {
			e.errs.add(codeAt, "reply_code needs a reply")
		}
		return
	}
	r := &mail.Reply{Text: text}
	if !printable(text) || len(text) > maxReply {
		e.errs.add(replyAt, "reply: want at most %d printable ASCII characters", maxReply)
	}
	if err := replyCode(r, a.Action, code); err != nil {
		e.errs.add(codeAt, "reply_code = %q: %v", code, err)
	}
	a.Reply = r
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

var replyCodes = onFirstUse(`^(4|5)([0-9]{2}) (4|5)\.([0-9]{1,3})\.([0-9]{1,3})$`)

// replyCode reads "550 5.7.1". A transient fault must not be told as a permanent
// one, nor the other way round, and 421 would end the session.
func replyCode(r *mail.Reply, action filter.Action, s string) error {
	class, codes, usual := "5", []int{550, 551, 552, 553, 554}, "554 5.7.1"
	if action == filter.Defer {
		class, codes, usual = "4", []int{450, 451, 452}, "451 4.7.1"
	}
	if s == "" {
		s = usual
	}
	m := replyCodes().FindStringSubmatch(s)
	if m == nil || m[1] != class || m[3] != class {
		return fmt.Errorf("want a code and an enhanced code for %s, such as %q", action, usual)
	}
	r.Code, _ = strconv.Atoi(m[1] + m[2])
	for i := range r.Enhanced {
		r.Enhanced[i], _ = strconv.Atoi(m[3+i])
	}
	if !slices.Contains(codes, r.Code) {
		return fmt.Errorf("the codes for %s are %s", action, strings.Trim(fmt.Sprint(codes), "[]"))
	}
	return nil
}

var stripName = onFirstUse(`^(\*|[a-z0-9][a-z0-9_+-]{0,31})$`)

func (e entry) strip(a *filter.Act) {
	at, there := e.place("strip"), e.values["strip"].place != place{}
	a.Strip = e.strings("strip")
	if !there {
		return
	}
	if len(a.Strip) == 0 || len(a.Strip) > maxEdits {
		e.errs.add(at, `strip: want 1 to %d extensions, or "*"`, maxEdits)
	}
	for _, s := range a.Strip {
		if !stripName().MatchString(s) {
			e.errs.add(at, `strip: %q: want an extension in lower case without the dot, such as "iso", or "*"`, s)
		}
	}
	if a.Action != "" {
		e.errs.add(at, "strip is an action of its own: leave action = %q to another rule", a.Action)
	}
	a.Action = filter.Strip
}

// edits reads what changes the header section.
func (e entry) edits(a *filter.Act) {
	signedAt := e.place("signed_fields")
	signed := e.text("signed_fields", false)
	if signed != "" && signed != "keep" && signed != "change" {
		e.errs.add(signedAt, `signed_fields = %q: want "keep" or "change"`, signed)
	}
	for _, kind := range []string{filter.AddHeader, filter.SetHeader, filter.RemoveHeader} {
		at := e.place(kind)
		list := e.strings(kind)
		if len(list) > maxEdits {
			e.errs.add(at, "%s: at most %d", kind, maxEdits)
		}
		for _, s := range list {
			edit, err := headerEdit(kind, s)
			if err != nil {
				e.errs.add(at, "%s: %q: %v", kind, s, err)
			}
			edit.Signed = signed == "change"
			a.Edits = append(a.Edits, edit)
		}
	}
	at := e.place(filter.SubjectPrefix)
	if p := e.text(filter.SubjectPrefix, false); p != "" {
		if len(p) > maxPrefix || !clean(p) || strings.TrimSpace(p) == "" {
			e.errs.add(at, "subject_prefix: want at most %d octets without control characters", maxPrefix)
		}
		a.Edits = append(a.Edits, filter.HeaderEdit{Kind: filter.SubjectPrefix, Name: "Subject", Value: p, Signed: signed == "change"})
	}
	if signed != "" && len(a.Edits) == 0 {
		e.errs.add(signedAt, "signed_fields: the rule changes no field")
	}
}

// clean text is UTF-8 without control characters.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

var fieldName = onFirstUse(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

func headerEdit(kind, s string) (filter.HeaderEdit, error) {
	name, value, found := strings.Cut(s, ":")
	e := filter.HeaderEdit{Kind: kind, Name: name, Value: strings.TrimSpace(value)}
	switch {
	case kind == filter.RemoveHeader && found:
		return e, fmt.Errorf("want the name of a field alone")
	case kind != filter.RemoveHeader && (e.Value == "" || len(e.Value) > maxHeader || !clean(e.Value)):
		return e, fmt.Errorf(`want "Name: value", the value at most %d octets without control characters`, maxHeader)
	case !fieldName().MatchString(name):
		return e, fmt.Errorf("%q is no name of a field", name)
	case reserved(strings.ToLower(name)):
		return e, fmt.Errorf("%s is not for rules: it is ours, a trace of the way, or says how to read the body", name)
	}
	return e, nil
}

// reserved fields belong to the gateway, are evidence, or change what the body
// means: the body is never changed.
func reserved(name string) bool {
	for _, prefix := range []string{"content-", "arc-", "resent-", "x-spam-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"received", "received-spf", "return-path", "delivered-to", "x-mailweir-sent-on", "dkim-signature", "authentication-results", "mime-version",
	}, name)
}

// addresses reads a list of recipients that the message is to get.
func (e entry) addresses(name string) (list []mail.Path) {
	v, there := e.values[name]
	texts := e.strings(name)
	if there && (len(texts) == 0 || len(texts) > maxAddresses) {
		e.errs.add(v.place, "%s: want 1 to %d addresses", name, maxAddresses)
	}
	for _, s := range texts {
		p, err := mail.ParsePath(s, false)
		if err != nil || p.Domain() == "" {
			e.errs.add(v.place, "%s: %q is no address, such as team@example.org", name, s)
		}
		list = append(list, p)
	}
	return list
}

func (e entry) nextHop(a *filter.Act) {
	at := e.place("next_hop")
	s := e.text("next_hop", false)
	if s == "" {
		return
	}
	var hop config.HostPort
	if err := hop.UnmarshalText([]byte(s)); err != nil {
		e.errs.add(at, "next_hop = %q: %v", s, err)
	}
	a.NextHop = mail.Destination(hop)
}

// usualDays is the time between two auto-replies to one sender that RFC 3834
// section 2 calls reasonable.
const usualDays = 7

func (e entry) autoReply(a *filter.Act) {
	at, daysAt := e.place("auto_reply"), e.place("auto_reply_days")
	_, given := e.values["auto_reply_days"]
	text, days := e.text("auto_reply", false), e.number("auto_reply_days", false)
	if text == "" {
		if given {
			e.errs.add(daysAt, "auto_reply_days needs an auto_reply")
		}
		return
	}
	if !given {
		days = usualDays
	}
	if days < 1 || days > 365 || days != float64(int(days)) {
		e.errs.add(daysAt, "auto_reply_days: want a whole number of days, 1 to 365")
	}
	if len(text) > maxAutoReply || !clean(strings.NewReplacer("\n", "", "\t", "").Replace(text)) {
		e.errs.add(at, "auto_reply: want at most %d octets without control characters", maxAutoReply)
	}
	a.AutoReply = &filter.AutoReply{Text: text, Days: int(days)}
}

// scope takes domains and recipients out of a [[rule]]; nil is everybody.
func (e entry) scope() *filter.Scope {
	domains, recipients := e.values["domains"], e.values["recipients"]
	s := &filter.Scope{}
	for _, d := range e.strings("domains") {
		if !mail.ValidDomain(mail.CanonicalDomain(d), false) {
			e.errs.add(domains.place, "domains: %q is no domain", d)
		}
		s.Domains = append(s.Domains, mail.CanonicalDomain(d))
	}
	for _, r := range e.strings("recipients") {
		p, err := mail.ParsePath(r, true)
		if err != nil || p.Domain() == "" {
			e.errs.add(recipients.place, "recipients: %q is no address", r)
		}
		s.Recipients = append(s.Recipients, p.Mailbox())
	}
	for name, v := range map[string]value{"domains": domains, "recipients": recipients} {
		if v.place != (place{}) && len(v.list) == 0 {
			e.errs.add(v.place, "%s: an empty list is nobody: leave it out, or name some", name)
		}
	}
	if len(s.Domains)+len(s.Recipients) > maxScope {
		e.errs.add(e.at, "at most %d domains and recipients", maxScope)
	}
	if len(s.Domains)+len(s.Recipients) == 0 {
		return nil
	}
	return s
}
