package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailweir/filter/dmarc"
	"mailweir/internal/history"
	"mailweir/mail"
)

// The limits of a day. Whoever writes the mail chooses domains and addresses.
const (
	maxReports = 10_000  // the ones with most messages are kept
	maxRows    = 10_000  // of one report, likewise
	maxAll     = 500_000 // rows in memory while a day is summed up
)

// Report is what came in the name of one policy domain on one day.
type Report struct {
	ID       string // unique to domain, day and sender
	Domain   string // where the policy record was found
	Day      Day
	Policy   *dmarc.Record // the last one that was seen
	Rows     []Row         // most messages first
	Messages int           // of all rows
	Left     int           // messages that are counted but in no row: a limit was reached
}

// Row is how many messages were alike in everything that a report tells.
type Row struct {
	Source       string // the client's address
	Disposition  string // none pass quarantine reject
	Reason       string // why it is less than the policy asks for
	AlignedDKIM  bool
	AlignedSPF   bool
	HeaderFrom   string
	EnvelopeFrom string // "" for the null reverse-path
	SPFDomain    string
	SPF          string
	DKIM         []Signature
	Count        int
}

// Signature is one DKIM result.
type Signature struct{ Domain, Selector, Result string }

// key is equal for rows that are counted together.
func (r *Row) key() string {
	return fmt.Sprintf("%s\x00%s\x00%s\x00%t\x00%t\x00%s\x00%s\x00%s\x00%s\x00%q",
		r.Source, r.Disposition, r.Reason, r.AlignedDKIM, r.AlignedSPF,
		r.HeaderFrom, r.EnvelopeFrom, r.SPFDomain, r.SPF, r.DKIM)
}

// Day is a UTC day, "2026-11-28".
type Day string

// DayOf is the day of a moment.
func DayOf(t time.Time) Day { return Day(t.UTC().Format(time.DateOnly)) }

// ParseDay reads a day.
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return "", fmt.Errorf("%q is not a day; write for example %q", s, time.Now().UTC().Format(time.DateOnly))
	}
	return DayOf(t), nil
}

// Begin is its first moment; the day was parsed or made by DayOf.
func (d Day) Begin() time.Time {
	t, _ := time.Parse(time.DateOnly, string(d))
	return t
}

// End is the first moment after it.
func (d Day) End() time.Time { return d.Begin().AddDate(0, 0, 1) }

// ID is the report's: the same whenever it is made again.
func (d Day) ID(host, domain string) string {
	sum := sha256.Sum256([]byte(host + "\x00" + domain + "\x00" + string(d)))
	return hex.EncodeToString(sum[:12])
}

// collection sums up a day.
type collection struct {
	day     Day
	hidden  Hidden
	domains map[string]*sums
	rows    int
}

type sums struct {
	policy *dmarc.Record
	rows   map[string]*Row
	left   int
}

// Collect reads a day's verdicts from the history, sealed by keys, and sums them up. host is
// ours. It may run beside a gateway that still writes.
func Collect(dir string, keys history.Keys, host string, day Day, hidden Hidden) ([]*Report, error) {
	c := &collection{day: day, hidden: hidden, domains: map[string]*sums{}}
	err := history.EachLine(dir, keys, day.Begin(), func(line []byte) {
		if e, ok := parseEvent(line); ok && !e.hidden(c.hidden) {
			c.add(e)
		}
	})
	if err != nil {
		return nil, err
	}
	return c.reports(host), nil
}

func (c *collection) add(e *event) {
	d := &e.Facts.DMARC
	policy, err := dmarc.ParseRecord(d.Record)
	// The domain goes into header fields and a file name.
	if err != nil || len(policy.RUA) == 0 || !mail.ValidDomain(d.Domain, false) {
		return
	}
	s := c.domains[d.Domain]
	if s == nil {
		s = &sums{rows: map[string]*Row{}}
		c.domains[d.Domain] = s
	}
	s.policy = policy
	row := e.row()
	key := row.key()
	switch found := s.rows[key]; {
	case found != nil:
		found.Count++
	case c.rows == maxAll:
		s.left++
	default:
		c.rows++
		s.rows[key] = &row
	}
}

func (c *collection) reports(host string) []*Report {
	list := make([]*Report, 0, len(c.domains))
	for domain, s := range c.domains {
		r := &Report{ID: c.day.ID(host, domain), Domain: domain, Day: c.day, Policy: s.policy, Messages: s.left, Left: s.left}
		for _, row := range s.rows {
			r.Rows = append(r.Rows, *row)
			r.Messages += row.Count
		}
		slices.SortFunc(r.Rows, func(a, b Row) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.key(), b.key()))
		})
		for len(r.Rows) > maxRows {
			r.Left += r.Rows[len(r.Rows)-1].Count
			r.Rows = r.Rows[:len(r.Rows)-1]
		}
		if len(r.Rows) > 0 {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b *Report) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), strings.Compare(a.Domain, b.Domain))
	})
	return list[:min(len(list), maxReports)]
}
