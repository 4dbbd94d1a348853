package events

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Erase removes the rows of an address, as sender or as recipient, from all
// days, and the reply from rows of others that names it (a next hop that repeats
// it, a rule that sent mail on to it), and gives their number. secure_delete overwrites them in the database,
// and wipeLog in the write-ahead log, whose blocks are never freed before.
func Erase(dir, address string) (n int64, err error) {
	days, err := Days(dir)
	if err != nil {
		return 0, fmt.Errorf("events: %w", err)
	}
	for _, d := range days {
		k, err := eraseDay(dir, dayOf(d), address)
		if n += k; err != nil {
			return n, fmt.Errorf("events of %s: %w", dayOf(d), err)
		}
	}
	return n, nil
}

func eraseDay(dir, day, address string) (n int64, err error) {
	db, err := open(dir, day, "rw")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if n, err = rebuild(db, address); err != nil || n == 0 {
		return n, err
	}
	return n, wipeLog(db, filepath.Join(dir, day+suffix+"-wal"))
}

// rebuild deletes the rows and writes the others anew: SQLite overwrites a page
// that it frees, but a row that has moved from one page to another, when that
// was split, leaves its octets where it was.
func rebuild(db *sql.DB, address string) (n int64, err error) {
	tx, err := db.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	for _, s := range []struct {
		statement string
		args      []any
	}{
		{"DELETE FROM event WHERE recipient = ? OR sender = ?", []any{key(address), key(address)}},
		{"UPDATE event SET reply = '' WHERE " + told, []any{strings.ToLower(address)}},
	} {
		r, err := tx.Exec(s.statement, s.args...)
		if err != nil {
			return 0, err
		}
		k, err := r.RowsAffected()
		if n += k; err != nil {
			return n, err
		}
	}
	if n == 0 {
		return 0, nil
	}
	for _, statement := range []string{
		"ALTER TABLE event RENAME TO old", "DROP INDEX by_recipient", "DROP INDEX by_sender", schema,
		"INSERT INTO event SELECT * FROM old", "DROP TABLE old",
	} {
		if _, err := tx.Exec(statement); err != nil {
			return 0, err
		}
	}
	return n, tx.Commit()
}

// wipeLog overwrites the write-ahead log where it is: everything in it goes into
// the database, and then what is longer than it is written from its beginning
// on, and deleted.
func wipeLog(db *sql.DB, log string) error {
	if err := checkpoint(db); err != nil {
		return err
	}
	info, err := os.Stat(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS pad (x BLOB)", fmt.Sprintf("INSERT INTO pad VALUES (zeroblob(%d))", info.Size()), "DELETE FROM pad",
	} {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	return checkpoint(db)
}

// checkpoint has the log written from its beginning again.
func checkpoint(db *sql.DB) error {
	var busy, frames, moved int
	if err := db.QueryRow("PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &frames, &moved); err != nil {
		return err
	}
	if busy != 0 {
		return errors.New("the write-ahead log is in use by a reader: erase again")
	}
	return nil
}
