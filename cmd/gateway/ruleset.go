package main

import (
	"os"

	"mailweir/filter"
	"mailweir/filter/rules"
	"mailweir/internal/config"
	"mailweir/mail"
)

// unweighed is the scorer when the rules are disabled: only scores that come
// from the config itself count.
type unweighed struct{}

func (unweighed) Hash() string { return "disabled" }

// Class implements filter.Scorer.
func (unweighed) Class(f *filter.Facts, rcpt mail.Path) string {
	return filter.Class(rcpt, f.Scopes()...)
}

// Eval implements filter.Scorer.
func (unweighed) Eval(f *filter.Facts, class string) (list []filter.Symbol) {
	scoped := 0
	for _, s := range f.Symbols {
		if s.Scope != nil {
			if scoped++; !filter.InClass(class, scoped-1) {
				continue
			}
		}
		list = append(list, s)
	}
	return list
}

func loadRules(cfg *config.Config) (*rules.Rules, error) {
	if len(cfg.Rules.Files) == 0 {
		r, err := rules.Default()
		if err != nil {
			return nil, err
		}
		return r.For(ownDomains(cfg)), nil
	}
	var files []rules.File
	for _, path := range cfg.Rules.Files {
		data, err := os.ReadFile(string(path))
		if err != nil {
			return nil, err
		}
		files = append(files, rules.File{Name: string(path), Data: data})
	}
	r, err := rules.Load(files...)
	if err != nil {
		return nil, err
	}
	return r.For(ownDomains(cfg)), nil
}
