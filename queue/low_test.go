package queue

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// lowOnes queues n messages of our own that are in no hurry.
func lowOnes(t *testing.T, q *Queue, n int, to mail.Path) {
	t.Helper()
	for range n {
		env := &mail.Envelope{ID: mail.NewID(q.now()), Arrived: q.now(), Low: true,
			ReversePath: "reports@example.org", Recipients: []mail.Recipient{{Path: to, Notify: mail.NotifyNever}}}
		if err := q.Generate(env, []byte("Subject: report\r\n\r\n"), []byte("report\r\n")); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLowRate: reports go out at their rate, also after a restart, by records
// and by a digest; mail of people waits for none of them; who asks why they are
// here is told.
func TestLowRate(t *testing.T) {
	for _, digest := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) { lowRate(t, digest) })
	}
}

func lowRate(t *testing.T, digest bool) {
	mem := fsx.NewMem()
	o := Options{LowRate: 30}
	q := mustOpen(t, mem, "/spool", o)
	lowOnes(t, q, 100, "rua@d.example")
	if digest {
		for _, s := range q.sorted() {
			q.mu.Lock()
			s.sealed = true
			q.mu.Unlock()
			q.makeDigest(s)
		}
	}
	mustClose(t, q)
	q = mustOpen(t, mem, "/spool", o)
	n := newNext()
	start := time.Now()
	var person mail.ID
	run(t, q, n, func() bool {
		if person.IsZero() && time.Since(start) > time.Minute {
			if got := n.relayed(); got < 30 || got > 32 {
				t.Errorf("%d of them in the first minute, want 30", got)
			}
			var last mail.ID
			for id := range q.IDs(Filter{}) {
				last = id
			}
			w, _ := q.Why(last)
			if len(w.Waits) != 1 || w.Waits[0].Limit != LimitRate || !strings.Contains(w.Waits[0].Text, "30 a minute") {
				t.Errorf("why: %+v", w)
			}
			if it, _ := q.Get(last); it.Class != ClassLow || it.State != Queued || it.NextAttempt == nil {
				t.Errorf("item: %+v", it)
			}
			if s := q.Stats(); s.Low < 68 || s.Oldest[Queued] > 0 {
				t.Errorf("stats: %+v", s)
			}
			person = mustPut(t, q, []byte("hello\r\n"), "a@d.example")
			time.Sleep(100 * time.Millisecond)
			if _, ok := q.Get(person); ok {
				t.Error("mail of people waits for reports")
			}
		}
		return n.relayed() == 101
	})
	if took := time.Since(start); took < 195*time.Second || took > 205*time.Second {
		t.Errorf("100 of them took %v at 30 a minute", took)
	}
	mustClose(t, q)
}

// TestLowTurns: where more is due than the destination takes, reports have one
// turn in twenty.
func TestLowTurns(t *testing.T) {
	d := &dest{}
	people, reports := &domain{name: "p"}, &domain{name: "r", low: true}
	for range 100 {
		d.push(people, &entry{size: 1})
		d.push(people, &entry{size: 2})
		d.push(reports, &entry{low: true})
		d.push(reports, &entry{low: true, size: 3})
	}
	low := 0
	for range 200 {
		if d.pop().low {
			low++
		}
	}
	if low != 10 {
		t.Errorf("reports had %d of 200 turns, want 10", low)
	}
	for d.waiting > 0 {
		d.pop()
	}
	if n := len(d.few) + len(d.many) + len(d.low); n != 0 {
		t.Errorf("%d domains left", n)
	}
}

// TestSignedWhenRelayed: a DSN is signed for each attempt, without the queue's
// lock; what lies in the spool is not.
func TestSignedWhenRelayed(t *testing.T) {
	signed := 0
	var q *Queue
	o := Options{Sign: func(head, body []byte) []byte {
		signed++
		q.Stats() // needs the lock
		if strings.Contains(string(head), "X-Signature") || len(body) == 0 {
			t.Errorf("signed again: %q", head)
		}
		return fmt.Appendf(nil, "X-Signature: %d\r\n", signed)
	}}
	timed(t, o, func(t *testing.T, opened *Queue) {
		q = opened
		m := newMessage(nil, "a@d.example")
		m.Envelope.MayReturn = true
		if err := put(q, m, []byte("x\r\n")); err != nil {
			t.Fatal(err)
		}
		n := newNext()
		n.reply = func(_ mail.Destination, m *mail.Message, _ int) mail.Outcome {
			if !m.Envelope.ReversePath.IsNull() {
				return refusal()
			}
			if want := fmt.Sprintf("X-Signature: %d\r\nFrom: ", signed); !strings.HasPrefix(string(m.Heads[0]), want) {
				t.Errorf("DSN %q, want %q", m.Heads[0][:40], want)
			}
			if signed < 3 {
				return deferral("later")
			}
			return mail.Outcome{Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
		}
		run(t, q, n, func() bool { time.Sleep(time.Minute); return n.relayed() == 1 })
	})
	if signed != 3 {
		t.Errorf("signed %d times", signed)
	}
}
