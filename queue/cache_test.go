package queue

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// reader is a next hop of which only the result counts.
type reader func(m *mail.Message) mail.Result

func (reader) Route(p mail.Path) mail.Destination { return mail.Destination(p.Domain()) }

func (r reader) Deliver(_ context.Context, _ mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	for _, i := range rcpts {
		done(mail.Outcome{Recipient: i, Result: r(m), Reply: mail.Reply{Code: 550}})
	}
}

// TestSlowReaderKeepsItsMemory: chunks are filled again while some attempts
// still read, and others were cut short and read on after their end. Each sees
// its own message to the last.
func TestSlowReaderKeepsItsMemory(t *testing.T) {
	for name, o := range map[string]Options{"plain": {}, "sealed": {Keys: testKeys}, "compressed": {Compress: true}} {
		t.Run(name, func(t *testing.T) { slowReader(t, o) })
	}
}

func slowReader(t *testing.T, o Options) {
	o.MinFreeBytes, o.PerDestination, o.Workers = 1, 8, 64
	q := mustOpen(t, fsx.NewMem(), "/spool", o)
	var late sync.WaitGroup
	var relayed, wrong atomic.Int32
	end := make(chan struct{})
	check := func(body mail.Bytes) {
		if n := bytes.Count(body, body[:8]); n != len(body)/8 {
			wrong.Add(1)
		}
	}
	d := reader(func(m *mail.Message) mail.Result {
		defer relayed.Add(1)
		if m.Envelope.ReversePath.IsNull() {
			return mail.Relayed // the report of one that was cut
		}
		body, result := m.Body.(mail.Bytes), mail.Relayed
		switch m.Envelope.Recipients[0].Path.Domain() {
		case "slow.example":
			<-end
		case "cut.example":
			late.Go(func() { <-end; check(body) })
			result = mail.Failed
		}
		check(body)
		return result
	})
	number := 0
	putMany := func(n int, domain mail.Path) {
		for range n {
			number++
			mustPut(t, q, bytes.Repeat(fmt.Appendf(nil, "%07d\n", number), 2000), "a@"+domain)
		}
	}
	steps := []struct {
		relayed int32 // before it
		do      func()
	}{
		{0, func() { putMany(4, "cut.example"); putMany(200, "quick.example") }},
		{4 + 4 + 200, func() { putMany(2, "slow.example"); putMany(200, "quick.example") }},
		{408, func() { putMany(400, "quick.example") }},
		{808, func() { close(end) }},
		{810, nil},
	}
	run(t, q, d, func() bool {
		if s := &steps[0]; relayed.Load() < s.relayed {
			return false
		} else if s.do != nil {
			s.do()
		}
		steps = steps[1:]
		return len(steps) == 0
	})
	late.Wait()
	mustClose(t, q)
	if wrong.Load() > 0 {
		t.Errorf("%d readers saw another message", wrong.Load())
	}
	if o.Keys == nil && !o.Compress && len(q.log.chunks.spare) == 0 {
		t.Error("no chunk was given back: the test has shown nothing")
	}
}

// TestRelocatedIsReadWhole: a message that is relocated while it lies in memory
// is read from where it is now; its state, and so its record, has grown.
func TestRelocatedIsReadWhole(t *testing.T) {
	q, err := open(fsx.NewMem(), "/spool", Options{MinFreeBytes: 1, Metrics: modelMetrics}, true)
	if err != nil {
		t.Fatal(err)
	}
	id := mustPut(t, q, []byte("body\r\n"), "a@d.example")
	mustPut(t, q, []byte("another\r\n"), "b@d.example")
	q.mu.Lock()
	e := q.entries[id]
	e.rcpts[0].hold, e.rcpts[0].phase = q.reason("a reason of some length"), phaseHeld
	before := e.recLen
	q.relocate(e)
	q.mu.Unlock()
	q.flush()
	if e.recLen <= before {
		t.Fatalf("a record of %d octets after one of %d", e.recLen, before)
	}
	wantContent(t, q, id, []byte("body\r\n"))
	mustClose(t, q)
}

// TestMemoryInClear: of a message that is sealed or compressed in the log, memory
// has the record as it would be in clear; the log has not, and neither has it
// after a relocation.
func TestMemoryInClear(t *testing.T) {
	body := bytes.Repeat([]byte("a line that compresses well\r\n"), 100)
	for name, o := range map[string]Options{"sealed": {Keys: testKeys}, "compressed": {Compress: true}, "both": {Keys: testKeys, Compress: true}} {
		t.Run(name, func(t *testing.T) {
			o.MinFreeBytes, o.Metrics = 1, modelMetrics
			disk := fsx.NewMem()
			q, err := open(disk, "/spool", o, true)
			if err != nil {
				t.Fatal(err)
			}
			id := mustPut(t, q, body, "a@d.example")
			for _, step := range []string{"accepted", "relocated"} {
				for name, raw := range spoolFiles(t, disk) {
					if bytes.Contains(raw, body[:60]) {
						t.Errorf("%s: %s has the body in clear", step, name)
					}
				}
				wantContent(t, q, id, body)
				q.mu.Lock()
				e := q.entries[id]
				if r := e.cached(); (r != nil) != (step == "accepted") || r != nil && !bytes.Contains(r, body) {
					t.Errorf("%s: %d octets in memory", step, len(r))
				}
				if step == "accepted" {
					q.relocate(e)
				}
				q.mu.Unlock()
				q.flush()
			}
			mustClose(t, q)
		})
	}
}

// TestStuckMessageHoldsNoPlaces: the list of what is in memory does not grow
// behind a message that stays.
func TestStuckMessageHoldsNoPlaces(t *testing.T) {
	q, err := open(fsx.NewMem(), "/spool", Options{MinFreeBytes: 1, Metrics: modelMetrics, Keys: testKeys}, true)
	if err != nil {
		t.Fatal(err)
	}
	stuck := mustPut(t, q, []byte("stays\r\n"), "a@d.example")
	for range 1000 {
		id := mustPut(t, q, []byte("goes\r\n"), "b@d.example")
		q.mu.Lock()
		q.uncache(q.entries[id])
		q.mu.Unlock()
	}
	q.mu.Lock()
	if n := len(q.chunks); n > 150 || q.entries[stuck].cached() == nil {
		t.Errorf("%d places for one message, %d octets of it", n, len(q.entries[stuck].cached()))
	}
	if want := int64(cap(q.entries[stuck].chunk.buf)); q.cacheBytes != want {
		t.Errorf("%d octets counted, %d there", q.cacheBytes, want)
	}
	q.mu.Unlock()
	mustClose(t, q)
}
