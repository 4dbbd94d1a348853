package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/internal/mailtest"
	"mailweir/mail"
)

// clerk is a next hop that keeps accounts of its own: every eighth recipient is
// refused, every fourth has to wait once.
type clerk struct {
	relayed, failed atomic.Int64
	seen            sync.Map
}

func (*clerk) Route(p mail.Path) mail.Destination { return mail.Destination(p.Domain()) }

func (c *clerk) Deliver(_ context.Context, _ mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome)) {
	for _, i := range rcpts {
		o := mail.Outcome{Recipient: i, Result: mail.Relayed, Reply: mail.Reply{Code: 250}}
		switch k := m.Envelope.ID[15]; {
		case k%8 == 0:
			o = refusal()
			o.Recipient = i
			if m.Envelope.MayReturn || m.Envelope.ReversePath.IsNull() && m.Envelope.Recipients[i].Notify == mail.NotifyNever {
				c.failed.Add(1) // else it is held
			}
		case k%4 == 1:
			if _, again := c.seen.LoadOrStore(m.Envelope.ID, true); !again {
				o = deferral("later")
				o.Recipient = i
			}
		}
		if o.Result == mail.Relayed {
			c.relayed.Add(1)
		}
		done(o)
	}
}

// TestAccounts: over many messages and restarts, on a real disk, what the queue
// counts is what came in and went out, and what one life leaves the next one
// finds. (Crashes are in the histories of TestModel.)
func TestAccounts(t *testing.T) {
	n := sized(t, 100_000, 1_000_000) / 2
	if mailtest.RaceDetector {
		n /= 25
	}
	t.Run("clear", func(t *testing.T) { accounts(t, nil, n) })
	t.Run("sealed", func(t *testing.T) { accounts(t, testKeys, n) })
}

func accounts(t *testing.T, keys []Key, n int) {
	const lives, writers = 20, 16
	dir, c := t.TempDir(), &clerk{}
	var sum Ledger
	var brought atomic.Int64
	for life := range lives {
		q := mustOpen(t, fsx.OS{}, dir, Options{SegmentSize: 8 << 20, Keys: keys, Retry: Schedule{First: 20 * time.Millisecond, Max: 20 * time.Millisecond}})
		if got := q.Stats().Ledger.Recovered; got != sum.InQueue {
			t.Fatalf("life %d: %d recipients in the spool, the life before left %d", life, got, sum.InQueue)
		}
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for k := range max(n/lives/writers, 8) { // fewer go too few ways
					brought.Add(bring(t, q, k))
				}
			})
		}
		ended := make(chan struct{})
		go func() { all.Wait(); close(ended) }()
		run(t, q, c, func() bool {
			select {
			case <-ended:
				return true
			default:
				return false
			}
		})
		mustClose(t, q)
		l := q.Stats().Ledger
		sum = Ledger{
			Accepted: sum.Accepted + l.Accepted, Generated: sum.Generated + l.Generated, Relayed: sum.Relayed + l.Relayed,
			Failed: sum.Failed + l.Failed, Deleted: sum.Deleted + l.Deleted, InQueue: l.InQueue,
		}
	}
	t.Logf("%d recipients in %d lives: %+v", brought.Load(), lives, sum)
	if sum.Imbalance() != 0 || sum.Accepted != brought.Load() {
		t.Errorf("%d brought, drift %d", brought.Load(), sum.Imbalance())
	}
	if r, f := c.relayed.Load(), c.failed.Load(); sum.Relayed != r || sum.Failed != f {
		t.Errorf("the next hop has taken %d and refused %d, the queue says %d and %d", r, f, sum.Relayed, sum.Failed)
	}
	if sum.Generated == 0 || sum.Deleted == 0 || sum.InQueue == 0 {
		t.Error("not all ways were gone")
	}
}

// bring brings a message, and deletes some. It returns the number of recipients.
func bring(t *testing.T, q *Queue, k int) int64 {
	m := newMessage(nil, "a@d.example", "b@d.example")
	m.Envelope.MayReturn = k%2 == 0
	if k%40 == 0 {
		m.Envelope.Recipients[1].Hold = "quarantine:X"
	}
	if k%3 == 0 {
		m.Envelope.Recipients = m.Envelope.Recipients[:1]
	}
	if err := put(q, m, []byte("body\r\n")); err != nil {
		t.Error(err)
		return 0
	}
	if k%50 == 0 {
		if err := q.Delete(m.Envelope.ID); err != nil && err != ErrNotFound && err != ErrActive {
			t.Error(err)
		}
	}
	return int64(len(m.Envelope.Recipients))
}
