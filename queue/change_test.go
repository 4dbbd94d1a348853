package queue

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// hopsByName is a next hop that records where each message went.
func hopsByName() (*next, func() []mail.Destination) {
	n := newNext()
	var seen []mail.Destination
	n.reply = func(d mail.Destination, _ *mail.Message, _ int) mail.Outcome {
		n.mu.Lock()
		defer n.mu.Unlock()
		if d == "down.example" {
			return unreachable()
		}
		seen = append(seen, d)
		return mail.Outcome{Result: mail.Relayed, NextHop: string(d)}
	}
	return n, func() []mail.Destination { n.mu.Lock(); defer n.mu.Unlock(); return seen }
}

// A reroute takes a message away from a dead destination at once, and stays
// with it over a restart and a compaction; the other messages stay.
func TestReroute(t *testing.T) {
	dir, o := t.TempDir(), Options{SegmentSize: 64 << 10, MinFreeBytes: 1, Metrics: modelMetrics}
	q, err := open(fsx.OS{}, dir, o, true)
	if err != nil {
		t.Fatal(err)
	}
	moves := mustPut(t, q, []byte("b\r\n"), "b@down.example", "c@down.example")
	stays := mustPut(t, q, []byte("a\r\n"), "a@down.example")
	n, seen := hopsByName()
	run(t, q, n, func() bool {
		it, _ := q.Get(moves)
		return it.Attempts == 1 && q.Stats().Messages[Deferred] == 2
	})

	if err := q.flush(); err != nil { // what an attempt met is known when it is written
		t.Fatal(err)
	}
	if err := q.Reroute(moves, "192.0.2.9:25"); err != nil {
		t.Fatal(err)
	}
	if err := q.Hold(moves); err != nil { // or it would leave
		t.Fatal(err)
	}
	for range 2 { // the second time from a copy
		q.compact(101, func() bool { return q.flush() == nil })
		mustClose(t, q)
		if q, err = open(fsx.OS{}, dir, o, true); err != nil {
			t.Fatal(err)
		}
		if r := q.Reroutes(); len(r) != 1 || r[0] != "192.0.2.9:25" {
			t.Fatalf("reroutes after a restart: %q", r)
		}
	}
	it, _ := q.Get(moves)
	if it.Recipients[0].NextHop != "" || it.Recipients[0].Reply != "connection refused" {
		t.Errorf("what is known of the last attempt: %+v", it.Recipients[0])
	}
	if err := q.Release(moves); err != nil {
		t.Fatal(err)
	}
	run(t, q, n, func() bool { return len(seen()) == 2 })
	if s := seen(); s[0] != "192.0.2.9:25" || s[1] != "192.0.2.9:25" {
		t.Errorf("went to %q", s)
	}
	if _, there := q.Get(stays); !there || len(q.Reroutes()) != 0 {
		t.Errorf("the other one: %v, reroutes %q", there, q.Reroutes())
	}
	mustClose(t, q)
}

// A reroute ends with the empty destination, durably too.
func TestRerouteEnds(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, fsx.OS{}, dir, Options{})
	id := mustPut(t, q, []byte("a\r\n"), "a@d.example")
	for _, to := range []mail.Destination{"mx.example:25", "mx2.example:25", ""} {
		if err := q.Reroute(id, to); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, q)
	q = mustOpen(t, fsx.OS{}, dir, Options{})
	if r := q.Reroutes(); len(r) != 0 {
		t.Errorf("%q", r)
	}
	n, seen := hopsByName()
	run(t, q, n, func() bool { return len(seen()) == 1 })
	if seen()[0] != "d.example" {
		t.Errorf("went to %q", seen())
	}
	mustClose(t, q)
}

