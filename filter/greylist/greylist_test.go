package greylist

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/filter"
	"mailweir/internal/fsx"
	"mailweir/internal/memo"
	"mailweir/mail"
)

var times = Options{Delay: 5 * time.Minute, Window: 48 * time.Hour, Keep: 36 * 24 * time.Hour}

func newList(t testing.TB) *List {
	t.Helper()
	table, err := memo.Open(fsx.NewMem(), "/memo/greylist", memo.Options{Most: Most, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return New(table, times)
}

// from is a message of a client: proven where SPF passes.
func from(client, domain string, proven bool) *filter.Facts {
	f := &filter.Facts{Client: filter.ClientFacts{Address: client}, Envelope: filter.EnvelopeFacts{FromDomain: domain}}
	if proven {
		f.SPF = filter.SPFFacts{Result: "pass", Identity: "mailfrom", Domain: domain}
	}
	return f
}

var doubtful = &filter.DomainPolicy{Tag: 5, Reject: 15, Greylist: filter.GreylistPolicy{From: 3, To: 10}}

// send lets a message with a score go the way that the gateway lets it go, and
// gives the symbol of the list.
func send(t *testing.T, l *List, f *filter.Facts, score float64) string {
	t.Helper()
	tx := &filter.Transaction{Client: &mail.Client{Addr: netip.MustParseAddr(f.Client.Address)}, Facts: f}
	r := NewCheck(l).Run(t.Context(), tx)
	if r.State != filter.OK || len(r.Symbols) != 1 {
		t.Fatalf("%+v", r)
	}
	f.Symbols = r.Symbols
	d := filter.Combine([]filter.Verdict{filter.Decide(append(r.Symbols, filter.Symbol{Name: "X", Score: score}), doubtful)})
	l.Observe(&filter.Judgement{Facts: f}, &d)
	if deferred := d.Verdict.Reason == filter.ReasonGreylist; deferred != (r.Symbols[0].Detail != "" && doubtful.Greylist.From <= score && score < doubtful.Greylist.To) {
		t.Errorf("%s, score %v: deferred %v", r.Symbols[0].Name, score, deferred)
	}
	return r.Symbols[0].Name
}

const (
	isNew   = filter.SymGreylistNew
	waits   = filter.SymGreylistWait
	retried = filter.SymGreylistRetried
	isKnown = filter.SymGreylistKnown
)

// TestLife follows a sender; each step is some time after the one before.
func TestLife(t *testing.T) {
	type step struct {
		after  time.Duration
		client string
		proven bool
		score  float64
		want   string
	}
	const a, b, far = "192.0.2.1", "192.0.2.200", "198.51.100.1"
	for name, steps := range map[string][]step{
		"comes back":             {{0, a, false, 4, isNew}, {time.Minute, b, false, 4, waits}, {4 * time.Minute, b, false, 4, retried}, {0, a, false, 9, isKnown}, {0, far, false, 4, isNew}},
		"comes back too late":    {{0, a, false, 4, isNew}, {49 * time.Hour, a, false, 4, isNew}, {time.Minute, a, false, 4, waits}},
		"is forgotten":           {{0, a, false, 4, isNew}, {time.Hour, a, false, 4, retried}, {35 * 24 * time.Hour, a, false, 4, isKnown}, {35 * 24 * time.Hour, a, false, 4, isKnown}, {37 * 24 * time.Hour, a, false, 4, isNew}},
		"not doubtful":           {{0, a, false, 1, isNew}, {0, a, false, 12, isNew}, {time.Hour, a, false, 4, isNew}},
		"worse the second time":  {{0, a, false, 4, isNew}, {time.Hour, a, false, 20, retried}, {time.Minute, a, false, 20, retried}, {48 * time.Hour, a, false, 4, isNew}},
		"proven, from elsewhere": {{0, a, true, 4, isNew}, {time.Minute, far, true, 4, waits}, {time.Hour, far, true, 4, retried}, {time.Hour, a, true, 4, isKnown}, {0, far, false, 4, isKnown}, {0, a, false, 4, isKnown}, {0, "2001:db8::1", false, 4, isNew}},
		"proven and good":        {{0, a, true, 1, isNew}, {0, far, true, 4, isKnown}},
		"proven and tagged":      {{0, a, true, 12, isNew}, {0, far, true, 4, isNew}},
		"IPv6":                   {{0, "2001:db8::1", false, 4, isNew}, {time.Hour, "2001:db8::2:1", false, 4, retried}, {0, "2001:db8:0:1::1", false, 4, isNew}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newList(t)
				for n, s := range steps {
					time.Sleep(s.after)
					if got := send(t, l, from(s.client, "sender.example", s.proven), s.score); got != s.want {
						t.Fatalf("step %d: %s, want %s", n, got, s.want)
					}
				}
			})
		})
	}
}

// TestSkips: nobody of ours, nobody unknown, and nothing without a memory.
func TestSkips(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	for name, c := range map[string]struct {
		list   *List
		client mail.Client
		f      *filter.Facts
	}{
		"own":       {newList(t), mail.Client{Addr: addr, Own: true}, from("192.0.2.1", "a.example", false)},
		"unknown":   {newList(t), mail.Client{}, &filter.Facts{}},
		"no memory": {nil, mail.Client{Addr: addr}, from("192.0.2.1", "a.example", false)},
	} {
		r := NewCheck(c.list).Run(t.Context(), &filter.Transaction{Client: &c.client, Facts: c.f})
		if r.State != filter.Skipped || r.Cause == nil || len(r.Symbols) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	l := newList(b)
	for name, proven := range map[string]bool{"proven": true, "unproven": false} {
		b.Run(name, func(b *testing.B) {
			f := from("192.0.2.1", "mail.sender.example", proven)
			l.deferred(l.senderOf(f))
			tx := &filter.Transaction{Client: &mail.Client{}, Facts: f}
			c := NewCheck(l)
			b.ReportAllocs()
			for b.Loop() {
				c.Run(b.Context(), tx)
			}
		})
	}
}
