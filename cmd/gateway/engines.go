package main

import (
	"mailweir/filter"
	"mailweir/filter/engine"
	"mailweir/internal/config"
)

// engineChecks makes the checks that ask other filters.
func (j *judge) engineChecks(cfg *config.Config, c *checks, o judgeOptions) error {
	for k := range cfg.Engines {
		e := &cfg.Engines[k]
		network, address := e.Address.Split()
		scale := engine.Scale{Name: e.Name, Names: e.Symbols, Weight: e.Weight, Cap: e.Cap}
		if e.Type == "milter" {
			scale.Names = engine.MilterSymbols
		}
		asker, err := engine.New(e.Type, engine.Address{Network: network, Address: address}, string(cfg.Hostname), e.Cap)
		if err != nil {
			return err
		}
		check := engine.NewCheck(engine.Options{
			Scale: scale, Asker: asker, Timeout: e.Timeout, MaxSize: int64(e.MaxSize), Concurrent: e.Concurrent,
			Metrics: o.m.engine, Log: o.log,
		})
		c.engines = append(c.engines, check)
		j.engines = append(j.engines, check)
	}
	return nil
}

// engineNames are those of the config.
func engineNames(cfg *config.Config) []string {
	names := make([]string, len(cfg.Engines))
	for k := range cfg.Engines {
		names[k] = cfg.Engines[k].Name
	}
	return names
}

// enginePolicy is what becomes of mail when an engine gives no answer, by the
// symbol of its state.
func enginePolicy(list []config.Engine) map[string]filter.Action {
	var p map[string]filter.Action
	for _, e := range list {
		if e.OnError == "accept" {
			continue
		}
		if p == nil {
			p = map[string]filter.Action{}
		}
		for _, state := range []filter.State{filter.Error, filter.Timeout} {
			p[filter.StateSymbol(e.Name, state)] = filter.Action(e.OnError)
		}
	}
	return p
}
