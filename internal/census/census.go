// Package census counts, for `gateway stats`, from which countries and
// networks messages come and what software they are written with. An address is
// looked up and forgotten: what is kept is numbers.
//
// DIR/2006-01-02.json has a UTC day, by hour, kind and name:
//
//	{"2026-11-29T21:00:00Z":{"country":{"DE":120,"US":33},"network":{"AS64496 Example":7},"software":{"outlook":80}}}
//
// It is written anew once a minute; a crash loses that much. A day is dropped
// whole when it is too old.
package census

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of what is counted.
const (
	Country  = "country"
	Network  = "network"
	Software = "software"
)

const (
	flushEvery = time.Minute
	// maxNames bounds the names of a kind in an hour; what comes more is Other.
	maxNames = 4096
	suffix   = ".json"
)

// Other is whatever has no name, or too few.
const Other = "other"

// counts are by kind and name.
type counts map[string]map[string]int64

func (c counts) add(kind, name string, n int64) {
	names := c[kind]
	if names == nil {
		names = map[string]int64{}
		c[kind] = names
	}
	if _, known := names[name]; !known && len(names) >= maxNames {
		name = Other
	}
	names[name] += n
}

// Store is the counting side. It is safe for concurrent use.
type Store struct {
	dir  string
	keep time.Duration
	log  *slog.Logger
	dbs  []*maxminddb.Reader

	messages map[string]prometheus.Counter // by family
	vector   *prometheus.CounterVec

	mu      sync.Mutex
	day     string
	ends    time.Time            // of the day
	hours   map[time.Time]counts // of the day
	changed bool

	ending, ended chan struct{}
}

// Open reads the databases and what is there of today. Any number of MMDB files
// can be given: country and network are taken from whichever has them.
func Open(dir string, keep time.Duration, mmdb []string, log *slog.Logger) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, keep: keep, log: log, ending: make(chan struct{}), ended: make(chan struct{})}
	s.register()
	for _, name := range mmdb {
		db, err := maxminddb.Open(name)
		if err != nil {
			return nil, fmt.Errorf("stats.mmdb: %s is no MMDB file: %w", name, err)
		}
		s.dbs = append(s.dbs, db)
	}
	if err := s.turn(time.Now()); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

func (s *Store) run() {
	defer close(s.ended)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.mu.Lock()
			err := s.turn(now)
			s.mu.Unlock()
			if err != nil {
				s.log.Error("statistics cannot be written; mail is not affected", "error", err)
			}
		case <-s.ending:
			return
		}
	}
}

// turn writes what changed; on a new day it drops what is too old, and begins.
func (s *Store) turn(now time.Time) error {
	err := s.write()
	if today := dayOf(now); today != s.day {
		s.day, s.ends = today, now.UTC().Truncate(24*time.Hour).Add(24*time.Hour)
		var old error
		s.hours, old = read(s.path(today))
		err = errors.Join(err, old, drop(s.dir, s.keep, now))
	}
	return err
}

// Add counts a message of a client.
func (s *Store) Add(at time.Time, client netip.Addr, mailer string) {
	country, network := s.lookUp(client)
	family := Family(mailer)
	s.messages[family].Inc()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !at.Before(s.ends) {
		if err := s.turn(at); err != nil {
			s.log.Error("statistics cannot be written; mail is not affected", "error", err)
		}
	}
	hour := at.UTC().Truncate(time.Hour)
	c := s.hours[hour]
	if c == nil {
		c = counts{}
		s.hours[hour] = c
	}
	if len(s.dbs) > 0 {
		c.add(Country, country, 1)
		c.add(Network, network, 1)
	}
	c.add(Software, family, 1)
	s.changed = true
}

// record is what is read of a database.
type record struct {
	Country struct {
		ISO string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	Number       uint32 `maxminddb:"autonomous_system_number"`
	Organization string `maxminddb:"autonomous_system_organization"`
}

func (s *Store) lookUp(client netip.Addr) (country, network string) {
	country, network = "unknown", "unknown"
	for _, db := range s.dbs {
		var r record
		if !client.IsValid() || db.Lookup(client).Decode(&r) != nil {
			continue
		}
		if r.Country.ISO != "" {
			country = r.Country.ISO
		}
		if r.Number > 0 {
			network = strings.TrimSpace(fmt.Sprintf("AS%d %.60s", r.Number, r.Organization))
		}
	}
	return country, network
}

func (s *Store) path(day string) string { return filepath.Join(s.dir, day+suffix) }

func (s *Store) write() error {
	if !s.changed {
		return nil
	}
	b, err := json.Marshal(s.hours)
	if err != nil {
		return err
	}
	temporary := s.path(s.day) + ".new"
	if err := os.WriteFile(temporary, b, 0o600); err != nil {
		return err
	}
	s.changed = false
	return os.Rename(temporary, s.path(s.day))
}

// Close writes what is counted.
func (s *Store) Close() error {
	close(s.ending)
	<-s.ended
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.write()
	for _, db := range s.dbs {
		err = errors.Join(err, db.Close())
	}
	return err
}

// register makes the series of the closed list. Countries and networks are not
// among them: a series of one message tells of somebody.
func (s *Store) register() {
	s.vector = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mailweir_census_messages_total", Help: "Judged messages by the family of the software that wrote them."}, []string{"software"})
	s.messages = map[string]prometheus.Counter{}
	for _, family := range Families() {
		s.messages[family] = s.vector.WithLabelValues(family)
	}
}

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) { s.vector.Describe(ch) }

// Collect implements prometheus.Collector.
func (s *Store) Collect(ch chan<- prometheus.Metric) { s.vector.Collect(ch) }

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// read gives the hours of a day; a file that is damaged begins anew.
func read(path string) (map[time.Time]counts, error) {
	hours := map[time.Time]counts{}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return hours, nil
	}
	if err != nil {
		return hours, err
	}
	if json.Unmarshal(b, &hours) != nil {
		return map[time.Time]counts{}, fmt.Errorf("%s is damaged, its counts are lost", path)
	}
	return hours, nil
}
