package events

import (
	"database/sql"
	"errors"
	"time"
)

// writer is the one goroutine that writes.
type writer struct {
	s       *Store
	days    map[string]*dayDB
	waiting []change
	early   []change // outcomes whose rows were not there
	dropDay string   // the day that old ones were last dropped on
}

// dayDB is an open day with its statements, and the transaction at work.
type dayDB struct {
	db             *sql.DB
	insert, update *sql.Stmt
	tx             *sql.Tx
	used           time.Time
	rows           int
}

// run ends when the queue is closed and empty.
func (w *writer) run() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for open := true; open; {
		select {
		case c, ok := <-w.s.in:
			if open = ok; ok {
				w.waiting = append(w.waiting, c)
			}
			if len(w.waiting) < backlog/2 && ok {
				continue
			}
		case <-tick.C:
		}
		w.flush()
		if today := dayOf(time.Now()); today != w.dropDay {
			w.dropDay = today
			w.shut(0)
			if err := drop(w.s.dir, w.s.keep, time.Now()); err != nil {
				w.s.log.Error("old events cannot be dropped", "error", err)
			}
		}
	}
	for range patience + 1 {
		w.flush()
	}
	w.shut(0)
}

// patience is how many flushes an outcome waits for its row.
const patience = 3

// flush writes what waits: one commit a day that is concerned.
func (w *writer) flush() {
	if len(w.waiting) == 0 {
		return
	}
	now := time.Now()
	var lost int
	var cause error
	for _, c := range w.waiting {
		if err := w.write(c, now); err != nil {
			lost, cause = lost+1, err
		}
	}
	for name, d := range w.days {
		if d.tx == nil {
			continue
		}
		err := d.tx.Commit()
		d.tx = nil
		if err != nil {
			lost, cause = lost+d.rows, err
			d.close()
			delete(w.days, name)
		} else {
			w.s.written.Add(float64(d.rows))
		}
		d.rows = 0
	}
	if lost > 0 {
		w.s.dropped.WithLabelValues(lostWrite).Add(float64(lost))
		w.s.log.Error("events are lost; mail is not affected", "events", lost, "error", cause)
	}
	clear(w.waiting)
	w.waiting = append(w.waiting[:0], w.early...)
	w.early = w.early[:0]
	w.shut(openDays)
}

func (w *writer) write(c change, now time.Time) error {
	d, err := w.day(dayOf(c.ID.Time()))
	if err != nil {
		return err
	}
	d.used = now
	if d.tx == nil {
		if d.tx, err = d.db.Begin(); err != nil {
			return err
		}
	}
	e := c.Event
	if c.outcome && c.tries < patience {
		r, err := d.tx.Stmt(d.update).Exec(e.State, e.Reply, e.NextHop, e.Done.UnixMilli(), e.ID[:], key(e.Recipient))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); n == 0 || err != nil {
			c.tries++
			w.early = append(w.early, c)
			return err
		}
		d.rows++
		return nil
	}
	_, err = d.tx.Stmt(d.insert).Exec(e.ID[:], key(e.Recipient), e.At.UnixMilli(), key(e.Sender), e.Client, e.TLS, e.Action, e.Reason,
		e.Score, e.Size, e.Symbols, e.State, e.Reply, e.NextHop, e.Done.UnixMilli())
	if err == nil {
		d.rows++
	}
	return err
}

func (w *writer) day(name string) (*dayDB, error) {
	if d := w.days[name]; d != nil {
		return d, nil
	}
	db, err := open(w.s.dir, name, "rwc")
	if err != nil {
		return nil, err
	}
	d := &dayDB{db: db}
	var err1, err2 error
	d.insert, err1 = db.Prepare("INSERT OR REPLACE INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
	d.update, err2 = db.Prepare("UPDATE event SET state=?, reply=?, next_hop=?, done=? WHERE id=? AND recipient=?")
	if err := errors.Join(err1, err2); err != nil {
		d.close()
		return nil, err
	}
	w.days[name] = d
	return d, nil
}

func (d *dayDB) close() {
	if d.insert != nil {
		d.insert.Close()
	}
	if d.update != nil {
		d.update.Close()
	}
	d.db.Close() // all that was committed is on the disk
}

// shut closes databases until no more than that many are open, the longest
// unused first.
func (w *writer) shut(most int) {
	for len(w.days) > most {
		oldest := ""
		for name, d := range w.days {
			if oldest == "" || d.used.Before(w.days[oldest].used) {
				oldest = name
			}
		}
		w.days[oldest].close()
		delete(w.days, oldest)
	}
}
