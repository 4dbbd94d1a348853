package events

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
)

const suffix = ".db"

// beside are what SQLite keeps next to a database.
var beside = []string{"-wal", "-shm", "-journal"}

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// schema: without row IDs, since the ID of a message sorts by time. The table
// is the index for the questions by ID.
const schema = `
CREATE TABLE IF NOT EXISTS event (
	id BLOB NOT NULL, recipient TEXT NOT NULL, at INTEGER NOT NULL, sender TEXT NOT NULL,
	client TEXT NOT NULL, tls TEXT NOT NULL, action TEXT NOT NULL, reason TEXT NOT NULL,
	score REAL NOT NULL, size INTEGER NOT NULL, symbols TEXT NOT NULL,
	state TEXT NOT NULL, reply TEXT NOT NULL, next_hop TEXT NOT NULL, done INTEGER NOT NULL,
	PRIMARY KEY (id, recipient)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_recipient ON event (recipient);
CREATE INDEX IF NOT EXISTS by_sender ON event (sender);
`

// open opens a day's database. secure_delete overwrites what is deleted; a
// commit is synced. What a second changes fits into the cache, so that pages are
// written once, at the commit; with SQLite's 2 MB under load half of the CPU of
// writing went into writing and reading pages in between.
func open(dir, day, mode string) (*sql.DB, error) {
	q := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(1)", "temp_store(MEMORY)", "cache_size(-16384)"}}
	if mode == "ro" {
		q = url.Values{"mode": {mode}, "_pragma": {"busy_timeout(10000)"}}
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: filepath.Join(dir, day+suffix)}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if mode != "ro" {
		if err := keepLog(db); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if mode == "rwc" {
		if _, err := db.Exec(schema); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

// keepLog has SQLite leave the write-ahead log where it is when the database is
// closed, instead of removing it: blocks that are freed with rows in them are
// where nobody can erase them.
func keepLog(db *sql.DB) error {
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error {
		control, ok := c.(sqlite.FileControl)
		if !ok {
			return errors.New("events: the SQLite driver has no file control")
		}
		_, err := control.FileControlPersistWAL("main", 1)
		return err
	})
}

// Days are the days that dir has a database of, oldest first, with its path.
func Days(dir string) (days []time.Time, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), suffix); ok {
			if d, err := time.Parse(time.DateOnly, name); err == nil {
				days = append(days, d)
			}
		}
	}
	return days, err
}

// Path is a day's file.
func Path(dir string, day time.Time) string { return filepath.Join(dir, dayOf(day)+suffix) }

// Beside are the other files that dir may have: those of SQLite next to the
// databases of days, and the marker of a gateway that runs.
func Beside(dir string, days []time.Time) []string {
	names := []string{filepath.Join(dir, marker)}
	for _, d := range days {
		for _, s := range beside {
			names = append(names, Path(dir, d)+s)
		}
	}
	return names
}

// drop removes the days that ended longer than keep ago.
func drop(dir string, keep time.Duration, now time.Time) error {
	days, err := Days(dir)
	if err != nil {
		return err
	}
	for _, d := range days {
		if d.AddDate(0, 0, 1).Add(keep).After(now) {
			return nil
		}
		name := Path(dir, d)
		for _, s := range beside {
			os.Remove(name + s) // mostly not there
		}
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("events: %w", err)
		}
	}
	return nil
}