// While the queue runs, a message that waits behind a dead destination leaves
// as soon as it is rerouted, and its stale place in the list harms nobody.
func TestRerouteFromDeadDestination(t *testing.T) {
	timed(t, Options{}, func(t *testing.T, q *Queue) {
		n, seen := hopsByName()
		var ids []mail.ID
		for range 5 {
			ids = append(ids, mustPut(t, q, []byte("x\r\n"), "a@down.example"))
		}
		rerouted := false
		run(t, q, n, func() bool {
			time.Sleep(time.Second)
			if w, _ := q.Why(ids[4]); !rerouted && len(w.Waits) == 1 && w.Waits[0].Limit == LimitProbe {
				rerouted = true
				if err := q.Reroute(ids[4], "up.example:25"); err != nil && !errors.Is(err, ErrActive) {
					t.Error(err)
				}
			}
			return len(seen()) == 1
		})
		if s := q.Stats(); s.Recipients != 4 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBounce(t *testing.T) {
	q := mustOpen(t, fsx.OS{}, t.TempDir(), Options{Hostname: "mx.example.org"})
	tried := mustPut(t, q, []byte("x\r\n"), "a@d.example")
	n := newNext()
	n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome { return deferral("come back") }
	run(t, q, n, func() bool { return q.Stats().Messages[Deferred] == 1 })

	forged := newMessage(nil, "b@d.example", "c@d.example", "never@d.example")
	forged.Envelope.MayReturn = false
	forged.Envelope.Recipients[1].Hold = "quarantine:GTUBE"
	forged.Envelope.Recipients[2].Notify = mail.NotifyNever
	if err := put(q, forged, []byte("x\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := q.Bounce(tried); err != nil {
		t.Fatal(err)
	}
	if err := q.Bounce(forged.Envelope.ID); !errors.Is(err, ErrNoReturn) {
		t.Errorf("no DSN may go there: %v", err)
	}
	if err := q.Bounce(mail.ID{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such message: %v", err)
	}
	it, _ := q.Get(forged.Envelope.ID)
	got := []string{it.Recipients[0].Hold, it.Recipients[1].Hold, it.Recipients[2].State}
	if it.State != Held || got[0] != undeliverable || got[1] != "quarantine:GTUBE" || got[2] != Failed {
		t.Errorf("held as %q", got)
	}
	if _, there := q.Get(tried); there {
		t.Error("it is still there")
	}
	l := q.Stats().Ledger
	if l.Failed != 2 || l.Generated != 1 || l.Imbalance() != 0 {
		t.Errorf("ledger %+v", l)
	}
	text := dsnText(t, q)
	for _, want := range []string{"Action: failed", "Status: 5.0.0", "given up by the administrator", "451 4.3.0 come back", "Final-Recipient: rfc822; a@d.example"} {
		if !strings.Contains(text, want) {
			t.Errorf("the DSN lacks %q:\n%s", want, text)
		}
	}
	mustClose(t, q)
}

// dsnText is the text of the one DSN in the queue.
func dsnText(t *testing.T, q *Queue) string {
	t.Helper()
	for it := range q.List(Filter{Reverse: NullReverse}) {
		var b strings.Builder
		if err := q.Show(it.ID, 0, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	t.Fatal("no DSN in the queue")
	return ""
}

func TestFilters(t *testing.T) {
	q := mustOpen(t, fsx.OS{}, t.TempDir(), Options{})
	add := func(from mail.Path, age time.Duration, hold string, rcpts ...mail.Path) mail.ID {
		m := newMessage(nil, rcpts...)
		m.Envelope.ID, m.Envelope.ReversePath = mail.NewID(time.Now().Add(-age)), from
		m.Envelope.Recipients[0].Hold = hold
		if err := put(q, m, []byte("x\r\n")); err != nil {
			t.Fatal(err)
		}
		return m.Envelope.ID
	}
	one := add("a@s.example", 0, "mixed", "u@one.example")
	two := add("", 3*time.Hour, "", "u@two.example", "v@one.example")
	three := add("B@s.example", 30*time.Minute, "", "w@TWO.example")
	name := map[mail.ID]string{one: "1", two: "2", three: "3"}
	for _, tc := range []struct {
		f    Filter
		want string
	}{
		{Filter{}, "123"},
		{Filter{Domain: "ONE.example"}, "12"},
		{Filter{Domain: "two.example", OlderThan: time.Hour}, "2"},
		{Filter{State: Held}, "1"},
		{Filter{State: Queued}, "23"},
		{Filter{Reverse: NullReverse}, "2"},
		{Filter{Reverse: "b@S.example"}, "3"},
		{Filter{Recipient: "V@one.example"}, "2"},
		{Filter{Recipient: "x@one.example"}, ""},
		{Filter{OlderThan: 20 * time.Minute}, "23"},
	} {
		list, ids := "", ""
		for it := range q.List(tc.f) {
			list += name[it.ID]
		}
		for id := range q.IDs(tc.f) {
			ids += name[id]
		}
		if list != tc.want || ids != tc.want {
			t.Errorf("%+v: listed %q, IDs %q, want %q", tc.f, list, ids, tc.want)
		}
	}
	checkSummary(t, q)
	mustClose(t, q)
}

// checkSummary knows the messages of TestFilters.
func checkSummary(t *testing.T, q *Queue) {
	t.Helper()
	rows := q.Summary(Filter{})
	row := func(domain string, total int, at ...int) AgeRow {
		r := AgeRow{Domain: domain, Total: total}
		for _, i := range at {
			r.Counts[i]++
		}
		return r
	}
	want := []AgeRow{row(Total, 4, 0, 3, 6, 6), row("one.example", 2, 0, 6), row("two.example", 2, 3, 6)}
	if len(rows) != 3 || rows[0] != want[0] || rows[1] != want[1] || rows[2] != want[2] {
		t.Errorf("summary %v, want %v", rows, want)
	}
	if rows := q.Summary(Filter{Recipient: "v@one.example"}); len(rows) != 2 || rows[1] != row("one.example", 1, 6) {
		t.Errorf("of one recipient: %v", rows)
	}
}

// A spool without a gateway can be looked at in all the same ways.
func TestPeek(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, fsx.OS{}, dir, Options{})
	id := mustPut(t, q, []byte("x\r\n"), "a@d.example")
	mustClose(t, q)
	err := Peek(fsx.OS{}, dir, Options{}, func(q *Queue) error {
		w, ok := q.Why(id)
		if !ok || len(w.Waits) != 1 || w.Waits[0].Limit != LimitStopped {
			t.Errorf("%+v", w)
		}
		if rows := q.Summary(Filter{}); rows[0].Total != 1 {
			t.Errorf("%+v", rows)
		}
		return q.Show(id, 0, io.Discard)
	})
	if err != nil {
		t.Fatal(err)
	}
}
