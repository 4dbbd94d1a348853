package events

import (
	"database/sql"
	"errors"
	"strings"
	"time"

	"mailweir/mail"
)

// writer is the one goroutine that writes.
type writer struct {
	s       *Store
	days    map[string]*dayDB
	waiting []change
	spare   []change // memory for what comes meanwhile
	early   []change // outcomes whose rows were not there
	dropDay string   // the day that old ones were last dropped on
	name    string   // of the day that began at from
	from    time.Time
}

// dayDB is an open day with its statements, and the transaction at work.
type dayDB struct {
	db       *sql.DB
	prepared statements
	used     time.Time

	tx   *sql.Tx
	at   statements // prepared, in tx
	args []any      // of rows that wait for a whole insertMany
	rows int

	lost  int // rows that could not be put in
	cause error
}

// statements of a day. Rows go in by many: each statement costs as much as a
// few rows.
type statements struct{ insertMany, insert, update *sql.Stmt }

const (
	values = 15 // of a row
	batch  = 16 // rows of insertMany
)

// run ends when the store is closed and all is written.
func (w *writer) run() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for open := true; open; {
		select {
		case <-tick.C:
		case <-w.s.full:
		case synced := <-w.s.syncs:
			w.gather()
			w.settle()
			close(synced)
			continue
		case <-w.s.ending:
			open = false
		}
		w.gather()
		w.flush()
		if today := dayOf(time.Now()); today != w.dropDay {
			w.dropDay = today
			w.shut(0)
			if err := drop(w.s.dir, w.s.keep, time.Now()); err != nil {
				w.s.log.Error("old events cannot be dropped", "error", err)
			}
		}
	}
	w.settle()
	w.shut(0)
}

// settle writes what waits, outcomes without a row included.
func (w *writer) settle() {
	for range patience + 1 {
		w.flush()
	}
}

// gather adds what came since to what waits.
func (w *writer) gather() {
	w.spare = w.s.take(w.spare)
	w.waiting = append(w.waiting, w.spare...)
	clear(w.spare)
	w.spare = w.spare[:0]
}

// patience is how many flushes an outcome waits for its row.
const patience = 3

// flush writes what waits: one commit a day that is concerned.
func (w *writer) flush() {
	if len(w.waiting) == 0 {
		return
	}
	now, came := time.Now(), len(w.waiting)
	var lost int
	var cause error
	for _, c := range joined(w.waiting) {
		if err := w.write(c, now); err != nil {
			lost, cause = lost+1, err
		}
	}
	for name, d := range w.days {
		if d.tx == nil {
			continue
		}
		d.rest()
		err := d.tx.Commit()
		d.tx = nil
		if d.lost > 0 {
			lost, cause = lost+d.lost, d.cause
			d.lost, d.cause = 0, nil
		}
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
	w.s.ledger.settled.Add(int64(came - len(w.early)))
	clear(w.waiting)
	w.waiting = append(w.waiting[:0], w.early...)
	w.early = w.early[:0]
	w.shut(openDays)
}

func (w *writer) write(c change, now time.Time) error {
	d, err := w.day(w.dayOf(c.ID.Time()))
	if err != nil {
		return err
	}
	d.used = now
	if d.tx == nil {
		if err := d.begin(); err != nil {
			return err
		}
	}
	e := c.Event
	if c.outcome && c.tries < patience {
		r, err := d.at.update.Exec(e.State, e.Reply, e.NextHop, e.Done.UnixMilli(), e.ID[:], key(e.Recipient))
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
	d.rows++
	d.args = append(d.args, e.ID[:], key(e.Recipient), e.At.UnixMilli(), key(e.Sender), e.Client, e.TLS, e.Action, e.Reason,
		e.Score, e.Size, e.Symbols, e.State, e.Reply, e.NextHop, e.Done.UnixMilli())
	if len(d.args) < batch*values {
		return nil
	}
	d.put(d.at.insertMany, batch)
	return nil
}

// dayOf is dayOf, which is mostly the day of the event before.
func (w *writer) dayOf(t time.Time) string {
	if since := t.Sub(w.from); since < 0 || since >= 24*time.Hour {
		w.from = t.UTC().Truncate(24 * time.Hour)
		w.name = dayOf(w.from)
	}
	return w.name
}

func (d *dayDB) begin() (err error) {
	if d.tx, err = d.db.Begin(); err != nil {
		return err
	}
	d.at = statements{d.tx.Stmt(d.prepared.insertMany), d.tx.Stmt(d.prepared.insert), d.tx.Stmt(d.prepared.update)}
	return nil
}

// rest puts in the rows that are fewer than many.
func (d *dayDB) rest() {
	for len(d.args) > 0 {
		d.put(d.at.insert, 1)
	}
}

// put runs an insert of n rows.
func (d *dayDB) put(insert *sql.Stmt, n int) {
	if _, err := insert.Exec(d.args[:n*values]...); err != nil {
		d.rows, d.lost, d.cause = d.rows-n, d.lost+n, err
	}
	left := copy(d.args, d.args[n*values:])
	clear(d.args[left:])
	d.args = d.args[:left]
}

// joined gives rows the outcome that waits beside them: most messages are
// relayed within the second, and need no update.
func joined(list []change) []change {
	type place struct {
		id        mail.ID
		recipient string
	}
	rows := make(map[place]*Event, len(list))
	for _, c := range list {
		if !c.outcome {
			rows[place{c.ID, c.Recipient}] = c.Event
		}
	}
	kept := list[:0]
	for _, c := range list {
		if row := rows[place{c.ID, c.Recipient}]; c.outcome && row != nil {
			row.Outcome = c.Outcome
			continue
		}
		kept = append(kept, c)
	}
	return kept
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
	row := "(?" + strings.Repeat(",?", values-1) + ")"
	// A row that is there already stays. To replace it SQLite would keep a copy
	// of every page that a statement touches, in case it fails half way.
	var errs [3]error
	d.prepared.insert, errs[0] = db.Prepare("INSERT OR IGNORE INTO event VALUES " + row)
	d.prepared.insertMany, errs[1] = db.Prepare("INSERT OR IGNORE INTO event VALUES " + row + strings.Repeat(","+row, batch-1))
	d.prepared.update, errs[2] = db.Prepare("UPDATE event SET state=?, reply=?, next_hop=?, done=? WHERE id=? AND recipient=?")
	if err := errors.Join(errs[:]...); err != nil {
		d.close()
		return nil, err
	}
	w.days[name] = d
	return d, nil
}

func (d *dayDB) close() {
	for _, s := range []*sql.Stmt{d.prepared.insertMany, d.prepared.insert, d.prepared.update} {
		if s != nil {
			s.Close()
		}
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
