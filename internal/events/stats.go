package events

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Count is how many recipients, and how many octets, an hour had for a domain
// and an action; or a TLS version, without hour and domain.
type Count struct {
	Hour       time.Time `json:"hour,omitzero"`
	Domain     string    `json:"domain,omitempty"` // of the recipients; Other: those with too few
	Action     string    `json:"action,omitempty"`
	TLS        string    `json:"tls,omitempty"` // "none" without
	Recipients int64     `json:"recipients,omitempty"`
	Bytes      int64     `json:"bytes,omitempty"`
	// FewerThan stands instead of the counts where they are below the threshold
	// even together.
	FewerThan int64 `json:"fewer_than,omitempty"`
}

// Other are domains whose counts are below the threshold.
const Other = "other"

// Stats counts what came between since and until, by hour, domain and action,
// and after that by TLS version. A count below k tells of somebody: such domains
// are counted as Other, all of an hour and action together.
func Stats(dir string, since, until time.Time, k int64) ([]Count, error) {
	days, err := Days(dir)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	q := Query{Since: since, Until: until}
	var hours, versions []Count
	for _, d := range days {
		if !q.touches(d) {
			continue
		}
		if hours, versions, err = q.count(dir, d, hours, versions); err != nil {
			return nil, fmt.Errorf("events of %s: %w", dayOf(d), err)
		}
	}
	// A session around midnight has its events in the day before.
	hours = merge(hours)
	for i := range hours {
		if hours[i].Recipients < k {
			hours[i].Domain = Other
		}
	}
	list := append(merge(hours), merge(versions)...)
	for i := range list {
		if c := &list[i]; c.Recipients < k {
			c.Recipients, c.Bytes, c.FewerThan = 0, 0, k
		}
	}
	return list, nil
}

func (q *Query) count(dir string, day time.Time, hours, versions []Count) (h, v []Count, err error) {
	db, err := open(dir, dayOf(day), "ro")
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	where, values := q.where(false)
	rows, err := db.Query("SELECT at / 3600000, substr(recipient, 1, instr(recipient, '@') - 1), action, tls, count(*), sum(size) FROM event WHERE "+where+" GROUP BY 1, 2, 3, 4", values...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c Count
		var hour int64
		if err := rows.Scan(&hour, &c.Domain, &c.Action, &c.TLS, &c.Recipients, &c.Bytes); err != nil {
			return nil, nil, err
		}
		versions = append(versions, Count{TLS: cmp.Or(c.TLS, "none"), Recipients: c.Recipients, Bytes: c.Bytes})
		c.Hour, c.TLS = time.Unix(hour*3600, 0).UTC(), ""
		c.Action = cmp.Or(c.Action, "none")
		hours = append(hours, c)
	}
	return hours, versions, rows.Err()
}

// merge adds up what differs in nothing but counts, in order.
func merge(list []Count) []Count {
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Action, b.Action), cmp.Compare(a.TLS, b.TLS))
	})
	var out []Count
	for _, c := range list {
		if n := len(out) - 1; n >= 0 && out[n].Hour.Equal(c.Hour) && out[n].Domain == c.Domain && out[n].Action == c.Action && out[n].TLS == c.TLS {
			out[n].Recipients += c.Recipients
			out[n].Bytes += c.Bytes
			continue
		}
		out = append(out, c)
	}
	return out
}
