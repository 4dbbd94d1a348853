package access

import (
	"net/netip"
	"strings"
	"time"

	"mailweir/filter"
	"mailweir/mail"
)

// list is the entries of one kind, indexed. It is immutable.
type list struct {
	networks []Entry
	authors  map[string][]Entry // by the domain that has to be proved
}

func newList(entries []Entry) *list {
	l := &list{authors: map[string][]Entry{}}
	for _, e := range entries {
		e.Reason = filter.Printable(e.Reason)
		e.Domain = canonical(e.Domain)
		if e.Network.IsValid() {
			l.networks = append(l.networks, e)
		} else {
			d := e.domain()
			l.authors[d] = append(l.authors[d], e)
		}
	}
	return l
}

// Lists are both lists in force: those of a config, and what commands have
// added. A nil Lists is empty.
type Lists struct {
	config map[Kind]*list
	store  *Store // nil: nothing is added
}

// New makes the lists of a config.
func New(allow, block []Entry, store *Store) *Lists {
	return &Lists{config: map[Kind]*list{Allow: newList(allow), Block: newList(block)}, store: store}
}

// each visits the lists of a kind until visit is content.
func (l *Lists) each(kind Kind, visit func(*list) *Entry) *Entry {
	if l == nil {
		return nil
	}
	if e := visit(l.config[kind]); e != nil {
		return e
	}
	if l.store == nil {
		return nil
	}
	return visit(l.store.list(kind))
}

// Network is the entry for a client, as far as a recipient is concerned; nil
// when there is none.
func (l *Lists) Network(kind Kind, client netip.Addr, rcpt mail.Path, now time.Time) *Entry {
	return l.each(kind, func(s *list) *Entry {
		return s.network(client, now, func(e *Entry) bool { return e.Scope.Includes(rcpt) })
	})
}

func (s *list) network(client netip.Addr, now time.Time, want func(*Entry) bool) *Entry {
	if len(s.networks) == 0 || !client.IsValid() {
		return nil
	}
	client = client.Unmap().WithZone("")
	for i := range s.networks {
		if e := &s.networks[i]; e.Network.Contains(client) && !e.expired(now) && want(e) {
			return e
		}
	}
	return nil
}

// Names reports a reverse-path in a domain that an entry for the recipient
// names: nothing is proved yet.
func (l *Lists) Names(kind Kind, reverse, rcpt mail.Path, now time.Time) bool {
	domain := mail.CanonicalDomain(reverse.Domain())
	return l.each(kind, func(s *list) *Entry {
		return s.author(domain, func(e *Entry) bool { return !e.expired(now) && e.Scope.Includes(rcpt) })
	}) != nil
}

// author is the first entry for a domain, or one above it, that is wanted.
func (s *list) author(domain string, want func(*Entry) bool) *Entry {
	for len(s.authors) > 0 && domain != "" {
		for i := range s.authors[domain] {
			if e := &s.authors[domain][i]; want(e) {
				return e
			}
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return nil
}

// matches are the entries that a message hits, one for all recipients the last.
func (l *Lists) matches(kind Kind, client netip.Addr, ev Evidence, now time.Time) (found []Entry) {
	take := func(e *Entry) bool {
		found = append(found, *e)
		return e.Scope == nil // no other says more
	}
	l.each(kind, func(s *list) *Entry {
		if e := s.network(client, now, take); e != nil {
			return e
		}
		return s.author(ev.From, func(e *Entry) bool { return !e.expired(now) && e.Matches(ev) && take(e) })
	})
	return found
}

// empty lists have nothing to find.
func (l *Lists) empty() bool {
	for _, kind := range []Kind{Allow, Block} {
		if l.each(kind, func(s *list) *Entry {
			if len(s.networks)+len(s.authors) > 0 {
				return &Entry{}
			}
			return nil
		}) != nil {
			return false
		}
	}
	return true
}

// symbol is what an entry says about a message.
func (e *Entry) symbol(kind Kind) filter.Symbol {
	return filter.Symbol{Name: kind.symbol(), Detail: e.Reason, Scope: e.Scope}
}
