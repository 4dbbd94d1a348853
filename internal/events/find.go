package events

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailweir/mail"
)

// Query selects events; what is not set selects nothing away.
type Query struct {
	ID       mail.ID
	From, To string // addresses
	Told     string // an address in the reply
	// Domain is that of sender or recipient: all that the admin of a domain
	// may see.
	Domain       string
	Since, Until time.Time
	Limit        int // 0: no limit
}

// Find calls each with the events, newest first. It may run while a gateway
// writes, in another process; what that holds back for a second is not found
// yet.
func Find(dir string, q Query, each func(*Event) error) error {
	days, err := Days(dir)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	slices.Reverse(days)
	left := q.Limit
	for _, d := range days {
		if !q.touches(d) {
			continue
		}
		n, err := q.find(dir, d, left, each)
		if err != nil {
			return fmt.Errorf("events of %s: %w", dayOf(d), err)
		}
		if q.Limit > 0 {
			if left -= n; left <= 0 {
				return nil
			}
		}
	}
	return nil
}

// touches reports whether a day can have what is asked for. The ID of a message
// is a little older than its verdict.
func (q *Query) touches(d time.Time) bool {
	if q.ID != (mail.ID{}) {
		return dayOf(q.ID.Time()) == dayOf(d)
	}
	const slack = 12 * time.Hour // the longest session, and more
	return (q.Since.IsZero() || d.AddDate(0, 0, 1).Add(slack).After(q.Since)) && (q.Until.IsZero() || d.Before(q.Until))
}

// where is the condition, with its values. A domain can be looked for in order:
// a plus sign keeps SQLite from using an index.
func (q *Query) where(inOrder bool) (string, []any) {
	var parts []string
	var values []any
	add := func(part string, v ...any) {
		parts, values = append(parts, part), append(values, v...)
	}
	if q.ID != (mail.ID{}) {
		add("id = ?", q.ID[:])
	}
	if q.From != "" {
		add("sender = ?", key(q.From))
	}
	if q.To != "" {
		add("recipient = ?", key(q.To))
	}
	if q.Told != "" {
		add(told, strings.ToLower(q.Told))
	}
	if q.Domain != "" {
		from, to := domainRange(q.Domain)
		part := "(recipient >= ? AND recipient < ? OR sender >= ? AND sender < ?)"
		if inOrder {
			part = "(+recipient >= ? AND +recipient < ? OR +sender >= ? AND +sender < ?)"
		}
		add(part, from, to, from, to)
	}
	if !q.Since.IsZero() {
		add("at >= ?", q.Since.UnixMilli())
	}
	if !q.Until.IsZero() {
		add("at < ?", q.Until.UnixMilli())
	}
	if len(parts) == 0 {
		return "1", nil
	}
	return strings.Join(parts, " AND "), values
}

// told is the condition that a reply has an address, in lower case, in it.
const told = "instr(lower(reply), ?)"

const columns = "id, recipient, at, sender, client, tls, action, reason, score, size, symbols, state, reply, next_hop, done"

func (q *Query) find(dir string, day time.Time, limit int, each func(*Event) error) (n int, err error) {
	db, err := open(dir, dayOf(day), "ro")
	if err != nil {
		return 0, err
	}
	defer db.Close()
	inOrder, err := q.inOrder(db)
	if err != nil {
		return 0, err
	}
	where, values := q.where(inOrder)
	if limit <= 0 {
		limit = -1
	}
	rows, err := db.Query("SELECT "+columns+" FROM event WHERE "+where+" ORDER BY id DESC LIMIT ?", append(values, limit)...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return n, err
		}
		if err := each(e); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

// many is how many rows of a day are quicker found by going through all of them
// backwards in time, up to the limit, than by an index and sorting.
const many = 10_000

// inOrder tells whether to go through the table in the order of IDs, which is
// that of time but for the length of a session, instead of through an index.
func (q *Query) inOrder(db *sql.DB) (bool, error) {
	switch {
	case q.ID != (mail.ID{}) || q.From != "" || q.To != "":
		return false, nil
	case q.Domain == "":
		return true, nil
	}
	var n int
	from, to := domainRange(q.Domain)
	err := db.QueryRow("SELECT count(*) FROM (SELECT 1 FROM event WHERE recipient >= ? AND recipient < ? LIMIT ?)", from, to, many).Scan(&n)
	return n == many, err
}

func scan(rows *sql.Rows) (*Event, error) {
	var e Event
	var id []byte
	var at, done int64
	err := rows.Scan(&id, &e.Recipient, &at, &e.Sender, &e.Client, &e.TLS, &e.Action, &e.Reason, &e.Score, &e.Size, &e.Symbols, &e.State, &e.Reply, &e.NextHop, &done)
	if err != nil {
		return nil, err
	}
	if len(id) != len(e.ID) {
		return nil, fmt.Errorf("an ID of %d octets", len(id))
	}
	copy(e.ID[:], id)
	e.Recipient, e.Sender = address(e.Recipient), address(e.Sender)
	e.At, e.Done = time.UnixMilli(at).UTC(), time.UnixMilli(done).UTC()
	return &e, nil
}
