package events

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mailweir/mail"
)

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, 30*24*time.Hour, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func find(t testing.TB, dir string, q Query) []*Event {
	t.Helper()
	var list []*Event
	if err := Find(dir, q, func(e *Event) error { list = append(list, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// sample is row i of a day, of a few senders and recipients.
func sample(at time.Time, i int) *Event {
	return &Event{
		ID: mail.NewID(at), At: at, Sender: fmt.Sprintf("Someone%d@sender%d.example", i%7, i%50), Recipient: fmt.Sprintf("user%d@example.org", i%300),
		Client: "ip-ABCDEFGHIJKLMNOP", TLS: "TLSv1.3", Action: "accept", Score: 1.5, Size: 4000, Symbols: "SPF_PASS,DKIM_PASS", Outcome: Outcome{State: "queued", Done: at},
	}
}

// TestStore: what goes in is found by every question, also when its end comes
// on another day, and nothing else is.
func TestStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	s := openStore(t, dir)
	now := time.Now().Truncate(time.Millisecond).UTC()
	yesterday := now.AddDate(0, 0, -1)
	a, b := sample(yesterday, 1), sample(now, 2)
	a.Recipient = "Anna@Example.ORG"
	// The end comes first, as when the next hop is quick.
	s.Finished(&Event{ID: a.ID, Recipient: "anna@example.org", Outcome: Outcome{State: "relayed", Reply: "250 ok", NextHop: "192.0.2.1:25", Done: now}})
	s.Received(a)
	s.Received(b)
	dsn := &Event{ID: mail.NewID(yesterday.Add(-time.Hour)), At: yesterday.Add(-time.Hour), Recipient: "back@dsn.example", Outcome: Outcome{State: "relayed", Done: now}}
	s.Finished(dsn) // of a message that nobody received
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		q    Query
		want []mail.ID
	}{
		"all":          {Query{}, []mail.ID{b.ID, a.ID, dsn.ID}},
		"id":           {Query{ID: a.ID}, []mail.ID{a.ID}},
		"to":           {Query{To: "anna@example.org"}, []mail.ID{a.ID}},
		"to, case":     {Query{To: "ANNA@EXAMPLE.org"}, []mail.ID{a.ID}},
		"from":         {Query{From: "someone2@sender2.example"}, []mail.ID{b.ID}},
		"domain":       {Query{Domain: "example.org"}, []mail.ID{b.ID, a.ID}},
		"its sender":   {Query{Domain: "sender1.example"}, []mail.ID{a.ID}},
		"a subdomain":  {Query{Domain: "r1.example"}, nil},
		"another":      {Query{Domain: "example.or"}, nil},
		"since":        {Query{Since: now.Add(-time.Hour)}, []mail.ID{b.ID}},
		"until":        {Query{Until: now.Add(-time.Hour)}, []mail.ID{a.ID, dsn.ID}},
		"dsn":          {Query{To: "back@dsn.example"}, []mail.ID{dsn.ID}},
		"limit":        {Query{Limit: 1}, []mail.ID{b.ID}},
		"to and from":  {Query{To: "anna@example.org", From: "someone2@sender2.example"}, nil},
		"scope and to": {Query{To: "anna@example.org", Domain: "sender2.example"}, nil},
	} {
		var got []mail.ID
		for _, e := range find(t, dir, c.q) {
			got = append(got, e.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
	e := find(t, dir, Query{ID: a.ID})[0]
	if e.State != "relayed" || e.NextHop != "192.0.2.1:25" || !e.Done.Equal(now) || e.Recipient != "anna@example.org" || e.Symbols != "SPF_PASS,DKIM_PASS" {
		t.Errorf("%+v", e)
	}
}

// TestErase: no byte of the address is left in the files, and what is erased
// twice is erased.
func TestErase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	s := openStore(t, dir)
	now := time.Now()
	for i := range 500 {
		e := sample(now.Add(time.Duration(i)*time.Millisecond), i)
		if i%10 == 0 {
			e.Recipient = "canary@example.org"
		}
		if i%10 == 1 {
			e.Sender = "canary@example.org"
		}
		if i%10 == 2 {
			e.Reply = "550 no Canary@Example.org here"
		}
		s.Received(e)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(find(t, dir, Query{Told: "canary@example.org"})); n != 50 {
		t.Errorf("%d replies with the address", n)
	}
	if n, err := Erase(dir, "Canary@example.org"); err != nil || n != 150 {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := Erase(dir, "canary@example.org"); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil || bytes.Contains(bytes.ToLower(b), []byte("canary")) {
			t.Errorf("%s: %v, or the address is in it", f.Name(), err)
		}
	}
	if n := len(find(t, dir, Query{})); n != 400 {
		t.Errorf("%d rows are left", n)
	}
}

// TestRetention: old days go when the store opens; a run that did not end is
// counted; a full backlog is counted.
func TestRetention(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	s := openStore(t, dir)
	old := time.Now().AddDate(0, 0, -40)
	s.Received(sample(old, 1))
	s.Received(sample(time.Now(), 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, marker), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir)
	if days, err := Days(dir); err != nil || len(days) != 1 {
		t.Errorf("%v, %v", days, err)
	}
	if n := testutil.ToFloat64(s.crashes); n != 1 {
		t.Errorf("%v crashes", n)
	}
	s.Close()
	s.Received(sample(time.Now(), 1))
	if n := testutil.ToFloat64(s.dropped.WithLabelValues(lostClosed)); n != 1 {
		t.Errorf("%v dropped", n)
	}
}

// BenchmarkWrite is a message of one recipient: its row, and its end.
func BenchmarkWrite(b *testing.B) {
	s := openStore(b, filepath.Join(b.TempDir(), "events"))
	w := &writer{s: s, days: map[string]*dayDB{}}
	now := time.Now()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e := sample(now.Add(time.Duration(i)*time.Microsecond), i)
		w.waiting = append(w.waiting, change{Event: e}, change{Event: &Event{ID: e.ID, Recipient: e.Recipient, Outcome: Outcome{State: "relayed", Reply: "250 2.0.0 Ok", NextHop: "192.0.2.1:25", Done: now}}, outcome: true})
		if i++; i%1000 == 0 {
			w.flush()
		}
	}
	w.flush()
	w.shut(0)
}

// TestSync: what came is found at once, with outcomes that have no row; on a closed
// store there is nothing to wait for.
func TestSync(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	s := openStore(t, dir)
	begin := time.Now()
	for i := range 100 {
		s.Received(sample(begin, i))
	}
	s.Finished(&Event{ID: mail.NewID(begin), Recipient: "back@dsn.example", Outcome: Outcome{State: "relayed", Done: begin}})
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(find(t, dir, Query{})); n != 101 {
		t.Errorf("%d rows", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestDayOfEvents: the writer keeps the day of the event before, in whatever order
// they come.
func TestDayOfEvents(t *testing.T) {
	w := &writer{}
	midnight := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, d := range []time.Duration{0, -1, 24*time.Hour - 1, 24 * time.Hour, 0, 50 * time.Hour, -100 * time.Hour, 1} {
		at := midnight.Add(d)
		if got := w.dayOf(at.Local()); got != dayOf(at) {
			t.Errorf("%s is of %s", at, got)
		}
	}
}
