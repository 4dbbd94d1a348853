package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"mailweir/filter"
	"mailweir/filter/greylist"
	"mailweir/filter/reputation"
	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/internal/memo"
	"mailweir/internal/rate"
	"mailweir/smtpd"
)

// remembered is what senders did: it outlives reloads.
type remembered struct {
	greylist, reputation *memo.Table

	rates map[string]smtpd.Rate // by the text of their config
}

// Names of the tables, which are files and labels.
const (
	greylistTable   = "greylist"
	reputationTable = "reputation"
)

func memoDir(cfg *config.Config) string { return filepath.Join(string(cfg.DataDir), "memo") }

// memoTable is one of the tables, and how large and old it may become.
type memoTable struct {
	table **memo.Table
	name  string
	most  int
	keep  time.Duration
}

func (m *remembered) tables(cfg *config.Config) []memoTable {
	keep := reputationOptions(cfg)
	return []memoTable{
		{&m.greylist, greylistTable, greylist.Most, max(cfg.Greylist.Keep, cfg.Greylist.Window)},
		{&m.reputation, reputationTable, reputation.Most, keep.Keep()},
	}
}

// startMemory opens the tables. What nothing is written to makes no file.
func (g *gateway) startMemory(ctx context.Context) error {
	for _, t := range g.memory.tables(g.cfg) {
		var err error
		*t.table, err = memo.Open(fsx.OS{}, filepath.Join(memoDir(g.cfg), t.name), memo.Options{
			Most: t.most, Keep: t.keep, Name: t.name, Log: g.log, Metrics: g.m.memo,
		})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		g.background("memo", func() error {
			defer close(done)
			(*t.table).Run(ctx)
			return nil
		})
		g.onStop("memo", func(context.Context) error {
			cancel()
			<-done
			return nil
		})
	}
	return nil
}

// senders adds the checks of what is remembered of senders, and what learns
// from verdicts. `check` learns nothing, and has no greylist.
func (j *judge) senders(cfg *config.Config, c *checks, o judgeOptions) error {
	j.greylist(cfg, c, o)
	if !cfg.Reputation.Enabled {
		return nil
	}
	if o.memory == nil {
		book, err := readReputation(cfg)
		c.reputation = reputation.NewCheck(book)
		return err
	}
	book := reputation.New(o.memory.reputation, reputationOptions(cfg))
	c.reputation = reputation.NewCheck(book)
	j.observers = append(j.observers, book)
	return nil
}

func (j *judge) greylist(cfg *config.Config, c *checks, o judgeOptions) {
	if !cfg.HasGreylist() {
		return
	}
	if o.memory == nil {
		c.greylist = greylist.NewCheck(nil)
		return
	}
	l := greylist.New(o.memory.greylist, greylist.Options{
		Delay: cfg.Greylist.Delay, Window: cfg.Greylist.Window, Keep: cfg.Greylist.Keep,
	})
	c.greylist = greylist.NewCheck(l)
	j.observers = append(j.observers, l)
}

func greylistPolicy(g *config.GreylistPolicy) filter.GreylistPolicy {
	if !g.Enabled {
		return filter.GreylistPolicy{}
	}
	return filter.GreylistPolicy{From: g.From, To: g.To}
}

// rates makes the limits. One that was there before goes on counting. Who
// remembers nothing limits nobody.
func rates(cfg *config.Config, m *remembered) []smtpd.Rate {
	if m == nil {
		return nil
	}
	var list []smtpd.Rate
	kept := map[string]smtpd.Rate{}
	for _, c := range cfg.RateLimits {
		id := fmt.Sprint(c)
		if _, twice := kept[id]; twice {
			continue
		}
		r, there := m.rates[id]
		if !there {
			r = smtpd.Rate{By: smtpd.RateBy(c.By), Messages: buckets(c.Messages, c.Per), Recipients: buckets(c.Recipients, c.Per)}
		}
		kept[id] = r
		r.Exempt = slices.Clone(c.Exempt)
		for _, a := range cfg.Allow {
			if a.Network.IsValid() && len(a.For) == 0 && a.Expires == "" && r.By != smtpd.ByUser {
				r.Exempt = append(r.Exempt, a.Network)
			}
		}
		list = append(list, r)
	}
	m.rates = kept
	return list
}

func buckets(events int, per time.Duration) *rate.Buckets {
	if events == 0 {
		return nil
	}
	return rate.New(rate.Limit{Events: events, Per: per})
}
