package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"mailweir/filter"
	"mailweir/filter/bayes"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/mail"
	"mailweir/queue"
)

// teacher learns as ham what an admin releases from the quarantine: somebody
// has looked at it. It works behind the control socket's back, and learns what
// came in a while in one go.
type teacher struct {
	g       *gateway
	dir     string // of the store for all domains
	learn   atomic.Pointer[config.Learn]
	reader  lessonReader
	lessons chan released
}

// released is the facts of one message, and its ID for the log.
type released struct {
	id    mail.ID
	facts *filter.Facts
}

const (
	teachQueue    = 1000            // messages that can wait; what comes beyond is not learned
	teachAfter    = 2 * time.Second // how long a lesson waits for others
	teachPatience = time.Minute     // for a `gateway learn` that is at work
	teachSize     = 16 << 20        // octets of a message that are read for it
)

// startTeacher begins after the queue and ends before it.
func (g *gateway) startTeacher(ctx context.Context) error {
	g.teacher = &teacher{
		g: g, dir: bayes.Dir(learnedDir(g.cfg), ""), reader: newLessonReader(), lessons: make(chan released, teachQueue),
	}
	g.teacher.learn.Store(&g.cfg.Learn)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	g.background("teacher", func() error {
		defer close(done)
		g.teacher.run(ctx)
		return nil
	})
	g.onStop("teacher", func(context.Context) error {
		cancel()
		<-done
		return nil
	})
	return nil
}

// release is the verb of the queue, with its lesson.
func (g *gateway) release(id mail.ID, only ...queue.Filter) error {
	facts := g.teacher.read(id)
	if facts == nil {
		return g.queue.Release(id, only...)
	}
	err := g.queue.Release(id, append(only, queue.Filter{State: queue.Held})...)
	if errors.Is(err, queue.ErrChanged) { // of several who ask at once, one teaches
		return g.queue.Release(id, only...)
	}
	if err != nil {
		return err
	}
	select {
	case g.teacher.lessons <- released{id, facts}:
	default:
		g.log.Warn("a released message was not learned: too many at once", "id", id.String())
	}
	return nil
}

// read gives the facts of a message that was quarantined as spam, nil for any
// other: that malware or an attachment was let through says nothing about the
// words.
func (t *teacher) read(id mail.ID) *filter.Facts {
	item, there := t.g.queue.Get(id)
	symbol, quarantined := strings.CutPrefix(item.Reason, "quarantine:")
	if !there || item.State != queue.Held || !quarantined || symbol == filter.SymVirus || filter.ClassOf(symbol) != "" || !t.learn.Load().Releases {
		return nil
	}
	b := capped{left: teachSize}
	if err := t.g.queue.Show(id, 0, &b); err != nil && !errors.Is(err, errCapped) {
		t.g.log.Warn("a message that is released cannot be learned", "id", id.String(), "error", err)
		return nil
	}
	facts, err := t.reader.facts(b.Bytes())
	if err != nil {
		t.g.log.Warn("a message that is released cannot be learned", "id", id.String(), "error", err)
	}
	return facts
}

// run learns until ctx ends, and then what is still waiting.
func (t *teacher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			t.teach(t.waiting(nil))
			return
		case first := <-t.lessons:
			wait := time.NewTimer(teachAfter)
			select {
			case <-wait.C:
			case <-ctx.Done():
			}
			t.teach(t.waiting([]released{first}))
		}
	}
}

// waiting appends what can be had at once.
func (t *teacher) waiting(list []released) []released {
	for {
		select {
		case r := <-t.lessons:
			list = append(list, r)
		default:
			return list
		}
	}
}

func (t *teacher) teach(list []released) {
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), teachPatience)
	defer cancel()
	store, err := bayes.Open(ctx, fsx.OS{}, t.dir, t.learn.Load().Keep)
	if err == nil {
		for _, r := range list {
			store.Learn(r.facts, false, time.Now())
		}
		err = errors.Join(store.Commit(), store.Close())
	}
	if err != nil {
		t.g.log.Error("released messages were not learned", "messages", len(list), "error", err)
		return
	}
	for _, r := range list {
		t.g.log.Info("learned as ham, since it was released", "id", r.id.String())
	}
}

// capped keeps the beginning of what is written.
type capped struct {
	bytes.Buffer
	left int
}

var errCapped = errors.New("longer than what is read")

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.left)
	c.left -= n
	c.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errCapped
	}
	return n, nil
}
