package reputation

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

var options = Options{Good: -1, Bad: 2, Minimum: 10, HalfLife: 14 * 24 * time.Hour}

func newBook(t testing.TB) *Book {
	t.Helper()
	table, err := memo.Open(fsx.NewMem(), "/memo/reputation", memo.Options{Most: Most, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return New(table, options)
}

var policy = &filter.DomainPolicy{Tag: 5, Reject: 15}

// send judges a message of a score with what the book says, as the gateway
// does, and gives the score of its symbol.
func send(t testing.TB, b *Book, client, domain string, score float64) float64 {
	t.Helper()
	f := &filter.Facts{Client: filter.ClientFacts{Address: client}}
	if domain != "" {
		f.SPF = filter.SPFFacts{Result: "pass", Identity: "mailfrom", Domain: domain}
	}
	r := NewCheck(b).Run(t.Context(), &filter.Transaction{Client: &mail.Client{Addr: netip.MustParseAddr(client)}, Facts: f})
	symbols := append(r.Symbols, filter.Symbol{Name: "X", Score: score})
	d := filter.Combine([]filter.Verdict{filter.Decide(symbols, policy)})
	b.Observe(&filter.Judgement{Facts: f, Symbols: symbols}, &d)
	if len(r.Symbols) == 0 {
		return 0
	}
	return r.Symbols[0].Score
}

const client, far = "192.0.2.1", "198.51.100.1"

func TestLearns(t *testing.T) {
	b := newBook(t)
	for n := range 10 {
		if s := send(t, b, client, "bad.example", 12); s != 0 {
			t.Errorf("message %d: %v after too few", n, s)
		}
	}
	if s := send(t, b, far, "mail.bad.example", 12); s != 1 {
		t.Errorf("the domain, from elsewhere: %v", s)
	}
	if s := send(t, b, "192.0.2.99", "", 0); s != 1 {
		t.Errorf("the network, without a domain: %v", s)
	}
	if s := send(t, b, far, "other.example", 0); s != 0 {
		t.Errorf("somebody else: %v", s)
	}
	for range 1000 {
		send(t, b, far, "good.example", 0)
	}
	if s := send(t, b, client, "good.example", 0); s != -0.9 {
		t.Errorf("a good domain in a bad network: %v", s)
	}
}

// TestNoLoop: reputation alone never turns what is good, or neither, into a
// reason to think worse of its sender; nor the other way round.
func TestNoLoop(t *testing.T) {
	b := newBook(t)
	for range 50 {
		send(t, b, client, "x.example", 12)
	}
	before, _ := b.Domain("x.example")
	for range 50 {
		send(t, b, client, "x.example", 4) // tagged only with REPUTATION_BAD
	}
	after, _ := b.Domain("x.example")
	if after.Bad > before.Bad || after.Good > before.Good {
		t.Errorf("%+v became %+v", before, after)
	}
	for range 1000 {
		send(t, b, far, "y.example", 0)
	}
	before, _ = b.Domain("y.example")
	send(t, b, far, "y.example", 5.5) // accepted only with REPUTATION_GOOD
	if after, _ = b.Domain("y.example"); after.Bad <= before.Bad {
		t.Errorf("%+v became %+v", before, after)
	}
}

func TestLesson(t *testing.T) {
	symbols := func(score float64, more ...string) []filter.Symbol {
		s := []filter.Symbol{{Name: "X", Score: score}}
		for _, m := range more {
			s = append(s, filter.Symbol{Name: m})
		}
		return s
	}
	for _, c := range []struct {
		name      string
		symbols   []filter.Symbol
		good, bad bool
	}{
		{"good", symbols(2.5), true, false},
		{"neither", symbols(2.6), false, false},
		{"bad", symbols(5), false, true},
		{"sum", []filter.Symbol{{Score: 4.9}, {Score: 0.1}}, false, true},
		{"rejected", symbols(20), false, true},
		{"virus", symbols(0, filter.SymVirus), false, true},
		{"allowed spam", symbols(20, filter.SymAllowed), false, false},
		{"a dead scanner", symbols(0, filter.SymScannerError), false, false},
	} {
		p := &filter.DomainPolicy{Tag: 5, Reject: 15, ScannerOnError: filter.Defer}
		d := filter.Combine([]filter.Verdict{filter.Decide(c.symbols, p)})
		good, bad := lesson(&filter.Judgement{Facts: &filter.Facts{}, Symbols: c.symbols}, &d)
		if good != c.good || bad != c.bad {
			t.Errorf("%s: good %v, bad %v", c.name, good, bad)
		}
	}
}

// TestForgets: half of it in a half-life; and who changes is known as what it
// became.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t)
		for range 40 {
			send(t, b, client, "x.example", 12)
		}
		time.Sleep(options.HalfLife)
		if c, _ := b.Domain("x.example"); c.Bad < 19.9 || c.Bad > 20.1 {
			t.Errorf("%+v after a half-life", c)
		}
		time.Sleep(options.Keep())
		if _, known := b.Domain("x.example"); known {
			t.Error("it was never forgotten")
		}
		for range 5000 {
			send(t, b, client, "y.example", 0)
		}
		for range 2 * saturation {
			send(t, b, client, "y.example", 12)
		}
		if s := send(t, b, client, "y.example", 12); s < 1 {
			t.Errorf("good a long time, bad now: %v", s)
		}
	})
}

// TestBounds: no counts exceed the limits.
func TestBounds(t *testing.T) {
	b := newBook(t)
	for _, c := range []Counts{{Bad: 1e9}, {Good: 1e9}, {Good: 5, Bad: 95}, {Good: 50, Bad: 50}} {
		if s, _ := b.Symbol(c, ""); s.Score < options.Good || s.Score > options.Bad {
			t.Errorf("%+v: %+v", c, s)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	book := newBook(b)
	for range 20 {
		send(b, book, client, "x.example", 12)
	}
	f := &filter.Facts{SPF: filter.SPFFacts{Result: "pass", Identity: "mailfrom", Domain: "mail.x.example"}, Client: filter.ClientFacts{Address: client}}
	tx := &filter.Transaction{Client: &mail.Client{Addr: netip.MustParseAddr(client)}, Facts: f}
	b.Run("look", func(b *testing.B) {
		c := NewCheck(book)
		b.ReportAllocs()
		for b.Loop() {
			c.Run(b.Context(), tx)
		}
	})
	b.Run("observe", func(b *testing.B) {
		j, d := &filter.Judgement{Facts: f}, &filter.Decision{Verdict: filter.Verdict{Action: filter.Accept, Required: 5}}
		b.ReportAllocs()
		for b.Loop() {
			book.Observe(j, d)
		}
	})
}
